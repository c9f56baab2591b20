"""W7: items that sleep 10 ms, 100 at a time; the baseline is 100 plain tasks that each do their share in a loop."""

from functools import partial

import trio

from benchmarks.measuring import Case, Goal, Scale, check, seconds
from blazen_trio import Event, StartEvent, StopEvent, Workflow, step

AT_A_TIME = 100
SLEEP_S = 0.01


class Nap(Event):
    number: int


class Awake(Event):
    number: int


@step
async def spread(event: StartEvent) -> list[Nap]:
    return [Nap(number) for number in range(event.data)]


@step(max_concurrency=AT_A_TIME)
async def sleep(event: Nap) -> Awake:
    await trio.sleep(SLEEP_S)
    return Awake(event.number)


@step
async def join(items: list[Awake]) -> StopEvent:
    return StopEvent(len(items))


WORKFLOW = Workflow("sleepers", [spread, sleep, join])


async def sleep_in_run(count: int) -> None:
    result = await WORKFLOW.run(count)
    check(result.result == count, "the join did not get every item")


async def sleep_in_tasks(count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(AT_A_TIME):
            nursery.start_soon(_sleep_often, count // AT_A_TIME)


async def _sleep_often(count: int) -> None:
    for _ in range(count):
        await trio.sleep(SLEEP_S)


def cases(scale: Scale) -> list[Case]:
    count = scale.size(10_000)
    return [
        Case(
            f"{count:,} items sleeping 10 ms, {AT_A_TIME} at a time",
            "s",
            engine=partial(seconds, sleep_in_run, count),
            baseline=partial(seconds, sleep_in_tasks, count),
            goal=Goal(1.10, "at most"),
        )
    ]
