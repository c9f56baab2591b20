"""Varied workflows whose result is the same wherever they are interrupted; each is made anew for each test.

A program may have a ``drive``: what people outside do. It goes by what the run asks, so it serves a resumed run, too.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import attrs
import trio

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    RetryConfig,
    RunClosedError,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    WorkflowRun,
    step,
)

SQUARES = {str(number): number**2 for number in [*range(6), *range(100, 106)]}
QUICK = RetryConfig(max_retries=3, initial_delay_ms=500, jitter=False)


class Item(Event):
    number: int


class Done(Event):
    number: int


class Group(Event):
    numbers: list[int]


class Signal(Event):
    number: int


class Finished(StopEvent):
    total: int


async def leave_alone(run: WorkflowRun) -> None:
    """Nobody outside does anything."""


@attrs.frozen
class Program:
    """A workflow, what it starts with, and what people outside do.

    Attributes:
        answers: for ``assert_resumable``, if there are questions: the answers by prompt.
        deserializers: how its session refs come back.
    """

    workflow: Workflow
    start: Any = None
    drive: Callable[[WorkflowRun], Awaitable[None]] = leave_alone
    answers: Mapping[str, Any] = attrs.Factory(dict[str, Any])
    deserializers: Mapping[str, Callable[[bytes], object]] = attrs.Factory(dict[str, Callable[[bytes], object]])

    @property
    def is_alone(self) -> bool:
        """Whether people do nothing, or no more than answer: all that ``assert_resumable`` needs is here."""
        return self.drive is leave_alone or bool(self.answers)


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(6)]


@step
async def double(event: Item) -> Done:
    await trio.sleep(event.number % 3)
    return Done(2 * event.number)


@step
async def gather(done: list[Done]) -> StopEvent:
    return StopEvent([event.number for event in done])


def chain() -> Program:
    @step
    async def begin(event: StartEvent) -> Item:
        return Item(event.data["from"])

    @step
    async def go_on(event: Item) -> Item | Finished:
        if event.number % 3 == 0:
            await trio.sleep(1)
        return Item(event.number + 1) if event.number < 12 else Finished(total=event.number)

    return Program(Workflow("chain", [begin, go_on], timeout=100), {"from": 3})


def fan_out() -> Program:
    return Program(Workflow("fan-out", [spread, double, gather]))


def fan_out_with_limits() -> Program:
    return Program(Workflow("limits", [spread, double.with_options(max_concurrency=2), gather]))


def shared_limiter() -> Program:
    return Program(Workflow("limiter", [spread, double.with_options(limiter=trio.CapacityLimiter(2)), gather]))


def nested_joins() -> Program:
    @step
    async def split(event: Item) -> list[Signal]:
        await trio.sleep(event.number % 2)
        return [Signal(10 * event.number + place) for place in range(event.number % 4)]

    @step
    async def work(event: Signal) -> Done | None:
        await trio.sleep(event.number % 3)
        return Done(event.number) if event.number % 5 else None

    @step
    async def inner(done: list[Done]) -> Group:
        return Group([event.number for event in done])

    @step
    async def outer(groups: list[Group]) -> StopEvent:
        return StopEvent([group.numbers for group in groups])

    return Program(Workflow("nested", [spread, split, work, inner, outer]))


def mixed_fan_out() -> Program:
    """Items of two classes, one of which goes to two steps."""

    @step
    async def begin(event: StartEvent) -> list[Item | Signal]:
        return [Item(number) if number % 3 else Signal(number) for number in range(8)]

    @step(max_concurrency=1)
    async def triple(event: Item) -> Done:
        await trio.sleep(0.5)
        return Done(3 * event.number)

    @step
    async def heed(event: Signal) -> Done:
        return Done(-event.number)

    return Program(Workflow("mixed", [begin, double, triple, heed, gather]))


def retries() -> Program:
    @step(retry=QUICK, max_concurrency=2)
    async def work(event: Item, ctx: Context) -> Done:
        await trio.sleep(0.25)
        if ctx.attempt <= event.number % 3:
            raise OSError(event.number)
        return Done(10 * event.number + ctx.attempt)

    return Program(Workflow("retries", [spread, work, gather]))


def time_outs() -> Program:
    @step(retry=QUICK, timeout=2)
    async def work(event: Item, ctx: Context) -> Done:
        await trio.sleep(5 if ctx.attempt <= event.number % 3 else 0.5)
        return Done(event.number)

    return Program(Workflow("time-outs", [spread, work, gather]))


def recoveries() -> Program:
    @step
    async def work(event: Item) -> list[Signal]:
        await trio.sleep(event.number)
        if event.number % 2:
            raise ValueError(event.number)
        return [Signal(event.number), Signal(event.number + 1)]

    @step
    async def recover(event: StepFailedEvent) -> list[Signal]:
        await trio.sleep(1)
        assert isinstance(event.event, Item)
        return [Signal(-event.event.number)]

    @step
    async def heed(event: Signal) -> Done:
        await trio.sleep(0.5)
        return Done(event.number)

    @step
    async def inner(done: list[Done]) -> Group:
        return Group([event.number for event in done])

    @step
    async def outer(groups: list[Group]) -> StopEvent:
        return StopEvent([group.numbers for group in groups])

    return Program(Workflow("recoveries", [spread, work, recover, heed, inner, outer]))


def collectors() -> Program:
    """Pairs are made and then forgotten again once, so they are back in their buffer."""

    @step(retry=QUICK)
    async def pair(event: Item, ctx: Context) -> Group | None:
        pair = ctx.collect_events(Item, 2)
        await trio.sleep(0.5)
        if pair is None:
            return None
        if ctx.attempt == 1:
            raise OSError
        return Group(sorted(event.number for event in pair))

    @step
    async def count(groups: list[Group]) -> StopEvent:
        return StopEvent(sorted(number for group in groups for number in group.numbers))

    return Program(Workflow("collectors", [spread, pair, count]))


def waits() -> Program:
    """Each even item waits for the signal that the odd one behind it sends."""

    @step(sends=[Signal])
    async def work(event: Item, ctx: Context) -> Done:
        if event.number % 2:
            await trio.sleep(event.number)
            ctx.send_event(Signal(event.number))
            await trio.sleep(0.5)
            return Done(event.number)
        signal = await ctx.wait_for_event(Signal, match=lambda signal: signal.number == event.number + 1)
        await trio.sleep(0.5)
        return Done(100 * signal.number)

    return Program(Workflow("waits", [spread, work, gather], events=[Signal]))


def waits_for_what_steps_take_too() -> Program:
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(0), Item(1), Item(2)]

    @step(sends=[Signal])
    async def work(event: Item, ctx: Context) -> Done:
        if event.number == 2:
            await trio.sleep(1)
            ctx.send_event(Signal(7))
            await trio.sleep(1)
            return Done(2)
        signal = await ctx.wait_for_event(Signal, match=lambda signal: signal.number == 7 + event.number)
        return Done(signal.number)

    @step(sends=[Signal])
    async def heed(event: Signal, ctx: Context) -> None:
        await trio.sleep(0.25)
        if event.number == 7:
            ctx.send_event(Signal(8))

    return Program(Workflow("two takers", [begin, work, heed, gather]))


def inline_questions() -> Program:
    @step(retry=QUICK)
    async def work(event: Item, ctx: Context) -> Done:
        answer = await ctx.request_input(f"{event.number}")
        await trio.sleep(0.5)
        if ctx.attempt == 1:
            raise OSError
        again = await ctx.request_input(f"{event.number + 100}")
        return Done(answer + again)

    return Program(Workflow("questions", [spread, work, gather], timeout=10), drive=answer_all, answers=SQUARES)


async def answer_all(run: WorkflowRun) -> None:
    """Answer what is asked, the last question first, one a second."""
    while not run.status.is_end:
        await trio.sleep(1)
        for question in run.pending_inputs[-1:]:
            with contextlib.suppress(RunClosedError):  # it may end meanwhile
                await run.respond_to_input(question.request_id, int(question.prompt) ** 2)


def routed_questions() -> Program:
    @step
    async def ask(event: Item) -> InputRequestEvent:
        await trio.sleep(event.number % 2)
        return InputRequestEvent(prompt=str(event.number), request_id=f"q{event.number}", metadata={"of": (1, 2)})

    @step
    async def hear(event: InputResponseEvent) -> Done:
        await trio.sleep(0.5)
        return Done(event.response)

    return Program(Workflow("routed", [spread, ask, hear, gather]), drive=answer_all, answers=SQUARES)


def answered_by_a_handler() -> Program:
    async def handler(event: InputRequestEvent) -> object:
        await trio.sleep(0.5)
        return int(event.prompt) + 1

    @step
    async def ask(event: Item) -> InputRequestEvent:
        return InputRequestEvent(prompt=str(event.number), request_id=f"q{event.number}")

    @step
    async def hear(event: InputResponseEvent, ctx: Context) -> Done:
        return Done(event.response + await ctx.request_input(str(event.response)))

    return Program(Workflow("handler", [spread, ask, hear, gather], input_handler=handler))


def once() -> Program:
    @step(retry=QUICK)
    async def work(event: Item, ctx: Context) -> Done:
        token = await ctx.once("token", lambda: (event.number, b"bytes", {1: 2}))
        await trio.sleep(0.5)
        if ctx.attempt == 1:
            raise OSError
        other = await ctx.once("other", pause_and_give, token[0])
        return Done(other)

    async def pause_and_give(number: int) -> int:
        await trio.sleep(0.25)
        return number + 5

    return Program(Workflow("once", [spread, work, gather]))


def state_that_is_undone() -> Program:
    @step(retry=QUICK)
    async def work(event: Item, ctx: Context) -> Done:
        ctx.state[f"item {event.number}"] = {"number": event.number, "set": {1, event.number}}
        ctx.emit_usage(UsageEvent(model="m", total_tokens=event.number, cost_usd=0.5))
        await trio.sleep(event.number % 3)
        if ctx.attempt == 1 and event.number % 2:
            raise OSError
        ctx.report_progress(event.number, 6)
        ctx.state["sum"] = ctx.state.get("sum", 0) + event.number  # read and set again without suspending
        return Done(event.number)

    @step
    async def tell(done: list[Done], ctx: Context) -> StopEvent:
        del ctx.state["item 0"]
        return StopEvent(ctx.state["sum"])

    return Program(Workflow("state", [spread, work, tell]))


def generators() -> Program:
    @step
    async def produce(event: StartEvent) -> AsyncIterator[Item]:
        for number in range(5):
            yield Item(number)
            await trio.sleep(number % 2)

    @step(max_concurrency=2)
    async def work(event: Item) -> AsyncIterator[Done]:
        for place in range(event.number % 3):
            await trio.sleep(1)
            yield Done(10 * event.number + place)

    @step
    async def inner(done: list[Done]) -> Group:
        return Group([event.number for event in done])

    @step
    async def outer(groups: list[Group]) -> StopEvent:
        return StopEvent([group.numbers for group in groups])

    return Program(Workflow("generators", [produce, work, inner, outer]))


def sends_before_the_end() -> Program:
    @step(sends=[Item], retry=QUICK)
    async def send(event: StartEvent, ctx: Context) -> None:
        for number in range(5):
            ctx.send_event(Item(number))
            ctx.write_event_to_stream(Signal(number))
            await trio.sleep(number % 2)
        if ctx.attempt == 1:
            raise OSError

    return Program(Workflow("sends", [send, double, gather], events=[Signal]))


def paused_now_and_then() -> Program:
    """What comes while the run is paused is queued unrouted."""

    async def pause_often(run: WorkflowRun) -> None:
        for interrupt in (False, True, False):
            await trio.sleep(0.75)
            if run.status.is_end:
                return
            with trio.move_on_after(0.5):
                await run.pause(interrupt=interrupt)
                await trio.sleep(0.25)
            if not run.status.is_end:
                await run.resume_in_place()

    @step
    async def split(event: Item) -> list[Signal]:
        await trio.sleep(0.5 + event.number % 2)
        return [Signal(event.number), Signal(event.number + 1)]

    @step
    async def heed(event: Signal) -> Done:
        await trio.sleep(0.5)
        return Done(event.number)

    @step
    async def inner(done: list[Done]) -> Group:
        return Group([event.number for event in done])

    @step
    async def outer(groups: list[Group]) -> StopEvent:
        return StopEvent([group.numbers for group in groups])

    return Program(Workflow("paused", [spread, split, heed, inner, outer]), drive=pause_often)


def failures() -> Program:
    @step(retry=QUICK)
    async def work(event: Item, ctx: Context) -> Done:
        await trio.sleep(event.number)
        if event.number == 3:
            raise LookupError(event.number)
        return Done(event.number)

    return Program(Workflow("failure", [spread, work, gather]))


def runs_out_of_time() -> Program:
    @step
    async def work(event: Item, ctx: Context) -> Item:
        await trio.sleep(1)
        return Item(event.number)

    return Program(Workflow("too long", [spread, work, gather], timeout=4.5))


def threads() -> Program:
    @step
    def work(event: Item) -> Done:
        return Done(event.number)

    return Program(Workflow("threads", [spread, work.with_options(max_concurrency=2), gather]))


PROGRAMS: tuple[Callable[[], Program], ...] = (
    chain,
    fan_out,
    fan_out_with_limits,
    shared_limiter,
    nested_joins,
    mixed_fan_out,
    retries,
    time_outs,
    recoveries,
    collectors,
    waits,
    waits_for_what_steps_take_too,
    inline_questions,
    routed_questions,
    answered_by_a_handler,
    once,
    state_that_is_undone,
    generators,
    sends_before_the_end,
    paused_now_and_then,
    failures,
    threads,
)
