"""A fan-out whose members fail, wait and come back: its join runs once, last, with everything in its place."""

import pytest
import trio

from blazen_trio import Context, RetryConfig, StartEvent, StepFailedEvent, StopEvent, step

from .stories import TWICE, Done, Item, Other, failure_of, fan_out, gather, result_of

FIVE_TIMES = RetryConfig(max_retries=5, initial_delay_ms=1000, multiplier=1, jitter=False)


@step
async def drop(event: StepFailedEvent) -> None:
    pass


async def test_the_join_waits_for_the_last_retry():
    @step(retry=FIVE_TIMES)
    async def stubborn(event: Item, ctx: Context) -> Done:
        if ctx.attempt <= event.n:
            raise OSError
        return Done(event.n)

    @step
    async def join(items: list[Done]) -> StopEvent:
        return StopEvent((trio.current_time(), [item.n for item in items]))

    assert await result_of(fan_out, stubborn, join, start=5) == (4, [0, 1, 2, 3, 4])


async def test_a_member_that_fails_for_good_fails_the_run_before_any_join():
    joined = []

    @step
    async def fail_last(event: Item) -> Done:
        await trio.sleep(event.n)
        if event.n == 3:
            raise OSError("last")
        return Done(event.n)

    @step
    async def join(items: list[Done]) -> StopEvent:
        joined.append(items)
        return StopEvent()

    failure = await failure_of(fan_out, fail_last, join, start=4)
    assert (failure.step_name, joined) == ("fail_last", [])


async def test_a_fan_out_whose_members_all_failed_joins_nothing():
    @step
    async def fail(event: Item) -> Done:
        raise OSError

    assert await result_of(fan_out, fail, drop, gather, start=4) == []


async def test_a_recovery_that_fans_out_itself_is_a_fan_out_inside():
    """The pieces of the broken item are joined first; what that gives has the item's place."""

    @step
    async def break_one(event: Item) -> Done:
        if event.n == 1:
            raise OSError
        return Done(event.n)

    @step
    async def pieces(event: StepFailedEvent) -> list[Other]:
        return [Other(10), Other(20)]

    @step
    async def mend(items: list[Other]) -> Done:
        return Done(sum(item.n for item in items))

    assert await result_of(fan_out, break_one, pieces, mend, gather, start=3) == [0, 30, 2]


async def test_a_member_that_times_out_is_retried_in_its_place():
    @step(timeout=5, retry=TWICE)
    async def hang_once(event: Item, ctx: Context) -> Done:
        if event.n == 1 and ctx.attempt == 1:
            await trio.sleep_forever()
        return Done(event.n)

    assert await result_of(fan_out, hang_once, gather, start=3) == [0, 1, 2]


async def test_a_retry_does_not_emit_twice_into_the_join():
    @step(sends=[Done], retry=TWICE)
    async def send_and_fail(event: StartEvent, ctx: Context) -> list[Done]:
        ctx.send_event(Done(1))
        ctx.send_event(Done(2))
        if ctx.attempt == 1:
            raise OSError
        return [Done(3)]

    assert await result_of(send_and_fail, gather) == [1, 2, 3]


@pytest.mark.parametrize("attempts", [1, 3])
async def test_items_sent_before_the_failure_wait_for_the_whole_call(attempts):
    """The first items are done long before the call comes to its end; the join must not run in between."""
    joins = []

    @step(sends=[Item], retry=FIVE_TIMES)
    async def slowly(event: StartEvent, ctx: Context) -> None:
        ctx.send_event(Item(1))
        await trio.sleep(10)
        if ctx.attempt < attempts:
            raise OSError
        ctx.send_event(Item(2))

    @step
    async def quick(event: Item) -> Done:
        return Done(event.n)

    @step
    async def join(items: list[Done]) -> StopEvent:
        joins.append([item.n for item in items])
        return StopEvent(joins)

    assert await result_of(slowly, quick, join) == [[1, 2]]


async def test_a_join_that_fails_is_retried_and_its_fan_out_stays_joined():
    @step(retry=TWICE)
    async def join(items: list[Done], ctx: Context) -> Other:
        if ctx.attempt == 1:
            raise OSError
        return Other(len(items))

    @step
    async def members(event: Item) -> Done:
        return Done(event.n)

    @step
    async def end(event: Other) -> StopEvent:
        return StopEvent((event.n, trio.current_time()))

    assert await result_of(fan_out, members, join, end, start=3) == (3, 1)
