"""What is read, each function in one transaction: it sees one state of the file, whatever is written meanwhile."""

import math
from collections.abc import Iterator

import apsw
import attrs

from blazen_trio.abc import Command, Cursor, Owner, RunRecord, StoredRun, StreamPage, StreamRow, is_id
from blazen_trio.stores.sqlite.journals import read_entries
from blazen_trio.stores.sqlite.lookups import find_owner, find_place, find_run
from blazen_trio.stores.sqlite.rows import Place, RunRow, command_of, damaged, items_of, snapshot_of
from blazen_trio.stores.sqlite.sql import rows
from blazen_trio.stores.sqlite.statements import (
    GET_COMMANDS,
    GET_SNAPSHOT,
    GET_STREAM,
    LIST_ALL,
    LIST_BY_BOTH,
    LIST_BY_STATUS,
    LIST_BY_WORKFLOW,
)


def read(connection: apsw.Connection, run_id: str) -> StoredRun:
    """A whole run."""
    row = find_run(connection, run_id)
    place = find_place(connection, row)
    return StoredRun(
        **attrs.asdict(_record(connection, row), recurse=False),
        snapshot=snapshot_of(run_id, place, rows(connection, GET_SNAPSHOT, row.run)),
        entries=read_entries(connection, run_id, place),
        stream_floor=place.stream_floor,
        stream_last=place.stream_last,
    )


def info(connection: apsw.Connection, run_id: str) -> RunRecord:
    """A run as lists show it."""
    return _record(connection, find_run(connection, run_id))


def list_runs(
    connection: apsw.Connection, status: str | None, workflow: str | None, limit: int, after: Cursor | None
) -> list[RunRecord]:
    """A page of runs, newest first."""
    if workflow is not None and not is_id(workflow):
        return []
    statement = _LISTS[status is not None, workflow is not None]
    chosen = [text for text in (status, workflow) if text is not None]
    created, run_id = (math.inf, "") if after is None else after
    found = rows(connection, statement, *chosen, created, run_id, max(0, limit))
    return [_record(connection, RunRow.of(columns)) for columns in found]


_LISTS = {
    (False, False): LIST_ALL,
    (True, False): LIST_BY_STATUS,
    (False, True): LIST_BY_WORKFLOW,
    (True, True): LIST_BY_BOTH,
}


def read_stream(connection: apsw.Connection, run_id: str, after: int, limit: int) -> StreamPage:
    """The stream's items behind a number."""
    row = find_run(connection, run_id)
    place = find_place(connection, row)
    items: list[StreamRow] = []
    for some in _items(connection, row, place, after):
        items += some
        if len(items) >= limit:
            break
    return StreamPage(tuple(items[: max(0, limit)]), place.stream_floor, place.stream_last)


def commands(connection: apsw.Connection, owner: Owner) -> list[Command]:
    """What waits for the runs of an owner. All rows are looked at: one with a flipped bit may seem to be another's."""
    found = [(holder, command_of(columns)) for holder, *columns in rows(connection, GET_COMMANDS)]
    return [command for holder, command in found if holder == owner.engine_id]


def _record(connection: apsw.Connection, row: RunRow) -> RunRecord:
    lease = find_owner(connection, row)
    return row.record(None, None) if lease is None else row.record(lease.owner, lease.lease_until)


def _items(connection: apsw.Connection, row: RunRow, place: Place, after: int) -> Iterator[list[StreamRow]]:
    """The items of one row of the stream after the other, each linked to the one before it."""
    begin = seen = max(after, place.stream_floor)
    while seen < place.stream_last:
        found = rows(connection, GET_STREAM, row.run, seen)
        items = items_of(row.run_id, found[0]) if found else ()
        if not items or (found[0][1] != seen and found[0][1] > begin):
            raise damaged(row.run_id, f"a stream row behind {seen} is missing; the stream")
        yield [item for item in items if item.seq > begin]
        seen = items[-1].seq
