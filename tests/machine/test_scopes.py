"""Fan-outs and their joins: what is collected, in which order, and which joins are due when nothing is left."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.core.effects import Finish, Publish, StartStep
from blazen_trio.core.events import StartEvent, StepFailedEvent, StopEvent
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import EventSent, Failure, ObservationChanged, RunStarted, StepFailed, StepSucceeded
from blazen_trio.core.scopes import Collection, Scope
from blazen_trio.core.state import new_state
from tests.machine.programs import Alpha, Beta, Gamma, Letter, Program, Spec, Stray

orders = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple), max_size=20)


@given(orders)
def test_items_come_in_the_order_of_the_fan_out_and_none_is_lost(places):
    collection = Collection()
    for number, place in enumerate(places):
        collection.add(Alpha(number), number, place, 0)
    events: list[Any] = list(collection.in_order())
    assert [places[event.n] for event in events] == sorted(places)
    assert sorted(event.n for event in events) == list(range(len(places)))


@given(st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)))
def test_due_are_the_joins_with_items_and_the_expected_ones_that_did_not_run_inside(expected, collected, inside):
    outer = Scope(Scope())
    outer.expected = tuple(sorted(expected))
    inner = Scope(outer)
    for join in inside:
        inner.mark_joined(join)
    for join in collected:
        outer.collection(join).add(Alpha(0), 0, (0,), 0)
    assert outer.due_joins() == sorted(collected | (expected - inside))


NESTED = Program(
    [
        Spec("begin", (StartEvent,), many=(Alpha,)),
        Spec("split", (Alpha,), many=(Beta,)),
        Spec("inner", (Beta,), single=(Gamma,), is_join=True),
        Spec("outer", (Gamma,), single=(StopEvent,), is_join=True),
    ]
)


class Play:
    """A worker that ends the call that it is told to end."""

    def __init__(self, program: Program) -> None:
        self.machine = Machine(program.definition, new_state(program.definition, "run"))
        self.ready: list[Any] = []
        self.tell(RunStarted(0.0, StartEvent(), 0.0))

    def tell(self, message):
        self.ready += [effect for effect in self.machine.handle(message) if isinstance(effect, StartStep)]

    def end(self, step, result, which=0):
        call = [call for call in self.ready if call.step_name == step][which]
        self.ready.remove(call)
        self.tell(StepSucceeded(call, result, 0.0))

    def waiting(self):
        return [(call.step_name, call.event) for call in self.ready]


def test_the_innermost_joins_run_first():
    play = Play(NESTED)
    play.end("begin", [Alpha(1), Alpha(2)])
    play.end("split", [Beta(1), Beta(2)])
    assert ("inner", [Beta(1), Beta(2)]) in play.waiting()
    play.end("inner", Gamma(1))
    assert play.waiting() == [("split", Alpha(2))]
    play.end("split", [])
    assert play.waiting() == [("inner", [])]
    play.end("inner", Gamma(2))
    assert play.waiting() == [("outer", [Gamma(1), Gamma(2)])]


def test_an_empty_fan_out_is_joined_once_by_the_nearest_join():
    play = Play(NESTED)
    play.end("begin", [])
    assert len(play.waiting()) == 1


def test_when_all_branches_end_in_nothing_the_outer_join_still_runs():
    play = Play(NESTED)
    play.end("begin", [Alpha(1)])
    play.end("split", [Beta(1)])
    play.end("inner", None)
    assert play.waiting() == [("outer", [])]


@given(st.permutations(range(5)))
def test_a_join_gets_its_items_in_the_order_of_the_list_however_they_end(order):
    program = Program(
        [
            Spec("begin", (StartEvent,), many=(Alpha,)),
            Spec("work", (Alpha,), single=(Beta,)),
            Spec("join", (Beta,), single=(StopEvent,), is_join=True),
        ]
    )
    play = Play(program)
    play.end("begin", [Alpha(n) for n in range(5)])
    for n in order:
        which = [call.event.n for call in play.ready].index(n)
        play.end("work", Beta(n), which)
    assert play.waiting() == [("join", [Beta(n) for n in range(5)])]


def test_a_recovery_that_goes_on_with_a_fan_out_brings_its_own_joins():
    """The failed call had sent an event; of what its recovery may send there is none, so the join of that is called."""
    program = Program(
        [
            Spec("begin", (StartEvent,), many=(Alpha,)),
            Spec("work", (Alpha,), single=(StopEvent,)),
            Spec("recover", (StepFailedEvent,), sends=(Beta,)),
            Spec("join", (Beta,), single=(StopEvent,), is_join=True),
        ]
    )
    play = Play(program)
    play.end("begin", [Alpha(1), Alpha(2)])
    work = play.ready.pop(0)
    play.tell(EventSent(work, Letter(1), 0.0))
    play.tell(StepFailed(work, Failure("E", "", ValueError()), 0.0, 0.0))
    play.end("recover", None)
    assert play.waiting() == [("work", Alpha(2)), ("join", [])]


def test_several_errors_in_one_fan_out_end_the_run_once():
    """Whoever reads the stream sees one end."""
    program = Program([Spec("begin", (StartEvent,), single=(StopEvent,))])
    play = Play(program)
    play.tell(ObservationChanged(is_observed=True))
    effects: list[Any] = play.machine.handle(StepSucceeded(play.ready[0], [Stray(1), Gamma(2), Stray(3)], 0.0))
    published: list[Any] = [effect.event for effect in effects if isinstance(effect, Publish)]
    assert [event.kind for event in published].count("run_failed") == 1
    assert [type(effect) for effect in effects].count(Finish) == 1
    assert type(effects[-1]) is Finish
