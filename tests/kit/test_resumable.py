"""``assert_resumable`` accepts what can be resumed, and finds and explains what cannot."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Context, StartEvent, StopEvent, Workflow, step
from blazen_trio.testing import NotResumableError, UnansweredError, assert_resumable
from tests.kit.broken import BROKEN, BROKEN_ELSEWHERE, counts_in_a_global
from tests.snapshots.programs import PROGRAMS, Program, inline_questions, leave_alone, routed_questions

GOOD = [make for make in PROGRAMS if make().drive is leave_alone]


def by_name(makers):
    return pytest.mark.parametrize("make", makers, ids=lambda make: make.__name__)


def check(workflow, *args, **options) -> int:
    """As somebody does who does not use pytest-trio."""

    async def main() -> int:
        return await assert_resumable(workflow, *args, **options)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@by_name(GOOD)
def test_a_good_workflow_is_resumable(make: Callable[[], Program]) -> None:
    program = make()

    assert check(program.workflow, program.start) > 5


def test_there_are_enough_good_ones() -> None:
    assert len(GOOD) >= 15


@by_name([inline_questions, routed_questions])
def test_answers_are_given_by_prompt(make: Callable[[], Program]) -> None:
    answers = {str(number + more): number for number in range(6) for more in (0, 100)}

    assert check(make().workflow, answers=answers) > 20


@by_name(BROKEN)
def test_a_broken_workflow_is_found_out(make: Callable[[], Workflow]) -> None:
    with pytest.raises(NotResumableError) as caught:
        check(make())

    text = str(caught.value)
    assert BROKEN[make] in text
    assert text.startswith(f"interrupted at point {caught.value.point} of ")
    assert f"assert_resumable(workflow, input, seed=0, only={caught.value.point})" in text


@by_name(BROKEN_ELSEWHERE)
def test_what_shows_in_another_process_only_is_found_with_fresh_steps(make: Callable[[], Workflow]) -> None:
    with pytest.raises(NotResumableError) as caught:
        check(make)

    assert BROKEN_ELSEWHERE[make] in str(caught.value)
    assert "of step 'work' (call " in str(caught.value)


@by_name(GOOD)
def test_a_good_workflow_is_resumable_with_fresh_steps(make: Callable[[], Program]) -> None:
    assert check(lambda: make().workflow, make().start) > 5


async def test_it_runs_under_pytest_trio(autojump_clock: MockClock) -> None:
    program = GOOD[0]()

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
    program = GOOD[0]()

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
