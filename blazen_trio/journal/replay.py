"""A run told again: from a base and the rows behind it to the snapshot from which it goes on."""

from collections.abc import Iterable

import attrs

from blazen_trio.codec import DecodeError, Plain, codec_of, from_msgpack, to_msgpack
from blazen_trio.core.children import published
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import Publish, StartStep
from blazen_trio.core.errors import (
    EventDecodeError,
    SnapshotError,
    SnapshotMismatchError,
    StoreCorruptError,
    StoreError,
)
from blazen_trio.core.messages import Message, RunResumed
from blazen_trio.core.status import RunStatus
from blazen_trio.journal.base import Live
from blazen_trio.journal.rows import Path, read_message, read_row
from blazen_trio.snapshot import WorkflowSnapshot, restore, take
from blazen_trio.snapshot.fields import Fields, checked_number
from blazen_trio.snapshot.format import USER


def base_plain(snapshot: WorkflowSnapshot, live: Plain, now: float) -> dict[str, Plain]:
    """The base of a run at the time ``now`` of its clock, of what ``take`` and ``write_live`` gave then."""
    return {"at": now, "snapshot": snapshot.to_plain(), "live": live}


def base_of(snapshot: WorkflowSnapshot) -> bytes:
    """A snapshot as the base of a run that goes on from it.

    Raises:
        EncodeError: it was made by hand, and holds what cannot be encoded.
    """
    return to_msgpack(base_plain(snapshot, None, 0.0))


def begun(snapshot: WorkflowSnapshot) -> WorkflowSnapshot:
    """The snapshot of a run that was made but never began: it is to run, and nobody has paused it."""
    return attrs.evolve(snapshot, status=RunStatus.RUNNING)


def metadata_of(base: bytes) -> dict[str, Plain]:
    """The metadata of a run, the library's marks among it, as plain data: for that no workflow is needed.

    Raises:
        StoreCorruptError: it is no base.
    """
    try:
        snapshot = WorkflowSnapshot.from_fields(
            Fields(Fields(from_msgpack(base), "base").value("snapshot"), "snapshot")
        )
        metadata = snapshot.metadata[USER]
    except Exception as error:  # noqa: BLE001 - what was changed by hand may not fit together in any way
        raise StoreCorruptError(f"its base cannot be read: {error!r}") from None
    return metadata if isinstance(metadata, dict) else {}


def replay(definition: WorkflowDefinition, base: bytes, rows: Iterable[bytes]) -> WorkflowSnapshot:
    """The snapshot of a run as it was after the last row: its unfinished calls are put back.

    Raises:
        SnapshotError: the base is not a run of this workflow as it is now.
        StoreCorruptError: it is no base, or a row does not fit what was told before it.
    """
    told = _Replay(definition, base)
    for number, row in enumerate(rows, 1):
        told.tell(row, number)
    return told.snapshot()


class _Replay:
    """One run, told row by row."""

    def __init__(self, definition: WorkflowDefinition, base: bytes) -> None:
        self._is_told = False
        try:
            fields = Fields(from_msgpack(base), "base")
            self._at = checked_number(fields.value("at"), "at")
            self._base = WorkflowSnapshot.from_fields(Fields(fields.value("snapshot"), "snapshot"))
            bare = attrs.evolve(self._base, session_refs={})
            restored = restore(definition, codec_of(definition), bare, self._at)
            self._metadata = restored.metadata
            self._root = Live(definition, restored.state)
            self._root.make_live(fields.value("live"), self._at)
            fields.end()
        except (SnapshotError, StoreError):
            raise
        except EventDecodeError as error:
            raise SnapshotMismatchError(f"its base: {error}") from None
        except Exception as error:  # noqa: BLE001 - what was changed by hand may not fit together in any way
            raise StoreCorruptError(f"its base cannot be read: {error!r}") from None

    def tell(self, row: bytes, number: int) -> None:
        """Let the machine take in the message of a row."""
        run_id = self._root.state.run_id
        try:
            self._tell(row)
        except StoreCorruptError:
            raise
        except EventDecodeError as error:
            raise SnapshotMismatchError(f"its journal, row {number}: {error}", run_id) from None
        except Exception as error:  # noqa: BLE001 - the machine is told what never happened to it
            problem = f"row {number} of its journal does not fit what is before it: {error!r}"
            raise SnapshotMismatchError(f"{problem}; was the workflow changed since?", run_id) from None

    def _tell(self, row: bytes) -> None:
        self._is_told = True
        try:
            kind, path, attributes = read_row(row)
        except DecodeError as error:
            raise StoreCorruptError(f"its journal holds what is no row: {error}", self._root.state.run_id) from None
        run = self._run(path)
        message = read_message(kind, attributes, run.reader)
        if isinstance(message, RunResumed) and not path:
            run.begin_anew()
        self._at = max(self._at, getattr(message, "at", self._at))
        self._take_in(path, message)

    def _take_in(self, path: Path, message: Message) -> None:
        run = self._run(path)
        effects = run.machine.handle(message)
        run.let_rest(message)
        for effect in effects:
            if isinstance(effect, StartStep):
                run.reader.calls[effect.id] = effect
            elif isinstance(effect, Publish) and path:
                around = self._run(path[:-1])
                self._take_in(path[:-1], published(around.reader.call(path[-1]), effect, run.state))

    def _run(self, path: Path) -> Live:
        run = self._root
        for call_id in path:
            run = run.child(call_id)
        return run

    def snapshot(self) -> WorkflowSnapshot:
        """The run as it is now."""
        if not self._is_told:
            return self._base
        definition, state = self._root.definition, self._root.state
        taken = take(definition, state, codec_of(definition), self._metadata, self._at)
        return attrs.evolve(taken, session_refs=self._base.session_refs)
