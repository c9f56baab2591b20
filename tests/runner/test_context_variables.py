"""Context variables: the caller's values are there in every call, and no call ever sees another one's."""

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Context, Event, RetryConfig, StartEvent, StopEvent, Workflow, step
from tests.runner.seeds import run_shuffled

VALUE: ContextVar[Any] = ContextVar("VALUE", default="nothing")


class Item(Event):
    number: int


class Done(Event):
    value: Any


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(40)]


@step
async def gather(done: list[Done]) -> StopEvent:
    return StopEvent([event.value for event in done])


def values_seen(*steps: Any) -> Any:
    """What 40 calls see, the caller having set the variable, in some schedules."""

    async def program() -> Any:
        VALUE.set("the caller's")
        return (await Workflow("values", [spread, *steps, gather]).run()).result

    seen = [run_shuffled(program, seed) for seed in range(6)]
    assert all(each == seen[0] for each in seen)
    return seen[0]


def test_every_call_sees_the_callers_value_and_its_own_but_no_other_calls() -> None:
    @step(max_concurrency=5)
    async def work(event: Item) -> Done:
        before = VALUE.get()
        if event.number % 3 == 0:
            VALUE.set(event.number)
        if event.number % 2 == 0:
            await trio.sleep(event.number % 5)
        return Done((before, VALUE.get()))

    expected = [("the caller's", "the caller's" if number % 3 else number) for number in range(40)]
    assert values_seen(work) == expected


def test_a_value_that_a_generator_sets_stays_in_its_call() -> None:
    @step(max_concurrency=5)
    async def work(event: Item) -> AsyncIterator[Done]:
        yield Done(VALUE.get())
        VALUE.set(event.number)
        if event.number % 2:
            await trio.sleep(1)
        yield Done(VALUE.get())

    @step
    async def unpack(done: list[Done]) -> Done:
        return Done([each.value for each in done])

    async def program() -> Any:
        VALUE.set("the caller's")
        results: list[Any] = []

        @step
        async def collect(done: list[Done]) -> StopEvent:
            results.append([each.value for each in done])
            return StopEvent()

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(Workflow("generator", [work_on_start, work, collect]).run, number)
        return sorted(results, key=str)

    @step
    async def work_on_start(event: StartEvent) -> Item:
        return Item(event.data)

    assert run_shuffled(program, 3) == sorted((["the caller's", number] for number in range(10)), key=str)


def test_a_value_that_was_set_before_a_time_out_is_gone_in_the_next_attempt() -> None:
    @step(max_concurrency=5, timeout=1, retry=RetryConfig(max_retries=1, initial_delay_ms=0, jitter=False))
    async def work(event: Item, ctx: Context) -> Done:
        before = VALUE.get()
        VALUE.set("left over")
        if ctx.attempt == 1:
            await trio.sleep_forever()
        return Done((before, ctx.attempt))

    assert values_seen(work) == [("the caller's", 2)] * 40


def test_a_value_that_was_set_before_a_failure_is_gone_in_the_next_attempt() -> None:
    @step(max_concurrency=5, retry=RetryConfig(max_retries=2, initial_delay_ms=0, jitter=False))
    async def work(event: Item, ctx: Context) -> Done:
        before = VALUE.get()
        VALUE.set(ctx.attempt)
        if ctx.attempt < 3:
            raise OSError
        return Done(before)

    assert values_seen(work) == ["the caller's"] * 40


async def test_thread_steps_see_the_callers_values_and_leave_none() -> None:
    @step(max_concurrency=1)
    def work(event: Item) -> Done:
        before = VALUE.get()
        VALUE.set(event.number)
        return Done(before)

    VALUE.set("the caller's")
    assert (await Workflow("threads", [spread, work, gather]).run()).result == ["the caller's"] * 40


async def test_a_call_that_left_a_value_has_its_worker_replaced_and_one_that_took_it_back_has_not() -> None:
    tasks: list[object] = []

    def workflow_that(leaves: bool) -> Workflow:
        @step
        async def work(event: Item) -> Done:
            tasks.append(trio.lowlevel.current_task())
            token = VALUE.set(event.number)
            if not leaves:
                VALUE.reset(token)
            return Done(event.number)

        return Workflow("workers", [spread, work, gather])

    await workflow_that(leaves=True).run()
    assert len(set(tasks)) == 40
    tasks.clear()
    await workflow_that(leaves=False).run()
    assert len(set(tasks)) <= 2


async def test_a_value_whose_comparison_raises_does_no_harm() -> None:
    class Incomparable:
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            raise ArithmeticError("ambiguous")

    @step
    async def work(event: Item) -> Done:
        before = VALUE.get()
        VALUE.set(Incomparable())
        return Done(before)

    VALUE.set(mine := Incomparable())
    seen = (await Workflow("incomparable", [spread, work, gather]).run()).result
    assert all(each is mine for each in seen)


async def test_the_caller_keeps_its_values_whatever_steps_set() -> None:
    @step
    async def work(event: StartEvent) -> StopEvent:
        VALUE.set("a step's")
        return StopEvent()

    VALUE.set("mine")
    async with Workflow("caller", [work]).start() as run:
        VALUE.set("mine, later")
        await run.result()
    assert VALUE.get() == "mine, later"


async def test_calls_started_by_somebody_else_see_the_values_of_whoever_started_the_run(
    autojump_clock: MockClock,
) -> None:
    @step
    async def begin(event: StartEvent) -> None:
        await trio.sleep(10)

    @step
    async def work(event: Item) -> StopEvent:
        return StopEvent(VALUE.get())

    VALUE.set("of the run")
    async with Workflow("sent", [begin, work], events=[Item]).start() as run:
        VALUE.set("of the sender")
        await trio.sleep(1)
        await run.send_event(Item(0))
        assert (await run.result()).result == "of the run"


@pytest.mark.parametrize("count", [1, 3])
async def test_two_runs_at_once_have_their_own_values(count: int, autojump_clock: MockClock) -> None:
    @step
    async def work(event: Item) -> Done:
        await trio.sleep(event.number % count)
        return Done(VALUE.get())

    seen: dict[int, set[Any]] = {}

    async def start_one(number: int) -> None:
        VALUE.set(number)
        seen[number] = set((await Workflow("own", [spread, work, gather]).run()).result)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(start_one, number)
    assert seen == {number: {number} for number in range(count)}
