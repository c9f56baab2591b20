"""``blazen-trio demo``: runs the licence audit, prints its table and writes its JSON."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import follow
from blazen_trio.cli.output import printable, to_json
from blazen_trio.cli.questions import Answerer, ask_person, has_person, take_defaults
from blazen_trio.cli.running import describe_error
from blazen_trio.cli.view import print_line, view_for
from blazen_trio.demo import Entry, Status, audit
from blazen_trio.demo.report import as_plain, counts

STDOUT: Final = "-"

CELL_CHARS_MAX: Final = 60

KILO: Final = 1000

FILE_COLUMNS: Final = 120
"""The width of the table where no terminal says how wide it is."""

STYLES: Final = {Status.CLASSIFIED: "green", Status.ANSWERED: "cyan", Status.UNDECIDED: "yellow", Status.BROKEN: "red"}


def run_demo(paths: Sequence[str] | None, json_path: str | None, *, assume_defaults: bool) -> Exit:
    """Audit the packages on ``paths`` (default: where Python looks).

    Raises:
        CommandError: paths that are none, or Ctrl-C.
    """
    _check_paths(paths or (), json_path)
    view = view_for(Console(stderr=True), "Licences of the installed packages")
    ending = follow(audit, {"paths": list(paths) if paths else None}, _answerer(assume_defaults=assume_defaults), view)
    if ending.result is None:
        reason = describe_error(ending.error) if ending.error is not None else "a question stayed open"
        raise CommandError(f"the audit failed: {reason}", Exit.FAILED)
    entries: tuple[Entry, ...] = ending.result.result.entries
    console = Console(stderr=json_path == STDOUT)
    if not console.is_terminal:
        console.width = FILE_COLUMNS
    _print_report(entries, console)
    _write_json(entries, json_path)
    return Exit.DONE


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
