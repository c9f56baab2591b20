"""Does the model catch bugs? Plants them into the machine, one at a time, and lets the model look.

``python -m tests.machine.planted_bugs`` prints a table and exits with 1 if a bug survives. Each bug lives in a process
of its own. It is planted around the machine's verbs and handlers, not into their text, so that it survives their being
rewritten. Where it can be, a bug keeps the machine's counters consistent: then only the model can see it.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from blazen_trio.core import machine as machine_module
from blazen_trio.core.calls import Lane
from blazen_trio.core.events import StepFailedEvent
from blazen_trio.core.machine import Machine
from blazen_trio.core.mailbox import Mailbox
from blazen_trio.core.messages import (
    DispatchHeld,
    EventClaimed,
    EventDeclined,
    InputAnswered,
    PauseRequested,
    ResumeRequested,
    StepFailed,
    StepInterrupted,
    TimerFired,
)
from blazen_trio.core.scopes import Collection, Scope
from blazen_trio.core.shared_state import SharedState
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from tests.machine.test_machine_model import MachineModel

EXAMPLES_MAX = 1000
"""The same for the control: what the model finds without a bug must not count as caught."""
SURVIVED = 3
"""The exit code of a process in which the model found nothing; 1 is that of a process that broke."""
STEPS_MAX = 50

Around = Callable[..., Any]
"""What takes a verb's place: called with the verb itself and then its arguments."""

NOTHING = "nothing is planted (the model must be content)"
BUGS: dict[str, Callable[[], None]] = {NOTHING: lambda: None}


