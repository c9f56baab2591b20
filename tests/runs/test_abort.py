"""`abort` ends a run now and leaves nothing behind; `RunClosedError` is what controls say afterwards (rule 8)."""

import contextlib
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from blazen_trio import (
    RunClosedError,
    RunStatus,
    StartEvent,
    StopEvent,
    UnknownInputRequestError,
    Workflow,
    WorkflowAbortedError,
    WorkflowRun,
    step,
)
from tests.runs.stories import Crash, Item, Tick, sleep_forever, solo

forever = Workflow("forever", [sleep_forever])

CONTROLS = {
    "pause": lambda run: run.pause(),
    "pause (interrupt)": lambda run: run.pause(interrupt=True),
    "resume_in_place": lambda run: run.resume_in_place(),
    "send_event": lambda run: run.send_event(Item()),
    "respond_to_input": lambda run: run.respond_to_input("q", 1),
}


async def test_abort_waits_until_no_call_runs(autojump_clock):
    ended = []

    async def clean_up(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            ended.append(True)
        return StopEvent()

    async with solo(clean_up).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.abort()
        assert ended == [True]
        assert run.statistics()["workers"] == 0
        assert run.statistics()["timers"] == 0


async def test_the_reason_is_in_the_error_and_the_first_one_counts():
    async with forever.start() as run:
        await run.abort("budget used up")
        await run.abort("another reason")
        with pytest.raises(WorkflowAbortedError) as caught:
            await run.result()
    assert caught.value.reason == "budget used up"
    assert "budget used up" in str(caught.value)
    assert run.run_id in str(caught.value)


async def test_abort_by_many_tasks_at_once_is_one_abort():
    async with forever.start() as run, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(run.abort, str(number))
    assert run.status is RunStatus.ABORTED


async def test_abort_after_the_end_changes_nothing():
    async def answer(event: StartEvent) -> StopEvent:
        return StopEvent(1)

    async with solo(answer).start() as run:
        await run.result()
        await run.abort()
        assert run.status is RunStatus.COMPLETED
        assert (await run.result()).result == 1
    await run.abort()
    assert run.status is RunStatus.COMPLETED


async def test_a_step_may_abort_its_own_run():
    async with forever.start() as other:
        runs = [other]

        async def suicide(event: StartEvent) -> StopEvent:
            await runs[1].abort("by myself")
            raise AssertionError("it was cancelled")

        async with solo(suicide).start() as run:
            runs.append(run)
            with pytest.raises(WorkflowAbortedError, match="by myself"):
                await run.result()


async def test_a_step_that_aborts_its_run_in_a_shielded_cleanup_does_not_wait_for_itself():
    runs: list[WorkflowRun] = []

    async def clean_up(event: StartEvent) -> StopEvent:
        try:
            raise Crash
        finally:
            with trio.CancelScope(shield=True):
                await runs[0].abort("gave up")
        return StopEvent()

    async with solo(clean_up).start() as run:
        runs.append(run)
        with trio.fail_after(5), pytest.raises(WorkflowAbortedError, match="gave up"):
            await run.result()


async def test_abort_of_a_paused_run():
    async with forever.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.pause(interrupt=True)
        await run.abort()
        assert run.status is RunStatus.ABORTED


async def answer(event: StartEvent) -> StopEvent:
    return StopEvent()


async def crash(event: StartEvent) -> StopEvent:
    raise Crash


@asynccontextmanager
async def ended_run(status: RunStatus):
    """A run that ended so, while its block still lasts."""
    functions = {RunStatus.COMPLETED: answer, RunStatus.FAILED: crash}
    async with solo(functions.get(status, sleep_forever.function)).start() as run:
        if status is RunStatus.ABORTED:
            await run.abort()
        with contextlib.suppress(Exception):
            await run.result()
        assert run.status is status
        yield run


ENDS = [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.ABORTED]


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("verb", CONTROLS)
async def test_controls_after_the_end_are_refused_and_say_how_it_ended(verb, status):
    async with ended_run(status) as run:
        with pytest.raises(RunClosedError) as caught:
            await CONTROLS[verb](run)
        assert caught.value.verb in verb
        assert caught.value.status == run.status.value
        for word in (caught.value.verb, run.run_id, run.status.value.upper()):
            assert word in str(caught.value)


@pytest.mark.parametrize("status", ENDS)
async def test_a_send_channel_after_the_end_is_refused(status):
    async with ended_run(status) as run:
        with pytest.raises(RunClosedError, match="open_send_channel"):
            run.open_send_channel()


async def test_controls_after_the_block_are_refused_too():
    async with forever.start() as run:
        pass
    for control in CONTROLS.values():
        with pytest.raises(RunClosedError):
            await control(run)


@pytest.mark.parametrize("status", ENDS)
async def test_everything_that_only_looks_still_answers_after_the_end(status):
    async with ended_run(status) as run:
        assert run.pending_inputs == ()
        assert run.progress is None
        assert run.history == ()
        assert run.statistics()["status"] == run.status.value
        assert run.run_id in repr(run)
        async with run.stream_events() as events:
            with trio.fail_after(5):
                assert [event async for event in events] in ([], [StopEvent()])


@pytest.mark.parametrize("verb", CONTROLS)
async def test_a_control_in_the_moment_of_the_end_raises_or_passes_but_never_hangs(verb, autojump_clock):
    @step
    async def begin(event: StartEvent) -> StopEvent:
        await trio.sleep(1)
        return StopEvent()

    @step
    async def take(event: Item) -> None:
        await trio.sleep_forever()

    async def control(run) -> None:
        await trio.sleep(1)
        with contextlib.suppress(RunClosedError, UnknownInputRequestError):
            await CONTROLS[verb](run)
            await run.resume_in_place()

    for _ in range(10):
        workflow = Workflow("moment", [begin, take], events=[Item])
        with trio.fail_after(10):
            async with workflow.start() as run, trio.open_nursery() as nursery:
                nursery.start_soon(control, run)
                await run.result()


async def test_abort_while_events_questions_timers_and_senders_are_open():
    from blazen_trio import Context, RetryConfig

    @step
    async def begin(event: StartEvent) -> list[Item | Tick]:
        return [Item(number) for number in range(300)] + [Tick(1), Tick(2), Tick(3)]

    @step(max_concurrency=2)
    async def work(event: Item) -> None:
        await trio.sleep_forever()

    @step(retry=RetryConfig(initial_delay_ms=10_000))
    async def others(event: Tick, ctx: Context) -> StopEvent:
        if event.number == 1:
            await ctx.request_input("?")
        if event.number == 2:
            await ctx.wait_for_event(Item)
        raise Crash

    async with Workflow("busy", [begin, work, others]).start() as run:
        channel = run.open_send_channel()
        await trio.testing.wait_all_tasks_blocked()
        await run.abort()
        channel.close()
        numbers = run.statistics()
        assert (numbers["running"], numbers["workers"], numbers["timers"]) == (0, 0, 0)
        assert run.pending_inputs == ()
