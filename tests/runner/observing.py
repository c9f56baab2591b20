"""What a run looked like from outside, in a form that can be compared between schedules."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from blazen_trio import InputRequestEvent, LifecycleEvent, Workflow, WorkflowError, WorkflowRun

Drive = Callable[[WorkflowRun], Awaitable[None]]


@attrs.frozen
class Observation:
    """A run as a reader of its stream saw it.

    Attributes:
        result: what it gave, or the kind of error and its cause.
        seconds: how long it took on Trio's clock.
        happened: what the stream told, with call ids, sorted: which of two calls is first may be chance.
        numbers: the stream's numbers, which have no holes.
    """

    result: Any
    seconds: float
    happened: tuple[Any, ...]
    numbers: tuple[int, ...]


async def observe(workflow: Workflow, start: object = None, drive: Drive | None = None) -> Observation:
    """Run a workflow while reading its stream; ``drive`` acts on the run from outside meanwhile."""
    begun = trio.current_time()
    items: list[Any] = []
    async with workflow.start(start) as run, trio.open_nursery() as nursery:
        if drive is not None:
            nursery.start_soon(drive, run)
        async with run.stream_events() as events:
            async for item in events.envelopes():
                items.append(item)
        outcome = await outcome_of(run)
    seconds = round(trio.current_time() - begun, 6)
    happened = tuple(sorted(map(_facts, items)))
    return Observation(outcome, seconds, happened, tuple(item.seq for item in items))


async def outcome_of(run: WorkflowRun) -> Any:
    """The result of a run, or what is the same of an error in every run."""
    try:
        return (await run.result()).result
    except WorkflowError as error:
        return type(error).__name__, type(error.__cause__).__name__


def _facts(item: Any) -> tuple[str, ...]:
    event = item.event
    what: tuple[Any, ...] = (repr(event),)
    if isinstance(event, LifecycleEvent):
        what = (event.kind, event.step_name, event.event_type, event.attempt)
    if isinstance(event, InputRequestEvent):
        what = (event.prompt,)  # its id is new in every run
    return tuple(map(str, (type(event).__name__, item.source_step, item.call_id, item.attempt, *what)))
