"""What the stories share: events with a number, steps that nearly all of them need, short ways to run and to fail."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from trio.testing import wait_all_tasks_blocked

from blazen_trio import (
    Event,
    RetryConfig,
    StartEvent,
    Step,
    StepFailedError,
    StepResultError,
    StopEvent,
    Workflow,
    WorkflowRun,
    WorkflowValidationError,
    step,
)

TWICE = RetryConfig(max_retries=1, jitter=False)
"""One more attempt, exactly a second later."""


class Item(Event):
    n: int


class Done(Event):
    n: int


class Other(Event):
    n: int


@step
async def fan_out(event: StartEvent) -> list[Item]:
    """Items 0 to data - 1."""
    return [Item(n) for n in range(event.data)]


@step
async def one_item(event: StartEvent) -> Item:
    return Item(event.data or 0)


@step
async def work(event: Item) -> Done:
    return Done(event.n)


@step
async def gather(items: list[Done]) -> StopEvent:
    """The numbers, in the order in which the join got them."""
    return StopEvent([item.n for item in items])


@step
async def stop(event: Done) -> StopEvent:
    return StopEvent(event.n)


async def result_of(*steps: Step, start: object = None, **options):
    """The result of a run of these steps."""
    return (await Workflow("story", steps, **options).run(start)).result


async def failure_of(*steps: Step, start: object = None, **options) -> StepFailedError:
    """The error of a run in which a step fails for good."""
    with pytest.raises(StepFailedError) as caught:
        await result_of(*steps, start=start, **options)
    return caught.value


async def violation_of(function, **options) -> StepResultError:
    """What is said of a step that accepts ``StartEvent`` and returns what it may not."""
    failure = await failure_of(step(function), **options)
    assert isinstance(failure.__cause__, StepResultError)
    return failure.__cause__


def problems_of(*steps: Step, name: str = "story", **options) -> tuple[str, ...]:
    """Everything that keeps these steps from being a workflow."""
    with pytest.raises(WorkflowValidationError) as caught:
        Workflow(name, steps, **options)
    return caught.value.problems


@asynccontextmanager
async def running(*steps: Step, start: object = None, **options) -> AsyncIterator[WorkflowRun]:
    """A run that has come to where everything in it waits."""
    async with Workflow("story", steps, **options).start(start) as run:
        await wait_all_tasks_blocked()
        yield run


async def streamed(run: WorkflowRun, *types: type[Event]) -> list[Event]:
    """All events of these classes that the run publishes, up to its end."""
    async with run.stream_events(types=types) as events:
        return [event async for event in events if isinstance(event, types)]
