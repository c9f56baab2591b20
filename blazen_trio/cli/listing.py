"""``blazen-trio runs`` and ``show``: what is in a file, without the code of its workflows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from blazen_trio import InputRequestEvent, RunInfo, RunNotFoundError, RunStatus
from blazen_trio.abc import Store, StoredRun
from blazen_trio.cli.database import command, find_run, holder_of, no_such_run, open_db
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import run_trio
from blazen_trio.cli.output import FILE_COLUMNS, print_json, printable, time_text
from blazen_trio.cli.view import print_line
from blazen_trio.engine import info_of


@attrs.frozen
class Page:
    """Which runs are to be listed: of a status, of a workflow, so many, behind that id."""

    status: str | None = None
    workflow: str | None = None
    limit: int = 100
    after: str | None = None

    def check(self) -> None:
        """Raise ``CommandError`` for what can be no page."""
        known = [each.value for each in RunStatus]
        if self.status is not None and self.status not in known:
            raise CommandError(f"--status {self.status} is none; there are {', '.join(known)}")
        if self.limit < 1:
            raise CommandError(f"--limit {self.limit} lists nothing; give at least 1")


def list_runs(db: str, page: Page, *, as_json: bool) -> Exit:
    """Print the runs in a file, newest first.

    Raises:
        CommandError: no such file, status or run.
    """
    page.check()
    infos = run_trio(partial(_read_page, db, page))
    if as_json:
        print_json([_info_plain(each) for each in infos])
    elif infos:
        _console().print(_table(infos))
    if len(infos) == page.limit:
        print_line(Console(stderr=True), f"There may be more: --after {infos[-1].run_id}")
    return Exit.DONE


async def _read_page(db: str, page: Page) -> list[RunInfo]:
    async with open_db(db) as store:
        after = None if page.after is None else await _cursor(store, page.after, db)
        found = await store.list_runs(status=page.status, workflow=page.workflow, limit=page.limit, after=after)
        return [info_of(each) for each in found]


async def _cursor(store: Store, run_id: str, db: str) -> tuple[float, str]:
    try:
        return (await store.info(run_id)).cursor
    except RunNotFoundError as error:
        raise no_such_run(run_id, db) from error


def show_run(db: str, run_id: str, *, as_json: bool) -> Exit:
    """Print what is known of one run.

    Raises:
        CommandError: no such file or run.
    """
    stored = run_trio(partial(_read_run, db, run_id))
    if as_json:
        print_json(_run_plain(stored))
        return Exit.DONE
    console = _console()
    for name, value in _facts(stored, db):
        print_line(console, f"{name:<10}{value}")
    return Exit.DONE


async def _read_run(db: str, run_id: str) -> StoredRun:
    async with open_db(db) as store:
        return await find_run(store, run_id, db)


# --- As text ----------------------------------------------------------------------------------------------------------


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = FILE_COLUMNS
    return console


def _table(infos: Sequence[RunInfo]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("Run", no_wrap=True)
    for heading in ("Workflow", "Status", "Begun", "Changed", "Waits for, or failed from"):
        table.add_column(heading, overflow="fold")
    for each in infos:
        why = each.error or "; ".join(question.prompt for question in each.pending_inputs)
        times = (time_text(each.created), time_text(each.updated))
        cells = (each.run_id, each.workflow_name, each.status.value, *times, why)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _facts(stored: StoredRun, db: str) -> list[tuple[str, str]]:
    info = info_of(stored)
    facts = [
        ("run", printable(info.run_id)),
        ("workflow", printable(info.workflow_name)),
        ("status", info.status.value),
        ("begun", time_text(info.created)),
        ("changed", time_text(info.updated)),
        ("held by", holder_of(stored) or "nobody"),
        ("stream", f"{stored.stream_last} events, of which {stored.stream_last - stored.stream_floor} are kept"),
        ("journal", f"{len(stored.entries)} entries since the last base of {len(stored.snapshot or b'')} bytes"),
    ]
    facts += [("question", _question_text(each)) for each in info.pending_inputs]
    facts += [("error", printable(info.error))] if info.error else []
    return [*facts, ("result" if info.status.is_end else "go on", _way_on(info, db))]


def _question_text(question: InputRequestEvent) -> str:
    return f"{printable(question.prompt)} (request {printable(question.request_id)})"


def _way_on(info: RunInfo, db: str) -> str:
    """The line to be typed next; the workflow's place only the user knows."""
    if info.pending_inputs:
        return command("respond", "MODULE:WORKFLOW", info.run_id, "ANSWER", db=db)
    return command("resume", "MODULE:WORKFLOW", info.run_id, db=db)


# --- As JSON ----------------------------------------------------------------------------------------------------------


def _info_plain(info: RunInfo) -> dict[str, Any]:
    return attrs.asdict(info, recurse=False)


def _run_plain(stored: StoredRun) -> dict[str, Any]:
    return {
        **_info_plain(info_of(stored)),
        "held_by": holder_of(stored),
        "stream_last": stored.stream_last,
        "stream_floor": stored.stream_floor,
        "journal_entries": len(stored.entries),
    }
