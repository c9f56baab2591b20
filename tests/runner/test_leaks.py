"""A thousand runs, ended in every way there is, leave nothing: no task, token, subscriber, timer, thread or object."""

import gc
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    Event,
    EventLimitError,
    RetryConfig,
    RunStalledError,
    StartEvent,
    StepFailedError,
    StopEvent,
    Workflow,
    WorkflowRun,
    WorkflowTimeoutError,
    step,
)
from blazen_trio.core.calls import Call
from blazen_trio.core.state import RunState
from blazen_trio.runner import Runner
from blazen_trio.stream import EventSubscription, Stream
from blazen_trio.threads import thread_limiter
from blazen_trio.timers import Timers
from blazen_trio.tokens import Tokens
from blazen_trio.worker import Worker
from tests.budget import share
from tests.runner.seeds import run_shuffled

LIMITER = trio.CapacityLimiter
VARIABLE: ContextVar[object] = ContextVar("VARIABLE")


class Item(Event):
    number: int


class Done(Event):
    number: int


class Signal(Event):
    pass


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(6)]


@step
async def gather(done: list[Done]) -> StopEvent:
    return StopEvent(len(done))


@step(max_concurrency=4)
async def work(event: Item, ctx: Context) -> Done:
    ctx.state["last"] = event.number
    ctx.write_event_to_stream(event)
    VARIABLE.set(event)
    await trio.sleep(event.number)
    return Done(event.number)


plain = Workflow("plain", [spread, work, gather], timeout=1_000)


# --- Ends ------------------------------------------------------------------------------------------------------------


async def completed() -> None:
    await plain.run()


async def completed_and_read() -> None:
    async with plain.start() as run, run.stream_events() as events:
        async for _ in events:
            pass


async def failed() -> None:
    @step
    async def fail(event: Item) -> Done:
        await trio.sleep(event.number)
        raise LookupError(event)

    with pytest.raises(StepFailedError):
        await Workflow("failed", [spread, fail, gather]).run()


async def timed_out_in_a_step() -> None:
    with pytest.raises(StepFailedError):
        await Workflow("step timeout", [spread, work.with_options(timeout=2), gather]).run()


async def timed_out() -> None:
    with pytest.raises(WorkflowTimeoutError):
        await Workflow("timeout", [spread, work, gather], timeout=2).run()


async def aborted() -> None:
    async with plain.start() as run:
        await trio.sleep(2)
        await run.abort()


async def block_left() -> None:
    async with plain.start():
        await trio.sleep(2)


async def block_left_at_once() -> None:
    async with plain.start():
        pass


async def body_failed() -> None:
    with pytest.raises(LookupError):
        async with plain.start():
            await trio.sleep(2)
            raise LookupError


async def cancelled_from_outside() -> None:
    with trio.move_on_after(2):
        await plain.run()


async def cancelled_before_it_began() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await plain.run()


async def stalled() -> None:
    @step
    async def stop(event: Item) -> StopEvent | None:
        await trio.sleep(event.number)
        return None

    with pytest.raises(RunStalledError):
        await Workflow("stalled", [spread, stop]).run()


