"""Calls: one use of a step with one event. All of a run's work is calls, and a call is plain data until it is run."""
# pyright: reportUnknownVariableType=false
# (in attrs.Factory(list): list[X] would say it, but makes each record 0.1 us slower per field)

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, final

import attrs

from blazen_trio.core.events import Event, UsageEvent
from blazen_trio.core.ids import derive_id, format_id
from blazen_trio.core.plans import StepPlan

if TYPE_CHECKING:
    from blazen_trio.core.scopes import Scope

Order: TypeAlias = tuple[int, ...]
"""The place of an event among the items of its fan-out; what descends from an item keeps its place."""


class Lane:
    """One step's calls in one run: how many run, and those that wait for a slot, oldest first.

    Attributes:
        limit: calls that may run at once.
        is_shared: a limiter that is not the run's own has a say, too: each call needs a token of it.
        slot_asked: the runner was asked for such a token and has not answered yet.
        waiting: a ``Call`` each, or a ``Batch`` that stands for many; ``None`` while nothing ever waited.
    """

    __slots__ = ("is_shared", "limit", "plan", "running", "slot_asked", "waiting")

    def __init__(self, plan: StepPlan) -> None:
        self.plan: StepPlan = plan
        self.limit: float = plan.limit
        self.is_shared: bool = plan.limiter is not None
        self.running: int = 0
        self.slot_asked: bool = False
        self.waiting: deque[Call | Batch] | None = None

    def push(self, waiting: "Call | Batch") -> None:
        """Put work behind what waits already."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(waiting)

    def push_front(self, call: "Call") -> None:
        """Put a call that had its turn before in front of what waits."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.appendleft(call)

    def pop(self) -> "Call":
        """Take the next call; there must be one."""
        waiting = self.waiting
        assert waiting
        first = waiting[0]
        if type(first) is Batch:
            call = first.next_call()
            if first.is_empty:
                waiting.popleft()
            return call
        waiting.popleft()
        return first


class Call:
    """One use of a step: with one event, or for a join with the list of those it collected.

    Made once per event, so it holds only what every call needs; the rest is in its record.

    Attributes:
        plan: the step.
        order: place in the fan-out.
        recoveries: recoveries that led here, for ``max_recoveries``.
        attempt: from 1; the number of the attempt that runs or runs next.
        begun_at: when this attempt was started.
        record: what the call did beside returning, or ``None`` while it did nothing.
    """

    __slots__ = ("attempt", "begun_at", "event", "id", "lane", "order", "plan", "record", "recoveries", "scope")

    begun_at: float  # set at each start

    def __init__(  # noqa: PLR0917 - by position: it is made once per step and event
        self, lane: Lane, event: Any, call_id: int, scope: "Scope", order: Order, recoveries: int
    ) -> None:
        self.lane: Lane = lane
        self.plan: StepPlan = lane.plan
        self.event: Any = event
        self.id: int = call_id
        self.scope: Scope = scope
        self.order: Order = order
        self.recoveries: int = recoveries
        self.attempt: int = 1
        self.record: CallRecord | None = None

    @property
    def step_name(self) -> str:
        """The name of the step."""
        return self.plan.name

    @property
    def fan_out(self) -> "Scope | None":
        """The scope of what this call emits in lists, or ``None`` while there is none."""
        return None if self.record is None else self.record.fan_out

    @property
    def waits(self) -> int:
        """How many tasks of the call sit in ``wait_for_event`` or ``request_input``."""
        return 0 if self.record is None else self.record.waits

    @property
    def asks(self) -> int:
        """How many tasks of the call sit in ``request_input``."""
        return 0 if self.record is None else self.record.asks

    def recorded(self) -> "CallRecord":
        """The call's record, made if there is none."""
        if self.record is None:
            self.record = CallRecord()
        return self.record

    def __repr__(self) -> str:
        return f"<Call {self.step_name} {format_id(self.id)} attempt {self.attempt}>"


