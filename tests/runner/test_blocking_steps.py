"""Steps that suspend overlap, time out, are limited, retried and cancelled as if each call had a task of its own."""

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    Event,
    RetryConfig,
    RunStatus,
    StartEvent,
    StepFailedError,
    StepTimeoutError,
    StopEvent,
    Workflow,
    WorkflowAbortedError,
    step,
)
from tests.runner.seeds import run_shuffled


class Item(Event):
    number: int


class Done(Event):
    number: int


class Follow(Event):
    number: int


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(event.data)]


@step
async def gather(done: list[Done]) -> StopEvent:
    return StopEvent([event.number for event in done])


async def run_of_work(work: Any, count: int) -> list[int]:
    result: list[int] = (await Workflow("work", [spread, work, gather]).run(count)).result
    return result


# --- Overlap and limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50, 99, 100, 1000, math.inf])
@pytest.mark.parametrize("count", [1, 6, 250])
async def test_sleepers_under_a_limit_take_as_many_rounds_as_they_must(
    autojump_clock: MockClock, limit: float, count: int
) -> None:
    @step(max_concurrency=limit)
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        return Done(event.number)

    assert await run_of_work(work, count) == list(range(count))
    assert trio.current_time() == math.ceil(count / min(limit, count))


@pytest.mark.parametrize("limit", [1, 3, 400])
async def test_sleepers_under_a_shared_limiter_take_as_many_rounds_as_they_must(
    autojump_clock: MockClock, limit: int
) -> None:
    limiter = trio.CapacityLimiter(limit)

    @step(limiter=limiter)
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        return Done(event.number)

    assert await run_of_work(work, 800) == list(range(800))
    assert trio.current_time() == math.ceil(800 / limit)
    assert limiter.borrowed_tokens == 0


async def test_a_limiter_with_a_thousand_free_tokens_starts_a_thousand_calls_at_once(
    autojump_clock: MockClock,
) -> None:
    @step(limiter=trio.CapacityLimiter(2_000))
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        return Done(event.number)

    assert await run_of_work(work, 2_000) == list(range(2_000))
    assert trio.current_time() == 1


def test_calls_that_suspend_at_any_place_among_others_that_do_not_overlap_in_every_order() -> None:
    """Item ``k`` suspends if bit ``k`` of the pattern is set; all that suspend sleep one second, together."""

    async def program() -> list[float]:
        spans: list[float] = []
        for pattern in range(2**6):

            @step
            async def work(event: Item, pattern: int = pattern) -> Done:
                if pattern >> event.number & 1:
                    await trio.sleep(1)
                return Done(event.number)

            begun = trio.current_time()
            assert await run_of_work(work, 6) == list(range(6))
            spans.append(trio.current_time() - begun)
        return spans

    for seed in range(5):
        assert run_shuffled(program, seed) == pytest.approx([0] + [1] * 63)


async def test_work_that_becomes_ready_while_a_step_is_suspended_starts_at_once(autojump_clock: MockClock) -> None:
    begun_at: dict[int, float] = {}

    @step(sends=[Follow])
    async def work(event: Item, ctx: Context) -> Done:
        for place in range(3):
            await trio.sleep(1)
            ctx.send_event(Follow(10 * event.number + place))
        await trio.sleep(1)
        return Done(event.number)

    @step
    async def follow(event: Follow) -> None:
        begun_at[event.number] = trio.current_time()
        await trio.sleep(10)

    await Workflow("work", [spread, work, follow, gather]).run(2)
    assert begun_at == {0: 1, 10: 1, 1: 2, 11: 2, 2: 3, 12: 3}


async def test_a_step_that_sends_and_never_suspends_does_not_keep_what_it_sent_from_running(
    autojump_clock: MockClock,
) -> None:
    order: list[str] = []

    @step(sends=[Item])
    async def begin(event: StartEvent, ctx: Context) -> None:
        ctx.send_event(Item(0))
        order.append("sent")
        await trio.sleep(1)
        order.append("slept")

    @step
    async def work(event: Item) -> Done:
        order.append("worked")
        return Done(event.number)

    await Workflow("sent", [begin, work, gather]).run()
    assert order == ["sent", "worked", "slept"]


async def test_a_thousand_steps_that_never_suspend_need_no_more_than_two_workers() -> None:
    workers: set[object] = set()

    @step
    async def work(event: Item) -> Done:
        workers.add(trio.lowlevel.current_task())
        return Done(event.number)

    await run_of_work(work, 1_000)
    assert len(workers) <= 2


# --- Time-outs --------------------------------------------------------------------------------------------------------


