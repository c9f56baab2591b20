"""Stories of runs that are saved and go on: what a user can count on."""

from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    EncodeError,
    Event,
    InputRequestEvent,
    RetryConfig,
    RunClosedError,
    RunStalledError,
    RunStatus,
    StartEvent,
    StepFailedError,
    StopEvent,
    StreamGap,
    UsageEvent,
    Workflow,
    WorkflowAbortedError,
    WorkflowRun,
    WorkflowSnapshot,
    WorkflowTimeoutError,
    step,
)
from tests.snapshots.programs import Item, Signal, double, fan_out, gather, retries, spread

RECORDED = Path(__file__).with_name("recorded")


def solo(function, **options) -> Workflow:
    return Workflow("solo", [step(function)], **options)


def through_json(snapshot: WorkflowSnapshot) -> WorkflowSnapshot:
    return WorkflowSnapshot.from_json(snapshot.to_json())


async def saved(workflow: Workflow, seconds: float, start: object = None, **options) -> WorkflowSnapshot:
    """A snapshot of a run after some seconds; the run is given up."""
    async with workflow.start(start, **options) as run:
        await trio.sleep(seconds)
        return through_json(await run.snapshot())


async def test_a_snapshot_does_not_disturb_the_run(autojump_clock: MockClock) -> None:
    workflow = fan_out().workflow
    async with workflow.start() as run:
        await trio.sleep(0.5)
        await run.snapshot()
        assert (await run.result()).result == [0, 2, 4, 6, 8, 10]
    assert trio.current_time() == pytest.approx(autojump_clock.current_time())


async def test_a_resumed_run_keeps_its_id_keys_attempts_and_metadata(autojump_clock: MockClock) -> None:
    seen = []

    @step(retry=RetryConfig(max_retries=3, initial_delay_ms=2000, jitter=False))
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        seen.append((ctx.run_id, ctx.idempotency_key, ctx.attempt, ctx.metadata))
        await trio.sleep(1)
        if ctx.attempt < 3:
            raise OSError
        return StopEvent(ctx.attempt)

    workflow = Workflow("solo", [work])
    snapshot = await saved(workflow, 3.5, metadata={"who": ("a", 1)})  # in the middle of the second attempt
    begun = trio.current_time()
    async with workflow.resume(snapshot) as run:
        assert run.run_id == snapshot.run_id
        assert (await run.result()).result == 3

    assert trio.current_time() - begun == 1 + 4 + 1
    assert [attempt for _, _, attempt, _ in seen] == [1, 2, 2, 3]
    assert len({(run_id, key) for run_id, key, _, _ in seen}) == 1
    assert all(metadata == {"who": ("a", 1)} for *_, metadata in seen)


async def test_a_retry_waits_for_what_remained(autojump_clock: MockClock) -> None:
    @step(retry=RetryConfig(initial_delay_ms=10_000, jitter=False))
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        if ctx.attempt == 1:
            raise OSError
        return StopEvent()

    workflow = Workflow("solo", [work])
    snapshot = await saved(workflow, 4)
    assert list(snapshot.timers.values()) == [6]
    begun = trio.current_time()
    async with workflow.resume(snapshot) as run:
        await run.result()
    assert trio.current_time() - begun == 6


async def test_running_time_goes_on_where_it_was(autojump_clock: MockClock) -> None:
    async def work(event: StartEvent) -> StopEvent:
        await trio.sleep(60)
        return StopEvent()

    workflow = solo(work, timeout=10)
    snapshot = await saved(workflow, 7)
    assert snapshot.elapsed == 7
    await trio.sleep(1000)
    begun = trio.current_time()
    with pytest.raises(WorkflowTimeoutError) as caught:
        async with workflow.resume(snapshot) as run:
            await run.result()
    assert trio.current_time() - begun == 3
    assert caught.value.elapsed == pytest.approx(10)


async def test_the_stream_goes_on_with_its_numbers(autojump_clock: MockClock) -> None:
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        for number in range(4):
            ctx.write_event_to_stream(Signal(number))
            await trio.sleep(1)
        return StopEvent()

    workflow = solo(work, events=[Signal], publish_lifecycle=False)
    snapshot = await saved(workflow, 1.5)
    assert snapshot.stream_position == 2
    async with workflow.resume(snapshot) as run, run.stream_events(types=[Signal, StopEvent]) as events:
        seen = [(item.seq, item.event) async for item in events.envelopes()]
    assert seen == [(2, StreamGap(2)), (3, Signal(2)), (4, Signal(3)), (5, StopEvent())]