def bug(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Name a function that plants a bug."""

    def register(plant: Callable[[], None]) -> Callable[[], None]:
        BUGS[name] = plant
        return plant

    return register


def around(owner: Any, name: str) -> Callable[[Around], Around]:
    """Put a function around a method of a class."""

    def plant(wrapper: Around) -> Around:
        verb = getattr(owner, name)
        setattr(owner, name, lambda *args, **kwargs: wrapper(verb, *args, **kwargs))
        return wrapper

    return plant


def around_handler(message_class: type) -> Callable[[Around], Around]:
    """Put a function around the handler of a message."""

    def plant(wrapper: Around) -> Around:
        handler = machine_module.HANDLERS[message_class]
        machine_module.HANDLERS[message_class] = lambda machine, message: wrapper(handler, machine, message)
        return wrapper

    return plant


# --- Slots and queues -------------------------------------------------------------------------------------------------


@bug("a failure does not free its slot")
def _() -> None:
    @around_handler(StepFailed)
    def failed(handler: Around, machine: Any, message: Any) -> None:
        was_running = message.call in machine.state.running
        handler(machine, message)
        message.call.lane.running += was_running


@bug("a limit is one too high")
def _() -> None:
    @around(Lane, "__init__")
    def init(verb: Around, lane: Any, plan: Any) -> None:
        verb(lane, plan)
        lane.limit += 1


@bug("what waits last starts first")
def _() -> None:
    @around(Lane, "pop")
    def pop(verb: Around, lane: Any) -> Any:
        lane.waiting.rotate(1)
        return verb(lane)


@bug("a slot stays idle after an interruption")
def _() -> None:
    @around_handler(StepInterrupted)
    def interrupted(handler: Around, machine: Any, message: Any) -> None:
        was_stopped, machine.is_stopped = machine.is_stopped, True
        handler(machine, message)
        machine.is_stopped = was_stopped or machine.state.outcome is not None


@bug("a reader that holds the run is ignored")
def _() -> None:
    @around_handler(DispatchHeld)
    def held(handler: Around, machine: Any, message: Any) -> None:
        was_stopped = machine.is_stopped
        handler(machine, message)
        machine.is_stopped = was_stopped


@bug("a StopEvent is dropped while others wait for slots")
def _() -> None:
    @around(Machine, "complete")
    def complete(verb: Around, machine: Any, event: Any) -> None:
        if not any(lane.waiting for lane in machine.state.lanes):
            verb(machine, event)


# --- Failures, retries, recoveries ------------------------------------------------------------------------------------


@bug("a failed call's writes stay")
def _() -> None:
    @around(Machine, "undo")
    def undo(verb: Around, machine: Any, call: Any) -> None:
        keys = set() if call.record is None else call.record.keys
        if keys:
            machine.state.values.commit(call, keys)
        verb(machine, call)


@bug("an undo takes the latest write, whosever it is")
def _() -> None:
    @around(SharedState, "undo")
    def undo(verb: Around, values: Any, owner: Any, keys: Any) -> None:
        for key in keys:
            pile = values.layers.get(key, ())
            verb(values, pile[-1][0] if pile else owner, [key])


@bug("a success covers a later write")
def _() -> None:
    @around(SharedState, "commit")
    def commit(verb: Around, values: Any, owner: Any, keys: Any) -> None:
        for key in keys:
            mine = [value for writer, value in values.layers.get(key, ()) if writer is owner]
            if mine:
                values.write(owner, key, mine[0])
        verb(values, owner, keys)


@bug("usage of a failed attempt is kept")
def _() -> None:
    @around(Machine, "undo")
    def undo(verb: Around, machine: Any, call: Any) -> None:
        for event in () if call.record is None else call.record.usage:
            machine.state.usage += TokenUsage.from_event(event)
        verb(machine, call)


@bug("an interruption counts as an attempt")
def _() -> None:
    @around_handler(StepInterrupted)
    def interrupted(handler: Around, machine: Any, message: Any) -> None:
        if message.call in machine.state.running:
            message.call.attempt += 1
        handler(machine, message)


@bug("an interrupted call loses its event")
def _() -> None:
    @around_handler(StepInterrupted)
    def interrupted(handler: Around, machine: Any, message: Any) -> None:
        call = message.call
        handler(machine, message)
        if call in (call.lane.waiting or ()):
            call.lane.waiting.remove(call)
            machine.state.alive -= 1
            call.scope.active -= 1


@bug("a timer starts anew after a pause")
def _() -> None:
    @around_handler(PauseRequested)
    def paused(handler: Around, machine: Any, message: Any) -> None:
        was_paused = machine.state.status is RunStatus.PAUSED
        handler(machine, message)
        for call in () if was_paused else machine.state.timers:
            machine.state.timers[call] = call.plan.retry.delay_s(call.attempt - 2, 0.0)


@bug("recoveries are not counted")
def _() -> None:
    @around(Machine, "enqueue")
    def enqueue(verb: Around, machine: Any, lane: Any, call: Any) -> None:
        if isinstance(call.event, StepFailedEvent):
            call.recoveries = 0
        verb(machine, lane, call)


@bug("a retried call gets another id")
def _() -> None:
    @around_handler(TimerFired)
    def fired(handler: Around, machine: Any, message: Any) -> None:
        message.call.id += 1
        handler(machine, message)


@bug("alive drifts when a timer fires")
def _() -> None:
    @around_handler(TimerFired)
    def fired(handler: Around, machine: Any, message: Any) -> None:
        machine.state.alive += message.call in machine.state.timers
        handler(machine, message)


# --- Fan-outs ---------------------------------------------------------------------------------------------------------


@bug("a join is called twice")
def _() -> None:
    @around(Scope, "due_joins")
    def due_joins(verb: Around, scope: Any) -> list[Any]:
        due = verb(scope)
        return [*due, *due[:1]]


@bug("a join with nothing to join is not called")
def _() -> None:
    @around(Scope, "due_joins")
    def due_joins(verb: Around, scope: Any) -> list[Any]:
        return [join for join in verb(scope) if join in (scope.collected or ())]


@bug("a join does not wait for a retry")
def _() -> None:
    @around_handler(StepFailed)
    def failed(handler: Around, machine: Any, message: Any) -> None:
        handler(machine, message)
        if message.call in machine.state.timers:
            machine.leave(message.call.scope)

    @around_handler(TimerFired)
    def fired(handler: Around, machine: Any, message: Any) -> None:
        message.call.scope.active += 1
        handler(machine, message)


@bug("a fan-out inside another is not counted")
def _() -> None:
    @around(Machine, "fan_out_of")
    def fan_out_of(verb: Around, machine: Any, call: Any) -> Any:
        is_new = call.fan_out is None
        fan_out = verb(machine, call)
        call.scope.active -= is_new and call.scope.parent is not None
        return fan_out


@bug("a join gets its items in the order of their coming")
def _() -> None:
    @around(Collection, "in_order")
    def in_order(_verb: Around, collection: Any) -> list[Any]:
        return list(collection.events)


# --- Pauses -----------------------------------------------------------------------------------------------------------


@bug("a pause routes what is emitted")
def _() -> None:
    for name in ("route_one", "route_items"):

        @around(Machine, name)
        def route(verb: Around, machine: Any, *args: Any) -> None:
            was_paused = machine.state.status is RunStatus.PAUSED
            if was_paused:
                machine.state.status = RunStatus.RUNNING
            verb(machine, *args)
            if was_paused and machine.state.outcome is None:
                machine.state.status = RunStatus.PAUSED


@bug("what was emitted last in a pause is lost")
def _() -> None:
    @around_handler(ResumeRequested)
    def resumed(handler: Around, machine: Any, message: Any) -> None:
        if machine.state.queue and machine.state.status is RunStatus.PAUSED:
            emission = machine.state.queue.pop()
            machine.state.alive -= 1
            machine.state.queued -= len(emission.events) - 1
            machine.leave(emission.origin.scope)
        handler(machine, message)


# --- Mail and questions -----------------------------------------------------------------------------------------------


@bug("one event goes to two waiters")
def _() -> None:
    @around(Mailbox, "claim")
    def claim(verb: Around, mailbox: Any, waiter: Any) -> None:
        mail = waiter.offered
        verb(mailbox, waiter)
        if mail is not None:
            mailbox.put(mail.event)


@bug("a declined event is offered to nobody else")
def _() -> None:
    _without_delivery_after(EventDeclined)


@bug("who waits behind a decision is forgotten when it is made")
def _() -> None:
    _without_delivery_after(EventClaimed)


def _without_delivery_after(message_class: type) -> None:
    muted: list[bool] = []

    @around(Machine, "deliver")
    def deliver(verb: Around, machine: Any, event_class: Any) -> None:
        if not muted:
            verb(machine, event_class)

    @around_handler(message_class)
    def handle(handler: Around, machine: Any, message: Any) -> None:
        muted.append(True)
        handler(machine, message)
        muted.clear()


@bug("a later waiter gets what steps took long ago")
def _() -> None:
    @around(Mailbox, "put")
    def put(verb: Around, mailbox: Any, event: Any, **_: Any) -> None:
        verb(mailbox, event)


@bug("an answer wakes the task of an earlier attempt")
def _() -> None:
    @around(Machine, "take_off")
    def take_off(verb: Around, machine: Any, call: Any) -> Any:
        tokens = {name: question.token for name, question in machine.state.questions.items()}
        found = verb(machine, call)
        for name, token in tokens.items():
            machine.state.questions[name].token = token
        return found


@bug("a question can be answered again")
def _() -> None:
    @around_handler(InputAnswered)
    def answered(handler: Around, machine: Any, message: Any) -> None:
        if message.request_id not in machine.state.answered:
            handler(machine, message)


@bug("a stall is not seen")
def _() -> None:
    @around(Machine, "settle")
    def settle(verb: Around, machine: Any) -> None:
        if machine.state.alive:
            verb(machine)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# --- Looking ----------------------------------------------------------------------------------------------------------


class CountedModel(MachineModel):
    """The model, with a count of its examples."""

    examples = 0

    def __init__(self) -> None:
        super().__init__()
        CountedModel.examples += 1


@contextmanager
def _one_line() -> Iterator[None]:
    """Tell in one line what the model found."""
    try:
        yield
    except Exception as error:
        text = str(error).partition("\n")[0][:60]
        say(f"after {CountedModel.examples} examples: {type(error).__name__} {text}")
    else:
        say(f"nothing found in {CountedModel.examples} examples")
        sys.exit(SURVIVED)


def look(name: str) -> None:
    """Plant one bug and let the model look for it."""
    BUGS[name]()
    chosen = settings(
        max_examples=EXAMPLES_MAX,
        stateful_step_count=STEPS_MAX,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with _one_line():
        run_state_machine_as_test(CountedModel, settings=chosen)


def main() -> int:
    """Look for every bug, each in its own process; give the exit code."""
    survivors = 0
    for name in BUGS:
        begun = time.monotonic()
        command = [sys.executable, "-m", "tests.machine.planted_bugs", "--plant", name]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        found = process.stdout.strip().splitlines() or process.stderr.strip().splitlines()
        survivors += process.returncode != (SURVIVED if name == NOTHING else 0)
        say(f"{name:<58} {time.monotonic() - begun:5.1f} s  {found[-1]}")
    say(f"{len(BUGS) - survivors} of {len(BUGS)} as it should be")
    return 1 if survivors else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plant", choices=sorted(BUGS), help="plant one bug in this process and let the model look")
    planted = parser.parse_args().plant
    if planted is None:
        sys.exit(main())
    look(planted)