async def test_a_step_times_out_exactly_at_its_deadline(autojump_clock: MockClock) -> None:
    @step(timeout=2)
    async def work(event: StartEvent) -> StopEvent:
        await trio.sleep(2.0000001)
        return StopEvent()

    with pytest.raises(StepFailedError) as caught:
        await Workflow("late", [work]).run()
    assert isinstance(caught.value.__cause__, StepTimeoutError)
    assert trio.current_time() == 2


async def test_a_step_that_ends_just_before_its_deadline_has_not_timed_out(autojump_clock: MockClock) -> None:
    @step(timeout=2)
    async def work(event: StartEvent) -> StopEvent:
        await trio.sleep(1.9999999)
        return StopEvent("in time")

    assert (await Workflow("in time", [work]).run()).result == "in time"


async def test_an_attempt_has_its_time_from_when_it_begins_to_run_not_from_when_it_waits(
    autojump_clock: MockClock,
) -> None:
    @step(timeout=2, max_concurrency=1)
    async def work(event: Item) -> Done:
        await trio.sleep(1.5)
        return Done(event.number)

    assert await run_of_work(work, 20) == list(range(20))
    assert trio.current_time() == 30


async def test_a_step_that_never_suspends_cannot_time_out_and_its_result_counts() -> None:
    clock = MockClock()

    async def main() -> object:
        @step(timeout=1)
        async def work(event: Item) -> Done:
            clock.jump(5)
            return Done(event.number)

        return await run_of_work(work, 3)

    assert await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock)) == [0, 1, 2]


async def test_time_that_a_step_used_before_it_suspends_counts(autojump_clock: MockClock) -> None:
    @step(timeout=2)
    async def work(event: StartEvent) -> StopEvent:
        autojump_clock.jump(1.5)
        await trio.sleep(1)
        return StopEvent()

    with pytest.raises(StepFailedError):
        await Workflow("slow start", [work]).run()
    assert trio.current_time() == 2


async def test_a_result_that_comes_after_the_deadline_of_a_shielded_step_counts_and_harms_no_later_call(
    autojump_clock: MockClock,
) -> None:
    """The step ended by itself, so that is what happened; the deadline that passed is none of the next call's."""

    @step(timeout=1, max_concurrency=1)
    async def work(event: Item) -> Done:
        with trio.CancelScope(shield=event.number == 0):
            await trio.sleep(3 if event.number == 0 else 0.5)
        return Done(event.number)

    assert await run_of_work(work, 4) == [0, 1, 2, 3]
    assert trio.current_time() == 4.5


async def test_a_timed_out_step_may_clean_up_and_is_then_tried_again(autojump_clock: MockClock) -> None:
    story: list[Any] = []

    @step(timeout=1, retry=RetryConfig(max_retries=2, initial_delay_ms=1000, jitter=False))
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        story.append((ctx.attempt, trio.current_time()))
        try:
            await trio.sleep(0.5 if ctx.attempt == 3 else math.inf)
        finally:
            story.append(("cleaned", trio.current_time()))
        return StopEvent("third time lucky")

    assert (await Workflow("tries", [work]).run()).result == "third time lucky"
    assert story == [(1, 0), ("cleaned", 1), (2, 2), ("cleaned", 3), (3, 5), ("cleaned", 5.5)]


async def test_a_step_that_turns_its_cancellation_into_an_error_fails_with_that_error(
    autojump_clock: MockClock,
) -> None:
    @step(timeout=1)
    async def work(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise LookupError("instead") from None

    with pytest.raises(StepFailedError) as caught:
        await Workflow("error", [work]).run()
    assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize("kind", ["generator", "thread", "async"])
async def test_time_outs_of_every_kind_of_step_are_retried(kind: str) -> None:
    attempts: list[int] = []

    async def as_async(event: StartEvent, ctx: Context) -> StopEvent:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await trio.sleep_forever()
        return StopEvent(kind)

    async def as_generator(event: StartEvent, ctx: Context) -> AsyncIterator[StopEvent]:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await trio.sleep_forever()
        yield StopEvent(kind)

    def as_thread(event: StartEvent, ctx: Context) -> StopEvent:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            trio.from_thread.run_sync(clock.jump, 2)
            trio.from_thread.run(trio.lowlevel.checkpoint)
        return StopEvent(kind)

    function: Any = {"async": as_async, "generator": as_generator, "thread": as_thread}[kind]
    retry = RetryConfig(max_retries=1, initial_delay_ms=0, jitter=False)
    clock = MockClock(autojump_threshold=math.inf if kind == "thread" else 0)

    async def main() -> object:
        return (await Workflow("kinds", [step(timeout=1, retry=retry)(function)]).run()).result

    assert await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock)) == kind
    assert attempts == [1, 2]


# --- Cancel scopes ----------------------------------------------------------------------------------------------------


