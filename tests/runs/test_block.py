"""The block of a run: leaving it leaves nothing behind, and exactly one exception comes out of it."""

import pytest
import trio
import trio.testing

from blazen_trio import (
    Context,
    Event,
    NoHandlerError,
    RunStatus,
    StartEvent,
    StepFailedError,
    StopEvent,
    Workflow,
    WorkflowAbortedError,
    step,
)
from tests.runs.stories import Crash, Item, sleep_forever, solo, wait_for

forever = Workflow("forever", [sleep_forever])


async def crash(event: StartEvent) -> StopEvent:
    raise Crash("boom")


async def test_leaving_the_block_aborts_and_that_is_no_failure():
    async with forever.start() as run:
        await trio.testing.wait_all_tasks_blocked()
    assert run.status is RunStatus.ABORTED
    with pytest.raises(WorkflowAbortedError, match="block"):
        await run.result()


async def test_leaving_the_block_waits_for_the_cleanup_of_steps(autojump_clock):
    done = []

    async def clean_up(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(3, shield=True):
                await trio.sleep(2)
                done.append(True)
        return StopEvent()

    async with solo(clean_up).start():
        await trio.testing.wait_all_tasks_blocked()
    assert done == [True]


async def test_a_run_that_is_left_before_anything_ran_never_runs_a_step():
    async def never(event: StartEvent) -> StopEvent:
        raise AssertionError("it was aborted before")

    async with solo(never).start() as run:
        pass
    assert run.status is RunStatus.ABORTED


async def test_a_failure_that_nobody_took_is_raised_when_the_block_ends():
    with pytest.raises(StepFailedError) as caught:
        async with solo(crash).start():
            await trio.testing.wait_all_tasks_blocked()
    assert isinstance(caught.value.__cause__, Crash)


async def test_a_failure_that_was_taken_is_not_raised_again():
    async with solo(crash).start() as run:
        with pytest.raises(StepFailedError):
            await run.result()


async def test_a_failure_whose_taker_was_cancelled_is_still_raised(autojump_clock):
    async def crash_late(event: StartEvent) -> StopEvent:
        await trio.sleep(5)
        raise Crash

    with pytest.raises(StepFailedError):
        async with solo(crash_late).start() as run:
            with trio.move_on_after(1):
                await run.result()
            await trio.sleep(10)


async def test_an_abort_of_ones_own_is_not_raised():
    async with forever.start() as run:
        await run.abort("no longer needed")


async def test_an_abort_after_a_failure_does_not_hide_the_failure():
    with pytest.raises(StepFailedError):
        async with solo(crash).start() as run:
            await trio.testing.wait_all_tasks_blocked()
            await run.abort()


async def test_a_failure_never_cancels_the_body():
    with pytest.raises(StepFailedError):
        async with solo(crash).start() as run:
            await trio.testing.wait_all_tasks_blocked()
            assert run.status is RunStatus.FAILED
            await trio.lowlevel.checkpoint()
            reached = True
    assert reached


@pytest.mark.parametrize("function", [crash, sleep_forever.function], ids=["run failed", "run runs"])
@pytest.mark.parametrize("error", [Crash("body"), KeyboardInterrupt(), ExceptionGroup("g", [Crash()])], ids=repr)
async def test_the_exception_of_the_body_wins_as_it_is(function, error):
    with pytest.raises(BaseException) as caught:
        async with solo(function).start():
            await trio.testing.wait_all_tasks_blocked()
            raise error
    assert caught.value is error


async def test_the_exception_of_the_body_wins_over_a_cleanup_that_fails():
    async def fail_at_cleanup(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("cleanup")

    error = Crash("body")
    with pytest.raises(Crash) as caught:
        async with solo(fail_at_cleanup).start():
            await trio.testing.wait_all_tasks_blocked()
            raise error
    assert caught.value is error


async def test_return_break_and_an_outer_cancel_leave_the_block_as_always():
    async def leave_by_return() -> str:
        async with forever.start():
            return "returned"

    assert await leave_by_return() == "returned"
    for _ in range(2):
        async with forever.start():
            break
    with trio.move_on_after(0) as scope:
        async with forever.start() as run:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert run.status is RunStatus.ABORTED


async def test_a_cancel_from_outside_passes_through_steps_with_shielded_cleanup(autojump_clock):
    cleaned, started = [], trio.current_time()

    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(5)]

    @step
    async def work(event: Item) -> StopEvent:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(event.number)
                cleaned.append(event.number)
        return StopEvent()

    with trio.move_on_after(10) as scope:
        await Workflow("shielded", [fan_out, work]).run()

    assert scope.cancelled_caught
    assert cleaned == [0, 1, 2, 3, 4]
    assert trio.current_time() - started == pytest.approx(14)


async def test_a_cancel_from_outside_passes_a_step_that_swallows_it():
    async def swallow(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return StopEvent("swallowed")
        return StopEvent()

    with trio.CancelScope() as scope:
        async with solo(swallow).start() as run:
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await run.result()
    assert scope.cancelled_caught
    assert run.status.is_end


async def test_after_a_cancel_from_outside_no_further_step_begins():
    begun = []

    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(10)]

    @step(max_concurrency=2)
    async def work(event: Item) -> StopEvent:
        begun.append(event.number)
        await trio.sleep_forever()
        return StopEvent()

    with trio.CancelScope() as scope:
        async with Workflow("cancelled", [fan_out, work]).start() as run:
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
    assert begun == [0, 1]
    assert run.status is RunStatus.ABORTED


async def test_a_cancel_from_outside_does_not_let_a_shielded_body_wait_for_ever():
    with trio.CancelScope() as scope:
        async with forever.start() as run:
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            with trio.fail_after(5) as shield, pytest.raises(WorkflowAbortedError):
                shield.shield = True
                await run.result()


async def test_a_cancelled_run_that_never_awaits_ends():
    class Loop(Event):
        pass

    @step
    async def begin(event: StartEvent) -> Loop:
        return Loop()

    @step
    async def loop(event: Loop) -> Loop | StopEvent:
        return Loop()

    with trio.CancelScope() as scope:
        async with Workflow("loop", [begin, loop]).start() as run:
            await wait_for(lambda: run.statistics()["consumed"] > 5_000)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert run.status is RunStatus.ABORTED


async def test_other_tasks_that_wait_for_the_result_are_told_when_the_block_is_cancelled():
    told = []

    async with trio.open_nursery() as nursery:

        async def wait(run) -> None:
            with pytest.raises(WorkflowAbortedError):
                await run.result()
            told.append(True)

        with trio.CancelScope() as scope:
            async with forever.start() as run:
                nursery.start_soon(wait, run)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
    assert told == [True]


async def test_a_step_that_cancels_the_nursery_of_its_run_does_not_leak_a_cancelled():
    async def sabotage(event: StartEvent) -> StopEvent:
        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        nursery.cancel_scope.cancel()
        await trio.sleep_forever()
        return StopEvent()

    with pytest.raises(WorkflowAbortedError):
        await solo(sabotage).run()
    with pytest.raises(WorkflowAbortedError):
        async with solo(sabotage).start() as run:
            await run.result()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("is_suspended", [False, True], ids=["at once", "after a wait"])
async def test_what_ends_the_program_passes_as_it_is(error, is_suspended):
    async def interrupt(event: StartEvent) -> StopEvent:
        if is_suspended:
            await trio.lowlevel.checkpoint()
        raise error

    def interrupt_in_thread(event: StartEvent) -> StopEvent:
        raise error

    for function in (interrupt, interrupt_in_thread):
        with pytest.raises(type(error)) as caught:
            await solo(function).run()
        assert caught.value.args == error.args
        with pytest.raises(type(error)):
            async with solo(function).start() as run:
                await wait_for(lambda run=run: run.status.is_end)


async def test_a_keyboard_interrupt_that_strikes_in_the_cleanup_of_an_ended_run_is_not_lost():
    async def interrupt(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise KeyboardInterrupt from None
        return StopEvent()

    with pytest.raises(KeyboardInterrupt):
        async with solo(interrupt).start() as run:
            await trio.testing.wait_all_tasks_blocked()
            await run.abort()


async def test_a_keyboard_interrupt_out_of_a_nursery_inside_a_step_passes_alone():
    async def interrupt() -> None:
        raise KeyboardInterrupt

    async def open_nursery(event: StartEvent) -> StopEvent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            await trio.sleep_forever()
        return StopEvent()

    with pytest.raises(KeyboardInterrupt):
        await solo(open_nursery).run()


async def test_a_keyboard_interrupt_is_neither_retried_nor_recovered_and_cancels_siblings():
    from blazen_trio import RetryConfig, StepFailedEvent

    cancelled, attempts = [], []

    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        return [Item(0), Item(1)]

    @step(retry=RetryConfig())
    async def work(event: Item, ctx: Context) -> StopEvent:
        if event.number == 1:
            attempts.append(ctx.attempt)
            raise KeyboardInterrupt
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(event.number)
        return StopEvent()

    @step
    async def recover(event: StepFailedEvent) -> StopEvent:
        return StopEvent("recovered")

    with pytest.raises(KeyboardInterrupt):
        await Workflow("ctrl-c", [fan_out, work, recover]).run()
    assert (cancelled, attempts) == ([0], [1])


async def test_an_unaccepted_input_fails_the_run_and_not_the_entering():
    with pytest.raises(NoHandlerError, match="Item"):
        async with forever.start(Item()) as run:
            assert run.status is RunStatus.FAILED


async def test_a_block_is_entered_once():
    block = forever.start()
    async with block:
        pass
    with pytest.raises(RuntimeError, match="once"):
        async with block:
            pass


async def test_nothing_is_left_after_hundreds_of_aborted_runs():
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(300):
        async with forever.start():
            await trio.lowlevel.checkpoint()
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_the_callers_deadline_holds_inside_steps(autojump_clock):
    async def deadline(event: StartEvent) -> StopEvent:
        return StopEvent(trio.current_effective_deadline())

    with trio.fail_after(7) as scope:
        assert (await solo(deadline).run()).result == scope.deadline
