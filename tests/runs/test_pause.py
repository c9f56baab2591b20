"""`pause` stops dispatch at once and returns when no call runs; `resume_in_place` goes on as if nothing had been."""

import contextlib

import pytest
import trio
import trio.testing

from blazen_trio import (
    Context,
    Event,
    NoHandlerError,
    RetryConfig,
    RunClosedError,
    RunStatus,
    StartEvent,
    StepFailedError,
    StepTimeoutError,
    StopEvent,
    Workflow,
    WorkflowRun,
    step,
)
from tests.runs.stories import Crash, Done, Item, Tick, finish, sleep_forever, solo

forever = Workflow("forever", [sleep_forever])


def counting(begun: list[int], ended: list[int]) -> Workflow:
    """Twenty items, two at a time, a second each."""

    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(20)]

    @step(max_concurrency=2)
    async def work(event: Item) -> Done:
        begun.append(event.number)
        await trio.sleep(1)
        ended.append(event.number)
        return Done(event.number)

    @step
    async def join(items: list[Done]) -> StopEvent:
        return StopEvent([item.number for item in items])

    return Workflow("counting", [fan_out, work, join])


async def test_a_pause_waits_for_running_calls_and_starts_no_other(autojump_clock):
    begun: list[int] = []
    ended: list[int] = []
    async with counting(begun, ended).start() as run:
        await trio.sleep(2.5)
        await run.pause()
        assert sorted(begun) == sorted(ended) == list(range(6))
        assert run.statistics()["running"] == 0
        await trio.sleep(100)
        assert sorted(begun) == list(range(6))
        await run.resume_in_place()
        assert (await run.result()).result == list(range(20))
    assert sorted(begun) == list(range(20))


async def test_an_interrupting_pause_cancels_calls_and_puts_their_events_back(autojump_clock):
    begun: list[int] = []
    ended: list[int] = []
    async with counting(begun, ended).start() as run:
        await trio.sleep(2.5)
        before = trio.current_time()
        await run.pause(interrupt=True)
        assert trio.current_time() == before
        assert sorted(ended) == [0, 1, 2, 3]
        await run.resume_in_place()
        assert (await run.result()).result == list(range(20))
    assert sorted(begun) == sorted([4, 5, *range(20)])


async def test_the_status_is_paused_at_once_even_before_pause_returns():
    async with forever.start() as run, trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(run.pause)
        await trio.testing.wait_all_tasks_blocked()
        assert run.status is RunStatus.PAUSED
        nursery.cancel_scope.cancel()


async def test_a_pause_before_the_first_step_began_keeps_it_from_beginning():
    begun = []

    async def begin(event: StartEvent) -> StopEvent:
        begun.append(1)
        return StopEvent("began")

    async with solo(begin).start() as run:
        await run.pause()
        await trio.testing.wait_all_tasks_blocked()
        assert begun == []
        await run.resume_in_place()
        assert (await run.result()).result == "began"
    assert begun == [1]


async def test_an_interrupt_uses_up_no_attempt_and_undoes_writes():
    seen: list[tuple[int, int]] = []

    async def work(event: StartEvent, ctx: Context) -> StopEvent:
        seen.append((ctx.attempt, ctx.state.get("count", 0)))
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        if len(seen) < 6:
            await trio.sleep_forever()
        return StopEvent(ctx.state["count"])

    async with solo(work).start() as run:
        for _ in range(5):
            await trio.testing.wait_all_tasks_blocked()
            await run.pause(interrupt=True)
            await run.resume_in_place()
        assert (await run.result()).result == 1
    assert seen == [(1, 0)] * 6


async def test_an_interrupted_call_that_ends_all_the_same_counts():
    async def swallow(event: StartEvent) -> Done:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        return Done(7)

    async with Workflow("swallow", [step(swallow), finish]).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.pause(interrupt=True)
        await run.resume_in_place()
        assert (await run.result()).result == 7


