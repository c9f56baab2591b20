"""Programs with runs inside of runs: each inner run is interrupted wherever it is, and goes on from there."""

from collections.abc import Callable

import trio

from blazen_trio import (
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    parallel_step,
    step,
)
from tests.snapshots.programs import QUICK, Done, Item, Program, Signal, answer_all, gather


@step
async def three(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(3)]


@step
async def split(event: StartEvent) -> list[Signal]:
    await trio.sleep(event.data["number"] % 2)
    return [Signal(10 * event.data["number"] + place) for place in range(3)]


@step
async def add(done: list[Done]) -> StopEvent:
    await trio.sleep(0.5)
    return StopEvent({"number": sum(event.number for event in done)})


def a_run_for_each_item() -> Program:
    """The inner runs have limits, retries, values and streams of their own."""

    @step(retry=QUICK, max_concurrency=1)
    async def work(event: Signal, ctx: Context) -> Done:
        ctx.state[str(event.number)] = await ctx.once("it", lambda: event.number + 1)
        ctx.emit_usage(UsageEvent(total_tokens=event.number, cost_usd=0.5))
        ctx.write_event_to_stream(Item(event.number))
        await trio.sleep(0.5)
        if ctx.attempt == 1 and event.number % 3 == 0:
            raise OSError
        return Done(event.number)

    inner = Workflow("inner", [split, work, add], events=[Item])
    return Program(Workflow("outer", [three, inner.as_step(accepts=Item, emits=Done), gather]))


def a_run_inside_that_asks() -> Program:
    @step
    async def ask(event: Signal, ctx: Context) -> Done:
        answer: int = await ctx.request_input(str(event.number))
        await trio.sleep(0.5)
        return Done(answer)

    inner = Workflow("asks", [split, ask, add])
    answers = {str(10 * item + place): item + place for item in range(3) for place in range(3)}
    outer = Workflow("outer", [three, inner.as_step(accepts=Item, emits=Done), gather])
    return Program(outer, drive=answer_all, answers=answers)


def a_run_inside_that_is_tried_again() -> Program:
    """An inner run that fails fails the attempt; the next one begins anew. One that never works is recovered."""

    @step
    async def work(event: Signal, ctx: Context) -> Done:
        await trio.sleep(1)
        if event.number == 11:
            raise LookupError(event.number)
        return Done(event.number)

    @step
    async def recover(event: StepFailedEvent) -> Done:
        return Done(-event.attempts)

    inner = Workflow("fails", [split, work, add])
    tried = inner.as_step(accepts=Item, emits=Done, retry=QUICK)
    return Program(Workflow("outer", [three, tried, recover, gather]))


def a_run_inside_a_run_inside_a_run() -> Program:
    @step
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        await trio.sleep(1)
        ctx.state["deep"] = ctx.idempotency_key
        await trio.sleep(1)
        return StopEvent({"number": event.data["number"] + 1})

    innermost = Workflow("innermost", [work])

    class Wrapped(Event):
        number: int

    @step
    async def begin(event: StartEvent) -> list[Wrapped]:
        return [Wrapped(event.data["number"]), Wrapped(event.data["number"] + 5)]

    inner = Workflow("inner", [begin, innermost.as_step(accepts=Wrapped, emits=Done), add])
    return Program(Workflow("outer", [three, inner.as_step(accepts=Item, emits=Done), gather]))


def runs_in_parallel() -> Program:
    """Two workflows for the same event; both of them answer."""

    @step
    async def slow(event: StartEvent) -> StopEvent:
        await trio.sleep(2)
        return StopEvent({"number": event.data["number"]})

    @step
    async def fast(event: StartEvent) -> StopEvent:
        await trio.sleep(0.5)
        return StopEvent({"number": -event.data["number"]})

    children = [
        Workflow(name, [work]).as_step(accepts=Item, emits=Done) for name, work in (("slow", slow), ("fast", fast))
    ]

    @step
    async def tell(done: list[Done], ctx: Context) -> Signal:
        ctx.state[ctx.idempotency_key] = [event.number for event in done]
        return Signal(len(done))

    @step
    async def end(signals: list[Signal]) -> StopEvent:
        return StopEvent([signal.number for signal in signals])

    return Program(Workflow("outer", [three, parallel_step("both", children, join="all"), tell, end]))


SUB_WORKFLOWS: tuple[Callable[[], Program], ...] = (
    a_run_for_each_item,
    a_run_inside_that_asks,
    a_run_inside_that_is_tried_again,
    a_run_inside_a_run_inside_a_run,
    runs_in_parallel,
)
