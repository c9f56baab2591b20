"""Ids come from descent: the same program has the same calls, ids and results in whatever order its calls end."""

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.core.calls import Call
from blazen_trio.core.effects import Finish, RequestSlot, SetTimer, StartStep
from blazen_trio.core.events import Event, StartEvent, StepFailedEvent
from blazen_trio.core.ids import JOIN_PLACE, RECOVERY_PLACE, ROOT_ID, derive_id, format_id
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import (
    EventSent,
    Failure,
    Message,
    RunStarted,
    SlotGranted,
    StepFailed,
    StepSucceeded,
    TimerFired,
)
from blazen_trio.core.state import new_state
from tests.machine.programs import WORK, Program, programs

CALLS_MAX = 300


class Life:
    """A run whose workers do what the call's own id tells them, in an order that is given."""

    def __init__(self, program: Program, order: list[int]) -> None:
        self.program = program
        self.order = order
        self.machine = Machine(program.definition, new_state(program.definition, "run"))
        self.ready: list[Call] = []
        self.sleeping: list[Call] = []
        self.ends: list[Any] = []
        self.seen: dict[int, tuple[str, str, str]] = {}
        self.tell(RunStarted(0.0, StartEvent(3), 0.0))

    def tell(self, message: Message) -> None:
        for effect in self.machine.handle(message):
            if isinstance(effect, StartStep):
                self.ready.append(effect)
            elif isinstance(effect, SetTimer):
                self.sleeping.append(effect.call)
            elif isinstance(effect, RequestSlot):
                self.tell(SlotGranted(effect.lane.plan.index, 0.0))
            elif isinstance(effect, Finish):
                self.ends.append((type(effect.outcome.error), effect.outcome.event))

    def live(self) -> None:
        turn = 0
        while (self.ready or self.sleeping) and not self.ends and len(self.seen) < CALLS_MAX:
            things: list[Call] = [*self.ready, *self.sleeping]
            call = things[self.order[turn % len(self.order)] % len(things)]
            turn += 1
            if call in self.sleeping:
                self.sleeping.remove(call)
                self.tell(TimerFired(call, 0.0))
            else:
                self.ready.remove(call)
                self.work(call)

    def work(self, call: Call) -> None:
        chance = random.Random(call.id * 31 + call.attempt)
        spec = self.program.specs[call.plan.index]
        fuel = self.fuel(call.event) - 1
        can_recover = self.program.recovery_of(call.plan.index) is not None and call.recoveries == 0
        if chance.random() < 0.3 and ((spec.retries is not None and call.attempt <= spec.retries) or can_recover):
            self.tell(StepFailed(call, Failure("E", "", ValueError(), is_retryable=True), 0.0, 0.0))
            return
        many = [cls for cls in spec.many if cls in WORK]
        single = [cls for cls in spec.single if cls in WORK]
        if fuel >= 0 and spec.sends and chance.random() < 0.5:
            self.tell(EventSent(call, self.event(chance, spec.sends, fuel), 0.0))
        result: Any = None
        if fuel >= 0 and many and chance.random() < 0.7:
            result = [self.event(chance, many, fuel) for _ in range(chance.randint(0, 3))]
        elif fuel >= 0 and single:
            result = self.event(chance, single, fuel)
        assert call.id not in self.seen, "one id, two calls"
        self.seen[call.id] = (call.step_name, repr(call.event), repr(result))
        self.tell(StepSucceeded(call, result, 0.0))

    def event(self, chance: random.Random, classes: Sequence[Any], fuel: int) -> Event:
        made: Event = chance.choice(classes)(fuel)
        return made

    def fuel(self, event: Any) -> int:
        """What is left for descendants, so that every program comes to an end."""
        if isinstance(event, StepFailedEvent):
            return self.fuel(event.event) - 1
        if isinstance(event, list):
            return min([each.n for each in event], default=0)
        return int(event.data if isinstance(event, StartEvent) else event.n)


orders = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


@given(programs(), orders, orders)
def test_the_same_program_has_the_same_ids_and_results_in_every_order(program, one, other):
    lives = [Life(program, order) for order in (one, other)]
    for life in lives:
        life.live()
    first, second = lives
    if first.ends and second.ends:  # neither was too long
        assert first.seen == second.seen
        assert first.ends == second.ends


places = st.integers(0, 2**40) | st.sampled_from([JOIN_PLACE, RECOVERY_PLACE])
descents = st.lists(st.tuples(places, st.integers(0, 50)), max_size=6)


def _id_of(descent: list[tuple[int, int]]) -> int:
    found = ROOT_ID
    for place, step in descent:
        found = derive_id(found, place, step)
    return found


@given(st.lists(descents, max_size=8, unique_by=tuple))
def test_different_descents_have_different_ids(several):
    assert len({_id_of(descent) for descent in several}) == len(several)


def test_a_large_fan_out_of_fan_outs_has_as_many_ids_as_calls():
    outer = [derive_id(ROOT_ID, place, 1) for place in range(300)]
    inner = {derive_id(parent, place, step) for parent in outer for place in range(100) for step in (1, 2)}
    assert len(inner) == 300 * 100 * 2
    assert not inner & set(outer)


def test_an_id_is_written_as_32_hexadecimal_digits():
    assert format_id(255) == "0" * 30 + "ff"
