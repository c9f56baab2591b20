"""``ctx.send_event``: into the queue before the call ends, in the call's own fan-out, once for all attempts."""

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    EventLimitError,
    RunStalledError,
    StartEvent,
    StopEvent,
    step,
)

from .stories import TWICE, Done, Item, Other, failure_of, gather, one_item, result_of, running, streamed, work


async def test_a_sent_event_is_worked_on_before_the_call_ends():
    @step(sends=[Item])
    async def begin(event: StartEvent, ctx: Context) -> None:
        ctx.send_event(Item(1))
        await trio.sleep_forever()

    @step
    async def end(event: Item) -> StopEvent:
        return StopEvent((event.n, trio.current_time()))

    assert await result_of(begin, end) == (1, 0)


async def test_sent_events_are_one_fan_out_with_what_the_call_returns():
    @step(sends=[Item])
    async def begin(event: StartEvent, ctx: Context) -> list[Item]:
        ctx.send_event(Item(1))
        await trio.sleep(1)
        ctx.send_event(Item(2))
        return [Item(3), Item(4)]

    assert await result_of(begin, work, gather) == [1, 2, 3, 4]


async def test_the_join_waits_for_the_call_that_sends():
    @step(sends=[Item])
    async def begin(event: StartEvent, ctx: Context) -> None:
        ctx.send_event(Item(1))
        await trio.sleep(10)  # the first item is long done
        ctx.send_event(Item(2))

    @step
    async def join(items: list[Done]) -> StopEvent:
        return StopEvent((trio.current_time(), [item.n for item in items]))

    assert await result_of(begin, work, join) == (10, [1, 2])


async def test_the_join_runs_though_the_call_announced_nothing():
    @step
    async def begin(event: StartEvent, ctx: Context) -> None:
        ctx.send_event(Item(1))

    @step
    async def never(event: Other) -> list[Item]:
        return []

    assert await result_of(begin, work, gather, never, events=[Item, Other]) == [1]


async def test_a_single_returned_event_is_not_in_the_fan_out_of_what_the_call_sent():
    @step(sends=[Done])
    async def begin(event: StartEvent, ctx: Context) -> Done:
        ctx.send_event(Done(1))
        return Done(2)

    @step
    async def join(items: list[Done]) -> Other:
        seen.append([item.n for item in items])
        return Other(0)

    @step
    async def end(event: Other) -> StopEvent | None:
        return None

    seen: list[list[int]] = []
    with pytest.raises(RunStalledError) as caught:
        await result_of(begin, join, end)
    assert seen == [[1]]
    assert caught.value.open_joins == ("join",)


async def test_a_repeated_call_delivers_only_what_it_did_not_send_before():
    @step(sends=[Item], retry=TWICE)
    async def begin(event: StartEvent, ctx: Context) -> None:
        for n in range(4):
            ctx.send_event(Item(n))
            if n == 1 and ctx.attempt == 1:
                raise OSError

    assert await result_of(begin, work, gather) == [0, 1, 2, 3]


async def test_a_repeated_call_that_sends_something_else_delivers_that_too():
    """The same order and an equal value: from the first difference on, what is sent is new."""

    @step(sends=[Item], retry=TWICE)
    async def begin(event: StartEvent, ctx: Context) -> None:
        for n in (1, 2, 3) if ctx.attempt == 1 else (1, 20, 3):
            ctx.send_event(Item(n))
        if ctx.attempt == 1:
            raise OSError

    @step
    async def join(items: list[Done]) -> StopEvent:
        return StopEvent(sorted(item.n for item in items))

    assert await result_of(begin, work, join) == [1, 2, 3, 3, 20]


async def test_a_repeated_generator_yields_only_what_it_did_not_yield_before():
    @step(retry=TWICE)
    async def begin(event: StartEvent, ctx: Context):
        for n in range(4):
            yield Item(n)
            if n == 2 and ctx.attempt == 1:
                raise OSError

    assert await result_of(begin, work, gather) == [0, 1, 2, 3]