async def test_scopes_of_a_steps_own_work_inside_it(autojump_clock: MockClock) -> None:
    @step(timeout=10)
    async def work(event: Item) -> Done:
        with trio.move_on_after(event.number + 1) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await trio.sleep_forever()
        return Done(event.number)

    assert await run_of_work(work, 4) == [0, 1, 2, 3]
    assert trio.current_time() == 5


async def test_the_callers_time_limit_ends_the_run_as_in_any_trio_program(autojump_clock: MockClock) -> None:
    ended: list[int] = []

    @step(max_concurrency=2)
    async def work(event: Item) -> Done:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            ended.append(event.number)
        return Done(event.number)

    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(3):
            await run_of_work(work, 5)
    assert trio.current_time() == 4
    assert sorted(ended) == [0, 1]


async def test_steps_see_the_callers_deadline(autojump_clock: MockClock) -> None:
    @step
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        await trio.lowlevel.checkpoint()
        return StopEvent(trio.current_effective_deadline())

    workflow = Workflow("deadline", [work])
    with trio.CancelScope(deadline=17), trio.CancelScope(deadline=23):
        assert (await workflow.run()).result == 17
    with_timeout = Workflow("deadline", [work.with_options(timeout=5)])
    with trio.CancelScope(deadline=17):
        assert (await with_timeout.run()).result == 5


async def test_no_deadline_of_a_step_stays_for_the_next_one(autojump_clock: MockClock) -> None:
    @step(timeout=5)
    async def first(event: StartEvent) -> Item:
        await trio.lowlevel.checkpoint()
        return Item(0)

    @step
    async def second(event: Item) -> StopEvent:
        await trio.sleep(20)
        return StopEvent(trio.current_effective_deadline())

    assert (await Workflow("two", [first, second]).run()).result == math.inf


async def test_a_nursery_inside_a_step_sends_from_its_tasks_and_is_cancelled_with_the_step(
    autojump_clock: MockClock,
) -> None:
    ended: list[float] = []

    async def child(ctx: Context, number: int) -> None:
        try:
            await trio.sleep(number)
            ctx.send_event(Item(number))
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    @step(timeout=2.5, sends=[Item])
    async def work(event: StartEvent, ctx: Context) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(child, ctx, number)

    seen: list[int] = []

    @step
    async def heed(event: Item) -> Done:
        seen.append(event.number)
        return Done(event.number)

    with pytest.raises(StepFailedError) as caught:
        await Workflow("nursery", [work, heed, gather]).run()
    assert isinstance(caught.value.__cause__, StepTimeoutError)
    assert (seen, ended) == ([0, 1, 2], [2.5] * 5)


async def test_a_body_that_shields_itself_from_the_callers_cancellation_learns_that_the_run_is_over(
    autojump_clock: MockClock,
) -> None:
    @step
    async def work(event: StartEvent) -> StopEvent:
        await trio.sleep_forever()
        return StopEvent()

    with trio.move_on_after(1) as outer:
        async with Workflow("shielded", [work]).start() as run:
            with trio.CancelScope(shield=True):
                with pytest.raises(WorkflowAbortedError):
                    await run.result()
                await trio.sleep(5)
            assert run.status is RunStatus.ABORTED
    assert outer.cancelled_caught
    assert trio.current_time() == 6


async def test_one_cancellation_leaves_a_block_with_many_cancelled_calls_and_no_group() -> None:
    @step
    async def work(event: Item) -> Done:
        await trio.sleep_forever()
        return Done(event.number)

    with trio.CancelScope() as scope, pytest.raises(trio.Cancelled):
        async with Workflow("many", [spread, work, gather]).start(20):
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()


@pytest.mark.parametrize("is_own", [True, False])
async def test_calls_cancelled_from_outside_give_their_tokens_back(is_own: bool, autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(3)

    @step(limiter=limiter)
    async def work(event: Item) -> Done:
        await trio.sleep_forever()
        return Done(event.number)

    with trio.move_on_after(1):
        if is_own:
            await run_of_work(work, 9)
        else:
            async with Workflow("tokens", [spread, work, gather]).start(9):
                await trio.sleep_forever()
    assert limiter.borrowed_tokens == 0
    assert limiter.statistics().tasks_waiting == 0


# --- Locks ------------------------------------------------------------------------------------------------------------


async def test_a_lock_held_inside_a_step_excludes_other_calls(autojump_clock: MockClock) -> None:
    """``trio.Lock`` belongs to the task, and a call has its task to itself while it runs.

    A lock that a step gives back before it ends works as everywhere; one that it kept would be its worker's, which
    takes other calls later.
    """
    lock = trio.Lock()

    @step
    async def work(event: Item) -> Done:
        async with lock:
            await trio.sleep(1)
        return Done(event.number)

    assert await run_of_work(work, 5) == list(range(5))
    assert trio.current_time() == 5
    assert not lock.locked()
