"""What a run tells about itself: usage, cost, progress, history, statistics."""

import itertools

import pytest
import trio
import trio.testing

from blazen_trio import (
    Context,
    LifecycleEvent,
    ProgressEvent,
    RetryConfig,
    StartEvent,
    StepFailedError,
    StopEvent,
    TokenUsage,
    UsageEvent,
    Workflow,
    step,
)
from tests.runs.stories import Crash, Done, Item, finish, sleep_forever, solo


async def test_usage_counts_once_per_successful_call(autojump_clock):
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(prompt_tokens=1, completion_tokens=2, total_tokens=3, cost_usd=0.25))
        if ctx.attempt < 3:
            raise Crash
        return StopEvent()

    result = await solo(work, retry=RetryConfig()).run()

    assert result.usage_total == TokenUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    assert result.cost_total_usd == 0.25


async def test_usage_of_a_running_call_is_seen_at_once_and_gone_if_it_fails():
    gate = trio.Event()

    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(total_tokens=3, cost_usd=1))
        await gate.wait()
        raise Crash

    async with solo(work).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        assert (run.usage_total.total_tokens, run.cost_total_usd) == (3, 1)
        gate.set()
        with pytest.raises(StepFailedError):
            await run.result()
        assert (run.usage_total.total_tokens, run.cost_total_usd) == (0, 0)


async def test_all_seven_counts_of_many_calls_are_added():
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(100)]

    @step
    async def work(event: Item, ctx: Context) -> None:
        ctx.emit_usage(UsageEvent("m", "p", 1, 2, 3, 4, 5, 6, 7, cost_usd=0.5))

    @step
    async def join(items: list[Item]) -> StopEvent:
        return StopEvent()

    result = await Workflow("sum", [begin, work, join]).run()

    assert result.usage_total == TokenUsage(100, 200, 300, 400, 500, 600, 700)
    assert result.cost_total_usd == 50


@pytest.mark.parametrize("value", [None, 5, Item(), {"total_tokens": 1}], ids=repr)
async def test_only_a_usage_event_is_usage(value):
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(value)
        return StopEvent()

    with pytest.raises(StepFailedError, match="emit_usage"):
        await solo(work).run()


async def test_progress_is_the_last_report_with_the_steps_name():
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.report_progress(1, 4, "reading")
        ctx.report_progress(2, 4, "reading")
        return StopEvent()

    async with solo(work).start() as run:
        assert run.progress is None
        await run.result()
        assert run.progress == ProgressEvent(2, 4, "reading", "work")
        assert (run.progress or ProgressEvent(0)).percent == 50


async def test_history_tells_what_happened_in_order(autojump_clock):
    @step(retry=RetryConfig(initial_delay_ms=2_000, jitter=False))
    async def work(event: StartEvent, ctx: Context) -> Done:
        await trio.sleep(1)
        if ctx.attempt == 1:
            raise Crash("first")
        return Done(int(await ctx.request_input("?")))

    async with Workflow("told", [work, finish], collect_history=True).start() as run:
        await trio.sleep(10)
        await run.pause()
        await run.resume_in_place()
        await run.respond_to_input(run.pending_inputs[0].request_id, "7")
        await run.result()

    told = run.history
    assert [entry.kind for entry in told] == [
        "workflow_started",
        "event_received",
        "step_dispatched",
        "step_failed",
        "step_retried",
        "step_dispatched",
        "input_requested",
        "workflow_paused",
        "workflow_resumed",
        "input_received",
        "step_completed",
        "event_received",
        "step_dispatched",
        "step_completed",
        "event_received",
        "workflow_completed",
    ]
    assert [entry.sequence for entry in told] == list(range(1, 17))
    failed = told[3]
    assert (failed.step_name, failed.event_type, failed.error) == ("work", "StartEvent", "Crash: first")
    assert failed.duration_ms == pytest.approx(1_000)
    assert failed.data["attempt"] == 1
    assert all(one.timestamp <= other.timestamp for one, other in itertools.pairwise(told))


async def test_without_collect_history_nothing_is_kept():
    async def work(event: StartEvent) -> StopEvent:
        return StopEvent()

    async with solo(work).start() as run:
        await run.result()
    assert run.history == ()


@pytest.mark.parametrize(
    ("limit", "kind"), [(1, "workflow_timed_out"), (None, "workflow_aborted")], ids=["time-out", "abort"]
)
async def test_history_ends_with_how_the_run_ended(limit, kind, autojump_clock):
    workflow = Workflow("ends", [sleep_forever], timeout=limit, collect_history=True)
    async with workflow.start() as run:
        await trio.sleep(2)
        await run.abort()
        with pytest.raises(Exception, match=r"abort|timed out"):
            await run.result()
    assert run.history[-1].kind == kind


async def test_history_does_not_put_lifecycle_events_on_an_unread_stream():
    async def work(event: StartEvent) -> StopEvent:
        return StopEvent()

    async with solo(work, collect_history=True).start() as run:
        await run.result()
        async with run.stream_events() as events:
            assert not [event async for event in events if isinstance(event, LifecycleEvent)]


async def test_statistics_count_what_waits_runs_and_rests():
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(10)]

    @step(max_concurrency=3)
    async def work(event: Item, ctx: Context) -> StopEvent:
        if event.number == 0:
            await ctx.request_input("?")
        await trio.sleep_forever()
        return StopEvent()

    async with Workflow("counted", [begin, work]).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        numbers = run.statistics()
        assert (numbers["status"], numbers["pending"], numbers["running"]) == ("running", 10, 3)
        assert (numbers["parked"], numbers["questions"], numbers["retrying"]) == (1, 1, 0)
        assert (numbers["emitted"], numbers["consumed"], numbers["late"]) == (11, 1, 0)
        await run.abort()
        assert run.statistics()["running"] == 0
