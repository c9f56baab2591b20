"""``max_concurrency`` and ``limiter=``: never more than allowed at once, always as many as allowed."""

import math

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blazen_trio import Context, StartEvent, StepFailedEvent, StopEvent, Workflow, step

from .stories import TWICE, Done, Item, Other, fan_out, gather, result_of, running


class Gauge:
    """How many are inside now, and how many were at most."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def __aenter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    async def __aexit__(self, *error: object) -> None:
        self.now -= 1


def measured(gauge, **options):
    async def work(event: Item) -> Done:
        async with gauge:
            await trio.sleep(1)
        return Done(event.n)

    return step(**options)(work)


@pytest.mark.parametrize(
    ("limit", "most", "seconds"), [(1, 1, 12), (5, 5, 3), (12, 12, 1), (100, 12, 1), (math.inf, 12, 1)]
)
async def test_the_limit_is_reached_and_never_exceeded(limit, most, seconds):
    gauge = Gauge()
    assert await result_of(fan_out, measured(gauge, max_concurrency=limit), gather, start=12) == list(range(12))
    assert (gauge.most, trio.current_time()) == (most, seconds)


async def test_without_a_limit_a_hundred_run_at_once():
    gauge = Gauge()
    await result_of(fan_out, measured(gauge), gather, start=250)
    assert (gauge.most, trio.current_time()) == (100, 3)


async def test_without_bound_all_run_at_once():
    gauge = Gauge()
    await result_of(fan_out, measured(gauge, max_concurrency=math.inf), gather, start=250)
    assert (gauge.most, trio.current_time()) == (250, 1)


async def test_a_plain_function_obeys_its_limit():
    gauge = Gauge()

    @step(max_concurrency=2)
    def work(event: Item) -> Done:
        gauge.now += 1
        gauge.most = max(gauge.most, gauge.now)
        trio.from_thread.run(trio.lowlevel.checkpoint)
        gauge.now -= 1
        return Done(event.n)

    await result_of(fan_out, work, gather, start=20)
    assert gauge.most <= 2


async def test_the_limit_is_for_one_run():
    gauge = Gauge()
    workflow = Workflow("story", [fan_out, measured(gauge, max_concurrency=2), gather])
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(workflow.run, 4)
    assert (gauge.most, trio.current_time()) == (6, 2)


async def test_waiting_calls_begin_in_the_order_of_their_events():
    begun = []

    @step(max_concurrency=2)
    async def work(event: Item) -> Done:
        begun.append(event.n)
        await trio.sleep(1)
        return Done(event.n)

    await result_of(fan_out, work, gather, start=10)
    assert begun == list(range(10))


async def test_steps_do_not_share_a_limit_of_their_own():
    gauge = Gauge()
    first, second = (measured(gauge, name=name, max_concurrency=1) for name in ("first", "second"))
    await result_of(fan_out, first, second, gather, start=3)
    assert gauge.most == 2


async def test_a_failed_call_gives_its_slot_back():
    @step(max_concurrency=1)
    async def work(event: Item) -> Done:
        if event.n < 5:
            raise OSError
        return Done(event.n)

    @step
    async def drop(event: StepFailedEvent) -> None:
        pass

    assert await result_of(fan_out, work, drop, gather, start=7) == [5, 6]


async def test_what_runs_is_seen_in_the_statistics_of_the_runs_limiter():
    async with running(fan_out, measured(Gauge(), max_concurrency=3), gather, start=5) as run:
        limiter = run.statistics()["limiters"]["work"]
        assert (limiter.borrowed_tokens, limiter.total_tokens) == (3, 3)
        await run.result()
        assert run.statistics()["limiters"]["work"].borrowed_tokens == 0


async def test_a_shared_limiter_bounds_several_steps_together():
    gauge, limiter = Gauge(), trio.CapacityLimiter(3)
    first, second = (measured(gauge, name=name, limiter=limiter) for name in ("first", "second"))
    await result_of(fan_out, first, second, gather, start=6)
    assert (gauge.most, trio.current_time()) == (3, 4)
    assert limiter.borrowed_tokens == 0


async def test_a_shared_limiter_bounds_several_runs_together():
    gauge, limiter = Gauge(), trio.CapacityLimiter(3)
    workflow = Workflow("story", [fan_out, measured(gauge, limiter=limiter), gather])
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(workflow.run, 3)
    assert (gauge.most, trio.current_time()) == (3, 4)
    assert limiter.borrowed_tokens == 0


async def test_a_shared_limiter_is_shared_with_the_program():
    gauge, limiter = Gauge(), trio.CapacityLimiter(1)
    async with limiter, running(fan_out, measured(gauge, limiter=limiter), gather, start=2) as run:
        await trio.sleep(10)
        assert gauge.most == 0
        limiter.release()
        assert (await run.result()).result == [0, 1]
        await limiter.acquire()


async def test_a_shared_limiter_beside_a_limit_of_the_step():
    gauge, limiter = Gauge(), trio.CapacityLimiter(10)
    await result_of(fan_out, measured(gauge, limiter=limiter, max_concurrency=2), gather, start=6)
    assert (gauge.most, trio.current_time()) == (2, 3)


async def test_a_shared_limiter_alone_may_be_wider_than_the_default():
    gauge, limiter = Gauge(), trio.CapacityLimiter(150)
    await result_of(fan_out, measured(gauge, limiter=limiter), gather, start=150)
    assert gauge.most == 150


async def test_a_limiter_that_grows_lets_more_run():
    gauge, limiter = Gauge(), trio.CapacityLimiter(1)
    async with running(fan_out, measured(gauge, limiter=limiter), gather, start=9) as run:
        await trio.sleep(0.5)
        limiter.total_tokens = 4
        await run.result()
    assert gauge.most == 4
    assert trio.current_time() == 3


async def test_a_run_that_ends_gives_back_all_tokens_and_leaves_every_line():
    limiter = trio.CapacityLimiter(2)

    @step(limiter=limiter)
    async def work(event: Item) -> Done | StopEvent:
        await trio.sleep(event.n)
        return StopEvent("early") if event.n == 1 else Done(event.n)

    assert await result_of(fan_out, work, gather, start=20) == "early"
    await wait_all_tasks_blocked()
    assert (limiter.borrowed_tokens, limiter.statistics().tasks_waiting) == (0, 0)


async def test_a_retry_wait_holds_no_token_of_a_shared_limiter():
    limiter = trio.CapacityLimiter(1)
    log = []

    @step(limiter=limiter, retry=TWICE)
    async def work(event: Item, ctx: Context) -> Done:
        log.append((trio.current_time(), event.n))
        if event.n == 0 and ctx.attempt == 1:
            raise OSError
        return Done(event.n)

    assert await result_of(fan_out, work, gather, start=3) == [0, 1, 2]
    assert log == [(0, 0), (0, 1), (0, 2), (1, 0)]


async def test_a_step_may_feed_itself_under_a_limit_of_one():
    """A call that is not over holds its slot, yet its successors must not need it to begin."""

    @step(max_concurrency=1)
    async def count(event: Item) -> Item | StopEvent:
        return Item(event.n + 1) if event.n < 50 else StopEvent(event.n)

    @step
    async def begin(event: StartEvent) -> Item:
        return Item(0)

    assert await result_of(begin, count) == 50


async def test_a_stop_is_taken_ahead_of_what_waits_for_a_slot():
    done: list[object] = []

    @step(max_concurrency=1)
    async def slow(event: Item) -> None:
        await trio.sleep(10)
        done.append(event)

    @step
    async def end(event: Other) -> StopEvent:
        return StopEvent("now")

    @step
    async def begin(event: StartEvent) -> list[Item | Other]:
        return [*(Item(n) for n in range(1000)), Other(1)]

    assert await result_of(begin, slow, end) == "now"
    assert (done, trio.current_time()) == ([], 0)
