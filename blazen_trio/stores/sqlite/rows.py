"""Rows and back: what is packed into one, and the checksum that says that it is what was written, where it was written.

The checksum of a row covers the kind of row, the run's id, its numbers and its content, so a flipped bit and a row that
got elsewhere are both found; SQLite itself finds less than half of the flipped bits. It is a CRC-32: every error of up
to 32 bits in a row is found, others but for one in four thousand million. It is no guard against forgers.
"""

import operator
from collections.abc import Sequence
from typing import Any, Final, Self
from zlib import crc32

import attrs
import msgspec

from blazen_trio.abc import FINISHED, Command, NewRun, Owner, RunHeader, RunRecord, StreamRow
from blazen_trio.core.errors import StoreCorruptError
from blazen_trio.stores.sqlite.sql import Columns

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_entries: Final = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode
_decode_items: Final = msgspec.msgpack.Decoder(tuple[tuple[int, float, bytes], ...]).decode
_decode_labels: Final = msgspec.json.Decoder(dict[str, str]).decode


def checksum(*fields: object, blob: bytes = b"") -> int:
    """Over numbers, texts and bytes, and then over one large blob."""
    return crc32(blob, crc32(_encode(fields))) if blob else crc32(_encode(fields))


def _is_whole(crc: object, *fields: object, blob: object) -> bool:
    """Whether that is the checksum of it; a flipped bit may have made a number of a blob."""
    return isinstance(blob, bytes) and checksum(*fields, blob=blob) == crc


def damaged(run_id: str | None, where: str) -> StoreCorruptError:
    """The error for what is not as it was written."""
    return StoreCorruptError(f"{where} is not as it was written", run_id)


def _bytes(blobs: Sequence[bytes]) -> Sequence[bytes]:
    for blob in blobs:
        if type(blob) is not bytes:
            raise TypeError(f"what is stored must be bytes, not {type(blob).__name__}")
    return blobs


# --- Runs -------------------------------------------------------------------------------------------------------------


@attrs.frozen
class RunRow:
    """A row of ``runs``, in the order of its columns."""

    run: int
    run_id: str
    workflow_name: str
    created: float
    labels: str
    status: str
    updated: float
    pending_inputs: bytes
    error: str | None
    wake_at: float | None
    owner: str | None
    fence: int

    @classmethod
    def of_new(cls, run: int, new: NewRun, owner: str, fence: int) -> Self:
        """The first row of a run."""
        labels = msgspec.json.encode(dict(new.labels)).decode()
        header = (new.status, new.created, b"", None, None)
        return cls(run, new.run_id, new.workflow_name, new.created, labels, *header, owner, fence)

    @classmethod
    def of(cls, columns: Columns) -> Self:
        """The row of these columns; raises ``StoreCorruptError``."""
        *fields, finished, crc = columns
        row = cls(*fields)
        if checksum("run", *fields) != crc or finished != row.is_finished:
            raise damaged(row.run_id, f"row {row.run} of the runs")
        return row

    def columns(self) -> Columns:
        """To be written, with what is derived."""
        fields = _run_fields(self)
        return *fields, int(self.is_finished), checksum("run", *fields)

    @property
    def is_finished(self) -> bool:
        """Whether the status is an end."""
        return self.status in FINISHED

    def with_header(self, header: RunHeader) -> Self:
        """The same run with another header."""
        return attrs.evolve(
            self,
            status=header.status,
            updated=header.updated,
            pending_inputs=_bytes([header.pending_inputs])[0],
            error=header.error,
            wake_at=header.wake_at,
        )

    def record(self, owner: Owner | None, lease_until: float | None) -> RunRecord:
        """As lists show it."""
        header = RunHeader(self.status, self.updated, self.pending_inputs, self.error, self.wake_at)
        labels = _decode_labels(self.labels)
        return RunRecord(self.run_id, self.workflow_name, self.created, header, owner, self.fence, lease_until, labels)


_run_fields: Final = operator.attrgetter(*(field.name for field in attrs.fields(RunRow)))


