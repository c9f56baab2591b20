"""``blazen-trio demo``: runs the licence audit, prints its table and writes its JSON."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blazen_trio.cli.attended import follow_here
from blazen_trio.cli.beginning import going_on
from blazen_trio.cli.database import command
from blazen_trio.cli.durable import Target, follow_stored
from blazen_trio.cli.endings import describe_error, describe_stop
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import Audience, Ending
from blazen_trio.cli.output import FILE_COLUMNS, printable, to_json
from blazen_trio.cli.questions import Answerer, ask_person, has_person, take_defaults
from blazen_trio.cli.view import View, print_line, view_for
from blazen_trio.demo import Entry, Status, audit
from blazen_trio.demo.report import as_plain, counts

STDOUT: Final = "-"

CELL_CHARS_MAX: Final = 60

KILO: Final = 1000

STYLES: Final = {Status.CLASSIFIED: "green", Status.ANSWERED: "cyan", Status.UNDECIDED: "yellow", Status.BROKEN: "red"}


def kept_in(db: str | None, run_id: str | None) -> tuple[str, str] | None:
    """The file for the run and its id there; ``None`` for a run that is not kept.

    Raises:
        CommandError: an id without a file.
    """
    if db is None and run_id is not None:
        raise CommandError("--run-id is the name of an audit in a file: give --db, too")
    return None if db is None else (db, run_id or audit.name)


def run_demo(
    paths: Sequence[str] | None, json_path: str | None, kept: tuple[str, str] | None, *, assume_defaults: bool
) -> Exit:
    """Audit the packages on ``paths`` (default: where Python looks).

    Raises:
        CommandError: paths that are none, a file that is no store, or whatever kept the audit from its end.
    """
    _check_paths(paths or (), json_path)
    view = view_for(Console(stderr=True), "Licences of the installed packages")
    audience = Audience(view, _answerer(assume_defaults=assume_defaults))
    data = {"paths": [str(Path(each).absolute()) for each in paths] if paths else None}
    ending = follow_here(lambda: audit.start(data), audience, None) if kept is None else _follow(kept, data, audience)
    if ending.result is None:
        raise CommandError(*_explain(ending, view))
    entries: tuple[Entry, ...] = ending.result.result.entries
    console = Console(stderr=json_path == STDOUT)
    if not console.is_terminal:
        console.width = FILE_COLUMNS
    _print_report(entries, console)
    _write_json(entries, json_path)
    return Exit.DONE


def _follow(kept: tuple[str, str], data: object, audience: Audience) -> Ending:
    """Go on with the audit in the file, or begin it."""
    db, run_id = kept
    named = {} if run_id == audit.name else {"run-id": run_id}
    target = Target("blazen_trio.demo:audit", audit, db, is_made=True, again=command("demo", db=db, **named))
    return follow_stored(target, going_on(target, data, run_id, audience.view), audience)


def _explain(ending: Ending, view: View) -> tuple[str, Exit]:
    if ending.error is not None:
        return f"the audit failed: {describe_error(ending.error)}", Exit.FAILED
    if ending.stopped is not None:
        return describe_stop(ending, view), ending.stopped
    return "the audit failed: a question stayed open", Exit.FAILED


def _answerer(*, assume_defaults: bool) -> Answerer:
    if assume_defaults:
        return take_defaults("with --yes")
    return ask_person if has_person() else take_defaults("no terminal to ask at")


def _check_paths(paths: Iterable[str], json_path: str | None) -> None:
    """Better now than after the work."""
    for path in paths:
        if not Path(path).is_dir():
            raise CommandError(f"--path {path}: there is no such directory")
    if json_path is None or json_path == STDOUT:
        return
    if json_path.startswith("-"):
        raise CommandError(f"--json needs a file name or `-`, not {json_path}; write ./{json_path} if it is meant")
    file = Path(json_path)
    problem = (
        "that is a directory"
        if file.is_dir()
        else "its directory does not exist"
        if not file.absolute().parent.is_dir()
        else "no permission to write there"
        if not os.access(file if file.exists() else file.absolute().parent, os.W_OK)
        else None
    )
    if problem:
        raise CommandError(f"--json {json_path}: {problem}")


def _write_json(entries: Iterable[Entry], json_path: str | None) -> None:
    if json_path is None:
        return
    text = to_json(as_plain(entries))
    if json_path == STDOUT:
        sys.stdout.write(text)
        return
    try:
        Path(json_path).write_text(text, "utf-8")
    except OSError as error:
        raise CommandError(f"--json {json_path}: cannot be written: {error.strerror}", Exit.FAILED) from error


# --- The table -------------------------------------------------------------------------------------------------------


def _print_report(entries: Sequence[Entry], console: Console) -> None:
    if not entries:
        print_line(console, "There are no packages.")
        return
    console.print(_table(entries))
    for entry in entries:
        for problem in entry.problems:
            print_line(console, f"! {_cell(entry.name)}: {printable(problem)}")
    families = ", ".join(f"{number} {family}" for family, number in counts(e.family.value for e in entries).items())
    print_line(console, f"{len(entries)} packages: {families}")


def _table(entries: Iterable[Entry]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("Package", "Version", "Licence"):
        table.add_column(heading, overflow="fold")
    table.add_column("Family", no_wrap=True)
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Known from", no_wrap=True)
    for entry in entries:
        known = entry.source if entry.status in (Status.CLASSIFIED, Status.ANSWERED) else entry.status.value
        cells = (entry.name, entry.version, entry.licence, entry.family.value, _size(entry.size_bytes))
        table.add_row(*(Text(_cell(cell)) for cell in cells), Text(known, style=STYLES[entry.status]))
    return table


def _cell(value: object) -> str:
    return printable(value, CELL_CHARS_MAX)


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size_bytes < KILO:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= KILO
    return f"{size_bytes:.1f} GB"
