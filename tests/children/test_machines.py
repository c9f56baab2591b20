"""Two machines, one inside a call of the other, played by hand without Trio: what each tells the other, and when."""

from typing import Any

import pytest

from blazen_trio import InputRequestEvent, LifecycleEvent, ProgressEvent, StopEvent, UsageEvent, Workflow
from blazen_trio.core import messages as m
from blazen_trio.core.calls import Call
from blazen_trio.core.effects import Effect, Finish, Publish, Reject, StartStep, TellRest, TellRun, WakeTask
from blazen_trio.core.events import StartEvent
from blazen_trio.core.machine import Machine
from blazen_trio.core.state import RunState, new_state
from blazen_trio.core.status import Rest, RunStatus
from tests.children.stories import Answer, Mark, Query, approve, child_of, parent_of


class Tree:
    """A run with one inside its only call, up to where the step inside runs."""

    def __init__(self, child: Workflow, **options: Any) -> None:
        workflow = parent_of(child, **options)
        self.outer = Machine(workflow, new_state(workflow, "run"))
        self.call = self._started(self.outer.handle(m.RunStarted(0.0, StartEvent(), 0.0)))
        self.call = self._started(self.outer.handle(m.StepSucceeded(self.call, [Query(1)], 0.0)))
        self.outer.handle(m.ChildStarted(self.call, StartEvent()))
        self.inner = Machine(child, self.state_inside)
        self.inside = self._started(self.told(m.RunResumed(0.0, 0.0)))

    @property
    def state_inside(self) -> RunState:
        assert self.outer.state.children is not None
        return self.outer.state.children[self.call]

    def told(self, message: Any) -> list[Effect]:
        """The run inside takes a message in, and what it tells the one around it is told there."""
        effects = self.inner.handle(message)
        for effect in effects:
            if isinstance(effect, TellRest):
                self.outer.handle(m.ChildRested(self.call, effect.rest, 0.0))
        return effects

    def asks(self) -> None:
        self.told(m.InputRequested(self.inside, InputRequestEvent("?", request_id="id"), "token", True, 0.0))

    def answered(self, response: object) -> list[Effect]:
        """The answer comes in outside; gives what is done for the run inside."""
        effects = self.outer.handle(m.InputAnswered("id", response, 0.0))
        passed_on = [effect for effect in effects if isinstance(effect, TellRun)]
        return [each for effect in passed_on for each in self.told(effect.message)] or effects

    @staticmethod
    def _started(effects: list[Effect]) -> Call:
        (call,) = [effect for effect in effects if isinstance(effect, StartStep)]
        return call


@pytest.fixture
def tree() -> Tree:
    return Tree(child_of(approve))


def test_a_run_inside_begins_with_its_first_event_at_once(tree: Tree) -> None:
    assert tree.state_inside.run_id == f"run/{tree.call.id:032x}"
    assert tree.inside.step_name == "approve"
    assert tree.outer.state.parked == 0


def test_a_question_lets_the_run_around_rest_and_its_answer_finds_the_way_in(tree: Tree) -> None:
    tree.asks()
    state = tree.outer.state
    assert (state.status, state.asking, state.parked, list(state.questions)) == (RunStatus.AWAITING_INPUT, 1, 1, ["id"])

    (wake,) = [effect for effect in tree.answered(5) if isinstance(effect, WakeTask)]
    assert (wake.token, wake.value) == ("token", 5)
    assert (state.status, state.asking, state.parked, dict(state.questions)) == (RunStatus.RUNNING, 0, 0, {})
    assert tree.answered(5) == []
    assert [type(effect) for effect in tree.answered(6)] == [Reject]


