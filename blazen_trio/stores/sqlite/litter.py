"""Rows of journals that were folded into snapshots: they stay until there are those of several runs, and go together.

The rows of a run lie scattered between those of others. Dropped alone, each costs a page; those of many runs at once
share the pages. What stays is bounded: of each run at most what one snapshot has replaced, and that of some runs.
"""

from typing import Final

import apsw

from blazen_trio.core.errors import StoreCorruptError
from blazen_trio.stores.sqlite.journals import folded_rows
from blazen_trio.stores.sqlite.rows import Place
from blazen_trio.stores.sqlite.session import Session
from blazen_trio.stores.sqlite.sql import Columns
from blazen_trio.stores.sqlite.statements import COUNT_LITTER, DROP_ROW, GET_LITTERED, PUT_PLACE

_LITTERED_MAX: Final = 64
"""Runs with such rows: more rows would share a page, but they take room; the engine folds a run at 256 KiB."""

_LITTER_MAX: Final = 20_000
"""Entries in such rows: to drop so many takes some 50 ms, in which others wait for the disk."""


def sweep_if_due(session: Session, *, now: bool) -> None:
    """Drop such rows of all runs, if they are many, or now."""
    ((runs, entries),) = session.rows(COUNT_LITTER)
    if now or runs >= _LITTERED_MAX or entries >= _LITTER_MAX:
        _sweep(session)


def _sweep(session: Session) -> None:
    """In the order of the table, so that each page is changed once."""
    places: list[Columns] = []
    dropped: list[int] = []
    for (run_id,) in session.rows(GET_LITTERED):
        try:
            place = session.known(run_id).place
            dropped += folded_rows(session.connection, place)
        except (StoreCorruptError, apsw.CorruptError):  # whoever reads it hears of it; the others go on
            continue
        _note_swept(place)
        places.append(place.columns(run_id))
    session.many(DROP_ROW, [(row,) for row in sorted(dropped)])
    session.many(PUT_PLACE, places)


def _note_swept(place: Place) -> None:
    place.kept_from = place.first_entry
    if place.first_entry == place.next_entry:
        place.last_row = 0
