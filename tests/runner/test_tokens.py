"""Limiters that several steps and runs share: one waiter per run and step, nobody starved, every token given back."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio import Event, RetryConfig, StartEvent, StopEvent, Workflow, WorkflowError, step


class Item(Event):
    number: int


class Done(Event):
    number: int


class Other(Event):
    number: int


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(event.data)]


@step
async def gather(done: list[Done]) -> StopEvent:
    return StopEvent([event.number for event in done])


def sharing(limiter: trio.CapacityLimiter, **options: Any) -> Workflow:
    @step(limiter=limiter, **options)
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        return Done(event.number)

    return Workflow("sharing", [spread, work, gather])


async def test_one_task_of_each_run_waits_for_a_token_however_many_calls_wait(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(1)
    workflow = sharing(limiter)
    async with workflow.start(1_000), workflow.start(1_000), workflow.start(1_000):
        await wait_all_tasks_blocked()
        assert limiter.statistics().tasks_waiting == 2 + 1  # two runs that have nothing, and the next call of the first
        assert limiter.borrowed_tokens == 1
    assert limiter.statistics().tasks_waiting == limiter.borrowed_tokens == 0


async def test_runs_get_tokens_in_turns(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(1)
    workflow = sharing(limiter)
    ended: dict[int, float] = {}

    async def run_one(number: int, count: int) -> None:
        await workflow.run(count)
        ended[number] = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_one, 0, 100)
        await trio.sleep(0.5)
        nursery.start_soon(run_one, 1, 10)
    assert ended[1] <= 22
    assert ended[0] == 110


async def test_two_steps_of_a_run_share_a_limiter(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(2)
    together = [0, 0]

    async def work(number: int) -> Done:
        together[0] += 1
        together[1] = max(together)
        await trio.sleep(1)
        together[0] -= 1
        return Done(number)

    @step(limiter=limiter)
    async def first(event: Item) -> Done:
        return await work(event.number)

    @step(limiter=limiter)
    async def second(event: Item) -> Done:
        return await work(100 + event.number)

    result = await Workflow("two", [spread, first, second, gather]).run(5)
    assert sorted(result.result) == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]
    assert together == [0, 2]
    assert trio.current_time() == 5


async def test_both_limits_hold_where_a_step_has_two(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(5)
    workflow = sharing(limiter, max_concurrency=2)
    async with workflow.start(8) as run:
        await wait_all_tasks_blocked()
        assert limiter.borrowed_tokens == 2
        assert run.statistics()["limiters"]["work"].borrowed_tokens == 2
        await run.result()
    assert trio.current_time() == 4
    assert limiter.borrowed_tokens == 0


async def test_a_limiter_of_the_program_works_beside_the_steps_of_a_run(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery, limiter:  # given back before the nursery waits
        nursery.start_soon(sharing(limiter).run, 3)
        await trio.sleep(10)
        assert limiter.statistics().tasks_waiting == 1
    assert trio.current_time() == 13


async def test_a_call_between_two_attempts_holds_no_token(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(1)

    @step(limiter=limiter, retry=RetryConfig(max_retries=1, initial_delay_ms=5_000, jitter=False))
    async def work(event: StartEvent) -> StopEvent:
        raise OSError

    async with Workflow("between", [work]).start() as run:
        await trio.sleep(1)
        assert run.statistics()["retrying"] == 1
        assert limiter.borrowed_tokens == 0


async def test_more_tokens_later_let_more_calls_run(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(1)
    async with sharing(limiter).start(9) as run:
        await trio.sleep(0.5)
        limiter.total_tokens = 4
        await run.result()
    assert trio.current_time() == pytest.approx(3)


async def test_a_paused_run_gives_its_tokens_and_its_place_to_others(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(1)
    workflow = sharing(limiter)
    async with workflow.start(5) as paused:
        await trio.sleep(0.5)
        await paused.pause(interrupt=True)
        assert limiter.borrowed_tokens == limiter.statistics().tasks_waiting == 0
        await workflow.run(5)
        assert trio.current_time() == 5.5
        await paused.resume_in_place()
        await paused.resume_in_place()
        assert (await paused.result()).result == [0, 1, 2, 3, 4]
    assert trio.current_time() == 10.5
    assert limiter.borrowed_tokens == 0


async def test_a_pause_right_before_a_token_comes_gives_it_back() -> None:
    """The waiter was given its token, but had no turn yet when the run was paused."""
    limiter = trio.CapacityLimiter(1)
    limiter.acquire_on_behalf_of_nowait("the test")
    async with sharing(limiter).start(5) as run:
        await wait_all_tasks_blocked()
        limiter.release_on_behalf_of("the test")
        await run.pause()
        await wait_all_tasks_blocked()
        assert limiter.borrowed_tokens == 0


async def test_a_run_that_waits_for_a_token_ends_without_getting_one(autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(1)
    limiter.acquire_on_behalf_of_nowait("somebody else")
    with trio.fail_after(10):
        async with sharing(limiter).start(5) as run:
            await trio.sleep(1)
            await run.abort()
    assert (limiter.borrowed_tokens, limiter.statistics().tasks_waiting) == (1, 0)


Ending = Callable[[Workflow], Any]


async def end_by_abort(workflow: Workflow) -> None:
    async with workflow.start(9) as run:
        await trio.sleep(1.5)
        await run.abort()


async def end_by_leaving(workflow: Workflow) -> None:
    async with workflow.start(9):
        await trio.sleep(1.5)


async def end_at_once(workflow: Workflow) -> None:
    async with workflow.start(9):
        pass


async def end_by_cancelling(workflow: Workflow) -> None:
    with trio.move_on_after(1.5):
        await workflow.run(9)


async def end_by_cancelling_at_once(workflow: Workflow) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await workflow.run(9)


async def end_by_finishing(workflow: Workflow) -> None:
    await workflow.run(9)


@pytest.mark.parametrize(
    "end",
    [end_by_abort, end_by_leaving, end_at_once, end_by_cancelling, end_by_cancelling_at_once, end_by_finishing],
)
@pytest.mark.parametrize("tokens", [1, 4, 9, 20])
async def test_tokens_come_back_however_a_run_ends(end: Ending, tokens: int, autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(tokens)
    await end(sharing(limiter))
    assert limiter.borrowed_tokens == limiter.statistics().tasks_waiting == 0
    await sharing(limiter).run(3)


@pytest.mark.parametrize("options", [{"timeout": 0.5}, {"max_concurrency": 3, "timeout": 0.5}, {}])
async def test_tokens_come_back_from_calls_that_fail(options: Any, autojump_clock: MockClock) -> None:
    limiter = trio.CapacityLimiter(2)

    @step(limiter=limiter, **options)
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        raise LookupError

    with pytest.raises(WorkflowError):
        await Workflow("failing", [spread, work, gather]).run(9)
    assert limiter.borrowed_tokens == limiter.statistics().tasks_waiting == 0
