"""Rule 5: a workflow's `timeout` counts running time; limits that make no sense are refused when it is built."""

import contextlib
import math

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    RetryConfig,
    RunStatus,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowTimeoutError,
    WorkflowValidationError,
    step,
)
from tests.runs.stories import Crash, sleep_forever, solo

NONSENSE = [0, -1, -0.0, math.nan, -math.inf, "5", True, 10**400]


async def test_a_run_that_takes_too_long_times_out(autojump_clock):
    started = trio.current_time()
    async with Workflow("slow", [sleep_forever], timeout=7).start() as run:
        with pytest.raises(WorkflowTimeoutError) as caught:
            await run.result()
    assert trio.current_time() - started == pytest.approx(7)
    assert caught.value.elapsed == pytest.approx(7)
    assert run.status is RunStatus.TIMED_OUT
    for word in ("slow", run.run_id, "7 s"):
        assert word in str(caught.value)


async def test_paused_time_does_not_count(autojump_clock):
    started = trio.current_time()
    async with Workflow("slow", [sleep_forever], timeout=10).start() as run:
        for _ in range(3):
            await trio.sleep(2)
            await run.pause(interrupt=True)
            await trio.sleep(1_000)
            await run.resume_in_place()
        with pytest.raises(WorkflowTimeoutError) as caught:
            await run.result()
    assert trio.current_time() - started == pytest.approx(3_010)
    assert caught.value.elapsed == pytest.approx(10)


async def test_time_that_only_waits_for_input_does_not_count(autojump_clock):
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        await trio.sleep(2)
        await ctx.request_input("first?")
        await trio.sleep(2)
        await ctx.request_input("second?")
        await trio.sleep_forever()
        return StopEvent()

    started = trio.current_time()
    async with solo_with_timeout(ask, 10).start() as run:
        for _ in range(2):
            await trio.sleep(100)
            assert run.status is RunStatus.AWAITING_INPUT
            await run.respond_to_input(run.pending_inputs[0].request_id, "yes")
            assert not run.pending_inputs
        with pytest.raises(WorkflowTimeoutError):
            await run.result()
    assert trio.current_time() - started == pytest.approx(100 + 100 + 10 - 2 - 2)


def solo_with_timeout(function, timeout) -> Workflow:
    return Workflow("solo", [step(function)], timeout=timeout)


async def test_waiting_for_a_retry_counts(autojump_clock):
    @step(retry=RetryConfig(initial_delay_ms=20_000, jitter=False))
    async def fail(event: StartEvent) -> StopEvent:
        raise Crash

    with pytest.raises(WorkflowTimeoutError):
        await Workflow("retry", [fail], timeout=10).run()
    assert trio.current_time() < 11


async def test_a_question_beside_running_work_does_not_stop_the_clock(autojump_clock):
    from blazen_trio import InputRequestEvent, InputResponseEvent
    from tests.runs.stories import Item

    @step
    async def begin(event: StartEvent) -> list[InputRequestEvent | Item]:
        return [InputRequestEvent("?"), Item()]

    @step
    async def work(event: Item) -> None:
        await trio.sleep_forever()

    @step
    async def answer(event: InputResponseEvent) -> StopEvent:
        return StopEvent()

    async with Workflow("beside", [begin, work, answer], timeout=5).start() as run:
        await trio.sleep(1)
        assert run.status is RunStatus.RUNNING
        with pytest.raises(WorkflowTimeoutError):
            await run.result()


async def test_a_paused_run_never_times_out_and_a_pause_while_awaiting_input_counts_once(autojump_clock):
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(await ctx.request_input("?"))

    async with solo_with_timeout(ask, 1).start() as run:
        await trio.sleep(100)
        await run.pause()
        await run.respond_to_input(run.pending_inputs[0].request_id, "yes")
        await trio.sleep(100)
        assert run.status is RunStatus.PAUSED
        await run.resume_in_place()
        assert (await run.result()).result == "yes"


