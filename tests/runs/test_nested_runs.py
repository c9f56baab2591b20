"""Runs inside steps of other runs: plain structured concurrency, one exception at each level."""

import gc

import pytest
import trio
import trio.testing

from blazen_trio import Context, RunStatus, StartEvent, StepFailedError, StopEvent, WorkflowAbortedError
from blazen_trio.runner import Runner
from tests.runs.stories import Crash, sleep_forever, solo


async def test_a_step_may_run_another_workflow():
    async def double(event: StartEvent) -> StopEvent:
        return StopEvent(event.data * 2)

    inner = solo(double)

    async def outer(event: StartEvent) -> StopEvent:
        return StopEvent((await inner.run(event.data)).result + 1)

    assert (await solo(outer).run(20)).result == 41


async def test_a_failure_inside_is_the_cause_outside():
    async def crash(event: StartEvent) -> StopEvent:
        raise Crash("deep")

    async def outer(event: StartEvent) -> StopEvent:
        await solo(crash).run()
        return StopEvent()

    with pytest.raises(StepFailedError, match="deep") as caught:
        await solo(outer).run()
    inner = caught.value.__cause__
    assert isinstance(inner, StepFailedError)
    assert isinstance(inner.__cause__, Crash)
    assert (caught.value.step_name, inner.step_name) == ("outer", "crash")


async def test_the_end_of_the_outer_run_ends_the_inner_one():
    inner_runs = []

    async def outer(event: StartEvent) -> StopEvent:
        async with solo(sleep_forever.function).start() as run:
            inner_runs.append(run)
            await run.result()
        return StopEvent()

    async with solo(outer).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.abort()
    assert inner_runs[0].status is RunStatus.ABORTED


async def test_an_inner_abort_is_a_failure_of_the_step_that_waits_for_it():
    async def outer(event: StartEvent) -> StopEvent:
        async with solo(sleep_forever.function).start() as run:
            await run.abort("inner")
            await run.result()
        return StopEvent()

    with pytest.raises(StepFailedError) as caught:
        await solo(outer).run()
    assert isinstance(caught.value.__cause__, WorkflowAbortedError)


async def test_a_keyboard_interrupt_inside_passes_through_both():
    async def interrupt(event: StartEvent) -> StopEvent:
        raise KeyboardInterrupt

    async def outer(event: StartEvent) -> StopEvent:
        await solo(interrupt).run()
        return StopEvent()

    with pytest.raises(KeyboardInterrupt):
        await solo(outer).run()


async def test_a_step_may_watch_and_end_another_run():
    async with solo(sleep_forever.function).start() as other:

        async def watch(event: StartEvent) -> StopEvent:
            await other.pause(interrupt=True)
            await other.resume_in_place()
            await other.send_event(StopEvent("by a step"))
            return StopEvent((await other.result()).result)

        assert (await solo(watch).run()).result == "by a step"


async def test_a_context_that_outlives_its_call_changes_nothing():
    kept = []

    async def keep(event: StartEvent, ctx: Context) -> StopEvent:
        kept.append(ctx)
        return StopEvent(1)

    async with solo(keep).start() as run:
        assert (await run.result()).result == 1
        published = run.statistics()["published"]
        kept[0].send_event(StopEvent(2))
        kept[0].write_event_to_stream(StopEvent(3))
        kept[0].report_progress(1)
        assert (await run.result()).result == 1
        assert run.statistics()["published"] == published
        assert run.progress is None


async def test_the_caller_gets_the_trio_error_that_the_caller_asked_for(autojump_clock):
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(3):
            await solo(sleep_forever.function).run()


async def test_runs_that_are_over_leave_no_runner_behind():
    async def crash(event: StartEvent) -> StopEvent:
        raise Crash

    def living() -> int:
        gc.collect()
        return sum(isinstance(each, Runner) for each in gc.get_objects())

    before = living()
    for _ in range(20):
        with pytest.raises(StepFailedError):
            await solo(crash).run()
        async with solo(sleep_forever.function).start() as run:
            await trio.lowlevel.checkpoint()
        del run
    assert living() == before
