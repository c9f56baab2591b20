"""What an operator does with the file: copies it, and gives room back."""

import os
from pathlib import Path

import apsw

from blazen_trio.core.errors import StoreError
from blazen_trio.stores.sqlite.session import Session
from blazen_trio.stores.sqlite.sql import setting


def backup(source: apsw.Connection, path: str) -> None:
    """Copy what this transaction sees into a new file; it gets its name when it is whole and on disk."""
    if os.path.lexists(path):
        raise StoreError(f"{path} exists already; give the backup a name of its own")
    part = f"{path}.part-{os.getpid()}"
    try:
        _copy(source, part)
        Path(part).replace(path)
        _sync_directory(path)
    finally:
        Path(part).unlink(missing_ok=True)


def _copy(source: apsw.Connection, path: str) -> None:
    target = apsw.Connection(path)
    try:
        setting(target, "synchronous", "FULL")
        with target.backup("main", source, "main") as copying:
            copying.step()
    finally:
        target.close(force=True)


def _sync_directory(path: str) -> None:
    """Make the file's name durable, where directories can be synced."""
    if os.name == "posix":
        directory = os.open(Path(path).absolute().parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def vacuum(session: Session) -> None:
    """Rewrite the file without its holes, and the log after it."""
    session.rows("VACUUM")
    session.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
