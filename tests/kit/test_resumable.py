"""``assert_resumable`` accepts what can be resumed, and finds and explains what cannot.

What can be resumed: all workflows of ``tests/snapshots/every_program.py`` in which nobody outside does more than
answer. There are more than forty, and among them is each thing that a step can do.
"""

import threading
from collections.abc import Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Context, Event, StartEvent, StopEvent, UsageEvent, Workflow, step
from blazen_trio.testing import NotResumableError, UnansweredError, assert_resumable
from tests.budget import share
from tests.kit.broken import BROKEN, BROKEN_ELSEWHERE, counts_in_a_global
from tests.snapshots.every_program import ALONE, by_name
from tests.snapshots.every_program import check as check_program
from tests.snapshots.interrupting import run_on_mock_clock
from tests.snapshots.live_objects import Model
from tests.snapshots.live_programs import serialized_session_refs
from tests.snapshots.programs import Program, fan_out


class Note(Event):
    text: str


def check(workflow, *args, **options) -> int:
    """As somebody does who does not use pytest-trio."""

    async def main() -> int:
        return await assert_resumable(workflow, *args, **options)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@by_name(ALONE)
def test_a_good_workflow_is_resumable(make: Callable[[], Program]) -> None:
    assert run_on_mock_clock(check_program, make) >= 3


@pytest.mark.slow
@by_name(ALONE)
def test_a_good_workflow_is_resumable_in_whatever_order_its_tasks_run(make: Callable[[], Program]) -> None:
    for seed in range(1, share(40)):
        assert run_on_mock_clock(partial(check_program, make, seed=seed)) >= 3


def test_there_are_enough_good_ones() -> None:
    assert len(ALONE) >= 40


@by_name(tuple(BROKEN))
def test_a_broken_workflow_is_found_out(make: Callable[[], Workflow]) -> None:
    with pytest.raises(NotResumableError) as caught:
        check(make())

    text = str(caught.value)
    assert BROKEN[make] in text
    assert text.startswith(f"interrupted at point {caught.value.point} of ")
    assert f"assert_resumable(workflow, input, seed=0, only={caught.value.point})" in text


@by_name(tuple(BROKEN_ELSEWHERE))
def test_what_shows_in_another_process_only_is_found_with_fresh_steps(make: Callable[[], Workflow]) -> None:
    with pytest.raises(NotResumableError) as caught:
        check(make)

    assert BROKEN_ELSEWHERE[make] in str(caught.value)
    assert "of step 'work' (call " in str(caught.value)


async def test_it_runs_under_pytest_trio(autojump_clock: MockClock) -> None:
    program = fan_out()

    assert await assert_resumable(program.workflow, program.start) > 5


def test_a_failure_can_be_seen_again() -> None:
    with pytest.raises(NotResumableError) as first:
        check(counts_in_a_global())
    with pytest.raises(NotResumableError) as again:
        check(counts_in_a_global(), only=first.value.point)

    assert again.value.point == first.value.point
    assert again.value.snapshot is not None
    assert first.value.snapshot is not None
    assert again.value.snapshot.pending_events == first.value.snapshot.pending_events


def test_a_point_that_is_not_there_is_an_error() -> None:
    program = fan_out()

    with pytest.raises(ValueError, match="only=999: the run has the points 1 to "):
        check(program.workflow, program.start, only=999)


def test_a_question_without_an_answer_is_told() -> None:
    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(await ctx.request_input("Ship it?"))

    with pytest.raises(UnansweredError, match=r"answers=\{'Ship it\?': \.\.\.\}"):
        check(Workflow("asks", [ask]))
    assert check(Workflow("asks", [ask]), answers={"Ship it?": "yes"}) >= 3


def test_a_question_that_the_step_can_do_without_needs_no_answer() -> None:
    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.move_on_after(5):
            return StopEvent(await ctx.request_input("Ship it?"))
        return StopEvent("later")

    assert check(Workflow("asks", [ask])) >= 2


def test_a_result_of_another_type_is_another_result() -> None:
    first: list[int] = []

    @step
    async def work(event: StartEvent) -> StopEvent:
        first.append(1)
        return StopEvent(len(first) == 1 or 1)

    with pytest.raises(NotResumableError, match=r"StopEvent\(result=1\), but uninterrupted: StopEvent\(result=True\)"):
        check(Workflow("types", [work]))


def test_a_result_that_cannot_be_saved_is_told() -> None:
    @step
    async def work(event: StartEvent) -> StopEvent:
        return StopEvent(object())

    with pytest.raises(NotResumableError, match=r"the run cannot be saved: cannot encode event StopEvent\.result"):
        check(Workflow("object", [work]))


def test_what_is_written_to_the_stream_is_compared_if_asked_for() -> None:
    attempts: list[int] = []

    @step
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        attempts.append(1)
        ctx.write_event_to_stream(Note(f"begun {len(attempts)} times"))
        await trio.sleep(1)
        ctx.write_event_to_stream(Note("half of it"))
        return StopEvent()

    workflow = Workflow("tells", [work], events=[Note])
    assert check(workflow) >= 3
    attempts.clear()
    with pytest.raises(NotResumableError) as caught:
        check(workflow, stream=True)

    assert "on the stream, but not in the uninterrupted run: step 'work' wrote Note(text='begun 2" in str(caught.value)


def test_costs_are_compared() -> None:
    calls: list[float] = []

    @step
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        calls.append(0.1)
        ctx.emit_usage(UsageEvent(cost_usd=sum(calls)))
        return StopEvent()

    with pytest.raises(NotResumableError, match=r"cost: 0\.2, but uninterrupted: 0\.1"):
        check(Workflow("costs", [work]))


def test_session_refs_come_back_by_their_deserializers() -> None:
    program = serialized_session_refs()

    assert check(program.workflow, deserializers={"model": Model}) > 5
    with pytest.raises(NotResumableError, match="SessionRefsNotSerializableError"):
        check(program.workflow, deserializers={"another": Model})


def test_session_refs_that_cannot_be_saved_are_told() -> None:
    @step
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.session_refs.insert(threading.Lock())
        await trio.sleep(1)
        return StopEvent()

    with pytest.raises(NotResumableError, match="the run cannot be saved: cannot save or restore the session refs"):
        check(Workflow("locked", [work], allow_pickle=True))
