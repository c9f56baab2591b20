"""Steps that emit without end, never await, or never end: limits, fairness (rule 9) and the warning of rule 10."""

import contextvars
import logging
import math

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    EventLimitError,
    RunStatus,
    StartEvent,
    StepFailedError,
    StopEvent,
    Workflow,
    step,
)
from tests.runs.stories import Item, Tick, solo, wait_for


@step
async def drop(event: Item) -> StopEvent | None:
    return None


async def test_a_generator_without_end_is_stopped_by_name():
    @step
    async def endless(event: StartEvent):
        while True:
            yield Item()

    with pytest.raises(StepFailedError) as caught:
        await Workflow("endless", [endless, drop], max_pending_events=1_000).run()
    assert isinstance(caught.value.__cause__, EventLimitError)
    for word in ("endless", "1000", str(caught.value.run_id)):
        assert word in str(caught.value)


async def test_sending_without_end_is_an_error_in_the_step():
    caught = []

    @step(sends=[Item])
    async def endless(event: StartEvent, ctx: Context) -> StopEvent:
        try:
            while True:
                ctx.send_event(Item())
        except EventLimitError as error:
            caught.append(error)
        return StopEvent("gave up")

    assert (await Workflow("endless", [endless, drop], max_pending_events=1_000).run()).result == "gave up"
    assert caught[0].limit == 1_000
    assert caught[0].step_name == "endless"


async def test_a_graph_that_doubles_is_stopped_before_it_fills_the_memory():
    @step
    async def begin(event: StartEvent) -> Tick:
        return Tick()

    @step
    async def double(event: Tick) -> list[Tick] | StopEvent:
        return [Tick(), Tick()]

    async with Workflow("double", [begin, double], max_pending_events=5_000).start() as run:
        with pytest.raises(EventLimitError) as caught:
            await run.result()
        assert run.statistics()["pending"] <= 5_000
    for word in ("5000", "double", run.run_id):
        assert word in str(caught.value)


async def test_one_list_that_is_too_long_is_refused_as_a_whole():
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item()] * 101

    with pytest.raises(EventLimitError, match="begin"):
        await Workflow("long", [begin, drop], max_pending_events=100).run()


async def test_writing_to_the_stream_without_end_is_stopped():
    async def endless(event: StartEvent, ctx: Context) -> StopEvent:
        while True:
            ctx.write_event_to_stream(Item())

    with pytest.raises(StepFailedError, match="stream items"):
        await solo(endless, max_pending_events=1_000, stream_buffer=10).run()


async def heartbeats(workflow: Workflow, calls: int) -> int:
    """How many turns another task gets until the run has made so many calls."""
    count = 0
    async with workflow.start() as run:
        while run.statistics()["consumed"] < calls:
            await trio.lowlevel.checkpoint()
            count += 1
    return count


async def test_calls_that_never_await_let_other_tasks_run(autojump_clock):
    @step
    async def begin(event: StartEvent) -> Tick:
        return Tick()

    @step
    async def loop(event: Tick) -> Tick | StopEvent:
        return Tick()

    assert await heartbeats(Workflow("chain", [begin, loop]), 20_000) >= 15


async def test_a_fan_out_that_never_awaits_lets_other_tasks_run(autojump_clock):
    @step
    async def begin(event: StartEvent) -> list[Tick]:
        return [Tick()] * 20_000

    @step
    async def work(event: Tick) -> StopEvent | None:
        return None

    @step
    async def join(items: list[Tick]) -> StopEvent:
        await trio.sleep_forever()
        return StopEvent()

    assert await heartbeats(Workflow("wide", [begin, work, join]), 20_000) >= 15


async def test_many_busy_runs_let_each_other_and_everybody_else_run():
    @step
    async def begin(event: StartEvent) -> Tick:
        return Tick()

    @step
    async def loop(event: Tick) -> Tick | StopEvent:
        return Tick(event.number + 1) if event.number < 1_000 else StopEvent()

    workflow, done = Workflow("busy", [begin, loop]), []

    async def run() -> None:
        done.append(await workflow.run())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(run)
        turns = 0
        while len(done) < 50:
            await trio.lowlevel.checkpoint()
            turns += 1
    assert turns >= 10


