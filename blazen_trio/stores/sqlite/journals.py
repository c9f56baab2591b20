"""The rows of a run's journal: the run's place names the last of them, and each names the one before it.

They are read from the end, and nothing is believed: each has its checksum, which covers the link, and the numbers of
its entries must lead up to those behind it. What damage has cut off is found by its run when the journal is dropped.
"""

import apsw

from blazen_trio.stores.sqlite.rows import Place, damaged, entries_of
from blazen_trio.stores.sqlite.sql import rows
from blazen_trio.stores.sqlite.statements import DROP_JOURNAL, DROP_STRAYS, GET_JOURNAL, GET_ROWS


def read_entries(connection: apsw.Connection, run_id: str, place: Place) -> tuple[bytes, ...]:
    """The entries from first to next, without a hole; raises ``StoreCorruptError``."""
    found: list[tuple[bytes, ...]] = []
    following = place.next_entry
    for columns in rows(connection, GET_JOURNAL, place.last_row, place.run, place.first_entry):
        entries = entries_of(run_id, columns)
        number: int = columns[0]
        if number + len(entries) != following:
            break
        found.append(entries)
        following = number
    if following != place.first_entry:
        raise damaged(run_id, f"journal entry {following - 1} is missing; the journal")
    return tuple([entry for entries in reversed(found) for entry in entries])


def drop_entries(connection: apsw.Connection, place: Place) -> None:
    """Drop all rows of a run."""
    dropped = rows(connection, DROP_JOURNAL, place.last_row, place.run)
    if place.last_row and (place.kept_from,) not in dropped:
        drop_strays(connection, place.run, place.next_entry)


def folded_rows(connection: apsw.Connection, place: Place) -> list[int]:
    """The ids of the rows before the first entry: they are in the snapshot. If damage hides some, drops all of them."""
    found = rows(connection, GET_ROWS, place.last_row, place.run)
    if all(number != place.kept_from for _, number in found):
        drop_strays(connection, place.run, place.first_entry)
        return []
    return [row for row, number in found if number < place.first_entry]


def drop_strays(connection: apsw.Connection, run: int, before: int) -> None:
    """Drop rows of a damaged journal that nothing leads to; all rows of all runs are looked at."""
    rows(connection, DROP_STRAYS, run, before)
