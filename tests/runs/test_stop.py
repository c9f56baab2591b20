"""Rule 1: the first `StopEvent` taken from the queue ends the run; what runs is cancelled, what waits is dropped."""

import trio
import trio.testing

from blazen_trio import Context, RunStatus, StartEvent, StopEvent, Workflow, step
from tests.runs.stories import Done, Item, finish, sleep_forever


async def test_running_calls_are_cancelled_and_waiting_ones_never_begin():
    begun, cancelled = [], []

    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(10)]

    @step(max_concurrency=3)
    async def work(event: Item) -> StopEvent:
        begun.append(event.number)
        if event.number == 2:
            return StopEvent("two")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(event.number)
            raise
        return StopEvent()

    async with Workflow("first", [fan_out, work]).start() as run:
        assert (await run.result()).result == "two"

    assert (begun, sorted(cancelled)) == ([0, 1, 2], [0, 1])
    assert run.status is RunStatus.COMPLETED
    assert run.statistics()["running"] == 0


async def test_a_stop_event_overtakes_events_that_wait_for_a_slot():
    @step
    async def fan_out(event: StartEvent) -> list[Item | StopEvent]:
        return [*(Item(number) for number in range(1_000)), StopEvent("last in the list")]

    @step(max_concurrency=1)
    async def work(event: Item) -> None:
        raise AssertionError("the run was over before")

    assert (await Workflow("overtake", [fan_out, work]).run()).result == "last in the list"


async def test_of_two_stop_events_the_first_counts():
    async def stop_twice(event: StartEvent) -> list[StopEvent]:
        return [StopEvent(1), StopEvent(2)]

    async def send_twice(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.send_event(StopEvent("sent"))
        return StopEvent("returned")

    assert (await Workflow("list", [step(stop_twice)]).run()).result == 1
    assert (await Workflow("sent", [step(send_twice)]).run()).result == "sent"


async def test_a_stop_event_beats_an_error_that_comes_later():
    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        return [Item(0), Item(1)]

    @step
    async def work(event: Item) -> StopEvent:
        if event.number == 0:
            return StopEvent("won")
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("too late")

    async with Workflow("race", [fan_out, work]).start() as run:
        assert (await run.result()).result == "won"
    assert run.status is RunStatus.COMPLETED


async def test_a_stop_event_from_outside_ends_the_run():
    async with Workflow("outside", [sleep_forever]).start() as run:
        await run.send_event(StopEvent("enough"))
        assert (await run.result()).result == "enough"


async def test_a_stop_event_from_a_generator_ends_its_own_call():
    closed = []

    @step
    async def stream(event: StartEvent):
        try:
            yield StopEvent("yielded")
            await trio.sleep_forever()
        finally:
            closed.append(True)

    assert (await Workflow("generator", [stream]).run()).result == "yielded"
    assert closed == [True]


async def test_what_a_call_does_after_the_end_is_counted_and_changes_nothing():
    @step
    async def begin(event: StartEvent, ctx: Context) -> Done | StopEvent:
        ctx.send_event(StopEvent("end"))
        ctx.state["late"] = 1
        ctx.write_event_to_stream(Item())
        ctx.send_event(Done())
        return Done()

    async with Workflow("late", [begin, finish]).start() as run:
        assert (await run.result()).result == "end"
        await run.abort()
    assert run.statistics()["late"] >= 4
    assert run.statistics()["published"] == 1


async def test_a_stop_event_while_paused_ends_the_run_when_it_goes_on():
    release = trio.Event()

    @step
    async def begin(event: StartEvent) -> StopEvent:
        await release.wait()
        return StopEvent("kept")

    async with Workflow("paused", [begin]).start() as run, trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(run.pause)
        await trio.testing.wait_all_tasks_blocked()
        release.set()
        await trio.testing.wait_all_tasks_blocked()
        assert run.status is RunStatus.PAUSED
        await run.resume_in_place()
        assert (await run.result()).result == "kept"
