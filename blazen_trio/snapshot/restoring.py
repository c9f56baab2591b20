"""Restoring a run: a snapshot becomes the state of a paused run, or of one that is over.

Everything is read, and every fault found, before anything runs: the errors are the subclasses of ``SnapshotError``,
whatever the snapshot holds.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import attrs

from blazen_trio.codec import Codec, DecodeError, Plain, codec_of
from blazen_trio.core.calls import Call
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import EventDecodeError, SnapshotCorruptError, SnapshotMismatchError
from blazen_trio.core.events import ProgressEvent
from blazen_trio.core.ids import format_id
from blazen_trio.core.limits import HISTORY_EVENTS_MAX
from blazen_trio.core.state import RunState, new_child_state, new_state
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.session_refs import SessionRefRegistry
from blazen_trio.session_refs.saving import Deserializers
from blazen_trio.snapshot.fields import Fields, checked_count
from blazen_trio.snapshot.format import COUNTERS, ENGINE, USER, VERSION
from blazen_trio.snapshot.outcomes import read_outcome
from blazen_trio.snapshot.refs import RefReader
from blazen_trio.snapshot.snapshot import WorkflowSnapshot, check_version
from blazen_trio.snapshot.work_reader import LiveValue, WorkReader


@attrs.frozen
class RestoredRun:
    """What a run goes on from: its state, its metadata, and its session refs if it has any."""

    state: RunState
    metadata: dict[str, Any]
    refs: SessionRefRegistry | None


def restore(
    definition: WorkflowDefinition,
    codec: Codec,
    snapshot: WorkflowSnapshot,
    now: float,
    deserializers: Deserializers | None = None,
) -> RestoredRun:
    """What to go on from. ``now`` is the time of the clock it will go on with.

    Raises:
        SnapshotVersionError: another format.
        SnapshotMismatchError: of another workflow, or of steps and event classes that this one has not.
        SnapshotCorruptError: damaged, or changed by hand.
        SessionRefCapacityError: there are more session refs than this workflow takes.
        SessionRefsNotSerializableError: live objects cannot be rebuilt, or may not be.
    """
    check_version(snapshot.version, snapshot.run_id)
    if snapshot.workflow_name != definition.name:
        what = f"it is of workflow {str(snapshot.workflow_name)[:60]!r}, not of {definition.name!r}"
        raise SnapshotMismatchError(what, snapshot.run_id)
    try:
        return _restored(definition, codec, snapshot, now, deserializers)
    except EventDecodeError as error:
        raise SnapshotMismatchError(str(error), snapshot.run_id) from None
    except DecodeError as error:
        raise SnapshotCorruptError(str(error), snapshot.run_id) from None


def _restored(
    definition: WorkflowDefinition,
    codec: Codec,
    snapshot: WorkflowSnapshot,
    now: float,
    deserializers: Deserializers | None,
) -> RestoredRun:
    snapshot.check()
    refs = RefReader(snapshot.session_refs, definition.options, deserializers, is_verified=snapshot.is_verified)
    state = new_state(definition, snapshot.run_id)
    user = _Restorer(now, refs.value).fill(definition, codec, snapshot, state)
    return RestoredRun(state, user, refs.finish())


@attrs.frozen
class _Restorer:
    """Restores a run and those inside it: what is the same for all of them."""

    now: float
    live: LiveValue

    def fill(
        self, definition: WorkflowDefinition, codec: Codec, snapshot: WorkflowSnapshot, state: RunState
    ) -> dict[str, Any]:
        """Fill a state that was just made; gives the caller's metadata."""
        state.elapsed_s = snapshot.elapsed
        state.seq = checked_count(snapshot.stream_position, "stream_position")
        _read_values(definition, codec, snapshot, state)
        reader = WorkReader(definition, state, codec, self.now, self.live)
        _read_work(reader, snapshot)
        for key, plain in snapshot.children.items():
            self._read_child(state, reader.call_of_child(key), definition.children, plain)
        state.usage, state.cost_usd = _read_usage(Fields(snapshot.usage, "usage"), codec)
        metadata = Fields(snapshot.metadata, "metadata")
        _read_engine(Fields(metadata.value(ENGINE), metadata.at(ENGINE)), snapshot.status, state, codec, reader)
        user = metadata.read_members(USER, codec.from_plain)
        metadata.end()
        if state.history is not None:
            state.history = deque(snapshot.history or (), maxlen=HISTORY_EVENTS_MAX)
        return user

    def _read_child(
        self, around: RunState, call: Call, children: Mapping[int, WorkflowDefinition], plain: Plain
    ) -> None:
        """The run inside a call."""
        definition = children[call.plan.index]
        child = new_child_state(around, call, definition)
        try:
            snapshot = _child_snapshot(plain, definition, child)
            user = self.fill(definition, codec_of(definition), snapshot, child)
            _check_inside(user, child)
        except DecodeError as error:
            raise error.within(f"children[{format_id(call.id)!r}].") from None
        call.recorded()
        around.children = around.children or {}
        around.children[call] = child


