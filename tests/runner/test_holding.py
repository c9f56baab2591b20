"""Lossless subscribers hold a run while they are behind, and only then."""

import trio
from trio.testing import MockClock

from blazen_trio import Context, Event, StartEvent, StopEvent, Workflow, step


class Item(Event):
    number: int


class Done(Event):
    number: int


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(30)]


@step(max_concurrency=1)
async def work(event: Item, ctx: Context) -> Done:
    ctx.write_event_to_stream(event)
    await trio.sleep(1)
    return Done(event.number)


@step
async def gather(done: list[Done]) -> StopEvent:
    return StopEvent([event.number for event in done])


holding = Workflow("holding", [spread, work, gather], stream_buffer=10, publish_lifecycle=False)


async def test_a_lossless_subscriber_that_comes_late_and_goes_at_once_does_not_hold_the_run(
    autojump_clock: MockClock,
) -> None:
    with trio.fail_after(1_000):
        await come_and_go()
    assert trio.current_time() == 30


async def come_and_go() -> None:
    async with holding.start() as run:
        await trio.sleep(8.5)
        async with run.stream_events(lossless=True):
            pass  # it was more than half a buffer behind, but only for this moment
        assert (await run.result()).result == list(range(30))


async def test_a_run_goes_on_when_the_subscriber_that_holds_it_reads_or_leaves(autojump_clock: MockClock) -> None:
    async with holding.start() as run:
        async with run.stream_events(lossless=True) as events:
            await trio.sleep(100)
            assert run.statistics()["running"] == 0
            for number in range(4):
                assert await events.receive() == Item(number)
            await trio.sleep(100)
        assert (await run.result()).result == list(range(30))
    assert trio.current_time() == 220


async def test_a_late_lossless_subscriber_holds_the_run_as_an_early_one_does(autojump_clock: MockClock) -> None:
    async with holding.start() as run:
        await trio.sleep(8.5)
        async with run.stream_events(lossless=True):
            await trio.sleep(100)
            assert run.statistics()["running"] == 0
            published = run.statistics()["published"]
            await trio.sleep(100)
            assert run.statistics()["published"] == published
