"""Programs whose result is determined whatever the order in which Trio runs their tasks. Each makes a new workflow."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio

from blazen_trio import (
    Context,
    Event,
    RetryConfig,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowRun,
    step,
)
from tests.runner.observing import Observation, observe, outcome_of

QUICK = RetryConfig(max_retries=3, initial_delay_ms=500, jitter=False)


class Item(Event):
    number: int


class Done(Event):
    number: int


class Group(Event):
    numbers: list[int]


class Signal(Event):
    number: int


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(8)]


@step
async def gather(done: list[Done]) -> StopEvent:
    return StopEvent([event.number for event in done])


async def chain() -> Observation:
    @step
    async def begin(event: StartEvent) -> Item:
        return Item(0)

    @step
    async def go_on(event: Item) -> Item | StopEvent:
        if event.number % 5 == 0:
            await trio.sleep(1)
        return Item(event.number + 1) if event.number < 30 else StopEvent(event.number)

    return await observe(Workflow("chain", [begin, go_on]))


async def fan_out_that_sleeps() -> Observation:
    @step(max_concurrency=3)
    async def work(event: Item) -> Done:
        await trio.sleep((event.number * 5) % 7)
        return Done(event.number)

    return await observe(Workflow("fan-out", [spread, work, gather]))


async def fan_out_that_mixes_kinds() -> Observation:
    """Some items never suspend, some do at once, some only after others were sent."""

    @step
    async def work(event: Item, ctx: Context) -> Done | None:
        if event.number % 3 == 0:
            return Done(event.number)
        await trio.lowlevel.checkpoint()
        if event.number % 3 == 1:
            ctx.send_event(Signal(event.number))
        await trio.sleep(event.number)
        return Done(event.number) if event.number % 2 else None

    @step
    async def heed(event: Signal) -> None:
        await trio.sleep(event.number / 2)

    return await observe(Workflow("mixed", [spread, work.with_options(sends=(Signal,)), heed, gather]))


async def nested_joins() -> Observation:
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

    return await observe(Workflow("nested", [spread, split, work, inner, outer]))


async def retries() -> Observation:
    @step(retry=QUICK, max_concurrency=2)
    async def work(event: Item, ctx: Context) -> Done:
        if event.number % 2:
            await trio.sleep(0.25)
        if ctx.attempt <= event.number % 3:
            raise OSError(event.number)
        return Done(event.number)

    return await observe(Workflow("retries", [spread, work, gather]))


async def timeouts() -> Observation:
    @step(retry=QUICK, timeout=2)
    async def work(event: Item, ctx: Context) -> Done:
        await trio.sleep(5 if ctx.attempt <= event.number % 3 else event.number % 2)
        return Done(event.number)

    return await observe(Workflow("timeouts", [spread, work, gather]))


async def recoveries() -> Observation:
    @step(timeout=3)
    async def work(event: Item) -> Done:
        await trio.sleep(event.number)
        if event.number == 1:
            raise ValueError(event.number)
        return Done(event.number)

    @step
    async def recover(event: StepFailedEvent) -> Done:
        await trio.sleep(1)
        assert isinstance(event.event, Item)
        return Done(-event.event.number)

    return await observe(Workflow("recoveries", [spread, work, recover, gather]))


async def state() -> Observation:
    @step(retry=QUICK)
    async def work(event: Item, ctx: Context) -> Done:
        ctx.state[f"item {event.number}"] = event.number
        ctx.state["sum"] = ctx.state.get("sum", 0) + event.number  # read and set again without suspending
        if event.number == 5 and ctx.attempt == 1:
            raise OSError
        return Done(event.number)

    @step
    async def tell(done: list[Done], ctx: Context) -> StopEvent:
        return StopEvent(sorted((key, value) for key, value in ctx.state.items() if key != "sum"))

    return await observe(Workflow("state", [spread, work, tell]))


async def waits() -> Observation:
    """Each even item waits for the signal that the odd one behind it sends."""

    @step(sends=[Signal])
    async def work(event: Item, ctx: Context) -> Done:
        if event.number % 2:
            await trio.sleep(event.number)
            ctx.send_event(Signal(event.number))
            return Done(event.number)
        signal = await ctx.wait_for_event(Signal, match=lambda signal: signal.number == event.number + 1)
        return Done(100 * signal.number)

    return await observe(Workflow("waits", [spread, work, gather], events=[Signal]))


async def questions() -> Observation:
    @step
    async def work(event: Item, ctx: Context) -> Done:
        answer = await ctx.request_input(f"item {event.number}")
        return Done(answer)

    async def answer_all(run: WorkflowRun) -> None:
        await trio.sleep(3)
        for question in reversed(run.pending_inputs):
            await run.respond_to_input(question.request_id, int(question.prompt[5:]) ** 2)
            await trio.sleep(1)

    return await observe(Workflow("questions", [spread, work, gather], timeout=2), drive=answer_all)


async def sent_events() -> Observation:
    @step(sends=[Item])
    async def send(event: StartEvent, ctx: Context) -> None:
        for number in range(6):
            ctx.send_event(Item(number))
            await trio.sleep(number % 2)

    @step
    async def work(event: Item) -> Done:
        await trio.sleep(6 - event.number)
        return Done(event.number)

    return await observe(Workflow("sent", [send, work, gather]))


async def generators() -> Observation:
    @step
    async def produce(event: StartEvent) -> AsyncIterator[Item]:
        for number in range(6):
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

    return await observe(Workflow("generators", [produce, work, inner, outer]))


async def two_runs_share_a_limiter() -> list[Any]:
    limiter = trio.CapacityLimiter(3)

    @step(limiter=limiter)
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        return Done(event.number)

    workflow = Workflow("shared", [spread, work, gather])
    seen: list[Any] = [None, None]

    async def run_one(place: int) -> None:
        seen[place] = (await workflow.run()).result

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_one, 0)
        nursery.start_soon(run_one, 1)
    return [*seen, trio.current_time() - begun, limiter.borrowed_tokens]


async def collectors() -> Observation:
    @step
    async def work(event: Item) -> Done:
        await trio.sleep(event.number % 3)
        return Done(event.number)

    @step
    async def pair(event: Done, ctx: Context) -> Group | None:
        pairs = ctx.collect_events(Done, 2)
        return None if pairs is None else Group([len(pairs)])

    @step
    async def count(groups: list[Group]) -> StopEvent:
        return StopEvent(sum(group.numbers[0] for group in groups))

    observation = await observe(Workflow("collectors", [spread, work, pair, count]))
    return Observation(observation.result, observation.seconds, (), observation.numbers)  # which two meet is chance


async def events_from_outside() -> Observation:
    @step
    async def begin(event: StartEvent) -> None:
        await trio.sleep(0.5)  # until somebody has opened the channel

    @step
    async def work(event: Item) -> StopEvent | None:
        await trio.sleep(2)
        return StopEvent(event.number) if event.number == 9 else None

    async def send(run: WorkflowRun) -> None:
        async with run.open_send_channel() as channel:
            for number in range(10):
                await channel.send(Item(number))
                await trio.sleep(1)

    return await observe(Workflow("outside", [begin, work], events=[Item]), drive=send)


async def failure_that_cancels_siblings() -> Observation:
    @step
    async def work(event: Item) -> Done:
        await trio.sleep(event.number + 1)
        if event.number == 4:
            raise LookupError(event.number)
        return Done(event.number)

    return await observe(Workflow("failure", [spread, work, gather]))


async def run_that_takes_too_long() -> Observation:
    @step
    async def work(event: Item) -> Done:
        await trio.sleep(event.number)
        return Done(event.number)

    return await observe(Workflow("too long", [spread, work, gather], timeout=4.5))


async def pause_that_interrupts() -> list[Any]:
    @step(max_concurrency=2)
    async def work(event: Item) -> Done:
        await trio.sleep(2)
        return Done(event.number)

    async with Workflow("paused", [spread, work, gather], timeout=20).start() as run:
        for _ in range(3):
            await trio.sleep(3)
            await run.pause(interrupt=True)
            await trio.sleep(100)
            assert run.statistics()["running"] == 0
            await run.resume_in_place()
        return [await outcome_of(run), trio.current_time()]


PROGRAMS: tuple[Callable[[], Awaitable[Any]], ...] = (
    chain,
    fan_out_that_sleeps,
    fan_out_that_mixes_kinds,
    nested_joins,
    retries,
    timeouts,
    recoveries,
    state,
    waits,
    questions,
    sent_events,
    generators,
    two_runs_share_a_limiter,
    collectors,
    events_from_outside,
    failure_that_cancels_siblings,
    run_that_takes_too_long,
    pause_that_interrupts,
)