@attrs.frozen
class OwnerRow:
    """A row of ``owners``."""

    owner: Owner
    lease_until: float

    @classmethod
    def of(cls, columns: Columns) -> Self:
        """The row of these columns; raises ``StoreCorruptError``."""
        *fields, crc = columns
        if checksum("owner", *fields) != crc:
            raise damaged(None, f"the lease of engine {fields[0]!r}")
        *owner, lease_until = fields
        return cls(Owner(*owner), lease_until)

    def columns(self) -> Columns:
        """To be written."""
        owner = self.owner
        fields = (owner.engine_id, owner.host, owner.pid, owner.started, self.lease_until)
        return *fields, checksum("owner", *fields)


# --- What belongs to a run --------------------------------------------------------------------------------------------


@attrs.define
class Place:
    """A row of ``places``: what there must be of a run.

    Its entries are those from first to (not with) next. Rows are there from the entry ``kept_from`` on, and the last of
    them is 0 if there is none. It can be changed, as it is at every write, and that is cheaper.
    """

    run: int
    first_entry: int = 1
    next_entry: int = 1
    kept_from: int = 1
    last_row: int = 0
    stream_floor: int = 0
    stream_last: int = 0
    snapshot_crc: int | None = None

    @classmethod
    def of(cls, columns: Columns, run_id: str) -> Self:
        """The row of these columns; raises ``StoreCorruptError``."""
        *fields, crc = columns
        if checksum("place", run_id, fields) != crc:
            raise damaged(run_id, "what there must be of it")
        return cls(*fields)

    def columns(self, run_id: str) -> Columns:
        """To be written."""
        fields = _place_fields(self)
        return *fields, checksum("place", run_id, fields)


_place_fields: Final = operator.attrgetter(*(field.name for field in attrs.fields(Place)))


def snapshot_crc(run_id: str, blob: bytes) -> int:
    """The checksum of a snapshot; it stands in the run's place."""
    return checksum("snapshot", run_id, blob=_bytes([blob])[0])


def snapshot_of(run_id: str, place: Place, rows: Sequence[Columns]) -> bytes | None:
    """The snapshot of the row, if there is one; raises ``StoreCorruptError``."""
    if place.snapshot_crc is None and not rows:
        return None
    blob: Any = rows[0][0] if rows else None
    if not _is_whole(place.snapshot_crc, "snapshot", run_id, blob=blob):
        raise damaged(run_id, "its snapshot")
    return bytes(blob)


def journal_row(row: int, place: Place, run_id: str, entries: Sequence[bytes]) -> Columns:
    """One row with the next entries of a run; it names the row before it."""
    number, previous, packed = place.next_entry, place.last_row, _encode(_bytes(entries))
    return row, place.run, number, previous, packed, checksum("journal", run_id, number, previous, blob=packed)


def entries_of(run_id: str, columns: Columns) -> tuple[bytes, ...]:
    """The entries of a row; raises ``StoreCorruptError``."""
    number, previous, packed, crc = columns
    if not _is_whole(crc, "journal", run_id, number, previous, blob=packed):
        raise damaged(run_id, f"journal entry {number}")
    return _decode_entries(packed)


def stream_row(run: int, run_id: str, previous: int, items: Sequence[StreamRow]) -> Columns:
    """One row with some items of a stream; ``previous`` is the number before them."""
    _bytes([item.blob for item in items])
    packed = _encode([(item.seq, float(item.timestamp), item.blob) for item in items])
    last = items[-1].seq
    return run, last, previous, packed, checksum("stream", run_id, last, previous, blob=packed)


def items_of(run_id: str, columns: Columns) -> tuple[StreamRow, ...]:
    """The items of a row; raises ``StoreCorruptError``."""
    last, previous, packed, crc = columns
    if not _is_whole(crc, "stream", run_id, last, previous, blob=packed):
        raise damaged(run_id, f"stream row {last}")
    return tuple(StreamRow(*item) for item in _decode_items(packed))


def command_row(run: int, command: Command) -> Columns:
    """One row for a command."""
    fields = (command.command_id, command.kind, _bytes([command.payload])[0])
    return run, *fields, checksum("command", command.run_id, *fields)


def command_of(columns: Sequence[Any]) -> Command:
    """The command of a row; raises ``StoreCorruptError``."""
    run_id, command_id, kind, payload, crc = columns
    if checksum("command", run_id, command_id, kind, payload) != crc:
        raise damaged(run_id, f"command {command_id!r}")
    return Command(run_id, command_id, kind, payload)
