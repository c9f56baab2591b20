"""The stream of a run, wherever the run is: numbers without hole or doubling."""

from collections.abc import Awaitable, Callable
from typing import Any, final

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    EngineRun,
    LifecycleEvent,
    StartEvent,
    StopEvent,
    StoreError,
    StreamGap,
    Workflow,
    open_engine,
    step,
)
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.stores import _Around
from tests.engine.stories import Note, asked, asking, parked


@step
async def write_many(event: StartEvent, ctx: Context) -> StopEvent:
    for number in range(event.data["count"]):
        ctx.write_event_to_stream(Note(str(number)))
        await trio.sleep(event.data["every_s"])
    return StopEvent("end")


def writing(stream_buffer: int = 100) -> Workflow:
    return Workflow("writing", [write_many], events=[Note], stream_buffer=stream_buffer, publish_lifecycle=False)


async def numbers(run: EngineRun, after: int = 0) -> list[int]:
    async with run.stream_events(after) as events:
        return [item.seq async for item in events.envelopes()]


async def test_a_reader_follows_a_run_from_the_store_into_memory_and_out_again(autojump_clock: MockClock) -> None:
    store, seen = MemoryStore(), list[int]()

    async def read(run: EngineRun) -> None:
        async with run.stream_events() as events:
            async for item in events.envelopes():
                seen.append(item.seq)

    async with open_engine(store, [asking]) as engine:
        run = await engine.start("asking")
        await asked(run)
        await parked(engine)
    async with open_engine(store, [asking]) as engine, trio.open_nursery() as nursery:
        run = await engine.get(run.run_id)
        nursery.start_soon(read, run)
        await trio.sleep(3)
        assert seen == [1, 2]
        await run.respond_to_input(await asked(run), 1)
        await trio.sleep(5)
        await run.respond_to_input(await asked(run, "second?"), 2)
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 5


async def test_a_run_of_another_engine_is_read_through_the_store(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [writing()]) as one, open_engine(store, [writing()]) as other:
        run = await one.start("writing", {"count": 20, "every_s": 0.1})
        assert await numbers(await other.get(run.run_id)) == list(range(1, 22))
        assert await numbers(run, after=15) == list(range(16, 22))


async def test_what_is_kept_no_more_is_one_gap_here_and_elsewhere(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [writing(10)]) as one, open_engine(store, [writing(10)]) as other:
        run = await one.start("writing", {"count": 50, "every_s": 0.1})
        await trio.sleep(2.05)
        here, there = run.stream_events(types=StopEvent), (await other.get(run.run_id)).stream_events(types=StopEvent)
        async with here, there:
            for events in (here, there):
                gap = await events.receive()
                assert isinstance(gap, StreamGap)
                assert (gap.missed, events.position) == (11, 11)
                counts = events.statistics()
                assert (counts.position, counts.missed, counts.closed) == (11, 11, False)
            assert await here.receive() == StopEvent("end")
            assert (here.statistics().position, here.statistics().behind) == (51, 0)
        assert await numbers(run) == list(range(41, 52))  # the gap has the number of the last event missed


async def test_items_come_in_batches_as_they_come_one_by_one(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [writing(10)]) as engine:
        run = await engine.start("writing", {"count": 60, "every_s": 0.1})
        await trio.sleep(2.05)
        one_by_one, batches, seen = list[int](), list[int](), 0
        single, several, notes = run.stream_events(), run.stream_events(), run.stream_events(types=StopEvent)
        async with single, several, notes:
            while seen != 61:
                batches += [item.seq for item in await several.receive_records(4)]
                while one_by_one[-1:] != batches[-1:]:
                    one_by_one.append((await single.receive_item()).seq)
                seen = batches[-1]
            assert batches == one_by_one == [11, *range(12, 62)]
            assert [type(item.event) for item in await notes.receive_records(100)] == [StreamGap, StopEvent]
            with pytest.raises(trio.EndOfChannel):
                await several.receive_records(1)