async def test_a_snapshot_can_be_resumed_twice_and_saved_again(autojump_clock: MockClock) -> None:
    workflow = fan_out().workflow
    first = await saved(workflow, 0.5)

    async with workflow.resume(first) as one, workflow.resume(first) as other:
        again = through_json(await one.snapshot())
        assert one.run_id == other.run_id
        assert (await one.result()).result == (await other.result()).result == [0, 2, 4, 6, 8, 10]
    async with workflow.resume(again) as run:
        assert (await run.result()).result == [0, 2, 4, 6, 8, 10]


async def test_a_paused_run_goes_on_when_it_is_resumed(autojump_clock: MockClock) -> None:
    workflow = fan_out().workflow
    async with workflow.start() as run:
        await trio.sleep(0.5)
        await run.pause(interrupt=True)
        snapshot = through_json(await run.snapshot())
    assert snapshot.status is RunStatus.PAUSED
    async with workflow.resume(snapshot) as run:
        assert run.status is RunStatus.RUNNING
        assert (await run.result()).result == [0, 2, 4, 6, 8, 10]


async def test_a_question_is_asked_once_over_a_resume(autojump_clock: MockClock) -> None:
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(await ctx.request_input("Approve?", {"of": {1, 2}}))

    workflow = solo(work)
    snapshot = await saved(workflow, 1)
    question = snapshot.input_request()
    assert snapshot.status is RunStatus.AWAITING_INPUT
    assert question is not None
    assert (question.prompt, question.metadata) == ("Approve?", {"of": {1, 2}})

    for seconds in (0, 1):  # before the repeated call asks again, and after
        async with workflow.resume(snapshot) as run, run.stream_events(types=InputRequestEvent) as events:
            assert run.pending_inputs == (question,)
            await trio.sleep(seconds)
            await run.respond_to_input(question.request_id, "yes")
            assert (await run.result()).result == "yes"
            assert isinstance(await events.receive(), StreamGap)  # the question was published by the first run
            with pytest.raises(trio.EndOfChannel):
                await events.receive()


async def test_there_is_no_question_when_nobody_asked(autojump_clock: MockClock) -> None:
    assert (await saved(fan_out().workflow, 0.5)).input_request() is None


async def test_what_finished_calls_used_counts_once(autojump_clock: MockClock) -> None:
    @step
    async def work(event: Item, ctx: Context) -> Item | StopEvent:
        ctx.emit_usage(UsageEvent(total_tokens=10, cost_usd=1.0))
        ctx.state["number"] = event.number
        await trio.sleep(1)
        return Item(event.number + 1) if event.number < 3 else StopEvent()

    @step
    async def begin(event: StartEvent) -> Item:
        return Item(0)

    workflow = Workflow("usage", [begin, work])
    snapshot = await saved(workflow, 2.5)
    assert snapshot.context_state == {"number": 1}
    async with workflow.resume(snapshot) as run:
        assert (run.usage_total.total_tokens, run.cost_total_usd) == (20, 2.0)  # of the two that finished
        result = await run.result()
    assert (result.usage_total.total_tokens, result.cost_total_usd) == (40, 4.0)


async def test_history_goes_on(autojump_clock: MockClock) -> None:
    workflow = Workflow("history", [spread, double, gather], collect_history=True)
    snapshot = await saved(workflow, 0.5)
    async with workflow.resume(snapshot) as run:
        await run.result()
        numbers = [entry.sequence for entry in run.history]
        kinds = [entry.kind for entry in run.history]
        assert snapshot.history is not None
        assert run.history[: len(snapshot.history)] == snapshot.history
    assert numbers == list(range(1, len(numbers) + 1))
    assert kinds[len(snapshot.history)] == "workflow_resumed"
    assert kinds[-1] == "workflow_completed"


# --- Runs that are over -----------------------------------------------------------------------------------------------


async def test_a_run_that_is_over_gives_its_result_at_once(autojump_clock: MockClock) -> None:
    workflow = fan_out().workflow
    async with workflow.start() as run:
        with trio.fail_after(10):
            expected = await run.result()
        snapshot = through_json(await run.snapshot())
    assert (snapshot.status, snapshot.pending_events["steps"]) == (RunStatus.COMPLETED, {})
    async with workflow.resume(snapshot) as run:
        assert run.status is RunStatus.COMPLETED
        assert (await run.result()).result == expected.result
        with pytest.raises(RunClosedError):
            await run.pause()
        async with run.stream_events() as events:
            assert [event async for event in events] == [StreamGap(1)]


