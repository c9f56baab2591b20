"""How calls end: with a result, with a failure (then a retry, a recovery, or the end of the run), or interrupted."""

from typing import Final

from blazen_trio.core.calls import Call, Origin
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.dispatch import Dispatcher, Handlers
from blazen_trio.core.effects import SetTimer
from blazen_trio.core.errors import StepFailedError
from blazen_trio.core.events import Event, StepFailedEvent
from blazen_trio.core.ids import RECOVERY_PLACE, derive_id
from blazen_trio.core.messages import (
    Failure,
    SlotGranted,
    StepFailed,
    StepInterrupted,
    StepSucceeded,
    TimerFired,
)
from blazen_trio.core.plans import StepPlan
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage


def succeeded(machine: Dispatcher, message: StepSucceeded) -> None:
    """A call is over: its writes count, its events go on, its slot is free."""
    state, call = machine.state, message.call
    if not machine.take_off(call):
        state.late += 1
        return
    machine.now = message.at
    lane = call.lane
    state.consumed += 1
    state.last_step = call.plan.name
    if call.record is not None:
        _commit(machine, call)
    if machine.is_watched:
        machine.note("step_completed", call)
    if not machine.pass_on(call, message.result):
        _emit(machine, call, message.result)
        if state.outcome is not None:
            return
        machine.close(call)
        machine.settle()
    if lane.waiting:
        machine.refill(lane)


def _commit(machine: Dispatcher, call: Call) -> None:
    record, state = call.recorded(), machine.state
    if record.keys:
        state.values.commit(call, record.keys)
    for event in record.usage:
        state.usage += TokenUsage.from_event(event)
        state.cost_usd += event.cost_usd or 0.0
    child = machine.drop_child(call)
    if child is not None:
        state.usage += child.usage_total()
        state.cost_usd += child.cost_total_usd()
    _withdraw_questions(machine, call)


def _withdraw_questions(machine: Dispatcher, call: Call) -> None:
    """Nobody needs to answer what a call asked that is over."""
    for request_id in () if call.record is None else call.record.asked:
        if request_id in machine.state.questions:
            machine.state.close_question(request_id)


def _emit(machine: Dispatcher, call: Call, result: Event | list[Event] | tuple[Event, ...] | None) -> None:
    """Route what a call returned."""
    if result is None:
        return
    place = 0 if call.record is None else call.record.emissions
    if isinstance(result, Event):
        machine.route_one(result, Origin(call.id, place, call.scope, call.order, call.recoveries))
        return
    items = tuple(result)  # the list is the user's, who may change it while items wait
    fan_out = machine.fan_out_of(call)
    if call.plan.any_many:
        machine.expect(call, fan_out, set(map(type, items)) or (call.plan.fan_types if place == 0 else ()))
    machine.route_items(items, Origin(call.id, place, fan_out, (place,), call.recoveries))


def failed(machine: Dispatcher, message: StepFailed) -> None:
    """A call failed: what it did is undone; then it waits for its next attempt, is recovered, or fails the run."""
    state, call, failure = machine.state, message.call, message.failure
    if call not in state.running:
        state.late += 1
        return
    machine.now = message.at
    record = call.recorded()
    if record.first_at is None:
        record.first_at = call.begun_at
    machine.take_off(call)
    machine.undo(call)
    machine.drop_child(call)
    state.last_step = call.step_name
    machine.note("step_failed", call, error=failure.error)
    if failure.passes:
        machine.fail(failure.exception)
    elif may_retry(call, failure):
        _retry(machine, call, message)
    else:
        _give_up(machine, call, failure)
    machine.refill(call.lane)
    machine.settle()


def may_retry(call: Call, failure: Failure) -> bool:
    """Whether the call is tried again after this failure."""
    retry = call.plan.retry
    return failure.is_retryable and retry is not None and call.attempt <= retry.max_retries


def recovery_of(definition: WorkflowDefinition, call: Call, failure: Failure) -> StepPlan | None:
    """The step that is called in place of a call that has failed for good; ``None``: its run fails."""
    recovery = definition.recoveries[call.plan.index]
    may_recover = recovery is not None and call.recoveries < recovery.max_recoveries and not failure.is_violation
    return recovery if may_recover else None