async def test_a_subscription_is_for_one_task_at_a_time() -> None:
    async with open_engine(MemoryStore(), [writing(10)]) as engine:
        run = await engine.start("writing", {"count": 5, "every_s": 60})
        async with run.stream_events() as events, trio.open_nursery() as nursery:

            async def read() -> None:
                async for _ in events:
                    pass

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="subscribe once for each reader"):
                await events.receive()
            with pytest.raises(trio.BusyResourceError):
                await events.receive_records(1)
            nursery.cancel_scope.cancel()


@final
class LateStore(_Around):
    """A store that answers with what it has a while after it was asked for a stream."""

    delay_s = 0.0

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if "read_stream" in getattr(call, "__qualname__", ""):
            await trio.sleep(self.delay_s)
        return await call()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("delay_s", [0.1, 0.9, 1.4])
async def test_what_the_store_tells_late_is_not_told_again_by_the_run_in_memory(
    autojump_clock: MockClock, count: int, delay_s: float
) -> None:
    store, seen = LateStore(MemoryStore()), list[int]()
    async with open_engine(store, [writing()], max_runs=1) as engine, trio.open_nursery() as nursery:
        await engine.start("writing", {"count": 1, "every_s": 3})
        queued = await engine.start("writing", {"count": 10, "every_s": 0.2})
        store.delay_s = delay_s
        nursery.start_soon(read_in_batches, queued, count, seen)
    assert seen == list(range(1, 12))


async def read_in_batches(run: EngineRun, count: int, seen: list[int]) -> None:
    async with run.stream_events() as events:
        with pytest.raises(trio.EndOfChannel):
            while True:
                seen.extend([item.seq for item in await events.receive_records(count)])


async def test_a_lossless_reader_holds_the_run_and_misses_nothing(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [chain_of_notes()]) as engine:
        run = await engine.start("chain")
        seen = list[int]()
        async with run.stream_events(lossless=True, types=Note) as events:
            async for item in events.envelopes():
                seen.append(item.seq)
                await trio.sleep(0.1)
    assert len(seen) == 100
    assert seen == sorted(set(seen))


def chain_of_notes() -> Workflow:
    class Next(Note):
        """One more."""

    @step
    async def begin(event: StartEvent) -> Next:
        return Next("0")

    @step
    async def go_on(event: Next, ctx: Context) -> Next | StopEvent:
        number = int(event.text)
        ctx.write_event_to_stream(Note(event.text))
        return Next(str(number + 1)) if number < 99 else StopEvent()

    return Workflow("chain", [begin, go_on], events=[Note], stream_buffer=20, publish_lifecycle=False)


async def test_lifecycle_events_are_numbered_only_while_somebody_reads(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking]) as engine:
        run = await engine.start("asking")
        await asked(run)
        async with run.stream_events(types=LifecycleEvent):
            await run.respond_to_input(await asked(run), 1)
            await asked(run, "second?")
        await run.respond_to_input(await asked(run, "second?"), 2)
        await run.result()
        async with run.stream_events() as events:
            items = [item async for item in events.envelopes()]
    assert [item.seq for item in items] == list(range(1, len(items) + 1))
    assert isinstance(items[-1].event, StopEvent)
    assert any(isinstance(item.event, LifecycleEvent) for item in items)


async def test_a_reader_learns_that_the_engine_closes(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, open_engine(MemoryStore(), [asking]) as engine:
        run = await engine.start("asking")

        async def read() -> None:
            with pytest.raises(StoreError, match="closed"):
                await numbers(run)

        nursery.start_soon(read)
        await asked(run)
        await trio.sleep(3)
        assert engine.in_memory == 1  # somebody reads


async def test_a_subscription_that_is_closed_gives_nothing_more(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine:
        run = await engine.start("asking")
        await asked(run)
        events = run.stream_events()
        await events.receive()
        await events.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await events.receive()
        await parked(engine)
