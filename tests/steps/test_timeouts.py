"""A step's ``timeout`` bounds one attempt; it is a failure like any other: retried, recovered, or the run's end."""

import math
import threading

import pytest
import trio
import trio.testing

from blazen_trio import Context, StartEvent, StepFailedEvent, StepTimeoutError, StopEvent, step

from .stories import TWICE, Done, Item, failure_of, fan_out, gather, result_of, stop


async def test_a_step_that_takes_too_long_fails_at_its_limit():
    @step(timeout=3)
    async def slow(event: StartEvent) -> StopEvent:
        await trio.sleep(100)
        return StopEvent()

    failure = await failure_of(slow)
    assert trio.current_time() == 3
    cause = failure.__cause__
    assert isinstance(cause, StepTimeoutError)
    assert (cause.step_name, cause.timeout, cause.attempt) == ("slow", 3, 1)


async def test_a_step_that_is_in_time_is_left_alone():
    @step(timeout=3)
    async def quick(event: Item) -> Done:
        for _ in range(29):
            await trio.sleep(0.1)
        return Done(event.n)

    assert await result_of(fan_out, quick, gather, start=5) == [0, 1, 2, 3, 4]


async def test_the_limit_is_for_each_attempt():
    begins = []

    @step(timeout=3, retry=TWICE)
    async def slow(event: StartEvent, ctx: Context) -> StopEvent:
        begins.append(trio.current_time())
        await trio.sleep(100 if ctx.attempt == 1 else 2.5)
        return StopEvent(ctx.attempt)

    assert await result_of(slow) == 2
    assert begins == [0, 4]


async def test_waiting_for_a_slot_is_not_part_of_the_attempt():
    @step(timeout=3, max_concurrency=1)
    async def slow(event: Item) -> Done:
        await trio.sleep(2)
        return Done(event.n)

    assert await result_of(fan_out, slow, gather, start=10) == list(range(10))
    assert trio.current_time() == 20


async def test_only_the_call_that_is_too_slow_is_cancelled():
    @step(timeout=3, retry=TWICE)
    async def slow(event: Item, ctx: Context) -> Done:
        await trio.sleep(100 if event.n == 1 and ctx.attempt == 1 else 2)
        return Done(event.n * 10 + ctx.attempt)

    assert await result_of(fan_out, slow, gather, start=3) == [1, 12, 21]


async def test_calls_after_a_timeout_are_sound():
    """A worker whose scope was cancelled must not carry that into its next call."""

    @step(timeout=1, max_concurrency=1)
    async def slow(event: Item) -> Done:
        with trio.CancelScope() as own:
            await trio.sleep(0.5)
        assert not own.cancelled_caught
        if event.n % 2:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return Done(event.n)

    @step
    async def minus(event: StepFailedEvent) -> Done:
        await trio.sleep(0.1)
        return Done(-1)

    assert await result_of(fan_out, slow, minus, gather, start=6) == [0, -1, 2, -1, 4, -1]


async def test_a_step_may_clean_up_when_its_time_is_over():
    cleaned = []

    @step(timeout=3)
    async def slow(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            cleaned.append(trio.current_time())
        return StopEvent()

    await failure_of(slow)
    assert cleaned == [5]


async def test_the_steps_own_timeouts_stay_its_own():
    @step(timeout=10)
    async def patient(event: StartEvent) -> StopEvent:
        with trio.move_on_after(2) as scope:
            await trio.sleep_forever()
        return StopEvent((scope.cancelled_caught, trio.current_time()))

    assert await result_of(patient) == (True, 2)


async def test_a_step_that_lets_its_own_timeout_out_fails_with_it():
    @step(timeout=10)
    async def hasty(event: StartEvent) -> StopEvent:
        with trio.fail_after(2):
            await trio.sleep_forever()
        return StopEvent()

    assert isinstance((await failure_of(hasty)).__cause__, trio.TooSlowError)


async def test_a_step_sees_its_deadline():
    @step(timeout=10)
    async def look(event: StartEvent) -> StopEvent:
        await trio.sleep(1)
        return StopEvent(trio.current_effective_deadline())

    assert await result_of(look) == 10


async def test_a_generator_has_its_limit_too():
    @step(timeout=3)
    async def produce(event: StartEvent):
        yield Item(1)
        await trio.sleep(100)

    @step
    async def work(event: Item) -> Done:
        return Done(event.n)

    failure = await failure_of(produce, work, gather)
    assert isinstance(failure.__cause__, StepTimeoutError)
    assert trio.current_time() == 3


async def test_a_thread_is_waited_for_and_its_late_result_dropped():
    go_on = threading.Event()

    @step(timeout=3)
    def slow(event: Item) -> Done:
        assert go_on.wait(30)
        return Done(event.n)

    @step
    async def clock(event: StartEvent) -> Item:
        return Item(1)

    @step
    async def release(event: StartEvent) -> None:
        await trio.sleep(10)
        go_on.set()

    failure = await failure_of(clock, release, slow, stop)
    assert isinstance(failure.__cause__, StepTimeoutError)


@pytest.mark.parametrize("limit", [None, math.inf])
async def test_no_limit_means_none(limit):
    @step(timeout=limit)
    async def long(event: StartEvent) -> StopEvent:
        await trio.sleep(10_000)
        return StopEvent("at last")

    assert await result_of(long) == "at last"


async def test_a_step_that_catches_everything_still_times_out():
    """`except Exception` does not catch Trio's cancellation."""

    @step(timeout=3)
    async def stubborn(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        except Exception:
            return StopEvent("caught")
        return StopEvent("never")

    assert isinstance((await failure_of(stubborn)).__cause__, StepTimeoutError)


async def test_a_nursery_inside_the_step_ends_with_it():
    ended = []

    @step(timeout=3)
    async def parent(event: StartEvent) -> StopEvent:
        async def child() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(child)
        return StopEvent()

    failure = await failure_of(parent)
    assert isinstance(failure.__cause__, StepTimeoutError)
    assert ended == [3, 3]


async def test_waiting_for_a_thread_is_not_part_of_the_attempt(monkeypatch):
    threads = trio.CapacityLimiter(1)
    monkeypatch.setattr("blazen_trio.worker.thread_limiter", lambda: threads)
    clock = trio.testing.MockClock()

    @step(timeout=5)
    def slow(event: Item) -> Done:
        trio.from_thread.run_sync(clock.jump, 3)
        return Done(event.n)

    async def main() -> None:
        assert await result_of(fan_out, slow, gather, start=4) == [0, 1, 2, 3]
        assert trio.current_time() == 12
        assert threads.borrowed_tokens == 0

    await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock))
