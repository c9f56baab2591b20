"""Taking a snapshot: in one synchronous step, from the state alone, which is not changed.

What cannot be encoded is an ``EncodeError`` that names its place; the run does not notice. The cost is that of what is
in the run now.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from blazen_trio.codec import Codec, Plain, codec_of
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.ids import format_id
from blazen_trio.core.state import RunState
from blazen_trio.session_refs import SessionRefRegistry
from blazen_trio.snapshot.format import COUNTERS, ENGINE, USER, VERSION
from blazen_trio.snapshot.outcomes import write_outcome
from blazen_trio.snapshot.refs import RefWriter
from blazen_trio.snapshot.snapshot import WorkflowSnapshot
from blazen_trio.snapshot.work_writer import LiveKey, WorkWriter, safe_text


def take(
    definition: WorkflowDefinition,
    state: RunState,
    codec: Codec,
    metadata: Mapping[str, Any],
    now: float,
    *,
    refs: SessionRefRegistry | None = None,
) -> WorkflowSnapshot:
    """The run as it is at the time ``now`` of its clock, with the runs inside it.

    ``refs`` are its session refs, if it has any; they are not changed.

    Raises:
        EncodeError: something cannot be encoded.
        SessionRefCapacityError: there are too many objects in ``Live[T]`` fields.
        SessionRefsNotSerializableError: by the workflow's policy.
    """
    ref_writer = RefWriter(refs, definition.options)
    taker = _Taker(now, now + state.wall_offset, ref_writer.key)
    snapshot = taker.take(definition, state, codec, metadata)
    saved = ref_writer.write()  # last: only then all objects in events are known, and here users' code runs
    return attrs.evolve(snapshot, session_refs=saved) if saved else snapshot


@attrs.frozen
class _Taker:
    """Takes a run and those inside it: what is the same for all of them."""

    now: float
    timestamp: float
    live: LiveKey

    def take(
        self, definition: WorkflowDefinition, state: RunState, codec: Codec, metadata: Mapping[str, Any]
    ) -> WorkflowSnapshot:
        """One run, without session refs."""
        writer = WorkWriter(definition.plans, state, codec, self.now, self.live)
        return WorkflowSnapshot(
            version=VERSION,
            workflow_name=safe_text(definition.name, "the workflow's name"),
            run_id=safe_text(state.run_id, "run_id"),
            timestamp=self.timestamp,
            status=state.status,
            elapsed=state.elapsed_s + (0.0 if state.running_since is None else self.now - state.running_since),
            context_state=_values(state),
            **self._work(state, writer),
            session_refs={},
            usage=_usage(state, codec),
            metadata={USER: _user(metadata, codec), ENGINE: _engine(state, codec, writer)},
            history=None if state.history is None else tuple(state.history),
            stream_position=state.seq,
        )

    def _work(self, state: RunState, writer: WorkWriter) -> dict[str, Any]:
        """What is left to do; nothing once the run is over."""
        if state.outcome is not None:
            return _NOTHING_TO_DO
        return {
            "pending_events": writer.pending_events(),
            "input_requests": writer.input_requests(),
            "collected_events": writer.collected_events(),  # last of these, see there
            "timers": writer.timers(),
            "children": {format_id(call.id): self._child(child) for call, child in (state.children or {}).items()},
        }

    def _child(self, state: RunState) -> Plain:
        assert state.nesting is not None
        definition = state.nesting.definition
        return self.take(definition, state, codec_of(definition), {}).to_plain()


_NOTHING_TO_DO: Final[dict[str, dict[str, Plain]]] = {
    "pending_events": {"steps": {}, "retrying": [], "queue": [], "mail": {}},
    "input_requests": {"open": [], "answered": {}},
    "collected_events": {"scopes": [{"joined_inside": [], "collected": {}}], "collectors": []},
    "timers": {},
    "children": {},
}


def _user(metadata: Mapping[str, Any], codec: Codec) -> dict[str, Plain]:
    """What the caller gave; runs inside have it from the outermost."""
    return {safe_text(key, "metadata"): codec.to_plain(each, f"metadata[{key!r}]") for key, each in metadata.items()}


def _values(state: RunState) -> dict[str, Plain]:
    values: dict[str, Plain] = state.values.committed()
    if not "".join(values).isascii():
        for key in values:
            safe_text(key, "the state key")
    return values


def _usage(state: RunState, codec: Codec) -> dict[str, Plain]:
    """What finished calls used: what running ones use counts with their success."""
    tokens = attrs.asdict(state.usage)
    plain = {name: codec.to_plain(count, f"usage_total.{name}") for name, count in tokens.items()}
    return {"tokens": plain, "cost_usd": codec.to_plain(state.cost_usd, "cost_total_usd")}


def _engine(state: RunState, codec: Codec, writer: WorkWriter) -> dict[str, Plain]:
    outcome = state.outcome
    return {
        **{name: getattr(state, name) for name in COUNTERS},
        "pending": 0 if outcome is not None else state.pending + writer.put_back,
        "last_step": state.last_step,
        "senders": state.senders,
        "progress": None if state.progress is None else writer.event(state.progress),
        "outcome": None if outcome is None else write_outcome(outcome, codec, writer.event),
    }
