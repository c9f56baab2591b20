"""The commands and their options. Their docstrings are what `--help` shows, and so are Markdown."""

import sys
from collections.abc import Sequence
from typing import Annotated, Final

from cyclopts import App, CycloptsError, Parameter

import blazen_trio
from blazen_trio.cli.exits import Exit
from blazen_trio.cli.loading import load_workflow

app: Final = App(
    name="blazen-trio",
    help="Event-driven workflows for Trio: run one, draw one, or see a real one at work.",
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
    """
    from blazen_trio.cli.demo import run_demo

    return run_demo(path, json, assume_defaults=yes)


@app.command
def run(
    workflow: str,
    /,
    *,
    input: Annotated[str | None, Parameter(name="--input")] = None,
    json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Run a workflow and print its result.

    Parameters
    ----------
    workflow
        Where it is: `module:name`; modules of the current directory are found, too.
    input
        The input as JSON; it becomes the `data` of the `StartEvent`.
    json
        Print how the run ended as JSON.
    """
    from blazen_trio.cli.running import run_workflow

    return run_workflow(workflow, input, as_json=json)


@app.command
def graph(workflow: str, /) -> int:
    """Print a workflow as a Mermaid flowchart.

    Parameters
    ----------
    workflow
        Where it is: `module:name`; modules of the current directory are found, too.
    """
    sys.stdout.write(load_workflow(workflow).to_mermaid())
    return Exit.DONE
