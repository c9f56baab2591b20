"""The commands and their options. Their docstrings are what `--help` shows, and so are Markdown."""

import sys
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

from cyclopts import App, CycloptsError, Parameter

import blazen_trio
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.loading import load_workflow

_Json: TypeAlias = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]

app: Final = App(
    name="blazen-trio",
    help="Event-driven workflows for Trio: run them, keep them in a file, draw them, or see a real one at work.",
    version=blazen_trio.__version__,
)


def run_command(argv: Sequence[str]) -> int:
    """Do what the arguments say; what cannot be understood is explained on stderr."""
    try:
        command, bound, _ = app.parse_args(list(argv), exit_on_error=False)
    except CycloptsError:
        return Exit.USAGE
    return command(*bound.args, **bound.kwargs) or Exit.DONE


@app.command
def demo(
    *,
    yes: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Annotated[str | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
    path: Annotated[list[str] | None, Parameter(negative="")] = None,
    db: str | None = None,
    run_id: str | None = None,
) -> int:
    """Audit the licences of the installed Python packages.

    Parameters
    ----------
    yes
        Answer every question with its default.
    json
        Write the report to this file as JSON; `-` is stdout, and then nothing else goes there.
    path
        Look for packages in this directory instead of where Python looks; may be given several times.
    db
        Keep the run in this file: whatever ends the command, the same command goes on with it.
    run_id
        The name of the audit in the file; another name begins another audit.
    """
    from blazen_trio.cli.demo import kept_in, run_demo

    return run_demo(path, json, kept_in(db, run_id), assume_defaults=yes)


@app.command
def run(
    workflow: str,
    /,
    *,
    input: Annotated[str | None, Parameter(name="--input")] = None,
    db: str | None = None,
    run_id: str | None = None,
    json: _Json = False,
) -> int:
    """Run a workflow and print its result.

    Ctrl-C stops it, keeps it, and says how to go on.

    Parameters
    ----------
    workflow
        Where it is: `module:name`; modules of the current directory are found, too.
    input
        The input as JSON; it becomes the `data` of the `StartEvent`.
    db
        Keep the run in this file, at every step: it survives whatever ends the command.
    run_id
        The run's id in the file; by default a new one.
    json
        Print how the run ended as JSON.
    """
    from blazen_trio.cli.durable import Target
    from blazen_trio.cli.running import run_here, run_in_db

    if db is not None:
        return run_in_db(Target.named(workflow, db, is_made=True), input, run_id, as_json=json)
    if run_id is not None:
        raise CommandError("--run-id is the id of a run in a file: give --db, too")
    return run_here(workflow, input, as_json=json)


@app.command
def resume(
    workflow: str,
    run: str | None = None,
    /,
    *,
    db: str | None = None,
    snapshot: str | None = None,
    json: _Json = False,
) -> int:
    """Go on with a run, and print its result; of one that is over only that.

    Parameters
    ----------
    workflow
        Where it is: `module:name`, as for `run`.
    run
        The id of the run in the file.
    db
        The file that keeps the run.
    snapshot
        The file that `run` without `--db` wrote when it was stopped; instead of a run and `--db`.
    json
        Print how the run ended as JSON.
    """
    from blazen_trio.cli.durable import Target
    from blazen_trio.cli.running import resume_here, resume_in_db

    if snapshot is not None and run is None and db is None:
        return resume_here(workflow, snapshot, as_json=json)
    if snapshot is None and run is not None and db is not None:
        return resume_in_db(Target.named(workflow, db), run, as_json=json)
    raise CommandError("resume needs the id of a run and --db FILE, or --snapshot FILE instead")


@app.command
def runs(
    *,
    db: str,
    status: str | None = None,
    workflow: str | None = None,
    limit: int = 100,
    after: str | None = None,
    json: _Json = False,
) -> int:
    """List the runs in a file, newest first.

    Parameters
    ----------
    db
        The file.
    status
        Only those: `running`, `paused`, `awaiting_input`, `completed`, `failed`, `timed_out`, `aborted`.
    workflow
        Only those of the workflow of this name (the workflow's own, not `module:name`).
    limit
        At most so many.
    after
        Go on behind the run of this id, the last one of the list before.
    json
        Print them as JSON.
    """
    from blazen_trio.cli.listing import Page, list_runs

    return list_runs(db, Page(status, workflow, limit, after), as_json=json)


@app.command
def show(run: str, /, *, db: str, json: _Json = False) -> int:
    """Print what is known of a run in a file.

    Parameters
    ----------
    run
        Its id.
    db
        The file.
    json
        Print it as JSON.
    """
    from blazen_trio.cli.listing import show_run

    return show_run(db, run, as_json=json)


@app.command
def respond(
    workflow: str,
    run: str,
    answer: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    db: str,
    request: str | None = None,
    json: _Json = False,
) -> int:
    """Answer a question of a run, and go on with it.

    If another process has the run, that one gets the answer and goes on.

    Parameters
    ----------
    workflow
        Where it is: `module:name`, as for `run`.
    run
        The id of the run in the file.
    answer
        The answer as JSON; what is no JSON is a text.
    db
        The file that keeps the run.
    request
        The id of the question, if there are several.
    json
        Print how the run ended as JSON.
    """
    from blazen_trio.cli.durable import Target
    from blazen_trio.cli.running import respond_in_db

    return respond_in_db(Target.named(workflow, db), run, answer, request, as_json=json)


@app.command
def abort(run: str, /, *, db: str, workflow: str | None = None, json: _Json = False) -> int:
    """End a run in a file.

    If another process has the run, it is ended there.

    Parameters
    ----------
    run
        Its id.
    db
        The file that keeps it.
    workflow
        Where its workflow is, `module:name`; needed if no process has the run.
    json
        Print the status that it has then as JSON.
    """
    from blazen_trio.cli.aborting import abort_run

    return abort_run(db, run, workflow, as_json=json)


@app.command
def serve(
    workflow: str,
    /,
    *more: str,
    db: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    token_file: str | None = None,
    hostname: Annotated[list[str] | None, Parameter(negative="")] = None,
    origin: Annotated[list[str] | None, Parameter(negative="")] = None,
    certificate: str | None = None,
    key: str | None = None,
    json: _Json = False,
) -> int:
    """Serve workflows on a websocket, with a console page for the browser, until Ctrl-C.

    Parameters
    ----------
    workflow
        Where it is: `module:name`, as for `run`.
    more
        More of them.
    db
        Keep the runs in this file; without it they end with the command.
    host
        Listen on this address; others than this machine's own need a token.
    port
        Listen on this port; 0 is any free one.
    token_file
        The file with the token that clients must have.
    hostname
        A name under which browsers reach the server; may be given several times.
    origin
        The origin of a page elsewhere that may use it, `https://example.org`; may be given several times.
    certificate
        A PEM file with the certificate, and the key unless `--key` names it: serve with TLS.
    key
        A PEM file with the key.
    json
        Print where it can be reached as one line of JSON.
    """
    from blazen_trio.cli.serving import Place
    from blazen_trio.cli.serving import serve as serve_workflows

    place = Place(host, port, token_file, hostname or (), origin or (), certificate, key)
    return serve_workflows([workflow, *more], db, place, as_json=json)


@app.command
def watch(
    url: str,
    run: str,
    /,
    *,
    token_file: str | None = None,
    workflow: Annotated[list[str] | None, Parameter(negative="")] = None,
    patience: float = 30.0,
    json: _Json = False,
) -> int:
    """Follow a run on a server to its end, and print its result; a person at the terminal answers its questions.

    Parameters
    ----------
    url
        Where the server is: `ws://127.0.0.1:8765/`.
    run
        The id of the run.
    token_file
        The file with the token that the server wants.
    workflow
        A workflow, `module:name`, whose classes of events the result needs; may be given several times.
    patience
        Give up when the server was out of reach for so many seconds.
    json
        Print how the run ended as JSON.
    """
    from blazen_trio.cli.watching import Lookout
    from blazen_trio.cli.watching import watch as watch_run

    return watch_run(run, Lookout(url, token_file, workflow or (), patience), as_json=json)


@app.command
def graph(
    workflow: str,
    /,
    *,
    svg: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: _Json = False,
) -> int:
    """Print a workflow as a Mermaid flowchart, or in another form.

    Parameters
    ----------
    workflow
        Where it is: `module:name`; modules of the current directory are found, too.
    svg
        Print it as an SVG picture.
    json
        Print its nodes and edges as JSON.
    """
    from blazen_trio.cli.drawing import to_svg
    from blazen_trio.cli.output import to_json

    if svg and json:
        raise CommandError("--svg and --json are two forms; give one of them")
    found = load_workflow(workflow)
    text = to_svg(found.describe()) if svg else to_json(found.describe()) if json else found.to_mermaid()
    sys.stdout.write(text)
    return Exit.DONE
