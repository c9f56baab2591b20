"""What a run tells: events on the stream, lifecycle events for observers, entries of the history."""

from collections.abc import Mapping
from typing import Any

from blazen_trio.core.calls import Call
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import Effect, Publish
from blazen_trio.core.events import Event, LifecycleEvent
from blazen_trio.core.history import LIFECYCLE_KINDS, HistoryEvent
from blazen_trio.core.routing import Route
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus


class Reporter:
    """A run's definition and state, the effects of the message at hand, and what is told about them.

    Attributes:
        now: the time of the message at hand, on the runner's clock.
        is_stopped: nothing may start: paused, held by a lossless reader, or over.
        is_simple: not paused, nobody watches, and no call ever waited for an event: routing has nothing to ask.
        is_observed: somebody reads the stream, and lifecycle events are wanted.
        is_watched: somebody wants to hear what happens (an observer, or the history is kept).
    """

    __slots__ = (
        "definition",
        "effects",
        "is_observed",
        "is_simple",
        "is_stopped",
        "is_watched",
        "now",
        "routes",
        "state",
    )

    def __init__(self, definition: WorkflowDefinition, state: RunState) -> None:
        self.definition: WorkflowDefinition = definition
        self.state: RunState = state
        self.routes: Mapping[type[Event], Route] = definition.routing.routes
        self.effects: list[Effect] = []
        self.now: float = 0.0
        self.is_observed: bool = False
        self.is_stopped: bool = state.is_held or state.status is RunStatus.PAUSED or state.outcome is not None
        self.is_watched: bool = state.history is not None
        self.is_simple: bool = not self.is_watched

    def see_to_routing(self) -> None:
        """Find out anew whether routing is simple, after one of the things changed that it depends on."""
        state = self.state
        self.is_simple = state.status is not RunStatus.PAUSED and not self.is_watched and state.mailbox is None

    def publish(self, event: Event, call: Call | None = None) -> None:
        """Put an event on the stream, with the next number."""
        if call is None:
            self.publish_from(event, None, None, None)
        else:
            self.publish_from(event, call.plan.name, call.id, call.attempt)

    def publish_from(
        self, event: Event, source_step: str | None, call_id: int | str | None, attempt: int | None
    ) -> None:
        """Put an event on the stream that came from this call, of this run or of one inside it."""
        state = self.state
        state.seq = seq = state.seq + 1
        timestamp = self.now + state.wall_offset
        self.effects.append(Publish(seq, timestamp, event, source_step, call_id, attempt))

    def note(
        self,
        kind: str,
        call: Call | None = None,
        *,
        event_type: str | None = None,
        error: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Tell the history and the observers that something happened."""
        if not self.is_watched:
            return
        step_name = attempt = duration_ms = None
        if call is not None:
            step_name, attempt = call.step_name, call.attempt
            event_type = event_type or _type_of(call.event)
            duration_ms = None if kind == "step_dispatched" else (self.now - call.begun_at) * 1000
        state = self.state
        if state.history is not None:
            state.history_seq += 1
            at = self.now + state.wall_offset
            more = {**(data or {}), **({} if attempt is None else {"attempt": attempt})}
            entry = HistoryEvent(state.history_seq, at, kind, step_name, event_type, duration_ms, error, more)
            state.history.append(entry)
        lifecycle = LIFECYCLE_KINDS.get(kind) if self.is_observed else None
        if lifecycle is not None and not (state.nesting is not None and kind.startswith("workflow_")):
            self.publish(LifecycleEvent(lifecycle, step_name, event_type, attempt, duration_ms, error), call)


def _type_of(event: Event | list[Event]) -> str | None:
    """The wire name of a call's event; for a join that of its first item."""
    first = event if isinstance(event, Event) else next(iter(event), None)
    return None if first is None else type(first).event_type
