"""Connections that only read, a few, each used by one thread at a time."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import apsw
import trio

from blazen_trio.core.errors import StoreError
from blazen_trio.stores.sqlite.faults import STORAGE_ERRORS, store_error
from blazen_trio.stores.sqlite.files import OpenFile, open_reader
from blazen_trio.stores.sqlite.sql import rows

T = TypeVar("T")

_READERS_MAX: Final = 4
"""Reading is short and mostly served from memory; more threads would only wait for Python's lock."""


class Readers:
    """A pool of connections, with threads under a limiter of their own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = OpenFile(path)
        self._closed = False
        self._limiter = trio.CapacityLimiter(_READERS_MAX)
        self._idle: list[apsw.Connection] = []

    async def do(self, job: Callable[[apsw.Connection], T]) -> T:
        """``job(connection)`` in a thread, on one state of the file. A checkpoint; once begun, it ends."""
        return await trio.to_thread.run_sync(self._read, job, limiter=self._limiter)

    async def close(self) -> None:
        """Close the connections; one that is in use is closed when it is done."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._close_idle, limiter=self._limiter)

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close(force=True)

    # --- In a thread --------------------------------------------------------------------------------------------------

    def _read(self, job: Callable[[apsw.Connection], T]) -> T:
        try:
            self._file.check()
            connection = self._connection()
            try:
                result = _in_transaction(connection, job)
            except BaseException as error:
                self._put_back(connection, is_sound=isinstance(error, StoreError))
                raise
        except STORAGE_ERRORS as error:
            raise store_error(error, self._path) from error
        self._put_back(connection, is_sound=True)
        return result

    def _connection(self) -> apsw.Connection:
        with suppress(IndexError):  # another thread may have been faster
            return self._idle.pop()
        return open_reader(self._path)

    def _put_back(self, connection: apsw.Connection, *, is_sound: bool) -> None:
        if is_sound and not self._closed:
            self._idle.append(connection)
        else:
            connection.close(force=True)


def _in_transaction(connection: apsw.Connection, job: Callable[[apsw.Connection], T]) -> T:
    rows(connection, "BEGIN")
    try:
        return job(connection)
    finally:
        if connection.in_transaction:
            rows(connection, "ROLLBACK")
