"""The machine is total: no message raises, in whatever state it comes, even one that no runner would ever send."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazen_trio.core import messages as m
from blazen_trio.core.calls import Call
from blazen_trio.core.effects import Effect, Finish, OfferEvent, StartStep
from blazen_trio.core.events import InputRequestEvent, ProgressEvent, StartEvent, StopEvent, UsageEvent
from blazen_trio.core.machine import HANDLERS, Machine
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.state import new_state
from blazen_trio.core.status import Rest
from tests.budget import share
from tests.machine.programs import WORK, Letter, Program, Stray, programs

things = st.tuples(
    st.sampled_from(sorted(HANDLERS, key=lambda each: each.__name__)), st.integers(0, 99), st.integers(0, 9)
)
common = st.sampled_from([m.StepSucceeded, m.StepSucceeded, m.StepFailed, m.EventSent, m.TimerFired])
messages = st.lists(things | st.tuples(common, st.integers(0, 99), st.integers(0, 9)), max_size=60)


class Chaos:
    """Makes a message of any class out of two numbers and whatever was seen so far."""

    def __init__(self, program: Program) -> None:
        self.machine = Machine(program.definition, new_state(program.definition, "run"))
        self.calls: list[Call] = []
        self.waiters: list[Waiter] = []
        self.finished = 0

    def tell(self, message: Any) -> list[Effect]:
        effects = self.machine.handle(message)
        self.calls += [effect for effect in effects if isinstance(effect, StartStep)]
        self.waiters += [effect.waiter for effect in effects if isinstance(effect, OfferEvent)]
        self.finished += sum(isinstance(effect, Finish) for effect in effects)
        return effects

    def event(self, kind: int) -> Any:
        classes: list[Any] = [*WORK, Letter, Stray, StopEvent, InputRequestEvent]
        cls = classes[kind % len(classes)]
        return InputRequestEvent("?", f"q{kind % 3}") if cls is InputRequestEvent else cls(kind)

    def make(self, cls: Any, which: int, kind: int) -> Any:
        call = self.calls[which % len(self.calls)]
        if cls in (m.EventAwaited, m.EventClaimed, m.EventDeclined, m.WaitEnded):
            if cls is m.EventAwaited or not self.waiters:
                self.waiters.append(Waiter(call, (Letter, WORK[0])[kind % 2], bool(kind % 3), object()))
            waiter = self.waiters[which % len(self.waiters)]
            return cls(waiter) if cls is m.EventClaimed else cls(waiter, 0.0)
        known = {
            "at": which / 10,
            "call": call,
            "event": self.special(cls, kind),
            "result": [None, self.event(kind), [], [self.event(kind), self.event(which)], (self.event(which),)][
                which % 5
            ],
            "failure": m.Failure("E", "", ValueError(), is_retryable=bool(kind % 3), is_violation=kind == 9),
            "jitter": 0.5,
            "step_index": which % len(self.machine.state.lanes),
            "key": "xy"[kind % 2],
            "value": kind,
            "name": "once",
            "request_id": f"q{kind % 4}",
            "response": which % 2,
            "event_class": (Letter, *WORK)[kind % 3],
            "count": 1 + kind % 3,
            "token": object(),
            "is_final": False,
            "interrupt": bool(kind % 2),
            "unbegun": tuple(self.calls[which % len(self.calls) :][:2]),
            "reason": None,
            "is_observed": bool(kind % 2),
            "error": ValueError(),
            "source_step": (None, "inner")[kind % 2],
            "call_id": which,
            "attempt": 1,
            "rest": list(Rest)[kind % 3],
            "wall_offset": 0.0,
        }
        return cls(**{field.name: known[field.name] for field in cls.__attrs_attrs__})

    def special(self, cls: Any, kind: int) -> Any:
        made: dict[type, Any] = {
            m.UsageReported: UsageEvent(total_tokens=kind),
            m.ProgressReported: ProgressEvent(kind),
            m.InputRequested: InputRequestEvent("?", f"q{kind % 4}"),
        }
        return made.get(cls) or self.event(kind)


def _live(program: Program, sent: list[tuple[Any, int, int]]) -> None:
    chaos = Chaos(program)
    chaos.tell(m.RunStarted(0.0, StartEvent(), 0.0))
    for cls, which, kind in sent:
        if cls not in (m.RunStarted, m.RunResumed) and chaos.calls:
            chaos.tell(chaos.make(cls, which, kind))
    assert chaos.finished <= 1 + sum(cls is m.StoreFailed for cls, *_ in sent)  # which says that an end was none


@given(programs(), messages)
def test_no_message_raises_and_a_run_ends_at_most_once(program, sent):
    _live(program, sent)


@pytest.mark.slow
@settings(max_examples=share(5000))
@given(programs(), messages)
def test_no_message_raises_for_long(program, sent):
    _live(program, sent)