async def interrupted_in_a_step() -> None:
    @step
    async def interrupt(event: Item) -> Done:
        await trio.sleep(event.number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await Workflow("interrupted", [spread, interrupt, gather]).run()


async def interrupted_in_a_step_of_a_block() -> None:
    @step
    async def interrupt(event: Item) -> Done:
        await trio.sleep(event.number)
        raise SystemExit

    with pytest.raises(SystemExit):
        async with Workflow("interrupted", [spread, interrupt, gather]).start():
            await trio.sleep_forever()


async def paused_then_left() -> None:
    async with plain.start() as run:
        await trio.sleep(1.5)
        await run.pause(interrupt=True)


async def left_while_it_pauses() -> None:
    async with plain.start() as run:
        with trio.move_on_after(0.5):
            await run.pause()


async def question_open_then_left() -> None:
    @step
    async def ask(event: Item, ctx: Context) -> Done:
        return Done(await ctx.request_input(f"item {event.number}"))

    async with Workflow("questions", [spread, ask, gather]).start() as run:
        await trio.sleep(1)
        assert len(run.pending_inputs) == 6


async def waiting_for_an_event() -> None:
    @step
    async def wait(event: Item, ctx: Context) -> Done:
        await ctx.wait_for_event(Signal, match=lambda signal: False)
        return Done(event.number)

    async with Workflow("waiting", [spread, wait, gather], events=[Signal]).start() as run:
        await trio.sleep(1)
        await run.send_event(Signal())


async def lossless_subscriber_left_behind() -> None:
    @step
    async def write(event: Item, ctx: Context) -> Done:
        for number in range(20):
            ctx.write_event_to_stream(Item(number))
        await trio.sleep(1)
        return Done(event.number)

    workflow = Workflow("lossless", [spread, write.with_options(max_concurrency=1), gather], stream_buffer=10)
    async with workflow.start() as run:
        events = run.stream_events(lossless=True)
        await events.receive()
        await trio.sleep(5)
        assert run.statistics()["stream"].held


async def subscriber_left_open() -> None:
    async with plain.start() as run:
        events = run.stream_events()
        await events.receive()


async def send_channel_left_open() -> None:
    async with plain.start() as run:
        run.open_send_channel()
        await trio.sleep(1)


async def thread_running_at_the_end() -> None:
    may_end = threading.Event()

    @step
    def block(event: Item) -> None:
        may_end.wait()

    @step
    async def stop(event: Item) -> StopEvent:
        return StopEvent()

    async with Workflow("thread", [spread, block, stop]).start() as run:
        await run.result()
        may_end.set()


async def retry_pending_at_the_end() -> None:
    @step(retry=RetryConfig(initial_delay_ms=30_000))
    async def retry(event: Item) -> Done:
        raise OSError(event)

    async with Workflow("retry", [spread, retry, gather], timeout=100).start() as run:
        await trio.sleep(1)
        assert run.statistics()["retrying"] == 6


async def waiting_for_a_token() -> None:
    limiter = trio.CapacityLimiter(2)
    async with Workflow("tokens", [spread, work.with_options(limiter=limiter), gather]).start():
        await trio.sleep(0.5)
    assert limiter.borrowed_tokens == limiter.statistics().tasks_waiting == 0


async def too_many_events() -> None:
    with pytest.raises(EventLimitError):
        await Workflow("limit", [spread, work, gather], max_pending_events=3).run()


async def never_entered() -> None:
    plain.start()


ENDS: tuple[Callable[[], Awaitable[None]], ...] = (
    completed,
    completed_and_read,
    failed,
    timed_out_in_a_step,
    timed_out,
    aborted,
    block_left,
    block_left_at_once,
    body_failed,
    cancelled_from_outside,
    cancelled_before_it_began,
    stalled,
    interrupted_in_a_step,
    interrupted_in_a_step_of_a_block,
    paused_then_left,
    left_while_it_pauses,
    question_open_then_left,
    waiting_for_an_event,
    lossless_subscriber_left_behind,
    subscriber_left_open,
    send_channel_left_open,
    thread_running_at_the_end,
    retry_pending_at_the_end,
    waiting_for_a_token,
    too_many_events,
    never_entered,
)


# --- What is there ---------------------------------------------------------------------------------------------------


def tasks_below(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    if task is None:
        return
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from tasks_below(child)


KINDS = (Runner, Worker, WorkflowRun, RunState, Call, Stream, EventSubscription, Timers, Tokens, Context, Event)


def objects_of_runs() -> Counter[str]:
    """Counts of what belongs to runs: the engine's objects, and events."""
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, KINDS))


async def check_after(end: Callable[[], Awaitable[None]], times: int) -> None:
    tasks, objects = len(list(tasks_below(trio.lowlevel.current_root_task()))), objects_of_runs()
    for _ in range(times):
        await end()
    await trio.testing.wait_all_tasks_blocked()  # a subscription that was forgotten is swept soon, not at once
    assert len(list(tasks_below(trio.lowlevel.current_root_task()))) == tasks
    assert objects_of_runs() - objects == Counter()
    assert thread_limiter().borrowed_tokens == 0


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_a_run_leaves_nothing_behind_when_it_has(
    end: Callable[[], Awaitable[None]], autojump_clock: MockClock
) -> None:
    await check_after(end, 3)


def test_a_thousand_runs_at_once_leave_nothing_behind() -> None:
    async def run_all() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(1_000):
                nursery.start_soon(ENDS[number % len(ENDS)])

    async def main() -> None:
        await check_after(run_all, 1)

    run_shuffled(main, seed=1)


@pytest.mark.slow
def test_runs_in_many_schedules_leave_nothing_behind() -> None:
    async def run_all() -> None:
        async with trio.open_nursery() as nursery:
            for end in ENDS:
                nursery.start_soon(end)

    async def main() -> None:
        await check_after(run_all, 1)

    for seed in range(share(200)):
        run_shuffled(main, seed)


async def test_statistics_of_a_run_that_ended_show_nothing_held(autojump_clock: MockClock) -> None:
    async with plain.start() as run:
        await run.result()
    statistics: dict[str, Any] = run.statistics()
    held = ("running", "parked", "retrying", "workers", "idle_workers", "timers")
    assert {name: statistics[name] for name in held} == dict.fromkeys(held, 0)
    assert statistics["limiters"]["work"].borrowed_tokens == 0
