"""One run, looked up by its id: its row, its place, its owner. Whatever connection asks, in whatever transaction."""

import apsw

from blazen_trio.abc import is_id
from blazen_trio.core.errors import RunNotFoundError
from blazen_trio.stores.sqlite.rows import OwnerRow, Place, RunRow, damaged
from blazen_trio.stores.sqlite.sql import rows
from blazen_trio.stores.sqlite.statements import GET_OWNER, GET_PLACE, GET_RUN, NEXT_ID, PREVIOUS_ID, RUN_ID_OF


def find_run(connection: apsw.Connection, run_id: str) -> RunRow:
    """The row of a run; raises ``RunNotFoundError``, ``StoreCorruptError``."""
    if not is_id(run_id):
        raise RunNotFoundError(run_id)
    found = rows(connection, GET_RUN, run_id)
    if not found:
        _check_neighbours(connection, run_id)
        raise RunNotFoundError(run_id)
    row = RunRow.of(found[0])
    if row.run_id != run_id:
        raise damaged(run_id, "its row")
    return row


def find_place(connection: apsw.Connection, row: RunRow) -> Place:
    """What there must be of a run; raises ``StoreCorruptError``."""
    found = rows(connection, GET_PLACE, row.run)
    if not found:
        raise damaged(row.run_id, "what there must be of it")
    return Place.of(found[0], row.run_id)


def find_owner(connection: apsw.Connection, row: RunRow) -> OwnerRow | None:
    """Who holds a run, and until when; raises ``StoreCorruptError``."""
    if row.owner is None:
        return None
    found = rows(connection, GET_OWNER, row.owner)
    if not found:
        raise damaged(row.run_id, f"the lease of engine {row.owner!r}")
    return OwnerRow.of(found[0])


def _check_neighbours(connection: apsw.Connection, run_id: str) -> None:
    """Raise ``StoreCorruptError`` if a run is not found only because the index of ids is damaged around its place.

    An entry with a flipped bit still stands where the true one belongs, and so beside any place where that is searched.
    """
    for statement in (PREVIOUS_ID, NEXT_ID):
        for beside, run in rows(connection, statement, run_id):
            if rows(connection, RUN_ID_OF, run) != [(beside,)]:
                raise damaged(run_id, "the index of run ids")
