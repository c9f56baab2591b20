"""Control verbs: start, pause, resume (in place and from a snapshot), abort, time-out, hold and release, observation.

A new verb is a message class in ``messages``, a function here, its line in ``HANDLERS``, and a method of
``WorkflowRun``.
"""

from typing import Final

from blazen_trio.core.calls import Origin
from blazen_trio.core.dispatch import Dispatcher, Handlers
from blazen_trio.core.effects import CancelCalls, CancelTimer, Finish, SetTimer, WithdrawSlot
from blazen_trio.core.errors import WorkflowAbortedError, WorkflowTimeoutError
from blazen_trio.core.ids import ROOT_ID
from blazen_trio.core.messages import (
    AbortRequested,
    DeadlinePassed,
    DispatchHeld,
    DispatchReleased,
    ObservationChanged,
    PauseRequested,
    ResumeRequested,
    RunResumed,
    RunStarted,
    StoreFailed,
)
from blazen_trio.core.outcomes import put_back
from blazen_trio.core.records import is_closed
from blazen_trio.core.status import Rest, RunStatus


def started(machine: Dispatcher, message: RunStarted) -> None:
    """The run begins: its first event is routed and its clock runs."""
    state = machine.state
    machine.now = message.at
    state.wall_offset = message.wall_offset
    machine.start_clock()
    state.has_begun = True
    machine.note("workflow_started")
    machine.route_one(message.event, Origin(ROOT_ID, 0, state.root, (), 0))
    machine.settle()


def paused(machine: Dispatcher, message: PauseRequested) -> None:
    """Stop dispatch at once. What runs may end, or is cancelled and put back; then the run is quiet."""
    state = machine.state
    if is_closed(machine, "pause"):
        return
    machine.now = message.at
    if state.status is not RunStatus.PAUSED:
        _stop_dispatch(machine)
        for call in reversed(message.unbegun):
            put_back(machine, call)
    if message.interrupt and state.running:
        machine.effects.append(CancelCalls(tuple(state.running)))
    machine.settle()


def _stop_dispatch(machine: Dispatcher) -> None:
    state = machine.state
    machine.stop_clock()
    state.status = RunStatus.PAUSED
    machine.is_stopped = True
    machine.see_to_routing()
    for call, due in state.timers.items():
        state.timers[call] = max(0.0, due - machine.now)
        machine.effects.append(CancelTimer(call))
    for lane in state.lanes:
        if lane.slot_asked:
            lane.slot_asked = False
            machine.effects.append(WithdrawSlot(lane))
    machine.note("workflow_paused")


def resumed(machine: Dispatcher, message: ResumeRequested) -> None:
    """Go on: waits take up what remained of them, then what was queued is routed, in order."""
    state = machine.state
    if is_closed(machine, "resume_in_place") or state.status is not RunStatus.PAUSED:
        return
    machine.now = message.at
    _go_on(machine)


def resumed_from_snapshot(machine: Dispatcher, message: RunResumed) -> None:
    """Go on as after a pause; a run that was over gives its outcome again."""
    state = machine.state
    machine.now = message.at
    state.wall_offset = message.wall_offset
    if state.nesting is not None:
        state.nesting.rest = Rest.BUSY
    if state.outcome is not None:
        machine.is_stopped = True
        machine.effects.append(Finish(state.outcome))
        return
    _go_on(machine)
    state.senders = 0  # channels do not outlive a process; while one was open the run did not stall for want of events
    if state.alive:
        machine.settle()


def _go_on(machine: Dispatcher) -> None:
    state = machine.state
    state.status = RunStatus.RUNNING
    machine.is_stopped = state.is_held
    machine.see_to_routing()
    machine.start_clock()
    machine.note("workflow_resumed" if state.has_begun else "workflow_started")
    state.has_begun = True
    for call, remaining in state.timers.items():
        state.timers[call] = machine.now + remaining
        machine.effects.append(SetTimer(call, state.timers[call]))
    _release_waits(machine)
    queue, state.queue = state.queue, []
    for emission in queue:
        if state.outcome is None:
            machine.route_again(emission)
    if state.outcome is None:
        machine.refill_all()
        machine.settle()


def _release_waits(machine: Dispatcher) -> None:
    """Give answers and events that came meanwhile to the calls that still wait for them."""
    state = machine.state
    held, state.held_wakes = state.held_wakes or {}, None
    for call, wake in held.values():
        if call in state.running and call.asks:
            machine.unpark(call, is_question=True)
            machine.effects.append(wake)
    if state.mailbox is not None:
        for event_class in state.mailbox.waited_classes():
            machine.deliver(event_class)


def aborted(machine: Dispatcher, message: AbortRequested) -> None:
    """End now."""
    if machine.state.outcome is None:
        machine.now = message.at
        error = WorkflowAbortedError(message.reason, machine.state.run_id)
        machine.fail(error, status=RunStatus.ABORTED)


def store_failed(machine: Dispatcher, message: StoreFailed) -> None:
    """End now, also a run that ended already: its end was not saved either."""
    machine.now = message.at
    machine.state.outcome = None
    machine.fail(message.error)


def deadline_passed(machine: Dispatcher, message: DeadlinePassed) -> None:
    """The running time is used up."""
    state = machine.state
    if state.outcome is not None or state.running_since is None:
        return
    machine.now = message.at
    machine.stop_clock()
    options = machine.definition.options
    error = WorkflowTimeoutError(state.elapsed_s, options.timeout, machine.definition.name, state.run_id)
    machine.fail(error, status=RunStatus.TIMED_OUT)


def observation_changed(machine: Dispatcher, message: ObservationChanged) -> None:
    """Lifecycle events are made only while somebody sees them."""
    machine.is_observed = message.is_observed and machine.definition.options.publish_lifecycle
    machine.is_watched = machine.is_observed or machine.state.history is not None
    machine.see_to_routing()


def held(machine: Dispatcher, message: DispatchHeld) -> None:
    """A lossless subscriber is far behind: start nothing until it catches up."""
    machine.now = message.at
    machine.state.is_held = True
    machine.is_stopped = True


def released(machine: Dispatcher, message: DispatchReleased) -> None:
    """The lossless subscribers caught up."""
    state = machine.state
    machine.now = message.at
    state.is_held = False
    if state.outcome is None and state.status is not RunStatus.PAUSED:
        machine.is_stopped = False
        machine.refill_all()


HANDLERS: Final[Handlers] = {
    RunStarted: started,
    PauseRequested: paused,
    ResumeRequested: resumed,
    RunResumed: resumed_from_snapshot,
    AbortRequested: aborted,
    StoreFailed: store_failed,
    DeadlinePassed: deadline_passed,
    ObservationChanged: observation_changed,
    DispatchHeld: held,
    DispatchReleased: released,
}
