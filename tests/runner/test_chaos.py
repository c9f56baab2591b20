"""Runs that use everything, while somebody outside does anything: they end in a known way and leave nothing."""

import itertools
import random
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    RetryConfig,
    RunClosedError,
    RunStatus,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    WorkflowError,
    WorkflowResult,
    WorkflowRun,
    step,
)
from tests.budget import share
from tests.runner.seeds import run_shuffled
from tests.runner.test_leaks import objects_of_runs, tasks_below

VARIABLE: ContextVar[int] = ContextVar("VARIABLE", default=-1)


class Item(Event):
    number: int


class Half(Event):
    number: int


class Done(Event):
    number: int


class Group(Event):
    numbers: list[int]


class Signal(Event):
    number: int


def make_workflow(limiter: trio.CapacityLimiter, chance: random.Random) -> Workflow:
    """A workflow of which each item takes a way of its own, with the times that chance gives it."""
    ways = Ways(chance)
    steps = [
        ways.begin,
        ways.split.with_options(limiter=limiter),
        ways.work,
        ways.heed.with_options(limiter=limiter),
        ways.recover,
        ways.join,
    ]
    return Workflow("chaos", steps, timeout=400, stream_buffer=20)


class Ways:
    """The steps: they yield, fan out, fail, hang, ask, send, write, count, recover and join."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def _sleep(self) -> None:
        await trio.sleep(self._chance.choice([0.0, 0.0, 0.5, 1.0, 1.0, 2.5]))

    @step
    async def begin(self, event: StartEvent) -> AsyncIterator[Item]:
        for number in range(16):
            yield Item(number)
            if number % 5 == 4:
                await self._sleep()

    @step(retry=RetryConfig(max_retries=3, initial_delay_ms=500, jitter=False), timeout=3)
    async def split(self, event: Item, ctx: Context) -> list[Half] | Half:
        assert VARIABLE.get() == -1
        VARIABLE.set(event.number)
        await self._sleep()
        assert VARIABLE.get() == event.number
        ctx.state[f"item {event.number}"] = ctx.attempt
        if event.number % 4 == 1 and ctx.attempt == 1:
            raise OSError(event.number)
        if event.number % 4 == 2 and ctx.attempt == 1:
            await trio.sleep_forever()
        return [Half(event.number), Half(-event.number)] if event.number % 2 else Half(event.number)

    @step(max_concurrency=5, sends=[Signal])
    async def work(self, event: Half, ctx: Context) -> Done | None:
        ctx.emit_usage(UsageEvent(prompt_tokens=1))
        ctx.write_event_to_stream(event)
        if event.number % 6 == 3:
            assert await ctx.request_input(f"half {event.number}") == "yes"
        if event.number % 6 == 4:
            ctx.send_event(Signal(event.number))
        await self._sleep()
        if event.number == 8:
            raise LookupError(event.number)
        return Done(event.number) if event.number % 3 else None

    @step
    async def heed(self, event: Signal) -> None:
        with trio.move_on_after(1):
            await trio.sleep(2)

    @step
    async def recover(self, event: StepFailedEvent) -> Done:
        await self._sleep()
        return Done(1_000)

    @step
    async def join(self, done: list[Done | Group], ctx: Context) -> Group | StopEvent:
        await self._sleep()
        numbers = [number for each in done for number in (each.numbers if isinstance(each, Group) else [each.number])]
        return Group(numbers) if ctx.call.scope.parent is not None else StopEvent(sorted(numbers))


async def pause(run: WorkflowRun, chance: random.Random) -> None:
    with trio.move_on_after(chance.choice([0, 1, 5])):
        await run.pause(interrupt=chance.random() < 0.5)
        await trio.sleep(chance.choice([0, 0, 1]))
    await run.resume_in_place()


async def answer(run: WorkflowRun, chance: random.Random) -> None:
    for question in run.pending_inputs:
        await run.respond_to_input(question.request_id, "yes")


async def send(run: WorkflowRun, chance: random.Random) -> None:
    await run.send_event(Signal(chance.randrange(100)))


async def read(run: WorkflowRun, chance: random.Random) -> None:
    async with run.stream_events(lossless=chance.random() < 0.5) as events:
        with trio.move_on_after(chance.choice([0, 1, 3])):
            for _ in range(chance.randrange(40)):
                await events.receive()


async def feed(run: WorkflowRun, chance: random.Random) -> None:
    async with run.open_send_channel() as channel:
        for number in range(chance.randrange(5)):
            await channel.send(Signal(number))


async def abort(run: WorkflowRun, chance: random.Random) -> None:
    if chance.random() < 0.01:
        await run.abort()


ACTIONS = (pause, pause, answer, answer, answer, send, read, read, feed, abort)


async def act(run: WorkflowRun, chance: random.Random) -> None:
    """Do anything for a while, then only answer, until the run is over; then everything is refused as documented."""
    actions = itertools.chain((chance.choice(ACTIONS) for _ in range(chance.randrange(60))), itertools.repeat(answer))
    while not run.status.is_end:
        try:
            await next(actions)(run, chance)
        except (RunClosedError, trio.BrokenResourceError, trio.EndOfChannel):
            assert run.status.is_end
        await trio.sleep(chance.choice([0, 0.3, 1]))


async def run_in_chaos(workflow: Workflow, chance: random.Random) -> str:
    with trio.move_on_after(chance.choice([5, 2_000, 2_000, 2_000])):
        async with trio.open_nursery() as nursery, workflow.start() as run:
            nursery.start_soon(act, run, chance)
            nursery.start_soon(act, run, chance)
            try:
                check(run, await run.result())
            except WorkflowError as error:
                return type(error).__name__
            return "completed"
    return "cancelled"


def check(run: WorkflowRun, result: WorkflowResult) -> None:
    """Every half ended once: in the result, or recovered; usage counts each successful call once."""
    assert run.status is RunStatus.COMPLETED
    halves = [*range(0, 16, 2), *range(1, 16, 2), *range(-1, -16, -2)]
    expected = sorted([number for number in halves if number % 3 and number != 8] + [1_000])
    assert result.result == expected
    assert result.usage_total.prompt_tokens == len(halves) - 1


def chaos(seed: int) -> list[str]:
    chance = random.Random(seed)
    limiter = trio.CapacityLimiter(3)

    async def main() -> list[str]:
        ends: list[str] = []

        async def one() -> None:
            ends.append(await run_in_chaos(make_workflow(limiter, chance), chance))

        with trio.fail_after(10_000):
            async with trio.open_nursery() as nursery:
                for _ in range(chance.choice([1, 2, 4])):
                    nursery.start_soon(one)
        assert limiter.borrowed_tokens == limiter.statistics().tasks_waiting == 0
        assert len(list(tasks_below(trio.lowlevel.current_root_task()))) <= 4
        return ends

    return run_shuffled(main, seed)


@pytest.mark.parametrize("seed", range(40))
def test_a_run_survives_anything_that_is_done_to_it(seed: int) -> None:
    assert set(chaos(seed)) <= {"completed", "cancelled", "WorkflowAbortedError", "WorkflowTimeoutError"}


@pytest.mark.slow
def test_many_runs_survive_anything_that_is_done_to_them() -> None:
    before = objects_of_runs()
    ends = [end for seed in range(100, 100 + share(400)) for end in chaos(seed)]
    assert {"completed", "cancelled"} <= set(ends)
    assert set(ends) <= {"completed", "cancelled", "WorkflowAbortedError", "WorkflowTimeoutError"}
    assert sum((objects_of_runs() - before).values()) == 0
