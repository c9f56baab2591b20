"""Random storms of controls over busy runs: whatever the order, each event counts exactly once and nothing hangs."""

import random
import signal
import threading

import pytest
import trio

from blazen_trio import (
    Context,
    InputRequestEvent,
    InputResponseEvent,
    RetryConfig,
    RunClosedError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowAbortedError,
    step,
)
from tests.runs.stories import Crash, Done, Item, Tick

ITEMS = 25


def busy_workflow(chance: random.Random, counted: list[int]) -> Workflow:
    """Items that sleep, fail, ask, wait, and write; a join that sums them."""

    @step
    async def begin(event: StartEvent) -> list[Item | InputRequestEvent]:
        return [*(Item(number) for number in range(ITEMS)), InputRequestEvent("routed?", "routed")]

    @step(max_concurrency=7, retry=RetryConfig(max_retries=100, initial_delay_ms=300))
    async def work(event: Item, ctx: Context) -> Done:
        ctx.write_event_to_stream(event)
        ctx.state[f"done {event.number}"] = ctx.state.get(f"done {event.number}", 0) + 1
        ctx.state["sum"] = ctx.state.get("sum", 0)
        await trio.sleep(chance.random())
        if chance.random() < 0.2:
            raise Crash
        if event.number % 5 == 0:
            assert await ctx.request_input("inline?") == event.number % 1
        if event.number % 7 == 0:
            await ctx.wait_for_event(Tick)
        return Done(event.number)

    @step
    async def answered(event: InputResponseEvent) -> Done:
        return Done(1_000)

    @step
    async def join(items: list[Done], ctx: Context) -> StopEvent:
        counted.extend(ctx.state.get(f"done {number}", 0) for number in range(ITEMS))
        return StopEvent([item.number for item in items])

    return Workflow("busy", [begin, work, answered, join], events=[Tick], timeout=200, collect_history=True)


async def pause_and_give_up(run, chance: random.Random) -> None:
    with trio.move_on_after(chance.random()):
        await run.pause()


async def interrupt(run, chance: random.Random) -> None:
    await run.pause(interrupt=True)


async def resume(run, chance: random.Random) -> None:
    await run.resume_in_place()


async def answer(run, chance: random.Random) -> None:
    for question in run.pending_inputs[:1]:
        await run.respond_to_input(question.request_id, 0)


async def send(run, chance: random.Random) -> None:
    if run.statistics()["pending"] < 100:
        await run.send_event(Tick())


async def read(run, chance: random.Random) -> None:
    async with run.stream_events(lossless=chance.random() < 0.5) as events:
        with trio.move_on_after(chance.random()):
            async for _ in events:
                pass


async def wait_and_give_up(run, chance: random.Random) -> None:
    with trio.move_on_after(chance.random() / 10):
        await run.result()


async def storm(run, chance: random.Random) -> None:
    """Do random things to a run until it is over."""
    while not run.status.is_end:
        await trio.sleep(chance.random() / 3)
        control = chance.choice([pause_and_give_up, interrupt, resume, resume, answer, send, read, wait_and_give_up])
        try:
            await control(run, chance)
        except (RunClosedError, WorkflowAbortedError):
            assert run.status.is_end


@pytest.mark.parametrize("seed", range(25))
async def test_every_item_counts_exactly_once_in_any_storm(seed, autojump_clock):
    chance = random.Random(seed)
    counted: list[int] = []
    shown: list[int] = []

    async def watch(run) -> None:
        async with run.stream_events(types=Item) as events:
            async for event in events:
                shown.append(event.number)

    async with busy_workflow(chance, counted).start() as run, trio.open_nursery() as nursery:
        nursery.start_soon(watch, run)
        for number in range(3):
            nursery.start_soon(storm, run, random.Random(seed * 10 + number))
        with trio.fail_after(100_000):
            result = await run.result()

    assert result.result == [*range(ITEMS), 1_000]
    assert counted == [1] * ITEMS
    assert sorted(shown) == list(range(ITEMS))
    numbers = run.statistics()
    assert (numbers["running"], numbers["workers"], numbers["questions"], numbers["retrying"]) == (0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(10))
async def test_an_abort_or_a_cancel_at_any_moment_leaves_nothing_behind(seed, autojump_clock):
    chance = random.Random(seed)
    for _ in range(5):
        with trio.move_on_after(chance.random() * 10):
            async with busy_workflow(chance, []).start() as run, trio.open_nursery() as nursery:
                nursery.start_soon(storm, run, chance)
                await trio.sleep(chance.random() * 10)
                if chance.random() < 0.5:
                    await run.abort()
                nursery.cancel_scope.cancel()
        numbers = run.statistics()
        assert (numbers["running"], numbers["workers"], numbers["timers"]) == (0, 0, 0)
        assert run.status.is_end


async def begin(event: StartEvent) -> Tick:
    return Tick()


async def loop(event: Tick) -> Tick | StopEvent:
    return Tick()


def test_ctrl_c_in_a_step_ends_the_program():
    @step
    async def interrupt(event: StartEvent) -> StopEvent:
        signal.raise_signal(signal.SIGINT)
        return StopEvent()

    with pytest.raises(KeyboardInterrupt):
        trio.run(Workflow("ctrl-c", [interrupt]).run)


def test_ctrl_c_at_any_moment_ends_a_program_that_never_awaits():
    workflow = Workflow("endless", [step(begin), step(loop)])
    for number in range(8):
        timer = threading.Timer(0.01 + number / 1_000, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            trio.run(workflow.run)
        timer.join()


def test_ctrl_c_ends_a_program_whose_body_waits_for_something_else():
    async def main() -> None:
        async with Workflow("endless", [step(begin), step(loop)]).start():
            await trio.sleep_forever()

    timer = threading.Timer(0.02, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    timer.join()
