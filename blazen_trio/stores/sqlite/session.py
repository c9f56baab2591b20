"""One writing connection, and what it knows of the runs it has written.

A write has to know a run's fence and its place, and the last row of all journals. They are kept here, so that a write
in a row of writes reads nothing. SQLite's ``data_version`` tells when somebody else has committed: then all of it is
forgotten, as after every transaction that was not committed.
"""

from collections.abc import Iterable
from typing import Final

import apsw
import attrs

from blazen_trio.abc import Owner
from blazen_trio.stores.sqlite.files import OpenFile, open_writer, wal_of
from blazen_trio.stores.sqlite.lookups import find_place, find_run
from blazen_trio.stores.sqlite.rows import OwnerRow, Place, RunRow, damaged
from blazen_trio.stores.sqlite.sql import Columns, many, rows
from blazen_trio.stores.sqlite.statements import LAST_ROW, NEXT_FENCE, PUT_OWNER, PUT_RUN

_KNOWN_MAX: Final = 10_000
"""Runs that are remembered: about 1 kB each; reading one again takes 20 us."""


_ROWS_MAX: Final = 1 << 62
"""No journal was ever written that far; SQLite's ids end at twice as much."""

_CHANGING: Final = 5
"""The columns of a run before this one never change."""


@attrs.define(eq=False)
class Known:
    """What the file holds of a run, as of this transaction."""

    row: RunRow
    place: Place


class Session:
    """A connection that writes; used by one thread at a time, and every method but ``close`` in a transaction."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.connection: apsw.Connection = open_writer(path)
        self._files = (OpenFile(path), OpenFile(wal_of(path)))
        self._known: dict[str, Known] = {}
        self._last_row: int | None = None
        self._version = -1

    # --- Transactions -------------------------------------------------------------------------------------------------

    def check_file(self) -> None:
        """Raise ``StoreError`` if the file, or its log, was deleted or replaced."""
        for file in self._files:
            file.check()

    def begin(self) -> None:
        """Open a transaction that writes; forgets what others may have changed."""
        self.rows("BEGIN IMMEDIATE")
        ((version,),) = self.rows("PRAGMA data_version")
        if version != self._version or len(self._known) > _KNOWN_MAX:
            self.forget()
            self._version = version

    def commit(self) -> None:
        """Make it durable."""
        self.rows("COMMIT")

    def rollback(self) -> None:
        """Undo it, unless SQLite has done so already."""
        self.forget()
        if self.connection.in_transaction:
            self.rows("ROLLBACK")

    def close(self) -> None:
        """Give the file back; the last one to do so checkpoints. Errors mean nothing any more: the WAL has it all."""
        self.connection.close(force=True)

    # --- Statements ---------------------------------------------------------------------------------------------------

    def rows(self, statement: str, *bindings: object) -> list[Columns]:
        """Run a statement on this connection."""
        return rows(self.connection, statement, *bindings)

    def many(self, statement: str, bindings: Iterable[Columns]) -> None:
        """Run a statement for each of them."""
        many(self.connection, statement, bindings)

    # --- Runs ---------------------------------------------------------------------------------------------------------

    def known(self, run_id: str) -> Known:
        """What the file holds of a run; raises ``RunNotFoundError``, ``StoreCorruptError``."""
        found = self._known.get(run_id)
        if found is None:
            row = find_run(self.connection, run_id)
            found = self._known[run_id] = Known(row, find_place(self.connection, row))
        return found

    def remember(self, row: RunRow, place: Place) -> None:
        """A run that was just created."""
        self._known[row.run_id] = Known(row, place)

    def forget(self, run_ids: Iterable[str] | None = None) -> None:
        """Read these runs again when they are needed, or all."""
        if run_ids is None:
            self._known.clear()
            self._last_row = None
            return
        for run_id in run_ids:
            self._known.pop(run_id, None)

    def put_run(self, row: RunRow) -> None:
        """Write a row of ``runs`` that is there already."""
        self.rows(PUT_RUN, *row.columns()[_CHANGING:], row.run)
        if row.run_id in self._known:
            self._known[row.run_id].row = row

    def next_row(self) -> int:
        """The id for a new row of the journals, behind all others; raises ``StoreCorruptError``."""
        last = self._last_row
        if last is None:
            ((last,),) = self.rows(LAST_ROW)
            if not 0 <= last < _ROWS_MAX:
                raise damaged(None, "the last row of the journals")
        self._last_row = row = int(last) + 1
        return row

    def next_fence(self, above: int = 0) -> int:
        """A number that no run had before; raises ``StoreCorruptError``."""
        ((fence,),) = self.rows(NEXT_FENCE)
        if fence <= above:
            raise damaged(None, "the counter of fences")
        return int(fence)

    # --- Owners -------------------------------------------------------------------------------------------------------

    def extend(self, owner: Owner, until: float) -> None:
        """Renew a lease, or begin it."""
        self.rows(PUT_OWNER, *OwnerRow(owner, float(until)).columns())
