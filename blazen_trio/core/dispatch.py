"""The machine's own verbs: route events, start calls, count scopes, end the run.

The handlers of messages (``outcomes``, ``inbox``, ``questions``, ``records``, ``controls``) are written in these verbs. Each
verb changes the state and appends effects; none of them calls user code.
"""

from collections.abc import Sequence
from typing import Any

from blazen_trio.core.calls import Batch, Call, CallRecord, Lane, Order
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import (
    CancelCalls,
    ClearDeadline,
    Effect,
    Finish,
    OfferEvent,
    Outcome,
    Publish,
    Quiesce,
    RequestSlot,
    SetDeadline,
    StartStep,
    WakeTask,
)
from blazen_trio.core.errors import (
    EventLimitError,
    InputRequestExistsError,
    NoHandlerError,
    RunStalledError,
    WorkflowError,
)
from blazen_trio.core.events import Event, InputRequestEvent, LifecycleEvent, StopEvent
from blazen_trio.core.history import LIFECYCLE_KINDS, HistoryEvent
from blazen_trio.core.ids import JOIN_PLACE, MASK, MULTIPLIER, ROOT_ID, derive_id
from blazen_trio.core.mailbox import Mailbox
from blazen_trio.core.routing import Route
from blazen_trio.core.scopes import Item, Scope
from blazen_trio.core.state import Emission, Question, RunState
from blazen_trio.core.status import RunStatus

RUNNING, PAUSED, AWAITING_INPUT = RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.AWAITING_INPUT
"""As globals: reading a member of an enum class costs ten times as much in Python 3.11."""