def error_of(call: Call, failure: Failure, run_id: str) -> StepFailedError:
    """What the run of a call fails with that has failed for good."""
    event: Event | list[Event] = call.event
    event_type = None if isinstance(event, list) else type(event).event_type
    return StepFailedError(call.plan.name, call.attempt, failure.error, event_type, run_id)


def _retry(machine: Dispatcher, call: Call, message: StepFailed) -> None:
    retry = call.plan.retry
    assert retry is not None
    delay_s = retry.delay_s(call.attempt - 1, message.jitter, message.failure.retry_after_s)
    call.attempt += 1
    machine.note("step_retried", call, error=message.failure.error)
    if machine.state.status is RunStatus.PAUSED:
        machine.state.timers[call] = delay_s
    else:
        machine.state.timers[call] = machine.now + delay_s
        machine.effects.append(SetTimer(call, machine.now + delay_s))


def _give_up(machine: Dispatcher, call: Call, failure: Failure) -> None:
    _withdraw_questions(machine, call)
    _leave_collectors(machine, call)
    recovery = recovery_of(machine.definition, call, failure)
    if recovery is not None:
        _recover(machine, call, failure, recovery)
    else:
        machine.fail(error_of(call, failure, machine.state.run_id), failure.exception)


def _leave_collectors(machine: Dispatcher, call: Call) -> None:
    for event_class in () if call.record is None else call.record.collected:
        buffer = machine.state.collectors.get((call.plan.index, event_class), [])
        rest = [entry for entry in buffer if entry[0] is not call]
        machine.state.kept -= len(buffer) - len(rest)
        buffer[:] = rest
    if call.record is not None:
        call.record.collected = set()


def _recover(machine: Dispatcher, call: Call, failure: Failure, plan: StepPlan) -> None:
    """The recovery's call takes the failed one's place: its scope, its order, its fan-out."""
    record = call.recorded()
    assert record.first_at is not None  # noted at its first failure
    elapsed = machine.now - record.first_at
    event = StepFailedEvent(
        step_name=call.step_name,
        event=call.event,
        error_type=failure.error_type,
        message=failure.text,
        attempts=call.attempt,
        elapsed=elapsed,
    )
    lane = machine.state.lanes[plan.index]
    call_id = derive_id(call.id, RECOVERY_PLACE, plan.index)
    recovery = Call(lane, event, call_id, call.scope, call.order, call.recoveries + 1)
    if record.fan_out is not None:
        inherited = recovery.recorded()
        inherited.fan_out, inherited.emissions = record.fan_out, record.emissions
        joins = machine.definition.expected[plan.index]
        record.fan_out.expected = tuple(sorted({*record.fan_out.expected, *joins}))
    machine.enqueue(lane, recovery)


def interrupted(machine: Dispatcher, message: StepInterrupted) -> None:
    """A call was cancelled for a pause: its event goes back, in front of those that wait. No attempt is used up."""
    state, call = machine.state, message.call
    if call not in state.running:
        return
    machine.now = message.at
    put_back(machine, call)
    machine.refill(call.lane)
    machine.settle()


def put_back(machine: Dispatcher, call: Call) -> None:
    """Undo a call that runs and let it wait for its turn again."""
    if machine.take_off(call):
        machine.undo(call)
        call.lane.push_front(call)


def timer_fired(machine: Dispatcher, message: TimerFired) -> None:
    """A call's wait is over: it is the next of its step."""
    state, call = machine.state, message.call
    if state.outcome is not None or state.status is RunStatus.PAUSED or call not in state.timers:
        return
    machine.now = message.at
    del state.timers[call]
    call.lane.push_front(call)
    machine.refill(call.lane)


def slot_granted(machine: Dispatcher, message: SlotGranted) -> None:
    """The shared limiter has a token: the next call of the step takes it; if none does, the runner gives it back."""
    lane = machine.state.lanes[message.step_index]
    lane.slot_asked = False
    if machine.is_stopped or not lane.waiting or lane.running >= lane.limit:
        return
    machine.now = message.at
    machine.start(lane, lane.pop())
    machine.refill(lane)


HANDLERS: Final[Handlers] = {
    StepSucceeded: succeeded,
    StepFailed: failed,
    StepInterrupted: interrupted,
    TimerFired: timer_fired,
    SlotGranted: slot_granted,
}
