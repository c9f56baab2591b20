"""W1: one run, a chain of no-op steps; a step against starting and running a no-op Trio task, one at a time."""

from functools import partial

from benchmarks.bare import tasks_one_at_a_time
from benchmarks.measuring import Case, Goal, Scale, us_each
from blazen_trio import Event, StartEvent, StopEvent, Workflow, step

GOAL = Goal(0.25)


class Tick(Event):
    left: int


@step
async def begin(event: StartEvent) -> Tick:
    return Tick(event.data)


@step
async def tick(event: Tick) -> Tick | StopEvent:
    return Tick(event.left - 1) if event.left > 1 else StopEvent()


WORKFLOW = Workflow("chain", [begin, tick])


async def run_chain(count: int) -> None:
    """Run ``count`` steps one after another, behind the one that begins."""
    await WORKFLOW.run(count)


def cases(scale: Scale) -> list[Case]:
    return [_case(scale.size(count)) for count in (1_000, 10_000, 100_000)]


def _case(count: int) -> Case:
    return Case(
        f"a chain of {count:,} steps",
        "us/step",
        engine=partial(us_each, count, run_chain),
        baseline=partial(us_each, count, tasks_one_at_a_time),
        goal=GOAL,
    )
