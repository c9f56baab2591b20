"""``blazen-trio run``: any workflow, with a simple view of what goes on."""

import json
import sys
import traceback
from typing import Any

from rich.console import Console

from blazen_trio import WorkflowError
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import Ending, follow
from blazen_trio.cli.loading import load_workflow
from blazen_trio.cli.output import print_json, printable
from blazen_trio.cli.questions import ask_person, has_person, nobody
from blazen_trio.cli.view import print_line, view_for


def run_workflow(target: str, text: str | None, *, as_json: bool) -> Exit:
    """Run the workflow ``target`` with the JSON ``text`` as input.

    Raises:
        CommandError: no such workflow, no such JSON, or Ctrl-C.
    """
    workflow, data = load_workflow(target), _read_input(text)
    console = Console(stderr=True)
    ending = follow(workflow, data, ask_person if has_person() else nobody, view_for(console, workflow.name))
    code = _explain(ending, console)
    if as_json:
        print_json(_as_plain(ending))
    elif ending.result is not None:
        print_result(ending.result.result)
    return code


def print_result(result: object) -> None:
    """A text as it is, everything else by its ``repr``; nothing at all for ``None``."""
    if result is not None:
        sys.stdout.write(f"{result if isinstance(result, str) else repr(result)}\n")


def _read_input(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"--input is no JSON: {error}; a text needs quotes of its own: --input '\"text\"'"
        ) from error


def _explain(ending: Ending, console: Console) -> Exit:
    """Say on stderr what is not a result."""
    if ending.error is not None:
        print_line(console, f"blazen-trio: the run failed: {describe_error(ending.error)}")
        return Exit.FAILED
    for question in ending.questions:
        print_line(
            console,
            f"blazen-trio: the run waits for an answer to {printable(question.prompt)!r} (request "
            f"{printable(question.request_id)}), and there is no terminal to ask at",
        )
    return Exit.WAITING if ending.questions else Exit.DONE


def describe_error(error: WorkflowError) -> str:
    """The error's own words, and where in whose code its cause was raised."""
    return f"{type(error).__name__}: {printable(error)}{_place_of(error.__cause__)}"


def _place_of(cause: BaseException | None) -> str:
    frames = traceback.extract_tb(cause.__traceback__ if cause is not None else None)
    return f" ({frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name})" if frames else ""


def _as_plain(ending: Ending) -> dict[str, Any]:
    if ending.result is not None:
        return {"run_id": ending.run_id, "status": "completed", "result": ending.result.result}
    if ending.error is not None:
        error = {"type": type(ending.error).__name__, "message": str(ending.error)}
        return {"run_id": ending.run_id, "status": "failed", "error": error}
    return {"run_id": ending.run_id, "status": "awaiting_input", "pending_inputs": ending.questions}