@attrs.define(eq=False)
class Origin:
    """Where an event comes from: all that its calls inherit. Never changed; not frozen, which would triple its cost.

    Attributes:
        parent: id of the call (or question) that emitted it, or ``ROOT_ID``.
        place: its place among the emissions of the parent.
        scope: the fan-out that it belongs to.
        order: its place in that fan-out.
        recoveries: recoveries that led to it.
    """

    parent: int
    place: int
    scope: "Scope"
    order: Order
    recoveries: int

    def at(self, place: int) -> "Origin":
        """The origin of a later item of a fan-out, if this is that of the first."""
        place += self.place
        return Origin(self.parent, place, self.scope, (place,), self.recoveries)


@final
class Batch:
    """Items of one fan-out that wait for the same step; each becomes a ``Call`` only when it has a slot.

    Routing 100,000 items so takes as long as routing one: the events are kept as they were returned.

    Attributes:
        first: the origin of the fan-out's first item.
        places: the places of these items in the fan-out; ``None`` if they are all of it.
        is_shared: other steps get the same items, so the step belongs to their order.
    """

    __slots__ = ("events", "first", "is_shared", "lane", "next_index", "places")

    def __init__(
        self, lane: Lane, events: Sequence[Event], first: Origin, places: Sequence[int] | None, *, is_shared: bool
    ) -> None:
        self.lane: Lane = lane
        self.events: Sequence[Event] = events
        self.first: Origin = first
        self.places: Sequence[int] | None = places
        self.is_shared: bool = is_shared
        self.next_index: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether every item became a call."""
        return self.next_index >= len(self.events)

    @property
    def scope(self) -> "Scope":
        """The fan-out."""
        return self.first.scope

    def __len__(self) -> int:
        return len(self.events) - self.next_index

    def next_call(self) -> Call:
        """Make the call of the next item."""
        index, first = self.next_index, self.first
        self.next_index = index + 1
        place = first.place + (index if self.places is None else self.places[index])
        step = self.lane.plan.index
        order = (place, step) if self.is_shared else (place,)
        call_id = derive_id(first.parent, place, step)
        return Call(self.lane, self.events[index], call_id, first.scope, order, first.recoveries)


@attrs.frozen(eq=False)
class Unencoded:
    """A result of ``ctx.once`` that cannot be plain data: good for another attempt, an error in a snapshot."""

    value: object


@attrs.define(eq=False)
class CallRecord:
    """What a call did beside returning, kept until it is over, so that a repeated call does not do it twice.

    Attributes:
        fan_out: the scope of what it emits in lists.
        waits: how many of its tasks wait for an event or an answer.
        asks: how many of them for an answer.
        asked: request ids of the questions that it asked.
        first_at: when its first attempt was started, known from its first failure on.
        sent: events it sent or yielded, in order.
        written: events it wrote to the stream, in order.
        emissions: emissions so far; places are never used twice, even if a repeated call sends other events.
        once: results recorded by ``ctx.once``, by name: plain data, or ``Unencoded``.
        answers: answers to its own questions, by request id.
        received: events that ``wait_for_event`` gave it.
        keys: state keys it wrote.
        usage: what it used in this attempt.
        collected: the (step, class) buffers that its own event is in.
        taken: what it took out of a full buffer.
    """

    fan_out: "Scope | None" = None
    waits: int = 0
    asks: int = 0
    asked: tuple[str, ...] = ()
    first_at: float | None = None
    sent: list[Event] = attrs.Factory(list)
    written: list[Event] = attrs.Factory(list)
    emissions: int = 0
    once: dict[str, object] = attrs.Factory(dict)
    answers: dict[str, object] = attrs.Factory(dict)
    received: list[Event] = attrs.Factory(list)
    keys: set[str] = attrs.Factory(set)
    usage: list[UsageEvent] = attrs.Factory(list)
    collected: set[type[Event]] = attrs.Factory(set)
    taken: dict[type[Event], list[tuple[Call, Event]]] = attrs.Factory(dict)
