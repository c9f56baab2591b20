"""What is done to runs: created, written, deleted. Each function is one transaction's work, or a part of one.

A function looks first and writes then: what it refuses has left no trace.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

import attrs

from blazen_trio.abc import NewRun, Owner, RunWrite
from blazen_trio.core.errors import RunExistsError, RunLockedError, RunNotFoundError, StoreCorruptError, StoreError
from blazen_trio.stores.sqlite.journals import drop_entries, drop_strays
from blazen_trio.stores.sqlite.litter import sweep_if_due
from blazen_trio.stores.sqlite.lookups import find_place, find_run
from blazen_trio.stores.sqlite.rows import Place, RunRow, journal_row, snapshot_crc, stream_row
from blazen_trio.stores.sqlite.session import Known, Session
from blazen_trio.stores.sqlite.sql import Columns
from blazen_trio.stores.sqlite.statements import (
    ADD_ENTRIES,
    ADD_ITEMS,
    ADD_RUN,
    DELETE_OF_RUN,
    DELETE_RUN,
    DROP_ITEMS,
    GET_ENDED,
    NEXT_RUN,
    PUT_PLACE,
    PUT_SNAPSHOT,
    REGAIN_RUN,
)

_EVERY: Final = 1 << 62
"""No entry has such a number."""


def create(session: Session, new: NewRun, owner: Owner, lease_until: float) -> int:
    """A new run; gives its fence."""
    _refuse_existing(session, new.run_id)
    ((run,),) = session.rows(NEXT_RUN)
    row = RunRow.of_new(run, new, owner.engine_id, session.next_fence())
    place = Place(run)
    session.rows(ADD_RUN, *row.columns())
    session.rows(REGAIN_RUN, owner.engine_id, new.run_id)
    session.extend(owner, lease_until)
    session.remember(row, place)
    batch = Batch(session)
    batch.take(RunWrite(new.run_id, row.fence, snapshot=new.snapshot))
    batch.take(RunWrite(new.run_id, row.fence, new.entries))
    batch.carry_out()
    return row.fence


def _refuse_existing(session: Session, run_id: str) -> None:
    try:
        find_run(session.connection, run_id)
    except RunNotFoundError:
        return
    raise RunExistsError(run_id)


# --- Writing ----------------------------------------------------------------------------------------------------------


def write(session: Session, writes: Sequence[RunWrite]) -> list[StoreError | None]:
    """Writes of many runs; gives for each why it was refused, if it was."""
    batch = Batch(session)
    results = [batch.add(each) for each in writes]
    batch.carry_out()
    return results


class Batch:
    """The rows of many writes, collected, so that each table is written with one statement."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._entries: list[Columns] = []
        self._items: list[Columns] = []
        self._snapshots: list[Columns] = []
        self._sweeps = False
        self._trimmed: list[Columns] = []
        self._touched: dict[str, Known] = {}
        self._changed: dict[str, Known] = {}

    def add(self, write: RunWrite) -> StoreError | None:
        """Take a write in, or say why not."""
        try:
            self.take(write)
        except StoreError as error:
            return error
        except (TypeError, ValueError, OverflowError) as error:  # what was given cannot be stored
            return StoreError(str(error), write.run_id)
        return None

    def take(self, write: RunWrite) -> None:
        """Take a write in; raises what is wrong with it, and then has taken nothing."""
        known = self._session.known(write.run_id)
        row, place = known.row, known.place
        if row.fence != write.fence:
            raise RunLockedError(write.run_id, row.owner)
        publishes = write.stream or write.stream_floor > place.stream_floor
        items = self._items_of(place, write) if publishes else None
        if write.header is not None:
            row = row.with_header(write.header)
        self._append(place, write)  # the last thing that can fail
        if publishes:
            self._publish(place, write, items)
        if write.release:
            row = attrs.evolve(row, owner=None, fence=self._session.next_fence(row.fence))
        if row is not known.row:
            known.row = row
            self._changed[row.run_id] = known
        self._touched[row.run_id] = known

    def _items_of(self, place: Place, write: RunWrite) -> Columns | None:
        problem = write.stream_problem(place.stream_last)
        if problem is not None:
            raise problem
        return stream_row(place.run, write.run_id, place.stream_last, write.stream) if write.stream else None

    def _append(self, place: Place, write: RunWrite) -> None:
        if write.snapshot is not None:
            place.snapshot_crc = snapshot_crc(write.run_id, write.snapshot)
            self._snapshots.append((place.run, write.snapshot))
            self._sweeps |= place.kept_from < place.first_entry  # folded before, and not swept since
            place.first_entry = place.next_entry
        elif write.entries:
            row = self._session.next_row()
            self._entries.append(journal_row(row, place, write.run_id, write.entries))
            place.next_entry += len(write.entries)
            place.last_row = row

    def _publish(self, place: Place, write: RunWrite, items: Columns | None) -> None:
        if items is not None:
            self._items.append(items)
            place.stream_last = write.stream[-1].seq
        if write.stream_floor > place.stream_floor:
            place.stream_floor = write.stream_floor
            self._trimmed.append((place.run, place.stream_floor))

    def carry_out(self) -> None:
        """Write all that was taken in. What was trimmed goes last: it may have come with this batch.

        In the order of their first columns: neighbours in a table are then written one after the other.
        """
        for statement, rows in (
            (ADD_ENTRIES, self._entries),
            (ADD_ITEMS, self._items),
            (PUT_SNAPSHOT, self._snapshots),
            (DROP_ITEMS, self._trimmed),
            (PUT_PLACE, [known.place.columns(run_id) for run_id, known in self._touched.items()]),
        ):
            if rows:
                rows.sort(key=itemgetter(0))
                self._session.many(statement, rows)
        if self._snapshots:
            sweep_if_due(self._session, now=self._sweeps)
        for known in self._changed.values():
            self._session.put_run(known.row)


# --- Deleting ---------------------------------------------------------------------------------------------------------


def delete(session: Session, run_id: str) -> None:
    """Forget a run that is finished or that nobody holds."""
    row = find_run(session.connection, run_id)
    if row.owner is not None and not row.is_finished:
        raise RunLockedError(run_id, row.owner)
    _forget(session, [row])


def delete_finished(session: Session, older_than: float) -> int:
    """Forget finished runs; each row is checked first, so that no flipped bit makes one of a run that goes on."""
    rows = [RunRow.of(columns) for columns in session.rows(GET_ENDED, older_than)]
    _forget(session, rows)
    return len(rows)


def _forget(session: Session, rows: Sequence[RunRow]) -> None:
    for row in rows:
        _drop_journal(session, row)
    for statement in (*DELETE_OF_RUN, DELETE_RUN):
        session.many(statement, [(row.run,) for row in rows])
    session.forget(row.run_id for row in rows)


def _drop_journal(session: Session, row: RunRow) -> None:
    try:
        drop_entries(session.connection, find_place(session.connection, row))
    except StoreCorruptError:  # nobody knows any more where its journal ends
        drop_strays(session.connection, row.run, _EVERY)
