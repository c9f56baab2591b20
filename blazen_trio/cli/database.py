"""The file behind ``--db``: opened or explained, and what it says of a run."""

import contextlib
import shlex
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from blazen_trio import RunNotFoundError, SqliteStore, StoreError
from blazen_trio.abc import RunRecord, Store, StoredRun
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.output import printable


@contextlib.asynccontextmanager
async def open_db(path: str, *, is_made: bool = False) -> AsyncGenerator[SqliteStore, None]:
    """The store in this file; only with ``is_made`` a new one if there is no such file.

    Raises:
        CommandError: there is no such file, it is no store, or the store fails.
    """
    _check(Path(path), is_made=is_made)
    store = SqliteStore(path)
    try:
        await store.open()
    except StoreError as error:
        raise CommandError(f"--db {path}: {printable(error)}") from error
    try:
        yield store
    except StoreError as error:
        raise CommandError(f"--db {path}: {printable(error)}", Exit.FAILED) from error
    finally:
        await store.aclose()


def _check(path: Path, *, is_made: bool) -> None:
    problem = (
        "that is a directory"
        if path.is_dir()
        else "its directory does not exist"
        if not path.absolute().parent.is_dir()
        else "there is no such file; `run` with this --db makes it"
        if not path.exists() and not is_made
        else None
    )
    if problem:
        raise CommandError(f"--db {path}: {problem}")


async def find_run(store: Store, run_id: str, db: str) -> StoredRun:
    """A run by the id that the user gave; a checkpoint.

    Raises:
        CommandError: there is none.
        StoreError: it cannot be read.
    """
    try:
        return await store.read(run_id)
    except RunNotFoundError as error:
        raise no_such_run(run_id, db) from error


def no_such_run(run_id: str, db: str) -> CommandError:
    """The error for an id that is not in the file."""
    return CommandError(f"there is no run '{printable(run_id)}' in {db}; these are: {command('runs', db=db)}")


def holder_of(record: RunRecord) -> str | None:
    """The living process that holds a run, in words; ``None`` if nobody does."""
    owner = record.owner
    if owner is None or owner.is_gone() or (record.lease_until or 0.0) <= time.time():
        return None
    return f"process {owner.pid} of {printable(owner.host)}"


def command(*words: str, **options: str | None) -> str:
    """A line to be typed, safe for a shell."""
    named = [part for name, value in options.items() if value is not None for part in (f"--{name}", value)]
    return shlex.join(["blazen-trio", *words, *named])