async def test_a_repeated_call_that_fails_twice_still_sends_once():
    @step(sends=[Item], retry=TWICE)
    async def begin(event: StartEvent, ctx: Context) -> None:
        ctx.send_event(Item(1))
        raise OSError

    @step
    async def count(event: Item) -> Done:
        seen.append(event)
        return Done(0)

    seen: list[Item] = []
    await failure_of(begin, count, gather)
    assert seen == [Item(1)]


async def test_equal_events_of_one_call_are_all_delivered():
    @step(sends=[Item], retry=TWICE)
    async def begin(event: StartEvent, ctx: Context) -> None:
        for _ in range(3):
            ctx.send_event(Item(5))
        if ctx.attempt == 1:
            raise OSError

    assert await result_of(begin, work, gather) == [5, 5, 5]


async def test_a_repeated_call_does_not_write_to_the_stream_again():
    @step(retry=TWICE)
    async def begin(event: Item, ctx: Context) -> StopEvent:
        ctx.write_event_to_stream(Other(1))
        ctx.write_event_to_stream(Other(2))
        if ctx.attempt == 1:
            raise OSError
        ctx.write_event_to_stream(Other(3))
        return StopEvent()

    async with running(one_item, begin) as run:
        assert await streamed(run, Other) == [Other(1), Other(2), Other(3)]


async def test_what_a_call_writes_to_the_stream_is_seen_while_it_runs_and_is_not_routed():
    @step
    async def begin(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.write_event_to_stream(Other(1))
        await trio.sleep(5)
        return StopEvent()

    async with running(begin) as run, run.stream_events(types=Other) as events:
        assert await events.receive() == Other(1)
        assert trio.current_time() == 0
        await run.result()


@pytest.mark.parametrize("wrong", [Item, "text", None, Event(), [Item(1)]])
async def test_only_events_are_sent_and_written(wrong):
    @step
    async def begin(event: StartEvent, ctx: Context) -> StopEvent:
        for verb in (ctx.send_event, ctx.write_event_to_stream):
            with pytest.raises(TypeError, match=rf"{verb.__name__} takes an instance of an Event subclass"):
                verb(wrong)
        return StopEvent("told")

    assert await result_of(begin) == "told"


async def test_a_call_that_sends_without_end_is_stopped_by_the_limit():
    @step(sends=[Item])
    async def begin(event: StartEvent, ctx: Context) -> None:
        while True:
            ctx.send_event(Item(1))

    failure = await failure_of(begin, work, gather, max_pending_events=50)
    assert isinstance(failure.__cause__, EventLimitError)
    assert (failure.__cause__.limit, failure.__cause__.step_name) == (50, "begin")


async def test_a_list_beyond_the_limit_fails_the_run():
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(n) for n in range(51)]

    with pytest.raises(EventLimitError) as caught:
        await result_of(begin, work, gather, max_pending_events=50)
    assert caught.value.limit == 50


async def test_a_task_of_a_nursery_inside_a_step_may_send():
    @step(sends=[Item])
    async def begin(event: StartEvent, ctx: Context) -> None:
        async def send(n: int) -> None:
            await trio.sleep(3 - n)
            ctx.send_event(Item(n))

        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(send, n)

    assert await result_of(begin, work, gather) == [2, 1, 0]


async def test_a_repeated_call_that_writes_something_else_publishes_that_too():
    @step(retry=TWICE)
    async def begin(event: Item, ctx: Context) -> StopEvent:
        for n in (1, 2, 3) if ctx.attempt == 1 else (1, 20, 3):
            ctx.write_event_to_stream(Other(n))
        if ctx.attempt == 1:
            raise OSError
        return StopEvent()

    async with running(one_item, begin) as run:
        assert await streamed(run, Other) == [Other(n) for n in (1, 2, 3, 20, 3)]
