"""W1: one run, a chain of no-op steps; a step against starting and running a no-op Trio task, one at a time.

Short chains are run several times in a repetition: what takes 2 ms in all shows other programs rather than itself.
"""

from functools import partial

from benchmarks.bare import tasks_one_at_a_time
from benchmarks.measuring import Case, Goal, Scale, us_each
from blazen_trio import Event, StartEvent, StopEvent, Workflow, step

GOAL = Goal(0.25)
STEPS_MIN = 20_000


class Tick(Event):
    left: int


@step
async def begin(event: StartEvent) -> Tick:
    return Tick(event.data)


@step
async def tick(event: Tick) -> Tick | StopEvent:
    return Tick(event.left - 1) if event.left > 1 else StopEvent()


WORKFLOW = Workflow("chain", [begin, tick])


async def run_chains(length: int, steps: int) -> None:
    """Run chains of ``length`` steps, one after another, until ``steps`` steps have run."""
    for _ in range(steps // length):
        await WORKFLOW.run(length)


def cases(scale: Scale) -> list[Case]:
    return [_case(scale.size(length), scale.size(STEPS_MIN)) for length in (1_000, 10_000, 100_000)]


def _case(length: int, steps_min: int) -> Case:
    steps = max(length, steps_min)
    return Case(
        f"a chain of {length:,} steps",
        "us/step",
        engine=partial(us_each, steps, partial(run_chains, length)),
        baseline=partial(us_each, steps, tasks_one_at_a_time),
        goal=GOAL,
    )
