"""``blazen-trio run``, ``resume`` and ``respond``: any workflow, with a view of what goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from blazen_trio import SnapshotError, Workflow, WorkflowError, WorkflowSnapshot
from blazen_trio.block import RunBlock
from blazen_trio.cli.attended import follow_here
from blazen_trio.cli.beginning import responding, resuming, starting
from blazen_trio.cli.durable import Begin, Target, follow_stored
from blazen_trio.cli.endings import tell
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import Audience
from blazen_trio.cli.loading import load_workflow
from blazen_trio.cli.output import printable
from blazen_trio.cli.questions import ask_person, has_person, nobody
from blazen_trio.cli.view import view_for


def run_here(name: str, text: str | None, *, as_json: bool) -> Exit:
    """Run the workflow ``name`` in this process only, with the JSON ``text`` as input.

    Raises:
        CommandError: no such workflow, no such JSON.
    """
    workflow, data = load_workflow(name), read_input(text)
    return _attend(name, workflow, lambda: workflow.start(data), as_json=as_json)


def run_in_db(target: Target, text: str | None, run_id: str | None, *, as_json: bool) -> Exit:
    """Run a workflow, kept in a file.

    Raises:
        CommandError: no such JSON, no such place for a file, or the id is taken.
    """
    begin = starting(target, read_input(text), run_id)
    return _attend_in_db(target, begin, _audience(target.workflow), as_json=as_json)


def resume_in_db(target: Target, run_id: str, *, as_json: bool) -> Exit:
    """Go on with a run in a file; of one that is over print the result.

    Raises:
        CommandError: no such file or run, or another process holds it.
    """
    audience = _audience(target.workflow)
    return _attend_in_db(target, resuming(target, run_id, audience.view), audience, as_json=as_json)


def respond_in_db(target: Target, run_id: str, text: str, request_id: str | None, *, as_json: bool) -> Exit:
    """Answer a question of a run in a file, and go on with it unless another process does.

    Raises:
        CommandError: no such file, run or question.
    """
    begin = responding(target, run_id, read_answer(text), request_id)
    return _attend_in_db(target, begin, _audience(target.workflow), as_json=as_json)


def resume_here(name: str, path: str, *, as_json: bool) -> Exit:
    """Go on in this process with a run that was saved to a file, the snapshot.

    Raises:
        CommandError: no such workflow or file, or they do not fit.
    """
    workflow = load_workflow(name)
    try:
        snapshot = WorkflowSnapshot.from_json(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, SnapshotError) as error:
        raise CommandError(f"--snapshot {path}: {printable(error)}") from error
    return _attend(name, workflow, lambda: _resumed(workflow, snapshot, path), as_json=as_json)


def _resumed(workflow: Workflow, snapshot: WorkflowSnapshot, path: str) -> RunBlock:
    try:
        return workflow.resume(snapshot)
    except WorkflowError as error:
        raise CommandError(f"--snapshot {path}: {printable(error)}") from error


def read_input(text: str | None) -> Any:
    """The value of ``--input``; raises ``CommandError`` if it is no JSON."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"--input is no JSON: {error}; a text needs quotes of its own: --input '\"text\"'"
        ) from error


def read_answer(text: str) -> Any:
    """An answer as JSON if it is some, else as text."""
    try:
        return json.loads(text, parse_constant=_refuse)  # NaN is what somebody says, and no number
    except (ValueError, RecursionError):
        return text


def _refuse(text: str) -> None:
    raise ValueError(text)


def _audience(workflow: Workflow) -> Audience:
    return Audience(view_for(Console(stderr=True), workflow.name), ask_person if has_person() else nobody)


def _attend(name: str, workflow: Workflow, begin: Callable[[], RunBlock], *, as_json: bool) -> Exit:
    audience = _audience(workflow)
    return tell(follow_here(begin, audience, name), audience.view, as_json=as_json)


def _attend_in_db(target: Target, begin: Begin, audience: Audience, *, as_json: bool) -> Exit:
    ending = follow_stored(target, begin, audience)
    return tell(ending, audience.view, as_json=as_json)
