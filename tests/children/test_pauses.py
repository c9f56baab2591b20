"""A pause of a run is one of all runs inside it, and whatever ends it leaves nothing of them."""

import contextlib
import gc
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    RetryConfig,
    RunClosedError,
    RunStatus,
    StartEvent,
    StopEvent,
    UnknownInputRequestError,
    Workflow,
    WorkflowRun,
    parallel_step,
    step,
)
from blazen_trio.child_runner import ChildRunner
from tests.children.programs import PROGRAMS, doubling, one_child, parallel_first, parallel_of_parallel
from tests.children.stories import (
    Answer,
    Crash,
    Mark,
    Query,
    ask_all,
    child_of,
    collect,
    emits_number,
    parent_of,
    until,
)


def working(seconds: float, log: list[str]) -> Workflow:
    """Two steps one after the other, each noted when it begins and when it ends."""

    @step
    async def first(event: StartEvent) -> Query:
        log.append("first begins")
        await trio.sleep(seconds)
        log.append("first ends")
        return Query(1)

    @step
    async def second(event: Query) -> StopEvent:
        log.append("second begins")
        await trio.sleep(seconds)
        log.append("second ends")
        return StopEvent({"number": 1})

    return Workflow("child", [first, second], timeout=2 * seconds + 5)


async def test_a_pause_waits_for_the_calls_inside_and_starts_no_other() -> None:
    log: list[str] = []
    async with parent_of(working(10, log), options={"timeout": 25}).start() as run:
        await trio.sleep(4)
        await run.pause()
        assert (trio.current_time(), log) == (10, ["first begins", "first ends"])
        await trio.sleep(1_000)  # neither timeout counts the pause
        assert run.status is RunStatus.PAUSED
        await run.resume_in_place()
        assert (await run.result()).result == 1
    assert trio.current_time() == 1_020


async def test_an_interrupting_pause_keeps_what_the_run_inside_had_done() -> None:
    log: list[str] = []
    async with parent_of(working(10, log)).start() as run:
        await trio.sleep(13)
        await run.pause(interrupt=True)
        assert trio.current_time() == 13
        assert run.statistics()["children"] == 0
        await run.resume_in_place()
        assert (await run.result()).result == 1
    assert log == ["first begins", "first ends", "second begins", "second begins", "second ends"]


async def test_a_pause_holds_the_timers_inside() -> None:
    async with one_child_between_attempts().start() as run:
        await trio.sleep(4)
        await run.pause()
        await trio.sleep(100)
        assert run.statistics()["children"] == 1
        await run.resume_in_place()
        assert (await run.result()).result == 5
    assert trio.current_time() == 110


def one_child_between_attempts() -> Workflow:
    @step(retry=RetryConfig(initial_delay_ms=10_000, jitter=False))
    async def shaky(event: StartEvent, ctx: Context) -> StopEvent:
        if ctx.attempt == 1:
            raise Crash
        return StopEvent({"number": 5})

    return parent_of(Workflow("child", [shaky]))


async def test_a_call_that_begins_its_run_during_the_pause_begins_it_paused() -> None:
    log: list[str] = []

    async def slow_input(event: Query) -> None:
        await trio.sleep(5)

    async with parent_of(working(1, log), input=slow_input).start() as run:
        await trio.sleep(1)
        await run.pause()
        assert (trio.current_time(), log) == (5, [])
        await run.resume_in_place()
        assert (await run.result()).result == 1


async def test_who_goes_on_before_the_interrupting_pause_is_over_loses_nothing() -> None:
    @step
    async def clean_up_slowly(event: StartEvent) -> StopEvent:
        begun.append(trio.current_time())
        try:
            await trio.sleep(10)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            raise
        return StopEvent({"number": 2})

    @step
    async def end_at_once(event: StartEvent) -> None:
        begun.append(trio.current_time())
        await trio.sleep(5)

    begun: list[float] = []
    child = Workflow("child", [clean_up_slowly, end_at_once])
    async with parent_of(child).start() as run, trio.open_nursery() as nursery:
        await trio.sleep(1)
        nursery.start_soon(run_pause_interrupting, run)
        await trio.sleep(1)
        await run.resume_in_place()
        await trio.sleep(1)
        assert begun == [0, 0]
        assert (await run.result()).result == 2
    assert begun == [0, 0, 4, 4]


async def run_pause_interrupting(run: WorkflowRun) -> None:
    await run.pause(interrupt=True)


async def test_live_objects_outlive_an_interruption() -> None:
    @step
    async def connect(event: StartEvent, ctx: Context) -> Query:
        ctx.session["connection"] = "open"
        return Query()

    @step
    async def use(event: Query, ctx: Context) -> StopEvent:
        await trio.sleep(10)
        assert ctx.session == {"connection": "open"}
        return StopEvent({"number": 1})

    async with parent_of(Workflow("child", [connect, use]), count=2).start() as run:
        await trio.sleep(1)
        await run.pause(interrupt=True)
        await run.resume_in_place()
        assert (await run.result()).result == 2