class Dispatcher:
    """A run's definition and state, the effects of the message at hand, and the verbs that handlers use.

    Attributes:
        now: the time of the message at hand, on the runner's clock.
        is_stopped: nothing may start: paused, held by a lossless reader, or over.
        is_simple: not paused, nobody watches, and no call ever waited for an event: routing has nothing to ask.
        is_watched: somebody wants to hear what happens (a subscriber, or the history is kept).
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
        self.definition = definition
        self.state = state
        self.routes = definition.routing.routes
        self.effects: list[Effect] = []
        self.now = 0.0
        self.is_observed = False
        self.is_stopped = False
        self.is_watched = state.history is not None
        self.is_simple = not self.is_watched

    # --- Routing -------------------------------------------------------------------------------------------------------

    def route_one(self, event: Event, parent: int, place: int, scope: Scope, order: Order, recoveries: int) -> None:
        """Bring one event to everybody who accepts it; ``parent`` and ``place`` make the ids of what it causes."""
        state = self.state
        state.emitted += 1
        route = self.routes[event.__class__]
        if state.status is PAUSED:
            self._queue(Emission((event,), parent, place, scope, order, recoveries))
            return
        if self.is_watched:
            self.note("event_received", event_type=event.__class__.event_type)
        if route.is_stop:
            self.complete(event)
            return
        plan = route.only
        if plan is None or state.mailbox is not None:
            self._route_specially(route, Emission((event,), parent, place, scope, order, recoveries))
            return
        lane = state.lanes[plan.index]
        scope.active += 1
        state.alive += 1
        self.enqueue(lane, Call(lane, event, derive_id(parent, place, plan.index), scope, order, recoveries))

    def pass_on(self, call: Call, event: object) -> bool:
        """Let the one event that a call returned take the call's place; false if there is more to it than that.

        The short way of most calls: one step takes the event, in the same scope, so that nothing there has to be counted.
        """
        plan = self.routes[event.__class__].only
        if plan is None or call.record is not None or call.plan.opens_fan_out or not self.is_simple:
            return False
        self.state.emitted += 1
        lane = self.state.lanes[plan.index]
        call_id = (call.id * MULTIPLIER + plan.first_key) & MASK  # derive_id, without the cost of calling it
        self.enqueue(lane, Call(lane, event, call_id, call.scope, call.order, call.recoveries))
        return True

    def route_items(self, events: Sequence[Event], parent: int, place: int, scope: Scope, recoveries: int) -> None:
        """Bring the items of a fan-out to everybody who accepts them, without looking at each."""
        self.state.emitted += len(events)
        emission = Emission(events, parent, place, scope, None, recoveries)
        if not self._has_room(len(events), parent):
            return
        if self.state.status is PAUSED:
            self._queue(emission)
        else:
            self._route_batches(emission)

    def route_again(self, emission: Emission) -> None:
        """Route what was queued while the run was paused."""
        self.state.alive -= 1
        self.state.queued -= len(emission.events)
        if emission.order is None:
            self._route_batches(emission)
        else:
            self.state.emitted -= 1
            self.route_one(
                emission.events[0],
                emission.parent,
                emission.place,
                emission.scope,
                emission.order,
                emission.recoveries,
            )
        self.leave(emission.scope)

    def _queue(self, emission: Emission) -> None:
        emission.scope.active += 1
        self.state.alive += 1
        self.state.queue.append(emission)
        self.state.queued += len(emission.events)

    def _route_specially(self, route: Route, emission: Emission) -> None:
        """Route one event that is not simply one step's."""
        event, scope, order = emission.events[0], emission.scope, emission.order or ()
        takers = (*route.plans, *route.joins)
        if len(takers) > 1 and not self._has_room(len(takers), emission.parent):
            return
        for plan in route.plans:
            lane = self.state.lanes[plan.index]
            place = (*order, plan.index) if len(takers) > 1 else order
            scope.active += 1
            self.state.alive += 1
            call_id = derive_id(emission.parent, emission.place, plan.index)
            self.enqueue(lane, Call(lane, event, call_id, scope, place, emission.recoveries))
        for plan in route.joins:
            self._collect(plan.index, event, emission, emission.place, order)
        self._serve_others(route, event, emission)

    def _route_batches(self, emission: Emission) -> None:
        classes = dict.fromkeys(map(type, emission.events))
        routes = {cls: self.routes[cls] for cls in classes}
        if any(route.is_stop for route in routes.values()):
            self.complete(next(event for event in emission.events if isinstance(event, StopEvent)))
            return
        for cls, route in routes.items():
            if self.state.outcome is not None:
                return
            self._route_class(cls, route, emission, is_alone=len(classes) == 1)

    def _route_class(self, cls: type[Event], route: Route, emission: Emission, *, is_alone: bool) -> None:
        """Route the items of one class."""
        events = emission.events
        places = None if is_alone else [place for place, event in enumerate(events) if event.__class__ is cls]
        mine = events if places is None else [events[place] for place in places]
        if self.is_watched:
            for _ in mine:
                self.note("event_received", event_type=cls.event_type)
        is_shared = len(route.plans) + len(route.joins) > 1
        for plan in route.plans:
            batch = Batch(
                self.state.lanes[plan.index], mine, emission.parent, emission.place, emission.scope, emission.recoveries
            )
            batch.places, batch.shared = places, is_shared
            self._enqueue_batch(batch)
        for join in route.joins:
            for place, event in zip(range(len(mine)) if places is None else places, mine, strict=True):
                self._collect(join.index, event, emission, emission.place + place, (emission.place + place,))
        if route.only is None or self.state.mailbox is not None:
            for place, event in zip(range(len(mine)) if places is None else places, mine, strict=True):
                one = Emission(
                    (event,),
                    emission.parent,
                    emission.place + place,
                    emission.scope,
                    (emission.place + place,),
                    emission.recoveries,
                )
                self._serve_others(route, event, one)

    def _serve_others(self, route: Route, event: Event, emission: Emission) -> None:
        """Those who take an event beside the steps: the end, a person, a waiting call; an error if nobody does."""
        mailbox = self.state.mailbox
        if route.is_stop:
            self.complete(event)
        elif route.is_question:
            self._ask(event, emission)
        elif route.is_kept or (mailbox is not None and mailbox.has_waited(event.__class__)):
            self._mail(event, is_wanted=not (route.plans or route.joins))
        elif not (route.plans or route.joins):
            self._nobody_accepts(event, emission)

    def _collect(self, join: int, event: Event, emission: Emission, place: int, order: Order) -> None:
        item = Item(order, derive_id(emission.parent, place, join), emission.recoveries, event)
        emission.scope.collect(join, item)
        self.state.kept += 1

    def _nobody_accepts(self, event: Event, emission: Emission) -> None:
        source = None if emission.parent == ROOT_ID else self.state.last_step
        self.fail(NoHandlerError(event.__class__.event_type, source, self.state.run_id))

    def _has_room(self, count: int, parent: int) -> bool:
        """Whether ``count`` more events fit into the run; the run fails if they do not."""
        error = self.room_error(count)
        if error is not None:
            self.fail(error)
        return error is None

    def room_error(self, count: int) -> EventLimitError | None:
        """The error of ``count`` more events, if they are too many."""
        limit = self.definition.options.max_pending_events
        if self.state.pending + count <= limit:
            return None
        return EventLimitError("pending events", limit, self.state.last_step, self.state.run_id)

    # --- Mail and questions ----------------------------------------------------------------------------------------------

    def mailbox(self) -> Mailbox:
        """The run's mailbox, made when it is first needed."""
        if self.state.mailbox is None:
            self.state.mailbox = Mailbox()
            self.see_to_routing()
        return self.state.mailbox

    def _mail(self, event: Event, *, is_wanted: bool) -> None:
        """Keep an event for a waiter. One that steps take as well goes only to a waiter that is there now."""
        mailbox = self.mailbox()
        if is_wanted or mailbox.has_waiter(event.__class__):
            mailbox.put(event)
            self.deliver(event.__class__)

    def see_to_routing(self) -> None:
        """Find out anew whether routing is simple, after one of the things changed that it depends on."""
        state = self.state
        self.is_simple = state.status is not PAUSED and not self.is_watched and state.mailbox is None

    def deliver(self, event_class: type[Event]) -> None:
        """Give mail of a class to those who wait for it, unless the run is paused."""
        if self.state.status is PAUSED:
            return
        for waiter, event in self.mailbox().matches(event_class):
            self.unpark(waiter.call, is_question=False)
            if waiter.picky:
                self.effects.append(OfferEvent(waiter, event))
            else:
                self.receive(waiter.call, event)
                self.effects.append(WakeTask(waiter.token, event))

    def receive(self, call: Call, event: Event) -> None:
        """Note that a call got an event by waiting for it."""
        call.recorded().received.append(event)
        self.state.consumed += 1

    def _ask(self, event: Event, emission: Emission) -> None:
        """Record a question that was routed."""
        assert isinstance(event, InputRequestEvent)
        state = self.state
        if event.request_id in state.questions or event.request_id in state.answered:
            self.fail(InputRequestExistsError(event.request_id, state.run_id))
            return
        place = derive_id(emission.parent, emission.place, len(state.lanes))
        state.questions[event.request_id] = Question(
            event, place, emission.scope, emission.order or (), emission.recoveries
        )
        emission.scope.active += 1
        state.alive += 1
        state.asking += 1
        self.announce_question(event, None)

    def announce_question(self, event: InputRequestEvent, call: Call | None) -> None:
        """Publish a question and note it."""
        self.publish(event, call)
        self.note("input_requested", call, data={"request_id": event.request_id})

    # --- Calls ---------------------------------------------------------------------------------------------------------

    def enqueue(self, lane: Lane, call: Call) -> None:
        """Start a call if its step has a slot, else let it wait."""
        if lane.running < lane.limit and not (lane.waiting or lane.is_shared or self.is_stopped):
            lane.running += 1
            call.begun_at = self.now
            self.state.running[call] = None
            self.effects.append(StartStep(call))
            if self.is_watched:
                self.note("step_dispatched", call)
        else:
            lane.push(call)
            self.refill(lane)

    def _enqueue_batch(self, batch: Batch) -> None:
        batch.scope.active += len(batch)
        self.state.alive += len(batch)
        batch.lane.push(batch)
        self.refill(batch.lane)

    def start(self, lane: Lane, call: Call) -> None:
        """Order a call to run."""
        lane.running += 1
        call.begun_at = self.now
        self.state.running[call] = None
        self.effects.append(StartStep(call))
        if self.is_watched:
            self.note("step_dispatched", call)

    def refill(self, lane: Lane) -> None:
        """Start what waits for a slot of this step, as far as there are slots."""
        if self.is_stopped:
            return
        if lane.is_shared:
            self._request_slot(lane)
            return
        while lane.waiting and lane.running < lane.limit:
            self.start(lane, lane.pop())

    def _request_slot(self, lane: Lane) -> None:
        if lane.waiting and lane.running < lane.limit and not lane.slot_asked:
            lane.slot_asked = True
            self.effects.append(RequestSlot(lane))

    def refill_all(self) -> None:
        """Start what waits anywhere."""
        for lane in self.state.lanes:
            self.refill(lane)

    def take_off(self, call: Call) -> bool:
        """The call does not run any more; what it waits for waits no longer. False if it was not running."""
        try:
            del self.state.running[call]
        except KeyError:
            return False
        call.lane.running -= 1
        if call.record is not None and call.record.waits:
            self._forget_waits(call, call.record)
        return True

    def _forget_waits(self, call: Call, record: CallRecord) -> None:
        state = self.state
        state.parked -= 1
        state.asking -= record.asks == record.waits
        for question in state.questions.values() if record.asks else ():
            if question.call is call:
                question.token = None  # nobody waits there until the repeated call asks again
        record.waits = record.asks = 0
        for waiter in () if state.mailbox is None else state.mailbox.waiters_of(call):
            self.mailbox().remove_waiter(waiter)

    def park(self, call: Call, *, is_question: bool) -> None:
        """A task of the call waits for an event or an answer."""
        self._count_wait(call.recorded(), 1, int(is_question))

    def unpark(self, call: Call, *, is_question: bool) -> None:
        """A task of the call waits no longer."""
        self._count_wait(call.recorded(), -1, -int(is_question))

    def _count_wait(self, record: CallRecord, waits: int, asks: int) -> None:
        """Count the call among those that are parked, and those that only ask, by what its tasks wait for now."""
        state = self.state
        state.parked -= record.waits > 0
        state.asking -= record.asks == record.waits > 0
        record.waits += waits
        record.asks += asks
        state.parked += record.waits > 0
        state.asking += record.asks == record.waits > 0

    # --- Scopes --------------------------------------------------------------------------------------------------------

    def fan_out_of(self, call: Call) -> Scope:
        """The scope of what a call emits in lists, opened at the first use."""
        record = call.recorded()
        fan_out = record.fan_out
        if fan_out is None:
            fan_out = record.fan_out = Scope(call.scope, call.id, call.order, call.step_name, call.recoveries)
            fan_out.active = 1  # the call itself, until it is over
            fan_out.expected = self.definition.expected[call.plan.index]
            call.scope.active += 1
        return fan_out

    def close(self, call: Call) -> None:
        """The call is over for good: it adds nothing more to its scopes."""
        fan_out = self.fan_out_of(call) if call.plan.opens_fan_out else call.fan_out
        if fan_out is not None:
            self.leave(fan_out)
        self.state.alive -= 1
        self.leave(call.scope)

    def leave(self, scope: Scope) -> None:
        """One thing less is active in a scope. At zero its joins are called and it leaves its parent, and so on outwards."""
        scope.active -= 1
        while scope.active == 0 and scope.parent is not None and self.state.outcome is None:
            parent = scope.parent
            for join, items in scope.due_joins():
                scope.mark_joined(join)
                self._call_join(scope, parent, join, items)
            scope = parent
            scope.active -= 1

    def _call_join(self, scope: Scope, parent: Scope, join: int, items: list[Item]) -> None:
        self.state.kept -= len(items)
        parent.active += 1
        self.state.alive += 1
        lane = self.state.lanes[join]
        recoveries = max((item.recoveries for item in items), default=scope.recoveries)
        events = [item.event for item in items]
        call_id = derive_id(scope.id, JOIN_PLACE, join)
        self.enqueue(lane, Call(lane, events, call_id, parent, scope.order, recoveries))

    # --- What is told ----------------------------------------------------------------------------------------------------

    def publish(self, event: Event, call: Call | None = None) -> None:
        """Put an event on the stream, with the next number."""
        state = self.state
        state.seq += 1
        timestamp = self.now + state.wall_offset
        if call is None:
            self.effects.append(Publish(state.seq, timestamp, event))
        else:
            self.effects.append(Publish(state.seq, timestamp, event, call.step_name, call.id, call.attempt))

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
        if self.state.history is not None:
            self._remember(HistoryEvent(0, 0.0, kind, step_name, event_type, duration_ms, error, data or {}), attempt)
        lifecycle = LIFECYCLE_KINDS.get(kind)
        if self.is_observed and lifecycle is not None:
            self.publish(LifecycleEvent(lifecycle, step_name, event_type, attempt, duration_ms, error), call)

    def _remember(self, entry: HistoryEvent, attempt: int | None) -> None:
        state = self.state
        assert state.history is not None
        state.history_seq += 1
        data = entry.data if attempt is None else {**entry.data, "attempt": attempt}
        state.history.append(
            HistoryEvent(
                state.history_seq,
                self.now + state.wall_offset,
                entry.kind,
                entry.step_name,
                entry.event_type,
                entry.duration_ms,
                entry.error,
                data,
            )
        )

    # --- The run's own state ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """At the end of a message: has the run stalled, come to rest, or only questions left?"""
        state = self.state
        if state.outcome is not None:
            return
        if state.alive == 0 and state.senders == 0:
            self.fail(RunStalledError(state.last_step, self._open_joins(), state.run_id))
        elif state.status is PAUSED:
            if len(state.running) == state.parked:
                self.effects.append(Quiesce())
        elif state.questions or state.status is AWAITING_INPUT:
            self._mind_questions()

    def _open_joins(self) -> tuple[str, ...]:
        return tuple(self.definition.plans[index].name for index in self.state.root.collected or ())

    def _mind_questions(self) -> None:
        state = self.state
        is_awaiting = state.alive == state.asking > 0 and state.senders == 0
        if is_awaiting and not state.is_attended and not any(each.is_bounded for each in state.questions.values()):
            self._nobody_answers()
        elif is_awaiting and state.status is RUNNING:
            state.status = AWAITING_INPUT
            self.stop_clock()
        elif not is_awaiting and state.status is AWAITING_INPUT:
            state.status = RUNNING
            self.start_clock()

    def _nobody_answers(self) -> None:
        request_id, question = next(iter(self.state.questions.items()))
        detail = (
            f"it waits for an answer to {question.event.prompt!r} (request_id {request_id!r}), and Workflow.run() gives "
            "nobody a way to answer; set input_handler=, or use start() and respond_to_input()"
        )
        self.fail(RunStalledError(self.state.last_step, (), self.state.run_id, detail))

    def start_clock(self) -> None:
        """Running time counts from now on."""
        state = self.state
        state.running_since = self.now
        timeout = self.definition.options.timeout
        if timeout is not None:
            self.effects.append(SetDeadline(self.now + timeout - state.elapsed_s))

    def stop_clock(self) -> None:
        """Running time stands still."""
        state = self.state
        if state.running_since is not None:
            state.elapsed_s += self.now - state.running_since
            state.running_since = None
            if self.definition.options.timeout is not None:
                self.effects.append(ClearDeadline())

    def complete(self, event: Event) -> None:
        """The run has its result."""
        self.note("workflow_completed", event_type=type(event).event_type)
        self.publish(event)
        self._finish(Outcome(RunStatus.COMPLETED, event=event))

    def fail(
        self, error: BaseException, cause: BaseException | None = None, status: RunStatus = RunStatus.FAILED
    ) -> None:
        """The run ends with an error."""
        kind = {RunStatus.TIMED_OUT: "workflow_timed_out", RunStatus.ABORTED: "workflow_aborted"}.get(status)
        text = str(error) if isinstance(error, WorkflowError) else type(error).__name__
        self.note(kind or "workflow_failed", error=text)
        self._finish(Outcome(status, error=error, cause=cause))

    def _finish(self, outcome: Outcome) -> None:
        state = self.state
        if state.outcome is not None:
            return
        self.stop_clock()
        state.status, state.outcome = outcome.status, outcome
        self.is_stopped = True
        for call in state.running:
            self.undo(call)
        if state.running:
            self.effects.append(CancelCalls(tuple(state.running)))
        state.running.clear()
        self.effects.append(Finish(outcome))

    # --- What calls did --------------------------------------------------------------------------------------------------

    def undo(self, call: Call) -> None:
        """Take back what an attempt did to the run's values, usage and collectors."""
        record = call.record
        if record is None:
            return
        if record.keys:
            self.state.values.undo(call, record.keys)
            record.keys = set()
        record.usage = []
        for event_class, entries in record.taken.items():
            self.state.collectors.setdefault((call.plan.index, event_class), [])[:0] = entries
            self.state.kept += len(entries)
        record.taken = {}


def _type_of(event: Any) -> str | None:
    """The wire name of a call's event; for a join that of its first item."""
    if isinstance(event, list):
        return type(event[0]).event_type if event else None
    return type(event).event_type
