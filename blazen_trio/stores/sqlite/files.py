"""The file of a store: opened, checked and brought to this version; and whether it is still the one at its path."""

import time
from pathlib import Path
from typing import Final

import apsw

from blazen_trio.core.errors import StoreError
from blazen_trio.stores.sqlite.faults import BUSY_S
from blazen_trio.stores.sqlite.migrations import migrate
from blazen_trio.stores.sqlite.schema import APPLICATION_ID, VERSION
from blazen_trio.stores.sqlite.sql import rows, setting

_SETTINGS: Final[dict[str, str | int]] = {
    "synchronous": "FULL",  # NORMAL loses what was acknowledged when the power goes
    "cell_size_check": "ON",  # finds more damage, at each page that is read
    "trusted_schema": "OFF",
    "journal_size_limit": 16 << 20,  # a WAL that once grew is cut when it begins anew
}

_RETRY_S: Final = 0.005


class OpenFile:
    """A file that is in use, to find out whether it is still the one at its path."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._inode = self._inode_now()

    def check(self) -> None:
        """Raise ``StoreError`` if it was deleted or replaced; this takes 2 us."""
        if self._inode_now() != self._inode:
            raise StoreError(
                f"another file was put in the place of {self._path} while it was in use; stop all that use it, "
                "put back the one that belongs there, and open the store again"
            )

    def _inode_now(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            raise StoreError(
                f"the file {self._path} was deleted while it was in use, and its runs with it; "
                "restore it from a backup, and open the store again"
            ) from None
        return found.st_dev, found.st_ino


def wal_of(path: str) -> str:
    """The write-ahead log of a file."""
    return f"{path}-wal"


def open_writer(path: str) -> apsw.Connection:
    """The one connection that writes, to a file that is ours and of this version; blocks.

    Raises:
        StoreError: the file belongs to somebody else, or to a newer version.
        apsw.Error: SQLite's.
    """
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def open_reader(path: str) -> apsw.Connection:
    """A connection that only reads; blocks."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(int(BUSY_S * 1_000))
    setting(connection, "cell_size_check", "ON")
    setting(connection, "trusted_schema", "OFF")
    return connection


def _prepare(connection: apsw.Connection, path: str) -> None:
    connection.set_busy_timeout(int(BUSY_S * 1_000))
    _check(connection, path)
    _use_wal(connection, path)
    connection.wal_autocheckpoint(0)
    for name, value in _SETTINGS.items():
        setting(connection, name, value)
    _migrate(connection, path)


def _check(connection: apsw.Connection, path: str) -> None:
    """Look at the file before anything is changed: it may be somebody else's.

    In one transaction: another process may be about to make this file, and half of its marks look like a stranger's.
    """
    rows(connection, "BEGIN")
    try:
        _version(connection, path)
    finally:
        rows(connection, "ROLLBACK")


def _version(connection: apsw.Connection, path: str) -> int:
    """The version of the file, 0 for a new one; inside a transaction."""
    application, version = setting(connection, "application_id"), setting(connection, "user_version")
    if application != APPLICATION_ID:
        if application or rows(connection, "SELECT count(*) FROM sqlite_schema") != [(0,)]:
            raise StoreError(f"{path} is a database of another program; give the store a file of its own")
        return 0
    if not 0 < version <= VERSION:
        raise StoreError(
            f"{path} was written by a newer version of this library (its schema is {version}, this one knows up to "
            f"{VERSION}); update blazen_trio"
        )
    return int(version)


def _use_wal(connection: apsw.Connection, path: str) -> None:
    """Switch to a write-ahead log."""
    if _switched(connection) != "wal":
        raise StoreError(f"{path} lies where SQLite cannot keep a write-ahead log; use a local disk")


def _switched(connection: apsw.Connection) -> str:
    """The mode now. SQLite does not wait for this lock by itself, which matters when two open a new file at once."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            return str(setting(connection, "journal_mode", "wal"))
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_S)


def _migrate(connection: apsw.Connection, path: str) -> None:
    """Bring the file to this version, in one transaction; also what makes a new one."""
    rows(connection, "BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)
        if version != VERSION:
            migrate(connection, version)
            setting(connection, "application_id", APPLICATION_ID)
            setting(connection, "user_version", VERSION)
    except BaseException:
        rows(connection, "ROLLBACK")
        raise
    rows(connection, "COMMIT")
