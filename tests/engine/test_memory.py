"""What runs cost an engine that only wait."""

import gc
import tracemalloc
import weakref

import trio
from trio.testing import MockClock

from blazen_trio import open_engine
from blazen_trio.stores import MemoryStore
from tests.engine.stories import asked, asking, parked

COUNT = 1_000
BYTES_MAX = 1_000


async def test_a_parked_run_costs_less_than_a_kilobyte(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine:
        tracemalloc.start()
        try:
            for _ in range(COUNT - 1):
                await engine.start("asking")
            await asked(await engine.start("asking"))
            await parked(engine)
            gc.collect()
            whole = tracemalloc.get_traced_memory()[0]
            engine.held.clear()
            gc.collect()
            held = whole - tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert held / COUNT < BYTES_MAX


async def test_nothing_is_left_of_a_run_that_is_over(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine:
        run = await engine.start("asking")
        await asked(run)
        runner = engine.held[run.run_id].runner
        assert runner is not None
        journal = weakref.ref(runner.journal)
        await run.abort()
        await trio.sleep(1)
        del run, runner
        gc.collect()
        assert journal() is None
        assert (engine.held, engine.idle, engine.in_memory) == ({}, {}, 0)