async def test_calls_never_see_each_others_context_variables():
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(100)]

    @step(max_concurrency=5)
    async def work(event: Item) -> None:
        seen.append(variable.get())
        variable.set(str(event.number))
        if event.number % 3:
            await trio.lowlevel.checkpoint()
        assert variable.get() == str(event.number)

    @step
    async def join(items: list[Item]) -> StopEvent:
        return StopEvent(variable.get())

    variable.set("caller")
    assert (await Workflow("variables", [begin, work, join]).run()).result == "caller"
    assert set(seen) == {"caller"}
    assert variable.get() == "caller"


async def test_a_context_variable_that_cannot_be_compared_does_no_harm():
    class Strange:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not comparable")

        __hash__ = None  # type: ignore[assignment]  # as Python itself does for a class with only __eq__

    variable: contextvars.ContextVar[object] = contextvars.ContextVar("strange")
    variable.set(Strange())

    async def change(event: StartEvent) -> StopEvent:
        variable.set(Strange())
        return StopEvent("fine")

    assert (await solo(change).run()).result == "fine"


async def stubborn(event: StartEvent) -> StopEvent:
    with trio.CancelScope(shield=True):
        await trio.sleep(8)
    return StopEvent("late")


async def test_a_step_that_does_not_end_is_named_in_a_warning_after_five_seconds(autojump_clock, caplog):
    async with solo(stubborn).start() as run, trio.open_nursery() as nursery:
        await trio.sleep(1)
        nursery.start_soon(run.abort)
        await trio.sleep(4.9)
        assert caplog.records == []
        await trio.sleep(0.2)
        (record,) = caplog.records
    assert (record.name, record.levelno) == ("blazen_trio", logging.WARNING)
    for word in ("stubborn", run.run_id, "5 s"):
        assert word in record.getMessage()
    assert run.statistics()["late"] == 1
    assert run.status is RunStatus.ABORTED


async def test_a_step_that_swallows_its_cancel_again_and_again_is_named_too(autojump_clock, caplog):
    async def swallow(event: StartEvent) -> StopEvent:
        ends_at = trio.current_time() + 8
        while trio.current_time() < ends_at:
            try:
                await trio.sleep(1)
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
        return StopEvent("late")

    async with solo(swallow).start() as run:
        await trio.sleep(0.5)
        await run.abort()
    assert [record.name for record in caplog.records] == ["blazen_trio"]
    assert "swallow" in caplog.text
    assert run.statistics()["late"] == 1


async def test_steps_that_end_in_time_are_not_named(autojump_clock, caplog):
    async def quick(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(4)
        return StopEvent()

    async with solo(quick).start() as run:
        await trio.sleep(1)
        await run.abort()
        await trio.sleep(10)
    assert caplog.records == []


async def test_a_step_that_ignores_an_interrupting_pause_is_named(autojump_clock, caplog):
    async with solo(stubborn).start() as run:
        await trio.sleep(1)
        await run.pause(interrupt=True)
        assert "stubborn" in caplog.text
        await run.resume_in_place()
        assert (await run.result()).result == "late"


async def test_a_step_that_cannot_be_stopped_by_a_time_out_of_the_workflow_is_named(autojump_clock, caplog):
    from blazen_trio import WorkflowTimeoutError

    with pytest.raises(WorkflowTimeoutError):
        await Workflow("stubborn", [step(stubborn)], timeout=1).run()
    assert "stubborn" in caplog.text


async def test_late_results_of_many_calls_are_all_counted(autojump_clock):
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(10)]

    @step
    async def work(event: Item) -> Item | StopEvent | None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return Item()

    async with Workflow("late", [begin, work]).start() as run:
        await trio.sleep(1)
        await run.abort()
    assert run.statistics()["late"] == 10


async def test_an_unbounded_step_runs_all_its_calls_at_once():
    class Part(Event):
        number: int

    @step
    async def begin(event: StartEvent) -> list[Part]:
        return [Part(number) for number in range(500)]

    @step(max_concurrency=math.inf)
    async def work(event: Part) -> StopEvent:
        await trio.sleep_forever()
        return StopEvent()

    async with Workflow("unbounded", [begin, work]).start() as run:
        await wait_for(lambda: run.statistics()["running"] == 500)
