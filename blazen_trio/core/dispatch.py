"""Routing: every emitted event is brought to everybody who accepts it.

The handlers of messages (``outcomes``, ``inbox``, ``questions``, ``records``, ``controls``) are written in the verbs of
this class and of those below it: ``Scheduler`` (calls and scopes), ``Lifetime`` (clock and end), ``Reporter`` (what is
told). Each verb changes the state and appends effects; none of them calls user code.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from blazen_trio.core.calls import Batch, Call, Order, Origin
from blazen_trio.core.effects import OfferEvent, WakeTask
from blazen_trio.core.errors import EventLimitError, InputRequestExistsError, NoHandlerError
from blazen_trio.core.events import Event, InputRequestEvent, StopEvent
from blazen_trio.core.ids import MASK, MULTIPLIER, ROOT_ID, derive_id
from blazen_trio.core.lifetime import PAUSED
from blazen_trio.core.plans import StepPlan
from blazen_trio.core.routing import Route
from blazen_trio.core.scheduling import Scheduler
from blazen_trio.core.state import Emission, Question

Handlers: TypeAlias = dict[type, Callable[["Dispatcher", Any], None]]
"""What is done with a message, by its class."""


class Dispatcher(Scheduler):
    """Brings events to steps, joins, people and waiting calls."""

    __slots__ = ()

    # --- Routing ------------------------------------------------------------------------------------------------------

    def route_one(self, event: Event, origin: Origin) -> None:
        """Bring one event to everybody who accepts it."""
        state = self.state
        state.emitted += 1
        if state.status is PAUSED:
            self._queue(Emission((event,), origin, is_fan_out=False, source=state.last_step))
            return
        route = self.routes[event.__class__]
        if self.is_watched:
            self.note("event_received", event_type=event.__class__.event_type)
        if route.is_stop:
            self.complete(event)
        elif route.only is not None and state.mailbox is None:
            self._call(route.only, event, origin, origin.order)
        else:
            self._route_specially(route, event, origin)

    def pass_on(self, call: Call, event: Any) -> bool:
        """Let the one event that a call returned take the call's place; false if there is more to it than that.

        The short way of most calls: one step takes the event, in the same scope, so that nothing there has to be
        counted, and nobody watches. ``derive_id`` and ``start`` stand here once more: calling them costs 7 % of a step.
        """
        plan = self.routes[event.__class__].only
        if plan is None or call.record is not None or call.plan.opens_fan_out or not self.is_simple:
            return False
        state = self.state
        state.emitted += 1
        lane = state.lanes[plan.index]
        call_id = (call.id * MULTIPLIER + plan.first_key) & MASK
        successor = Call(lane, event, call_id, call.scope, call.order, call.recoveries)
        if lane.running < lane.limit and not (lane.waiting or lane.is_shared or self.is_stopped):
            lane.running += 1
            successor.begun_at = self.now
            state.running[successor] = None
            self.effects.append(successor)
        else:
            self.enqueue(lane, successor)
        return True

    def route_items(self, events: Sequence[Event], origin: Origin) -> None:
        """Bring the items of a fan-out to everybody who accepts them; ``origin`` is that of the first."""
        self.state.emitted += len(events)
        emission = Emission(events, origin, is_fan_out=True, source=self.state.last_step)
        if not self._has_room(len(events)):
            return
        if self.state.status is PAUSED:
            self._queue(emission)
        else:
            self._route_batches(emission)

    def route_again(self, emission: Emission) -> None:
        """Route what was queued while the run was paused."""
        self.state.alive -= 1
        self.state.queued -= len(emission.events) - 1
        self.state.last_step = emission.source
        if emission.is_fan_out:
            self._route_batches(emission)
        else:
            self.state.emitted -= 1
            self.route_one(emission.events[0], emission.origin)
        self.leave(emission.origin.scope)

    def _queue(self, emission: Emission) -> None:
        emission.origin.scope.active += 1
        self.state.alive += 1
        self.state.queue.append(emission)
        self.state.queued += len(emission.events) - 1

    def _call(self, plan: StepPlan, event: Event, origin: Origin, order: Order) -> None:
        """Call a step with an event."""
        lane = self.state.lanes[plan.index]
        origin.scope.active += 1
        self.state.alive += 1
        call_id = derive_id(origin.parent, origin.place, plan.index)
        self.enqueue(lane, Call(lane, event, call_id, origin.scope, order, origin.recoveries))

    def _route_specially(self, route: Route, event: Event, origin: Origin) -> None:
        """Route one event that is not simply one step's."""
        takers = len(route.plans) + len(route.joins)
        if takers > 1 and not self._has_room(takers):
            return
        is_ordered = takers > 1 and origin.scope.parent is not None  # no join runs for the run itself, however long
        for plan in route.plans:
            self._call(plan, event, origin, (*origin.order, plan.index) if is_ordered else origin.order)
        for join in route.joins:
            self._collect(join, event, origin)
        self._serve_others(route, event, origin)

    def _route_batches(self, emission: Emission) -> None:
        classes = dict.fromkeys(map(type, emission.events))
        routes = {cls: self.routes[cls] for cls in classes}
        if any(route.is_stop for route in routes.values()):
            self.complete(next(event for event in emission.events if isinstance(event, StopEvent)))
            return
        for cls, route in routes.items():
            if self.state.outcome is None:
                self._route_class(cls, route, emission, is_alone=len(classes) == 1)

    def _route_class(self, cls: type[Event], route: Route, emission: Emission, *, is_alone: bool) -> None:
        """Route the items of one class: a batch for each step, and each item for whoever else takes it."""
        events, first = emission.events, emission.origin
        places = None if is_alone else [place for place, event in enumerate(events) if event.__class__ is cls]
        mine = events if places is None else [events[place] for place in places]
        if self.is_watched:
            for _ in mine:
                self.note("event_received", event_type=cls.event_type)
        is_shared = len(route.plans) + len(route.joins) > 1
        for plan in route.plans:
            self.enqueue_batch(Batch(self.state.lanes[plan.index], mine, first, places, is_shared=is_shared))
        if route.only is None or self.state.mailbox is not None:
            for place, event in zip(range(len(mine)) if places is None else places, mine, strict=True):
                origin = first.at(place)
                for join in route.joins:
                    self._collect(join, event, origin)
                self._serve_others(route, event, origin)

    def _serve_others(self, route: Route, event: Event, origin: Origin) -> None:
        """Those who take an event beside the steps: a person, a waiting call; an error if nobody does."""
        mailbox = self.state.mailbox
        if route.is_question:
            self._ask(event, origin)
        elif route.is_kept or (mailbox is not None and mailbox.has_waited(event.__class__)):
            self._mail(event, is_wanted=not (route.plans or route.joins))
        elif not (route.plans or route.joins):
            source = None if origin.parent == ROOT_ID else self.state.last_step
            self.fail(NoHandlerError(event.__class__.event_type, source, self.state.run_id))

    def _collect(self, join: StepPlan, event: Event, origin: Origin) -> None:
        item_id = derive_id(origin.parent, origin.place, join.index)
        origin.scope.collection(join.index).add(event, item_id, origin.order, origin.recoveries)
        self.state.kept += 1

    def _has_room(self, count: int) -> bool:
        """Whether ``count`` more events fit into the run; the run fails if they do not."""
        error = self.room_error(count)
        if error is not None:
            self.fail(error)
        return error is None

    # --- Mail and questions -------------------------------------------------------------------------------------------

    def _mail(self, event: Event, *, is_wanted: bool) -> None:
        """Keep an event for a waiter. One that steps take as well goes only to a waiter that is there now."""
        mailbox = self.mailbox()
        if is_wanted or mailbox.has_waiter(event.__class__):
            mailbox.put(event, is_copy=not is_wanted)
            self.deliver(event.__class__)

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
        received = call.recorded().received
        received.append(event)
        self.state.consumed += 1
        limit = self.definition.options.max_pending_events
        if len(received) > limit:
            self.fail(EventLimitError("events received by one call", limit, call.step_name, self.state.run_id))

    def _ask(self, event: Event, origin: Origin) -> None:
        """Record a question that was routed."""
        assert isinstance(event, InputRequestEvent)
        state = self.state
        if event.request_id in state.questions or event.request_id in state.answered:
            self.fail(InputRequestExistsError(event.request_id, state.run_id))
            return
        question_id = derive_id(origin.parent, origin.place, len(state.lanes))
        asked_at = Origin(question_id, 0, origin.scope, origin.order, origin.recoveries)
        state.ask(Question(event, asked_at, state))
        origin.scope.active += 1
        state.alive += 1
        state.asking += 1
        self.announce_question(event, None)

    def announce_question(self, event: InputRequestEvent, call: Call | None) -> None:
        """Publish a question and note it."""
        self.publish(event, call)
        self.note("input_requested", call, data={"request_id": event.request_id})