def test_a_pause_waits_for_the_run_inside_until_that_is_quiet(tree: Tree) -> None:
    tree.outer.handle(m.PauseRequested(0.0, False, ()))
    tree.told(m.PauseRequested(0.0, False, ()))
    assert tree.outer.state.parked == 0

    effects = tree.told(m.StepSucceeded(tree.inside, StopEvent({"number": 1}), 0.0))
    assert [effect.rest for effect in effects if isinstance(effect, TellRest)] == [Rest.QUIET]
    assert tree.outer.state.parked == 1

    tree.outer.handle(m.ResumeRequested(0.0))
    effects = tree.told(m.ResumeRequested(0.0))
    assert any(isinstance(effect, Finish) for effect in effects)


def test_it_is_told_only_when_it_changes(tree: Tree) -> None:
    tree.asks()
    effects = tree.told(m.InputRequested(tree.inside, InputRequestEvent("?", request_id="2"), "t", True, 0.0))
    assert not any(isinstance(effect, TellRest) for effect in effects)


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (Mark("x"), Mark("x")),
        (UsageEvent(total_tokens=1), UsageEvent(total_tokens=1)),
        (ProgressEvent(1, step_name="approve"), ProgressEvent(1, step_name="inside/approve")),
        (LifecycleEvent("step_started", "approve"), LifecycleEvent("step_started", "inside/approve")),
        (LifecycleEvent("event_routed"), LifecycleEvent("event_routed")),
    ],
)
def test_what_it_publishes_bears_both_names(tree: Tree, event: Any, shown: Any) -> None:
    message = m.ChildPublished(tree.call, event, "approve", tree.inside.id, 2, 0.0)
    (effect,) = tree.outer.handle(message)
    assert isinstance(effect, Publish)
    assert (effect.event, effect.source_step, effect.attempt, effect.seq) == (shown, "inside/approve", 2, 1)
    assert effect.envelope().call_id == f"{tree.call.id:032x}/{tree.inside.id:032x}"


def test_what_the_run_inside_publishes_itself_is_its_steps(tree: Tree) -> None:
    (effect,) = tree.outer.handle(m.ChildPublished(tree.call, Mark("x"), None, None, None, 0.0))
    assert isinstance(effect, Publish)
    assert (effect.source_step, effect.envelope().call_id) == ("inside", f"{tree.call.id:032x}")


def test_usage_inside_counts_with_the_success_of_the_step(tree: Tree) -> None:
    tree.told(m.UsageReported(tree.inside, UsageEvent(total_tokens=3), 0.0))
    state = tree.outer.state
    assert (state.usage.total_tokens, state.usage_total().total_tokens) == (0, 3)

    tree.told(m.StepSucceeded(tree.inside, StopEvent({"number": 1}), 0.0))
    tree.outer.handle(m.StepSucceeded(tree.call, Answer(1), 0.0))
    assert (state.usage.total_tokens, state.usage_total().total_tokens, state.children) == (3, 3, {})


def test_an_interrupted_call_keeps_its_run_and_a_failed_one_loses_it(tree: Tree) -> None:
    tree.asks()
    tree.outer.handle(m.PauseRequested(0.0, True, ()))
    tree.told(m.PauseRequested(0.0, False, ()))
    tree.outer.handle(m.StepInterrupted(tree.call, 0.0))
    kept = tree.state_inside
    assert list(tree.outer.state.questions) == ["id"]

    effects = tree.outer.handle(m.ResumeRequested(0.0))
    assert tree.call in effects
    assert tree.state_inside is kept
    tree.outer.handle(m.StepFailed(tree.call, m.Failure("OSError", "", OSError()), 0.0, 0.0))
    assert not tree.outer.state.children
    assert dict(tree.outer.state.questions) == {}


def test_what_comes_of_a_run_inside_after_its_call_changes_nothing(tree: Tree) -> None:
    tree.outer.handle(m.AbortRequested(0.0, None))
    for message in (
        m.ChildStarted(tree.call, StartEvent()),
        m.ChildPublished(tree.call, Mark("late"), None, None, None, 0.0),
        m.ChildRested(tree.call, Rest.ASKING, 0.0),
    ):
        assert tree.outer.handle(message) == []
    assert tree.outer.state.children is None
    assert tree.outer.state.late == 2
