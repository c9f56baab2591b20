"""W2: a fan-out with a join. An item is two calls' worth: its own step, and its place in the join.

The lateness is that of a second task that wants to wake each millisecond while the fan-out runs; beside it stands the
lateness while bare Trio starts a task for each item, all at once.
"""

from functools import partial

import trio

from benchmarks.bare import tasks_at_once, tasks_one_at_a_time
from benchmarks.heartbeat import worst_lateness_ms
from benchmarks.measuring import Case, Goal, Scale, check, us_each
from blazen_trio import Event, StartEvent, StopEvent, Workflow, step


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
            engine=partial(trio.run, worst_lateness_ms, partial(run_fan_out, small)),
            baseline=partial(trio.run, worst_lateness_ms, partial(tasks_at_once, small)),
            goal=Goal(20.0, "at most", of="worst"),
            is_lasting=False,
        ),
    ]
