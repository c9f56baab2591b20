"""The way from an older version of the tables to this one.

Damage stays damage on the way: where the checksum of a row was wrong, the new one is wrong by as much.
"""

from typing import Any, Final

import apsw

from blazen_trio.stores.sqlite.rows import checksum
from blazen_trio.stores.sqlite.schema import MIGRATIONS
from blazen_trio.stores.sqlite.sql import rows


def migrate(connection: apsw.Connection, version: int) -> None:
    """Bring the tables from that version to this one, inside a transaction; 0 is a new file."""
    untyped: Any = connection
    for name, function in _FUNCTIONS.items():
        untyped.create_scalar_function(name, function)
    for statements in MIGRATIONS[version:]:
        rows(connection, statements)
    for name in _FUNCTIONS:
        untyped.create_scalar_function(name, None)


def _journal_crc_2(run_id: str, number: Any, previous: int, entries: Any, crc: int) -> int:
    """The checksum of a journal row that names the one before it, from that of one which did not."""
    if not isinstance(entries, bytes):  # a flipped bit; it is refused whatever its checksum is
        return crc
    before = checksum("journal", run_id, number, blob=entries)
    return checksum("journal", run_id, number, previous, blob=entries) ^ before ^ crc


def _place_crc_2(run_id: str, *columns: Any) -> int:
    """The checksum of a place that names the last row of the journal, from that of one which did not."""
    *fields, crc = columns
    before = checksum("place", run_id, [*fields[:3], *fields[5:]])
    return int(checksum("place", run_id, fields) ^ before ^ crc)


_FUNCTIONS: Final = {"journal_crc_2": _journal_crc_2, "place_crc_2": _place_crc_2}