async def test_an_interrupted_call_that_fails_at_cleanup_fails():
    async def fail(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise Crash from None
        return StopEvent()

    async with solo(fail).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.pause(interrupt=True)
        with pytest.raises(StepFailedError):
            await run.result()


async def test_a_retry_keeps_the_time_that_remains(autojump_clock):
    attempts = []

    async def fail_once(event: StartEvent, ctx: Context) -> StopEvent:
        attempts.append(trio.current_time() - started)
        if ctx.attempt == 1:
            raise Crash
        return StopEvent()

    started = trio.current_time()
    async with solo(fail_once, retry=RetryConfig(initial_delay_ms=10_000, jitter=False)).start() as run:
        await trio.sleep(4)
        await run.pause()
        await trio.sleep(100)
        assert run.statistics()["retrying"] == 1
        await run.resume_in_place()
        await run.result()
    assert attempts == [0, pytest.approx(110)]


async def test_a_call_that_fails_while_paused_waits_its_whole_delay_after_the_pause(autojump_clock):
    attempts = []

    async def fail_once(event: StartEvent, ctx: Context) -> StopEvent:
        attempts.append(trio.current_time() - started)
        if ctx.attempt == 1:
            await trio.sleep(5)
            raise Crash
        return StopEvent()

    started = trio.current_time()
    async with solo(fail_once, retry=RetryConfig(initial_delay_ms=3_000, jitter=False)).start() as run:
        await trio.sleep(1)
        await run.pause()
        assert trio.current_time() - started == pytest.approx(5)
        await trio.sleep(95)
        await run.resume_in_place()
        await run.result()
    assert attempts == [0, pytest.approx(103)]


async def test_calls_that_wait_for_an_event_or_an_answer_do_not_keep_a_pause_from_returning():
    @step
    async def begin(event: StartEvent, ctx: Context) -> Done:
        tick = await ctx.wait_for_event(Tick)
        answer = await ctx.request_input("?")
        return Done(tick.number + answer)

    async with Workflow("waits", [begin, finish]).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.pause()
        await run.send_event(Tick(40))
        await trio.testing.wait_all_tasks_blocked()
        assert not run.pending_inputs
        await run.resume_in_place()
        await trio.testing.wait_all_tasks_blocked()
        await run.pause()
        await run.respond_to_input(run.pending_inputs[0].request_id, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert run.status is RunStatus.PAUSED
        await run.resume_in_place()
        assert (await run.result()).result == 42


async def test_an_interrupting_pause_during_waits_asks_nobody_twice():
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        tick = await ctx.wait_for_event(Tick)
        return StopEvent((tick.number, await ctx.request_input("?")))

    async with solo(ask).start() as run, run.stream_events(types=StopEvent) as events:
        await trio.testing.wait_all_tasks_blocked()
        await run.pause(interrupt=True)
        await run.resume_in_place()
        await run.send_event(Tick(1))
        await trio.testing.wait_all_tasks_blocked()
        (question,) = run.pending_inputs
        await run.pause(interrupt=True)
        assert run.pending_inputs == (question,)
        await run.resume_in_place()
        await trio.testing.wait_all_tasks_blocked()
        assert run.pending_inputs == (question,)
        await run.pause(interrupt=True)
        await run.respond_to_input(question.request_id, "yes")
        await run.resume_in_place()
        assert (await run.result()).result == (1, "yes")
        assert await events.receive() == StopEvent((1, "yes"))


async def test_pausing_twice_and_from_many_tasks_is_one_pause(autojump_clock):
    begun: list[int] = []
    ended: list[int] = []
    async with counting(begun, ended).start() as run:
        await trio.sleep(0.5)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(run.pause)
        assert sorted(ended) == [0, 1]
        await run.pause()
        await run.pause(interrupt=True)
        await run.resume_in_place()
        await run.resume_in_place()
        assert (await run.result()).result == list(range(20))
    assert sorted(begun) == list(range(20))


async def test_a_second_pause_may_interrupt_what_the_first_one_waits_for(autojump_clock):
    returned = []

    async def pause(run) -> None:
        await run.pause()
        returned.append(trio.current_time() - started)

    async with forever.start() as run, trio.open_nursery() as nursery:
        await trio.sleep(1)
        started = trio.current_time()
        nursery.start_soon(pause, run)
        await trio.sleep(5)
        await run.pause(interrupt=True)
    assert returned == [pytest.approx(5)]


async def test_a_pause_returns_when_another_task_resumes():
    async with forever.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.pause)
            await trio.testing.wait_all_tasks_blocked()
            await run.resume_in_place()
        assert run.status is RunStatus.RUNNING


async def test_a_pause_that_the_end_overtakes_just_returns():
    release = trio.Event()

    async def crash(event: StartEvent) -> StopEvent:
        await release.wait()
        raise Crash

    async with solo(crash).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.pause)
            await trio.testing.wait_all_tasks_blocked()
            release.set()
        assert run.status is RunStatus.FAILED
        with pytest.raises(RunClosedError):
            await run.pause()
        with pytest.raises(StepFailedError):
            await run.result()


async def test_resuming_a_run_that_is_not_paused_is_harmless():
    async with forever.start() as run:
        await run.resume_in_place()
        assert run.status is RunStatus.RUNNING


