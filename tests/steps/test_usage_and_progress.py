"""Usage counts at once and exactly once for a successful call; progress is told as it goes."""

import pytest
import trio

from blazen_trio import (
    Context,
    ProgressEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    TokenUsage,
    UsageEvent,
    Workflow,
    step,
)

from .stories import TWICE, Done, Item, fan_out, gather, result_of, running, streamed

ONE = UsageEvent(
    model="m",
    prompt_tokens=1,
    completion_tokens=2,
    total_tokens=3,
    reasoning_tokens=4,
    cached_input_tokens=5,
    audio_input_tokens=6,
    audio_output_tokens=7,
    cost_usd=0.25,
)


@step
async def use(event: Item, ctx: Context) -> Done:
    ctx.emit_usage(ONE)
    return Done(event.n)


async def test_usage_adds_up_in_all_its_counts_though_nobody_listens():
    outcome = await Workflow("story", [fan_out, use, gather]).run(10)
    assert outcome.usage_total == TokenUsage(10, 20, 30, 40, 50, 60, 70)
    assert outcome.cost_total_usd == 2.5


async def test_usage_without_a_cost_costs_nothing():
    @step
    async def free(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(prompt_tokens=5))
        return StopEvent()

    outcome = await Workflow("story", [free]).run()
    assert (outcome.usage_total.prompt_tokens, outcome.cost_total_usd) == (5, 0)


async def test_a_run_that_used_nothing_has_a_usage_of_nothing():
    @step
    async def end(event: StartEvent) -> StopEvent:
        return StopEvent()

    outcome = await Workflow("story", [end]).run()
    assert (outcome.usage_total, outcome.cost_total_usd) == (TokenUsage(), 0)


async def test_what_failed_attempts_used_does_not_count():
    @step(retry=TWICE)
    async def twice(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(ONE)
        ctx.emit_usage(ONE)
        if ctx.attempt == 1:
            raise OSError
        return StopEvent()

    outcome = await Workflow("story", [twice]).run()
    assert (outcome.usage_total.prompt_tokens, outcome.cost_total_usd) == (2, 0.5)


async def test_what_a_recovered_call_used_does_not_count():
    @step
    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(ONE)
        raise OSError

    @step
    async def rescue(event: StepFailedEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(prompt_tokens=100))
        return StopEvent()

    outcome = await Workflow("story", [fail, rescue]).run()
    assert outcome.usage_total == TokenUsage(prompt_tokens=100)


async def test_usage_counts_at_once():
    @step
    async def slow(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(ONE)
        await trio.sleep(10)
        return StopEvent()

    async with running(slow) as run:
        assert (run.usage_total.prompt_tokens, run.cost_total_usd) == (1, 0.25)
        await run.result()
        assert (run.usage_total.prompt_tokens, run.cost_total_usd) == (1, 0.25)


async def test_the_last_call_counts_with_the_stop_that_it_returns():
    @step
    async def last(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(ONE)
        return StopEvent()

    assert (await Workflow("story", [last]).run()).usage_total.prompt_tokens == 1


async def test_usage_is_on_the_stream():
    async with running(fan_out, use, gather, start=2) as run:
        assert await streamed(run, UsageEvent) == [ONE, ONE]


async def test_only_usage_events_are_usage():
    @step
    async def wrong(event: StartEvent, ctx: Context) -> StopEvent:
        with pytest.raises(TypeError, match="emit_usage takes a UsageEvent, not 5"):
            ctx.emit_usage(5)  # type: ignore[arg-type]  # the mistake
        return StopEvent("told")

    assert await result_of(wrong) == "told"


async def test_progress_is_on_the_stream_and_the_last_is_the_runs():
    @step
    async def download(event: StartEvent, ctx: Context) -> StopEvent:
        for done in range(3):
            ctx.report_progress(done, 4, "pages")
            await trio.sleep(1)
        return StopEvent()

    async with running(download) as run:
        assert run.progress == ProgressEvent(0, 4, "pages", "download")
        seen = await streamed(run, ProgressEvent)
        assert [event.percent for event in seen if isinstance(event, ProgressEvent)] == [0, 25, 50]
        assert run.progress == ProgressEvent(2, 4, "pages", "download")


async def test_progress_without_a_total_has_no_percentage():
    @step
    async def download(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.report_progress(7)
        return StopEvent()

    async with running(download) as run:
        assert run.progress == ProgressEvent(7, None, "", "download")
        assert run.progress.percent is None


async def test_a_run_that_reported_nothing_has_no_progress():
    async with running(fan_out, use, gather, start=1) as run:
        assert run.progress is None
