"""A user's machine: Hypothesis interrupts, pauses and answers; what is wrong with the workflow shows."""

from typing import Any, ClassVar

import pytest
import trio
from hypothesis import Phase, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from blazen_trio import Context, Event, StartEvent, StopEvent, Workflow, WorkflowRun, WorkflowSnapshot, step
from blazen_trio.testing import WorkflowStateMachine
from tests.kit import broken

FEW = settings(max_examples=8, stateful_step_count=10)
UNSHRUNK = settings(FEW, max_examples=50, phases=[Phase.generate])


class Item(Event):
    number: int


class Done(Event):
    number: int


class Note(Event):
    text: str


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(event.data)]


@step(max_concurrency=2)
async def work(event: Item, ctx: Context) -> Done:
    ctx.state[f"seen {event.number}"] = True
    await trio.sleep(event.number)
    if event.number == 2:
        await ctx.request_input("Go on?")
    return Done(event.number)


@step
async def add(done: list[Done], ctx: Context) -> StopEvent:
    return StopEvent(sum(event.number for event in done))


class Adding(WorkflowStateMachine):
    input = 4
    answers: ClassVar[dict[str, str]] = {"Go on?": "yes"}
    ends: ClassVar[int] = 0

    def workflow(self) -> Workflow:
        return Workflow("adding", [spread, work, add])

    def check(self, snapshot: WorkflowSnapshot) -> None:
        assert len(snapshot.context_state) <= 4

    def check_end(self, run: WorkflowRun) -> None:
        type(self).ends += 1
        assert run.usage_total.total_tokens == 0


def test_a_workflow_that_can_be_resumed_stands_every_treatment() -> None:
    Adding.ends = 0
    run_state_machine_as_test(Adding, settings=FEW)
    assert Adding.ends >= 8


class Broken(WorkflowStateMachine):
    def workflow(self) -> Workflow:
        return broken.fan_out(broken_work)


seen: list[int] = []


@step
async def broken_work(event: broken.Item, ctx: Context) -> broken.Done:
    """It keeps outside of the run what belongs into it."""
    await trio.sleep(event.number)
    seen.append(event.number)
    return broken.Done(len(seen))


def test_a_workflow_that_keeps_things_outside_of_its_run_comes_to_another_end() -> None:
    with pytest.raises(AssertionError, match="comes to another end"):
        run_state_machine_as_test(Broken, settings=UNSHRUNK)


class Noting(WorkflowStateMachine):
    """A rule of the user's own."""

    has_same_end = False
    sent = 0

    def workflow(self) -> Workflow:
        @step
        async def wait(event: StartEvent, ctx: Context) -> StopEvent:
            notes: list[Any] = [(await ctx.wait_for_event(Note)).text for _ in range(2)]
            return StopEvent(notes)

        return Workflow("noting", [wait], events=[Note])

    @rule()
    def send(self) -> None:
        if not self.is_over:
            self.act(lambda run: run.send_event(Note(str(self.sent))))
            self.sent += 1

    def check_end(self, run: WorkflowRun) -> None:
        assert run.status.value == "completed"

    def teardown(self) -> None:
        while not self.is_over and self.sent < 2:
            self.send()
        super().teardown()


def test_rules_of_ones_own_do_things_to_the_run() -> None:
    run_state_machine_as_test(Noting, settings=FEW)


def test_a_machine_without_a_workflow_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="def workflow"):
        run_state_machine_as_test(WorkflowStateMachine, settings=UNSHRUNK)