async def test_a_child_that_was_held_and_interrupted_goes_on_when_nobody_holds() -> None:
    async def write(event: StartEvent, ctx: Context) -> StopEvent:
        for number in range(10):
            ctx.write_event_to_stream(Mark(str(number)))
        await trio.sleep(10)
        return StopEvent({"number": 4})

    workflow = parent_of(child_of(write), options={"stream_buffer": 4, "publish_lifecycle": False})
    async with workflow.start() as run:
        async with run.stream_events(lossless=True):
            await trio.sleep(1)
            await run.pause(interrupt=True)
            assert run.statistics()["stream"].held
        await run.resume_in_place()
        assert (await run.result()).result == 4


# --- At many instants -------------------------------------------------------------------------------------------------

RACES = {parallel_first, parallel_of_parallel}
"""A pause that lets two racers end makes it a tie."""


@pytest.mark.parametrize("interrupt", [False, True])
@pytest.mark.parametrize("make", [each for each in PROGRAMS if each not in RACES], ids=lambda make: make.__name__)
async def test_a_run_that_is_paused_over_and_over_comes_to_the_same_end(make: Any, interrupt: bool) -> None:
    async def end(period: float | None) -> Any:
        program = make()
        async with program.workflow.start(program.start) as run, trio.open_nursery() as nursery:
            nursery.start_soon(answer_all, run, program.answers)
            if period is not None:
                nursery.start_soon(pause_over_and_over, run, period, interrupt)
            with trio.fail_after(1e5):
                result = await run.result()
            nursery.cancel_scope.cancel()
        return result.result, result.usage_total, result.cost_total_usd

    expected = await end(None)
    for period in (0.75, 1.0, 2.5):
        assert await end(period) == expected


async def answer_all(run: WorkflowRun, answers: Mapping[str, object]) -> None:
    while not run.status.is_end:
        for each in run.pending_inputs:
            with contextlib.suppress(RunClosedError, UnknownInputRequestError):  # by now nobody wants to know
                await run.respond_to_input(each.request_id, answers[each.prompt])
        await trio.sleep(0.5)


async def pause_over_and_over(run: WorkflowRun, period: float, interrupt: bool) -> None:
    try:
        while True:
            await trio.sleep(period)
            await run.pause(interrupt=interrupt)
            period *= 1.25  # so that calls which begin again come to an end
            await trio.sleep(3)
            await run.resume_in_place()
    except RunClosedError:
        return


# --- Ends -------------------------------------------------------------------------------------------------------------


def two_deep(seconds: float) -> Workflow:
    """A child with a child, both of them several times at once, and a race."""
    slow = child_of(emits_number(1, seconds=seconds).function)
    racers = [slow.as_step(accepts=Query, emits=Answer, name=name) for name in ("one", "two")]
    inner = Workflow("inner", [ask_all(3).with_options(name="spread"), parallel_step("race", racers, "first"), add_up])
    return parent_of(inner, count=3, input=lambda event: None)


@step
async def add_up(answers: list[Answer]) -> StopEvent:
    return StopEvent({"number": sum(answer.number for answer in answers)})


async def end_by_itself() -> None:
    assert (await two_deep(5).run()).result == 9


async def end_by_abort() -> None:
    async with two_deep(50).start() as run:
        await trio.sleep(1)
        await run.abort()


async def end_by_its_block() -> None:
    async with two_deep(50).start():
        await trio.sleep(1)


async def end_by_cancel() -> None:
    with trio.move_on_after(1):
        await two_deep(50).run()


async def end_by_failure_elsewhere() -> None:
    @step
    async def fail(event: StartEvent) -> None:
        await trio.sleep(1)
        raise Crash

    with pytest.raises(Exception, match="Crash"):
        await Workflow("parent", [*two_deep(50).steps, fail]).run()


async def end_by_stop_event() -> None:
    @step
    async def stop(event: StartEvent) -> StopEvent:
        await trio.sleep(1)
        return StopEvent("stopped")

    assert (await Workflow("parent", [*two_deep(50).steps, stop]).run()).result == "stopped"


async def end_while_paused() -> None:
    async with two_deep(50).start() as run:
        await trio.sleep(1)
        await run.pause(interrupt=True)


ENDS = [
    end_by_itself,
    end_by_abort,
    end_by_its_block,
    end_by_cancel,
    end_by_failure_elsewhere,
    end_by_stop_event,
    end_while_paused,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_nothing_is_left_of_runs_inside(end: Any) -> None:
    await end()
    tasks = trio.lowlevel.current_statistics().tasks_living
    before = counted()
    for _ in range(5):
        await end()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert counted() == before


def counted() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, (ChildRunner, Event)))


async def test_one_workflow_may_be_a_run_and_a_child_at_once() -> None:
    async with doubling.start({"number": 3}) as alone, one_child().workflow.start(3) as around:
        assert (await alone.result()).result == {"number": 6}
        assert (await around.result()).result == 6
        await until(lambda: around.statistics()["children"] == 0)
    assert collect.name == "collect"