async def test_a_time_out_cancels_calls_and_waits_for_their_cleanup_at_the_end_of_the_block(autojump_clock):
    cleaned = []

    async def clean_up(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            cleaned.append(trio.current_time())
        return StopEvent()

    started = trio.current_time()
    with pytest.raises(WorkflowTimeoutError):
        await solo_with_timeout(clean_up, 1).run()
    assert [at - started for at in cleaned] == [pytest.approx(4)]


async def test_a_time_out_of_infinity_is_none(autojump_clock):
    @step(timeout=math.inf)
    async def slow(event: StartEvent) -> StopEvent:
        await trio.sleep(50_000)
        return StopEvent("slow")

    assert (await Workflow("slow", [slow], timeout=math.inf).run()).result == "slow"


@pytest.mark.parametrize("timeout", NONSENSE, ids=lambda timeout: repr(timeout)[:9])
def test_a_senseless_timeout_is_refused_by_name(timeout):
    with pytest.raises(WorkflowValidationError) as of_workflow:
        Workflow("w", [sleep_forever], timeout=timeout)
    with pytest.raises(WorkflowValidationError) as of_step:
        Workflow("w", [sleep_forever.with_options(timeout=timeout)])

    assert f"timeout={timeout!r}" in str(of_workflow.value)
    assert f"timeout={timeout!r}" in str(of_step.value)
    assert "sleep_forever" in str(of_step.value)


async def test_a_step_that_ends_in_the_moment_of_its_time_out_is_one_or_the_other(autojump_clock):
    async def exact(event: StartEvent) -> StopEvent:
        await trio.sleep(3)
        return StopEvent("in time")

    from blazen_trio import StepFailedError

    for _ in range(20):
        with contextlib.suppress(StepFailedError):
            assert (await solo(exact, timeout=3).run()).result == "in time"


async def test_a_time_out_of_one_call_does_not_touch_the_next_calls_of_the_same_worker(autojump_clock):
    from tests.runs.stories import Item

    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(6)]

    @step(timeout=2, max_concurrency=1, retry=RetryConfig(max_retries=1, initial_delay_ms=0))
    async def work(event: Item, ctx: Context) -> Item | None:
        if event.number % 2 == 0 and ctx.attempt == 1:
            await trio.sleep_forever()
        await trio.sleep(1)
        return None

    @step
    async def join(items: list[Item]) -> StopEvent:
        return StopEvent("all")

    assert (await Workflow("again", [begin, work, join]).run()).result == "all"


class Nudge(Event):
    """Something that a task of a step waits for."""


async def test_a_wait_that_gave_up_beside_a_question_lets_the_clock_stand_still(autojump_clock):
    @step
    async def ask_and_wait(event: StartEvent, ctx: Context) -> StopEvent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.request_input, "Go on?")
            with trio.move_on_after(1):
                await ctx.wait_for_event(Nudge)
        return StopEvent()

    async with Workflow("patient", [ask_and_wait], events=[Nudge], timeout=10).start() as run:
        await trio.sleep(100)
        assert run.status is RunStatus.AWAITING_INPUT
        await run.respond_to_input(run.pending_inputs[0].request_id, response=True)
        await run.result()


async def test_a_wait_that_begins_beside_an_open_question_starts_the_clock_from_then_on(autojump_clock):
    @step
    async def ask_and_wait(event: StartEvent, ctx: Context) -> StopEvent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.request_input, "Go on?")
            await trio.sleep(50)
            await ctx.wait_for_event(Nudge)
        return StopEvent()

    async with Workflow("patient", [ask_and_wait], events=[Nudge], timeout=10).start() as run:
        await trio.sleep(55)
        assert run.status is RunStatus.RUNNING
        await run.send_event(Nudge())
        await trio.sleep(100)
        await run.respond_to_input(run.pending_inputs[0].request_id, response=True)
        await run.result()
