"""Bare Trio, the measure of all things here: what programs do that use no engine."""

import trio
from trio.lowlevel import checkpoint


async def noop() -> None:
    """Do nothing, as the measured steps do."""


async def tasks_one_at_a_time(count: int) -> None:
    """Start a no-op task and let it run, then the next: one pass of Trio's scheduler each."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(noop)
            await checkpoint()


async def tasks_at_once(count: int) -> None:
    """Start all no-op tasks, then let them run."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(noop)


async def two_nurseries() -> None:
    """Open a nursery with one no-op task, twice."""
    await tasks_at_once(1)
    await tasks_at_once(1)
