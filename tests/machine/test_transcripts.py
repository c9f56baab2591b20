"""Behaviour as text: what happens (``>``) and what the machine orders (``<``), compared with stored transcripts.

To renew them after a change that is meant: ``RENEW_TRANSCRIPTS=1 pytest tests/machine/test_transcripts.py``, then read
the difference as you would read code. Calls are named by their step and, from the second on, a number.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from blazen_trio.core import messages as m
from blazen_trio.core.calls import Call
from blazen_trio.core.effects import Effect, Outcome, StartStep
from blazen_trio.core.events import Event, InputRequestEvent, InputResponseEvent, StartEvent, StepFailedEvent, StopEvent
from blazen_trio.core.machine import Machine
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.state import new_state
from tests.machine.programs import Alpha, Beta, Gamma, Letter, Program, Spec

STORED = Path(__file__).parent / "transcripts"
HIDDEN = {"jitter", "timestamp", "wall_offset", "is_final", "source_step", "call_id", "attempt"}


class Scribe:
    """A run of a few steps, played by hand and written down."""

    def __init__(self, *specs: Spec, **options: Any) -> None:
        program = Program(specs, **{"timeout": None, **options})
        self.machine = Machine(program.definition, new_state(program.definition, "run"))
        self.lines: list[str] = []
        self.calls: dict[str, Call] = {}
        self.now = 0.0
        self.tell(m.RunStarted(0.0, StartEvent(), 0.0))

    def tell(self, message: Any) -> list[Effect]:
        self.lines.append(f"> {self.show(message)}")
        effects = self.machine.handle(message)
        for effect in effects:
            if isinstance(effect, StartStep):
                self._name(effect)
            self.lines.append(f"    < {self.show(effect)}")
        return effects

    def _name(self, call: Call) -> None:
        if call not in self.calls.values():
            count = sum(each.step_name == call.step_name for each in self.calls.values())
            self.calls[call.step_name if not count else f"{call.step_name}{count + 1}"] = call

    def show(self, thing: Any) -> str:
        if isinstance(thing, StartStep):
            return f"StartStep call={self.value(thing)}"
        fields = [
            (field.name, getattr(thing, field.name)) for field in thing.__attrs_attrs__ if field.name not in HIDDEN
        ]
        shown = [f"{name}={self.value(value)}" for name, value in fields if value not in (None, False, ())]
        return f"{type(thing).__name__} {' '.join(shown)}".strip()

    def value(self, value: Any) -> str:
        if isinstance(value, Call):
            name = next((name for name, call in self.calls.items() if call is value), "?")
            return f"{name}({self.value(value.event)})" + (f"#{value.attempt}" if value.attempt > 1 else "")
        if isinstance(value, tuple | list):
            return f"[{', '.join(map(self.value, value))}]"
        if isinstance(value, StepFailedEvent):
            return f"StepFailedEvent({value.step_name}, {value.error_type}, attempts={value.attempts})"
        if isinstance(value, Waiter):
            return f"of {self.value(value.call)}"
        if isinstance(value, Outcome):
            return self.show(value)
        return type(value).__name__ if isinstance(value, Exception) else str(getattr(value, "error_type", value))

    # --- What a story says --------------------------------------------------------------------------------------------

    def returns(self, name: str, result: Any = None) -> None:
        self.tell(m.StepSucceeded(self.calls[name], result, self.now))

    def fails(self, name: str) -> None:
        self.tell(m.StepFailed(self.calls[name], m.Failure("OSError", "", OSError(), is_retryable=True), self.now, 0.0))

    def sends(self, name: str, event: Event) -> None:
        self.tell(m.EventSent(self.calls[name], event, self.now))

    def pauses(self, *unbegun: str, interrupt: bool = False) -> None:
        self.tell(m.PauseRequested(self.now, interrupt, tuple(self.calls[name] for name in unbegun)))

    def resumes(self) -> None:
        self.tell(m.ResumeRequested(self.now))


def a_fan_out_is_joined_in_its_order_with_two_at_a_time() -> Scribe:
    run = Scribe(
        Spec("begin", (StartEvent,), many=(Alpha,)),
        Spec("work", (Alpha,), single=(Beta,), limit=2),
        Spec("join", (Beta,), single=(StopEvent,), is_join=True),
    )
    run.returns("begin", [Alpha(1), Alpha(2), Alpha(3)])
    run.returns("work2", Beta(2))
    run.returns("work3", Beta(3))
    run.returns("work", Beta(1))
    run.returns("join", StopEvent(3))
    run.returns("join", StopEvent(4))
    return run


def a_retry_keeps_its_join_waiting_and_its_time_over_a_pause() -> Scribe:
    run = Scribe(
        Spec("begin", (StartEvent,), many=(Alpha,)),
        Spec("work", (Alpha,), single=(Beta,), retries=1, limit=1),
        Spec("join", (Beta,), single=(StopEvent,), is_join=True),
    )
    run.returns("begin", [Alpha(1), Alpha(2)])
    run.fails("work")
    run.returns("work2", Beta(2))
    run.now = 0.5
    run.pauses()
    run.now = 60.0
    run.resumes()
    run.now = 61.5
    run.tell(m.TimerFired(run.calls["work"], run.now))
    run.returns("work", Beta(1))
    return run


def a_pause_stops_dispatch_and_an_interrupted_call_begins_again() -> Scribe:
    run = Scribe(
        Spec("begin", (StartEvent,), many=(Alpha,)),
        Spec("work", (Alpha,), single=(Beta,), limit=3),
        Spec("end", (Beta,), single=(StopEvent,)),
    )
    run.returns("begin", [Alpha(1), Alpha(2), Alpha(3)])
    run.pauses("work3", interrupt=True)
    run.returns("work", Beta(1))
    run.tell(m.StepInterrupted(run.calls["work2"], run.now))
    run.resumes()
    return run


def a_failure_is_recovered_once_and_then_fails_the_run() -> Scribe:
    run = Scribe(
        Spec("begin", (StartEvent,), single=(Alpha, StopEvent)),
        Spec("work", (Alpha,), single=(StopEvent,)),
        Spec("recover", (StepFailedEvent,), single=(Alpha,)),
    )
    run.returns("begin", Alpha(1))
    run.fails("work")
    run.returns("recover", Alpha(2))
    run.fails("work2")
    return run


def a_stop_overtakes_what_waits_and_late_results_change_nothing() -> Scribe:
    run = Scribe(
        Spec("begin", (StartEvent,), many=(Alpha,)),
        Spec("work", (Alpha,), single=(StopEvent,), limit=2),
    )
    run.returns("begin", [Alpha(1), Alpha(2), Alpha(3)])
    run.returns("work", StopEvent("first"))
    run.returns("work2", StopEvent("second"))
    run.tell(m.EventReceived(Alpha(4), 1.0))
    return run


def a_question_stops_the_clock_and_is_answered_once() -> Scribe:
    run = Scribe(
        Spec("begin", (StartEvent,), single=(InputRequestEvent,)),
        Spec("answered", (InputResponseEvent,), single=(StopEvent,)),
        timeout=10.0,
    )
    run.now = 2.0
    run.returns("begin", InputRequestEvent("Approve?", "q1"))
    run.now = 100.0
    run.tell(m.InputAnswered("q2", "no", run.now))
    run.tell(m.InputAnswered("q1", "yes", run.now))
    run.tell(m.InputAnswered("q1", "yes", run.now))
    run.tell(m.InputAnswered("q1", "no", run.now))
    run.returns("answered", StopEvent("approved"))
    return run


def an_answer_between_two_attempts_reaches_the_one_that_asks_again() -> Scribe:
    run = Scribe(Spec("begin", (StartEvent,), single=(StopEvent,), retries=1))
    run.tell(m.InputRequested(run.calls["begin"], InputRequestEvent("Approve?", "q1"), "task 1", False, run.now))
    run.fails("begin")
    run.tell(m.TimerFired(run.calls["begin"], run.now))
    run.tell(m.InputAnswered("q1", "yes", run.now))
    run.lines.append(
        f"# kept for the call: {run.calls['begin'].recorded().answers}, parked: {run.machine.state.parked}"
    )
    return run


def letters_go_to_those_who_wait_in_turn() -> Scribe:
    run = Scribe(
        Spec("begin", (StartEvent,), many=(Alpha,), single=(StopEvent,)),
        Spec("work", (Alpha,)),
    )
    run.returns("begin", [Alpha(1), Alpha(2)])
    first, second = (Waiter(run.calls[name], Letter, name == "work", name) for name in ("work", "work2"))
    run.tell(m.EventAwaited(first, run.now))
    run.tell(m.EventAwaited(second, run.now))
    run.tell(m.EventReceived(Letter(1), run.now))
    run.tell(m.EventReceived(Letter(2), run.now))
    run.tell(m.EventDeclined(first, run.now))
    run.tell(m.EventReceived(Letter(3), run.now))
    run.tell(m.EventClaimed(first))
    return run


def a_run_with_nothing_left_stalls_and_names_its_open_join() -> Scribe:
    run = Scribe(
        Spec("begin", (StartEvent,), single=(Alpha, StopEvent), many=(Gamma,)),
        Spec("join", (Alpha, Gamma), single=(StopEvent,), is_join=True),
    )
    run.returns("begin", Alpha(1))
    run.lines.append(f"# {run.machine.state.outcome and run.machine.state.outcome.error}")
    return run


STORIES = [
    a_fan_out_is_joined_in_its_order_with_two_at_a_time,
    a_retry_keeps_its_join_waiting_and_its_time_over_a_pause,
    a_pause_stops_dispatch_and_an_interrupted_call_begins_again,
    a_failure_is_recovered_once_and_then_fails_the_run,
    a_stop_overtakes_what_waits_and_late_results_change_nothing,
    a_question_stops_the_clock_and_is_answered_once,
    an_answer_between_two_attempts_reaches_the_one_that_asks_again,
    letters_go_to_those_who_wait_in_turn,
    a_run_with_nothing_left_stalls_and_names_its_open_join,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_machine_acts_as_it_is_written_down(story):
    text = "\n".join(story().lines) + "\n"
    stored = STORED / f"{story.__name__}.txt"
    if os.environ.get("RENEW_TRANSCRIPTS"):
        stored.write_text(text)
    assert text == stored.read_text()


def test_every_transcript_has_its_story():
    assert {path.stem for path in STORED.glob("*.txt")} == {story.__name__ for story in STORIES}
