"""Calls and their scopes: who runs, who waits for a slot, who waits for an event, and what is left of a fan-out."""

from collections.abc import Iterable

from blazen_trio.core.calls import Batch, Call, CallRecord, Lane, Order
from blazen_trio.core.effects import RequestSlot
from blazen_trio.core.events import Event
from blazen_trio.core.ids import JOIN_PLACE, derive_id
from blazen_trio.core.lifetime import Lifetime
from blazen_trio.core.mailbox import Mailbox
from blazen_trio.core.scopes import Scope


class Scheduler(Lifetime):
    """Starts calls as far as there are slots, and counts what descends from every fan-out."""

    __slots__ = ()

    # --- Slots --------------------------------------------------------------------------------------------------------

    def enqueue(self, lane: Lane, call: Call) -> None:
        """Start a call if its step has a slot, else let it wait."""
        if lane.running < lane.limit and not (lane.waiting or lane.is_shared or self.is_stopped):
            self.start(lane, call)
        else:
            lane.push(call)
            self.refill(lane)

    def enqueue_batch(self, batch: Batch) -> None:
        """Start items of a fan-out as far as the step has slots; the rest waits."""
        batch.scope.active += len(batch)
        self.state.alive += len(batch)
        batch.lane.push(batch)
        self.refill(batch.lane)

    def start(self, lane: Lane, call: Call) -> None:
        """Order a call to run."""
        lane.running += 1
        call.begun_at = self.now
        self.state.running[call] = None
        self.effects.append(call)
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

    # --- Waiting ------------------------------------------------------------------------------------------------------

    def mailbox(self) -> Mailbox:
        """The run's mailbox, made when it is first needed."""
        if self.state.mailbox is None:
            self.state.mailbox = Mailbox()
            self.see_to_routing()
        return self.state.mailbox

    def _forget_waits(self, call: Call, record: CallRecord) -> None:
        state = self.state
        state.parked -= 1
        state.asking -= record.asks == record.waits
        for request_id in record.asked if record.asks else ():
            if request_id in state.questions:
                state.questions[request_id].token = None  # nobody waits there until the repeated call asks again
        record.waits = record.asks = 0
        for waiter in () if state.mailbox is None else state.mailbox.waiters_of(call):
            self.mailbox().remove_waiter(waiter)

    def park(self, call: Call, *, is_question: bool) -> None:
        """A task of the call waits for an event or an answer."""
        self.count_waits(call.recorded(), 1, int(is_question))

    def unpark(self, call: Call, *, is_question: bool) -> None:
        """A task of the call waits no longer."""
        self.count_waits(call.recorded(), -1, -int(is_question))

    def count_waits(self, record: CallRecord, waits: int, asks: int) -> None:
        """So many more tasks of a call wait, so many of them for answers: count those that are parked, or only ask."""
        state = self.state
        state.parked -= record.waits > 0
        state.asking -= record.asks == record.waits > 0
        record.waits += waits
        record.asks += asks
        state.parked += record.waits > 0
        state.asking += record.asks == record.waits > 0

    # --- Scopes -------------------------------------------------------------------------------------------------------

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

    def expect(self, call: Call, fan_out: Scope, classes: Iterable[type[Event]]) -> None:
        """Let a call's fan-out expect the joins of classes that its step did not announce, but for that step itself."""
        joins = set(self.definition.routing.expected_joins(classes)) - {call.plan.index}
        fan_out.expected = tuple(sorted(joins.union(fan_out.expected)))

    def close(self, call: Call) -> None:
        """The call is over for good: it adds nothing more to its scopes."""
        fan_out = call.fan_out
        if fan_out is None and call.plan.opens_fan_out:
            fan_out = self.fan_out_of(call)
            self.expect(call, fan_out, call.plan.fan_types)
        if fan_out is not None:
            self.leave(fan_out)
        self.state.alive -= 1
        self.leave(call.scope)

    def leave(self, scope: Scope) -> None:
        """One thing less is active in a scope. At zero its joins are called, and it leaves its parent, and so on."""
        scope.active -= 1
        while scope.active == 0 and scope.parent is not None and self.state.outcome is None:
            parent = scope.parent
            due = scope.due_joins()
            is_ordered = len(due) > 1 and parent.parent is not None  # no join runs for the run itself, however long
            for join in due:
                scope.mark_joined(join)
                self._call_join(scope, parent, join, (*scope.order, join) if is_ordered else scope.order)
            scope = parent
            scope.active -= 1

    def _call_join(self, scope: Scope, parent: Scope, join: int, order: Order) -> None:
        collection = scope.collection(join)
        self.state.kept -= len(collection)
        parent.active += 1
        self.state.alive += 1
        lane = self.state.lanes[join]
        recoveries = max(scope.recoveries, collection.recoveries)
        call_id = derive_id(scope.id, JOIN_PLACE, join)
        self.enqueue(lane, Call(lane, collection.in_order(), call_id, parent, order, recoveries))