async def failing(event: StartEvent) -> StopEvent:
    raise LookupError("nowhere")


async def test_a_run_that_failed_fails_with_the_same_error() -> None:
    workflow = solo(failing)
    async with workflow.start() as run:
        with pytest.raises(StepFailedError) as first:
            await run.result()
        snapshot = through_json(await run.snapshot())
    with pytest.raises(StepFailedError) as second:
        async with workflow.resume(snapshot):
            pass
    assert str(second.value) == str(first.value)
    assert attrs.asdict(second.value) == attrs.asdict(first.value)


async def test_a_run_that_was_aborted_stays_aborted() -> None:
    workflow = fan_out().workflow
    async with workflow.start() as run:
        await run.abort("enough")
        snapshot = through_json(await run.snapshot())
    async with workflow.resume(snapshot) as run:
        with pytest.raises(WorkflowAbortedError, match="enough"):
            await run.result()


# --- What cannot be saved ---------------------------------------------------------------------------------------------


class Odd(Event):
    thing: object


async def test_what_cannot_be_encoded_is_named_and_the_run_goes_on(autojump_clock: MockClock) -> None:
    @step
    async def begin(start: StartEvent) -> Odd:
        return Odd(thing=print)

    @step
    async def work(event: Odd) -> StopEvent:
        await trio.sleep(1)
        return StopEvent("unharmed")

    async with Workflow("odd", [begin, work]).start() as run:
        await trio.sleep(0.5)
        with pytest.raises(EncodeError, match=r"event Odd\.thing"):
            await run.snapshot()
        assert (await run.result()).result == "unharmed"


async def test_metadata_and_results_that_cannot_be_encoded_are_named(autojump_clock: MockClock) -> None:
    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        if event.data:
            await ctx.once("open", object)
        await trio.sleep(1)
        return StopEvent()

    workflow = solo(work)
    with pytest.raises(EncodeError, match=r"metadata\['lock'\]"):
        await saved(workflow, 0.5, metadata={"lock": object()})
    with pytest.raises(EncodeError, match=r"once\('open'\)"):
        await saved(workflow, 0.5, start=1)


# --- Odd times --------------------------------------------------------------------------------------------------------


async def test_a_step_can_take_a_snapshot_of_its_own_run() -> None:
    runs: list[WorkflowRun] = []
    taken: list[WorkflowSnapshot] = []

    async def work(event: StartEvent) -> StopEvent:
        if runs:
            taken.append(await runs.pop().snapshot())
        return StopEvent("done")

    workflow = solo(work)
    async with workflow.start() as run:
        runs.append(run)
        await run.result()
    async with workflow.resume(through_json(taken[0])) as run:
        assert (await run.result()).result == "done"


async def test_a_run_that_waited_for_a_channel_does_not_stall_before_one_can_be_opened() -> None:
    @step
    async def begin(event: StartEvent) -> None:
        return None

    @step
    async def work(event: Item) -> StopEvent:
        return StopEvent(event.number)

    workflow = Workflow("channel", [begin, work], events=[Item])
    async with workflow.start() as run, run.open_send_channel():
        await trio.testing.wait_all_tasks_blocked()
        snapshot = through_json(await run.snapshot())
        await run.abort()
    async with workflow.resume(snapshot) as run, run.open_send_channel() as channel:
        await trio.testing.wait_all_tasks_blocked()
        await channel.send(Item(4))
        assert (await run.result()).result == 4
    with pytest.raises(RunStalledError):
        async with workflow.resume(snapshot) as run:
            await run.open_send_channel().aclose()
            await run.result()


async def test_a_block_can_be_entered_once_and_leaving_it_aborts() -> None:
    workflow = fan_out().workflow
    snapshot = await saved(workflow, 0)
    block = workflow.resume(snapshot)
    async with block as run:
        pass
    assert run.status is RunStatus.ABORTED
    with pytest.raises(RuntimeError, match="once"):
        async with block:
            pass


# --- Recorded snapshots -----------------------------------------------------------------------------------------------


async def test_a_recorded_snapshot_of_this_format_is_read_for_ever(autojump_clock: MockClock) -> None:
    snapshot = WorkflowSnapshot.from_json((RECORDED / "version-2-retries.json").read_text().strip())
    assert snapshot.to_json() == (RECORDED / "version-2-retries.json").read_text().strip()
    async with retries().workflow.resume(snapshot) as run:
        assert (await run.result()).result == [1, 12, 23, 31, 42, 53]