async def test_a_pause_whose_caller_is_cancelled_stays():
    async with forever.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            await run.pause()
        assert run.status is RunStatus.PAUSED


async def test_events_sent_while_paused_are_taken_in_order_afterwards():
    seen = []

    @step(max_concurrency=1)
    async def take(event: Item) -> StopEvent | None:
        seen.append(event.number)
        return StopEvent() if event.number == 9 else None

    async with Workflow("order", [sleep_forever, take], events=[Item]).start() as run:
        await run.pause()
        for number in range(10):
            await run.send_event(Item(number))
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        await run.resume_in_place()
        await run.result()
    assert seen == list(range(10))


@pytest.mark.parametrize("verb", ["pause", "result"])
async def test_a_step_that_would_wait_for_itself_is_told_so(verb):
    async with trio.open_nursery() as nursery:
        runs: list[WorkflowRun] = []

        async def wait_for_itself(event: StartEvent) -> StopEvent:
            await getattr(runs[0], verb)()
            return StopEvent()

        async with solo(wait_for_itself).start() as run:
            runs.append(run)
            with trio.fail_after(5), pytest.raises(StepFailedError) as caught:
                await run.result()
        nursery.cancel_scope.cancel()
    assert isinstance(caught.value.__cause__, RuntimeError)
    for word in (verb, run.run_id, "itself"):
        assert word in str(caught.value)


@pytest.mark.parametrize("verb", ["pause", "result"])
async def test_a_task_inside_a_step_that_would_wait_for_its_step_is_told_so(verb):
    runs: list[WorkflowRun] = []

    async def wait_in_a_child(event: StartEvent) -> StopEvent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(runs[0], verb))
        return StopEvent()

    async with solo(wait_in_a_child).start() as run:
        runs.append(run)
        with trio.fail_after(5), pytest.raises(StepFailedError, match="ExceptionGroup") as caught:
            await run.result()
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert caught.value.__cause__.subgroup(RuntimeError) is not None


async def test_a_step_may_wait_for_a_run_that_it_started_itself():
    async def inner(event: StartEvent) -> StopEvent:
        return StopEvent("inner")

    async def outer(event: StartEvent) -> StopEvent:
        async with solo(inner).start() as run:
            await run.pause()
            await run.resume_in_place()
            return StopEvent((await run.result()).result)

    assert (await solo(outer).run()).result == "inner"


async def test_a_thread_step_is_waited_for_and_its_result_after_an_interrupt_is_dropped():
    import threading

    go, begun, attempts = threading.Event(), threading.Event(), []

    def work(event: StartEvent, ctx: Context) -> StopEvent:
        attempts.append(ctx.attempt)
        begun.set()
        go.wait(5)
        return StopEvent(len(attempts))

    async with solo(work).start() as run:
        await trio.to_thread.run_sync(begun.wait)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run.pause(interrupt=True))
            await trio.testing.wait_all_tasks_blocked()
            go.set()
        await run.resume_in_place()
        assert (await run.result()).result == 2
    assert attempts == [1, 1]


class StopAsked(Event):
    """Comes from outside."""


async def test_an_event_that_was_returned_while_paused_and_that_nobody_accepts_names_its_step(autojump_clock):
    @step
    async def fan_out(event: StartEvent) -> list[Item | Done]:
        return [Item(1), Done(2)]

    @step
    async def culprit(event: Item) -> Event:
        await trio.sleep(1)
        return Tick(1)

    @step
    async def later(event: Done) -> None:
        await trio.sleep(2)

    @step
    async def end(event: StopAsked) -> StopEvent:
        return StopEvent()

    async with Workflow("lost", [fan_out, culprit, later, end], events=[StopAsked]).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.pause()
        await run.resume_in_place()
        with pytest.raises(NoHandlerError) as caught:
            await run.result()
    assert caught.value.source_step == "culprit"


async def test_the_time_out_of_a_call_that_waits_stands_still_in_a_pause(autojump_clock):
    @step(timeout=10)
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(await ctx.request_input("Well?"))

    async with Workflow("patient", [wait]).start() as run:
        await trio.sleep(4)
        await run.pause()
        await trio.sleep(100)
        await run.resume_in_place()
        await trio.sleep(5)
        assert run.status is RunStatus.AWAITING_INPUT
        with pytest.raises(StepFailedError) as failed:
            await run.result()
    assert isinstance(failed.value.__cause__, StepTimeoutError)
    assert trio.current_time() == pytest.approx(110)
