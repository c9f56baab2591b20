"""Events that come into the queue while calls run, from calls or from outside, and calls that wait for events."""

from typing import Final

from blazen_trio.core.calls import Origin
from blazen_trio.core.dispatch import Dispatcher, Handlers
from blazen_trio.core.effects import Reject
from blazen_trio.core.errors import EventLimitError
from blazen_trio.core.ids import ROOT_ID
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.messages import (
    EventAwaited,
    EventClaimed,
    EventDeclined,
    EventReceived,
    EventSent,
    EventWanted,
    SenderClosed,
    SenderOpened,
    WaitEnded,
)
from blazen_trio.core.records import is_closed, is_late


def event_sent(machine: Dispatcher, message: EventSent) -> None:
    """Route what a call sent before its end; it belongs to the call's fan-out."""
    call = message.call
    if is_late(machine, call):
        return
    record = call.recorded()
    error = machine.room_error(1) or _emission_error(machine, len(record.sent), call.step_name)
    if error is not None:
        machine.effects.append(Reject(error))
        return
    machine.now = message.at
    event_class = type(message.event)
    fan_out = machine.fan_out_of(call)
    if event_class not in call.plan.fan_types:
        machine.expect(call, fan_out, (event_class,))
    place = record.emissions
    record.emissions += 1
    record.sent.append(message.event)
    machine.state.last_step = call.step_name
    machine.route_one(message.event, Origin(call.id, place, fan_out, (place,), call.recoveries))
    machine.settle()


def _emission_error(machine: Dispatcher, count: int, step_name: str) -> EventLimitError | None:
    limit = machine.definition.options.max_pending_events
    return EventLimitError("events of one call", limit, step_name, machine.state.run_id) if count >= limit else None


def event_received(machine: Dispatcher, message: EventReceived) -> None:
    """Route what somebody outside sent."""
    state = machine.state
    if is_closed(machine, "send_event"):
        return
    error = machine.room_error(1)
    if error is not None:
        machine.effects.append(Reject(error))
        return
    machine.now = message.at
    state.outside += 1
    machine.route_one(message.event, Origin(ROOT_ID, state.outside, state.root, (state.outside,), 0))
    machine.settle()


def sender_opened(machine: Dispatcher, message: SenderOpened) -> None:
    """More events may come from outside: the run cannot stall meanwhile."""
    if is_closed(machine, "open_send_channel"):
        return
    machine.now = message.at
    machine.state.senders += 1
    machine.settle()


def sender_closed(machine: Dispatcher, message: SenderClosed) -> None:
    """No more events come from there."""
    machine.now = message.at
    machine.state.senders -= 1
    machine.settle()


def event_awaited(machine: Dispatcher, message: EventAwaited) -> None:
    """Let a task of a call wait in line."""
    waiter = message.waiter
    if is_late(machine, waiter.call):
        return
    machine.now = message.at
    machine.mailbox().add_waiter(waiter)
    _let_wait(machine, waiter)


def _let_wait(machine: Dispatcher, waiter: Waiter) -> None:
    machine.park(waiter.call, is_question=False)
    machine.deliver(waiter.event_class)
    machine.settle()


def event_wanted(machine: Dispatcher, message: EventWanted) -> None:
    """Keep events of this class from now on, for a channel that receives them later."""
    machine.mailbox().expect(message.event_class)


def event_claimed(machine: Dispatcher, message: EventClaimed) -> None:
    """The waiter has its event."""
    waiter = message.waiter
    if waiter.offered is not None and waiter.call in machine.state.running:
        machine.receive(waiter.call, waiter.offered.event)
        machine.mailbox().claim(waiter)
        machine.deliver(waiter.event_class)


def event_declined(machine: Dispatcher, message: EventDeclined) -> None:
    """The waiter goes on waiting; somebody else may want the event."""
    waiter = message.waiter
    if is_late(machine, waiter.call):
        return
    machine.now = message.at
    machine.mailbox().decline(waiter)
    _let_wait(machine, waiter)


def wait_ended(machine: Dispatcher, message: WaitEnded) -> None:
    """The task gave up waiting (its own time-out, or it is being cancelled); what it was offered is free."""
    waiter = message.waiter
    machine.now = message.at
    was_parked = waiter.offered is None
    machine.mailbox().remove_waiter(waiter)
    if waiter.call in machine.state.running and was_parked:
        machine.unpark(waiter.call, is_question=False)
    if machine.state.outcome is None:
        machine.deliver(waiter.event_class)
        machine.settle()


HANDLERS: Final[Handlers] = {
    EventSent: event_sent,
    EventReceived: event_received,
    SenderOpened: sender_opened,
    SenderClosed: sender_closed,
    EventAwaited: event_awaited,
    EventWanted: event_wanted,
    EventClaimed: event_claimed,
    EventDeclined: event_declined,
    WaitEnded: wait_ended,
}
