"""More programs for engines: runs inside runs, runs that hold much, events from outside. See ``tests.snapshots``."""

import contextlib
from collections.abc import Callable
from typing import Any

import trio

from blazen_trio import (
    Context,
    RunClosedError,
    StartEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    WorkflowRun,
    step,
)
from tests.snapshots.programs import QUICK, Done, Item, Program, Signal, answer_all, gather, spread


def inner_workflow() -> Workflow:
    """A workflow that does what a run can do: state, stream, usage, a retry, a question, a fan-out."""

    @step
    async def begin(event: StartEvent, ctx: Context) -> list[Signal]:
        ctx.state["from"] = event.data["number"]
        ctx.write_event_to_stream(Done(event.data["number"]))
        return [Signal(event.data["number"] + place) for place in range(2)]

    @step(retry=QUICK)
    async def work(event: Signal, ctx: Context) -> Done:
        ctx.emit_usage(UsageEvent(model="m", total_tokens=1, cost_usd=0.25))
        await trio.sleep(event.number % 2)
        if ctx.attempt == 1 and event.number % 2:
            raise OSError(event.number)
        answer: Any = await ctx.request_input(str(event.number)) if event.number % 3 == 0 else 0
        return Done(event.number + answer)

    @step
    async def finish(done: list[Done], ctx: Context) -> StopEvent:
        begun_at: Any = ctx.state["from"]
        return StopEvent({"number": sum(each.number for each in done) + begun_at})

    return Workflow("inner", [begin, work, finish])


def runs_inside() -> Program:
    inside = inner_workflow().as_step(Item, Done, max_concurrency=2, output=lambda result: Done(**result.result))
    return Program(Workflow("outer", [spread, inside, gather], timeout=100), drive=answer_all)


def runs_inside_runs() -> Program:
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(event.data["number"]), Item(event.data["number"] + 3)]

    @step
    async def add(done: list[Done]) -> StopEvent:
        return StopEvent({"number": sum(each.number for each in done)})

    inmost = inner_workflow().as_step(Item, Done, output=lambda result: Done(**result.result))
    middle = Workflow("middle", [begin, inmost, add])
    inside = middle.as_step(Item, Done, retry=QUICK, output=lambda result: Done(**result.result))

    @step
    async def few(event: StartEvent) -> list[Item]:
        return [Item(1), Item(2)]

    return Program(Workflow("outmost", [few, inside, gather]), drive=answer_all)


def much_state() -> Program:
    """So much is written that bases take the place of rows while calls run."""

    @step(max_concurrency=3)
    async def work(event: Item, ctx: Context) -> Done:
        for part in range(3):
            ctx.state[f"{event.number}.{part}"] = "x" * 40_000
            await trio.sleep(0.5)
        ctx.write_event_to_stream(Signal(event.number))
        return Done(event.number)

    @step
    async def clear(done: list[Done], ctx: Context) -> StopEvent:
        size = sum(len(value) for value in ctx.state.values() if isinstance(value, str))
        for key in list(ctx.state):
            del ctx.state[key]
        return StopEvent(size)

    return Program(Workflow("much", [spread, work, clear], events=[Signal]))


def events_from_outside() -> Program:
    """Each event is sent until that is acknowledged: what is acknowledged is not lost, and none comes twice."""
    acknowledged: set[int] = set()

    @step
    async def work(event: Item, ctx: Context) -> StopEvent | None:
        await trio.sleep(0.75)
        seen: Any = ctx.state.get("seen", [])
        ctx.state["seen"] = sorted({*seen, event.number})
        if ctx.state["seen"] == list(range(6)):
            return StopEvent("all came")
        return None

    @step
    async def begin(event: StartEvent, ctx: Context) -> None:
        await ctx.wait_for_event(Signal)

    async def send(run: WorkflowRun) -> None:
        for number in range(6):
            if number not in acknowledged:
                with contextlib.suppress(RunClosedError):
                    await run.send_event(Item(number))
                acknowledged.add(number)
            await trio.sleep(0.5)

    return Program(Workflow("outside", [begin, work], events=[Item, Signal]), drive=send)


PROGRAMS: tuple[Callable[[], Program], ...] = (
    runs_inside,
    runs_inside_runs,
    much_state,
    events_from_outside,
)
