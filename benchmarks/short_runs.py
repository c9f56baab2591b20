"""W3: runs of one no-op step; a run against two nurseries with one no-op task each."""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from benchmarks.bare import two_nurseries
from benchmarks.measuring import Case, Goal, Scale, us_each
from blazen_trio import StartEvent, StopEvent, Workflow, step

WAVES = 5
GOAL = Goal(1.0)


@step
async def finish(event: StartEvent) -> StopEvent:
    return StopEvent()


WORKFLOW = Workflow("short", [finish])

Once = Callable[[], Awaitable[object]]


async def one_after_another(once: Once, count: int) -> None:
    for _ in range(count):
        await once()


async def at_once(once: Once, count: int) -> None:
    """``count`` in all, in waves."""
    for _ in range(WAVES):
        async with trio.open_nursery() as nursery:
            for _ in range(count // WAVES):
                nursery.start_soon(once)


def cases(scale: Scale) -> list[Case]:
    count, in_all = scale.size(2_000), scale.size(WAVES * 1_000)
    return [
        _case(f"{count:,} runs one after another", one_after_another, count),
        _case(f"{WAVES} x {in_all // WAVES:,} runs at once", at_once, in_all),
    ]


def _case(name: str, pattern: Callable[[Once, int], Awaitable[None]], count: int) -> Case:
    return Case(
        name,
        "us/run",
        engine=partial(us_each, count, partial(pattern, WORKFLOW.run)),
        baseline=partial(us_each, count, partial(pattern, two_nurseries)),
        goal=GOAL,
    )