def _child_snapshot(plain: Plain, definition: WorkflowDefinition, child: RunState) -> WorkflowSnapshot:
    """The snapshot of a run inside another one; what only the outermost has is not there."""
    snapshot = WorkflowSnapshot.from_fields(Fields(plain, "snapshot"))
    if snapshot.workflow_name != definition.name:
        what = f"inside it is a run of workflow {snapshot.workflow_name[:60]!r}, not of {definition.name!r}"
        raise SnapshotMismatchError(what, child.run_id)
    if (snapshot.version, snapshot.run_id) != (VERSION, child.run_id):
        raise DecodeError("not the run inside this call", "run_id")
    if snapshot.session_refs or snapshot.history is not None or snapshot.signature is not None:
        raise DecodeError("session refs, history and signature stand in the outermost run")
    return snapshot


def _check_inside(user: dict[str, Any], child: RunState) -> None:
    """Refuse what a run inside another one never has; with a channel open it would not stall but hang."""
    if user or child.senders:
        raise DecodeError("metadata and channels are those of the outermost run", "metadata")


def _read_work(reader: WorkReader, snapshot: WorkflowSnapshot) -> None:
    collected = Fields(snapshot.collected_events, "collected_events")
    reader.scopes(collected)
    reader.pending(Fields(snapshot.pending_events, "pending_events"), snapshot.timers)
    reader.questions(Fields(snapshot.input_requests, "input_requests"))
    reader.collectors(collected)
    collected.end()
    reader.end()


def _read_values(definition: WorkflowDefinition, codec: Codec, snapshot: WorkflowSnapshot, state: RunState) -> None:
    """The run's values, each checked: by itself, and against the field of the workflow's ``state_type``."""
    state_type = definition.options.state_type
    fields = {} if state_type is None else attrs.fields_dict(attrs.resolve_types(state_type))
    for key, plain in snapshot.context_state.items():
        field = fields.get(key)
        try:
            if field is None or field.type is None:
                codec.from_plain(plain)
            else:
                codec.structure(plain, field.type)
        except DecodeError as error:
            raise error.within(f"context_state[{key[:60]!r}]") from None
    state.values.visible = dict(snapshot.context_state)


def _read_usage(fields: Fields, codec: Codec) -> tuple[TokenUsage, float]:
    tokens = Fields(fields.value("tokens"), "usage.tokens")
    counts = {field.name: _number(tokens, field.name, codec) for field in attrs.fields(TokenUsage)}
    tokens.end()
    cost_usd = _number(fields, "cost_usd", codec)
    fields.end()
    return TokenUsage(**counts), cost_usd


def _number(fields: Fields, key: str, codec: Codec) -> Any:
    value = fields.read(key, codec.from_plain)
    if type(value) not in (int, float):
        raise DecodeError("expected a number", fields.at(key))
    return value


def _read_engine(fields: Fields, status: RunStatus, state: RunState, codec: Codec, reader: WorkReader) -> None:
    """Counters, progress, and the outcome if the run was over; else it goes on as a paused one."""
    for name in COUNTERS:
        setattr(state, name, fields.count(name))
    state.last_step = fields.optional_text("last_step")
    state.senders = fields.count("senders")
    if fields.count("pending") != state.pending:
        raise DecodeError(f"there are {state.pending} pending events, which is not how many there were")
    state.progress = fields.read("progress", lambda plain: None if plain is None else _progress(plain, reader))
    outcome = fields.value("outcome")
    fields.end()
    if status.is_end != (outcome is not None):
        raise DecodeError("a run has an outcome if and only if it is over", "status")
    state.status = status if status.is_end else RunStatus.PAUSED
    state.outcome = None if outcome is None else read_outcome(outcome, status, codec, reader.event)


def _progress(plain: Plain, reader: WorkReader) -> ProgressEvent:
    event = reader.event(plain)
    if type(event) is not ProgressEvent:
        raise DecodeError("the progress of a run is a ProgressEvent", "metadata.engine.progress")
    return event
