"""Says how a run ended: the result on stdout, all else on stderr, and the exit code."""

import sys
import traceback
from typing import Any

from blazen_trio import StoreError, WorkflowError
from blazen_trio.cli.exits import Exit
from blazen_trio.cli.following import Ending
from blazen_trio.cli.output import print_json, printable
from blazen_trio.cli.view import View, describe_progress, print_line


def tell(ending: Ending, view: View, *, as_json: bool) -> Exit:
    """Print all that is to be said of the end; gives the exit code."""
    for line in _lines(ending, view):
        print_line(view.console, f"blazen-trio: {line}")
    if as_json:
        print_json(as_plain(ending))
    elif ending.result is not None:
        print_result(ending.result.result)
    return code_of(ending)


def print_result(result: object) -> None:
    """A text as it is, everything else by its ``repr``; nothing at all for ``None``."""
    if result is not None:
        sys.stdout.write(f"{result if isinstance(result, str) else repr(result)}\n")


def code_of(ending: Ending) -> Exit:
    """The exit code for this end."""
    if ending.error is not None:
        return Exit.FAILED
    return ending.stopped or (Exit.WAITING if ending.questions else Exit.DONE)


def _lines(ending: Ending, view: View) -> list[str]:
    """What is not a result."""
    if ending.error is not None:
        return [describe_failure(ending)]
    if ending.stopped is not None:
        return [describe_stop(ending, view)]
    if ending.answered:
        return [f"the answer is taken; {ending.answered}"]
    return [
        f"the run waits for an answer to '{printable(each.prompt)}' (request {printable(each.request_id)}), and there "
        f"is no terminal to ask at{_way_to_answer(ending)}"
        for each in ending.questions
    ]


def _way_to_answer(ending: Ending) -> str:
    return f"; answer it: {ending.way_on}" if ending.way_on else "; with --db it could be answered later"


def is_only_stopped(ending: Ending) -> bool:
    """Whether not the run failed, but its file, or a server that it needs: it can go on."""
    return bool(ending.way_on) and (isinstance(ending.error, StoreError) or ending.is_open)


def describe_failure(ending: Ending) -> str:
    """Why the run failed; or, if it did not, how to go on."""
    assert ending.error is not None
    if ending.is_lost:
        return f"the run cannot be followed any more: {describe_error(ending.error)}; watch it with: {ending.way_on}"
    if is_only_stopped(ending):
        return f"the run stopped: {describe_error(ending.error)}; go on with: {ending.way_on}"
    return f"the run failed: {describe_error(ending.error)}"


def describe_stop(ending: Ending, view: View) -> str:
    """How far the run was when somebody stopped the command, and what is left of it."""
    word = "terminated" if ending.stopped is Exit.TERMINATED else "interrupted"
    done = f" after {describe_progress(view.progress)}" if view.progress is not None else ""
    left = f"go on with: {ending.way_on}" if ending.way_on else f"there is no result{ending.not_kept}"
    return f"{word}{done}; {left}"


def describe_error(error: WorkflowError) -> str:
    """The error's own words, and where in whose code its cause was raised."""
    return f"{type(error).__name__}: {printable(error)}{_place_of(error.__cause__)}"


def _place_of(cause: BaseException | None) -> str:
    frames = traceback.extract_tb(cause.__traceback__ if cause is not None else None)
    return f" ({frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name})" if frames else ""


def as_plain(ending: Ending) -> dict[str, Any]:
    """The end as plain data for JSON."""
    known = {"run_id": ending.run_id}
    go_on = {"go_on": ending.way_on} if ending.way_on and ending.result is None else {}
    if ending.result is not None:
        return {**known, "status": "completed", "result": ending.result.result}
    if ending.error is not None:
        status = "unknown" if ending.is_lost else "stopped" if is_only_stopped(ending) else "failed"
        error = {"type": type(ending.error).__name__, "message": str(ending.error)}
        return {**known, "status": status, "error": error, **({} if status == "failed" else go_on)}
    if ending.stopped is not None:
        return {**known, "status": "interrupted", **go_on}
    if ending.answered:
        return {**known, "status": "answered"}
    return {**known, "status": "awaiting_input", "pending_inputs": ending.questions, **go_on}
