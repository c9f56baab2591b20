"""Taking a snapshot: in one synchronous step, from the state alone, which is not changed.

What cannot be encoded is an ``EncodeError`` that names its place; the run does not notice. The cost is that of what is
in the run now.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from blazen_trio.codec import Codec, Plain
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.state import RunState
from blazen_trio.session_refs import SessionRefRegistry
from blazen_trio.snapshot.format import COUNTERS, ENGINE, USER, VERSION
from blazen_trio.snapshot.outcomes import write_outcome
from blazen_trio.snapshot.refs import RefWriter
from blazen_trio.snapshot.snapshot import WorkflowSnapshot
from blazen_trio.snapshot.work_writer import WorkWriter, safe_text


def take(
    definition: WorkflowDefinition,
    state: RunState,
    codec: Codec,
    metadata: Mapping[str, Any],
    now: float,
    *,
    refs: SessionRefRegistry | None = None,
) -> WorkflowSnapshot:
    """The run as it is at the time ``now`` of its clock.

    ``refs`` are its session refs, if it has any; they are not changed.

    Raises:
        EncodeError: something cannot be encoded.
        SessionRefCapacityError: there are too many objects in ``Live[T]`` fields.
        SessionRefsNotSerializableError: by the workflow's policy.
    """
    ref_writer = RefWriter(refs, definition.options)
    writer = WorkWriter(definition.plans, state, codec, now, ref_writer.key)
    is_over = state.outcome is not None
    pending = _NOTHING_PENDING if is_over else writer.pending_events()
    requests = _NOTHING_ASKED if is_over else writer.input_requests()
    snapshot = WorkflowSnapshot(
        version=VERSION,
        workflow_name=safe_text(definition.name, "the workflow's name"),
        run_id=safe_text(state.run_id, "run_id"),
        timestamp=now + state.wall_offset,
        status=state.status,
        elapsed=state.elapsed_s + (0.0 if state.running_since is None else now - state.running_since),
        context_state=_values(state),
        pending_events=pending,
        input_requests=requests,
        collected_events=_NOTHING_COLLECTED if is_over else writer.collected_events(),  # last, see there
        timers={} if is_over else writer.timers(),
        children={},
        session_refs={},
        usage=_usage(state, codec),
        metadata={
            USER: {
                safe_text(key, "metadata"): codec.to_plain(each, f"metadata[{key!r}]") for key, each in metadata.items()
            },
            ENGINE: _engine(state, codec, writer),
        },
        history=None if state.history is None else tuple(state.history),
        stream_position=state.seq,
    )
    saved = ref_writer.write()  # last: only then all objects in events are known, and here users' code runs
    return attrs.evolve(snapshot, session_refs=saved) if saved else snapshot


_NOTHING_PENDING: dict[str, Plain] = {"steps": {}, "retrying": [], "queue": [], "mail": {}}
_NOTHING_ASKED: dict[str, Plain] = {"open": [], "answered": {}}
_NOTHING_COLLECTED: dict[str, Plain] = {"scopes": [{"joined_inside": [], "collected": {}}], "collectors": []}


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
