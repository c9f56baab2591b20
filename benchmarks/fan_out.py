"""W2: a fan-out with a join. An item is two calls' worth: its own step, and its place in the join.

The lateness is that of a second task that wants to wake each millisecond while the fan-out runs; beside it stands the
lateness while bare Trio starts a task for each item, all at once.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from benchmarks.bare import tasks_at_once, tasks_one_at_a_time
from benchmarks.measuring import Case, Goal, Scale, check, us_each
from blazen_trio import Event, StartEvent, StopEvent, Workflow, step

BEAT_S = 0.001


class Item(Event):
    number: int


class Done(Event):
    number: int


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(event.data)]


@step
async def work(event: Item) -> Done:
    return Done(event.number)


@step
async def join(items: list[Done]) -> StopEvent:
    return StopEvent(len(items))


WORKFLOW = Workflow("fan-out", [spread, work, join])


async def run_fan_out(count: int) -> None:
    """Fan out to ``count`` items and join them."""
    result = await WORKFLOW.run(count)
    check(result.result == count, "the join did not get every item")


def cases(scale: Scale) -> list[Case]:
    small, large = scale.size(10_000), scale.size(100_000)
    return [
        Case(
            f"a fan-out of {small:,} with a join",
            "us/item",
            engine=partial(us_each, small, run_fan_out),
            baseline=partial(us_each, small, tasks_one_at_a_time),
            goal=Goal(1.0),
        ),
        Case(
            f"{large:,} items against {small:,}",
            "us/item",
            engine=partial(us_each, large, run_fan_out),
            baseline=partial(us_each, small, run_fan_out),
            goal=Goal(1.3, "at most"),
        ),
        Case(
            f"lateness of another task during {small:,} items",
            "ms",
            engine=partial(worst_lateness_ms, run_fan_out, small),
            baseline=partial(worst_lateness_ms, tasks_at_once, small),
            goal=Goal(20.0, "at most", of="worst"),
            is_lasting=False,
        ),
    ]


def worst_lateness_ms(function: Callable[[int], Awaitable[object]], count: int) -> float:
    """How late another task woke at worst while ``function(count)`` ran."""
    return trio.run(_worst_lateness_ms, function, count)


async def _worst_lateness_ms(function: Callable[[int], Awaitable[object]], count: int) -> float:
    latenesses: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_beat, latenesses)
        await trio.sleep(5 * BEAT_S)
        latenesses.clear()  # those of an idle program
        await function(count)
        await trio.sleep(2 * BEAT_S)  # a beat that came due meanwhile counts
        nursery.cancel_scope.cancel()
    return max(latenesses) * 1e3


async def _beat(latenesses: list[float]) -> None:
    while True:
        due = trio.current_time() + BEAT_S
        await trio.sleep_until(due)
        latenesses.append(trio.current_time() - due)
