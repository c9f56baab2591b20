"""What a call does while it runs: values, stream items, usage, progress, collectors, results of ``once``.

A call that does not run any more (the run is over, or the call was taken back) changes nothing: what it does is late.
"""

from typing import Final

from blazen_trio.core.calls import Call
from blazen_trio.core.dispatch import Dispatcher, Handlers
from blazen_trio.core.effects import Reject, Reply
from blazen_trio.core.errors import EventLimitError, RunClosedError
from blazen_trio.core.messages import (
    AnswerKept,
    EventCollected,
    OnceRecorded,
    ProgressReported,
    StateWritten,
    StreamWritten,
    UsageReported,
)


def is_late(machine: Dispatcher, call: Call) -> bool:
    """Whether a call does not count any more; counted if so."""
    if call in machine.state.running:
        return False
    machine.state.late += 1
    return True


def is_closed(machine: Dispatcher, verb: str) -> bool:
    """Whether the run is over; what was asked of it (``verb``) is rejected then."""
    state = machine.state
    if state.outcome is None:
        return False
    machine.effects.append(Reject(RunClosedError(verb, state.status.value, state.run_id)))
    return True


def state_written(machine: Dispatcher, message: StateWritten) -> None:
    """Set or delete a key for everybody, until the call fails."""
    if is_late(machine, message.call):
        return
    message.call.recorded().keys.add(message.key)
    machine.state.values.write(message.call, message.key, message.value)


def stream_written(machine: Dispatcher, message: StreamWritten) -> None:
    """Publish an event and remember that the call did."""
    call, event = message.call, message.event
    if call not in machine.state.running and is_late(machine, call):
        return
    written = (call.record or call.recorded()).written
    limit = machine.definition.options.max_pending_events
    if len(written) >= limit:
        error = EventLimitError("stream items of one call", limit, call.step_name, machine.state.run_id)
        machine.effects.append(Reject(error))
        return
    machine.now = message.at
    written.append(event)
    machine.publish(event, call)


def once_recorded(machine: Dispatcher, message: OnceRecorded) -> None:
    """Keep the result for a repeated call."""
    if not is_late(machine, message.call):
        message.call.recorded().once[message.name] = message.result


def answer_kept(machine: Dispatcher, message: AnswerKept) -> None:
    """Keep an answer for a repeated call, and for a run inside that is begun anew."""
    if is_late(machine, message.call):
        return
    message.call.recorded().answers[message.request_id] = message.response
    if machine.state.nesting is not None:
        machine.state.answered[message.request_id] = message.response


def usage_reported(machine: Dispatcher, message: UsageReported) -> None:
    """Count usage, for as long as the call does not fail, and publish it."""
    if is_late(machine, message.call):
        return
    machine.now = message.at
    message.call.recorded().usage.append(message.event)
    machine.publish(message.event, message.call)


def progress_reported(machine: Dispatcher, message: ProgressReported) -> None:
    """Publish how far a call is; the last report is the run's ``progress``."""
    if is_late(machine, message.call):
        return
    machine.now = message.at
    machine.state.progress = message.event
    machine.publish(message.event, message.call)


def event_collected(machine: Dispatcher, message: EventCollected) -> None:
    """Add the call's event to its buffer, once; reply with the events of a full buffer, or ``None``."""
    call, event_class = message.call, message.event_class
    if is_late(machine, call):
        machine.effects.append(Reply(None))
        return
    record = call.recorded()
    buffer = machine.state.collectors.setdefault((call.plan.index, event_class), [])
    if event_class not in record.collected:
        record.collected.add(event_class)
        buffer.append((call, call.event))
        machine.state.kept += 1
    if len(buffer) < message.count or event_class in record.taken:
        machine.effects.append(Reply(None))
        return
    taken = record.taken[event_class] = buffer[: message.count]
    del buffer[: message.count]
    machine.state.kept -= len(taken)
    machine.effects.append(Reply([event for _, event in taken]))


HANDLERS: Final[Handlers] = {
    StateWritten: state_written,
    StreamWritten: stream_written,
    OnceRecorded: once_recorded,
    AnswerKept: answer_kept,
    UsageReported: usage_reported,
    ProgressReported: progress_reported,
    EventCollected: event_collected,
}
