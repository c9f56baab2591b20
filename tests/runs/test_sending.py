"""`send_event` and send channels: events into a running run, with room kept and nothing lost."""

import pytest
import trio
import trio.testing

from blazen_trio import (
    Context,
    Event,
    EventLimitError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRun,
    step,
)
from blazen_trio.send_channel import SEND_ROOM
from tests.runs.stories import Item, Tick, sleep_forever


def collecting(count: int, seen: list[int], **options) -> Workflow:
    """Ends when it has seen `count` items."""

    @step
    async def take(event: Item) -> StopEvent | None:
        seen.append(event.number)
        return StopEvent(len(seen)) if len(seen) == count else None

    return Workflow("collecting", [sleep_forever, take.with_options(**options)], events=[Item])


async def test_events_from_outside_are_taken_in_order():
    seen: list[int] = []
    async with collecting(100, seen).start() as run:
        for number in range(100):
            await run.send_event(Item(number))
        await run.result()
    assert seen == list(range(100))


@pytest.mark.parametrize("value", [None, "item", Item, Event(), {"number": 1}, [Item()]], ids=repr)
async def test_what_is_no_event_is_refused_and_shown(value):
    async with collecting(1, []).start() as run:
        channel = run.open_send_channel()
        for send in (run.send_event, channel.send):
            with pytest.raises(TypeError) as caught:
                await send(value)
            assert repr(value) in str(caught.value)
            assert "Event" in str(caught.value)
        assert not run.status.is_end


async def test_a_cancelled_send_sends_nothing():
    seen: list[int] = []
    async with collecting(1, seen).start() as run:
        with trio.CancelScope() as scope:
            scope.cancel()
            await run.send_event(Item(1))
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []


async def test_too_many_pending_events_are_refused_and_the_run_goes_on():
    @step
    async def take(event: Item) -> StopEvent:
        await trio.sleep_forever()
        return StopEvent()

    workflow = Workflow("full", [sleep_forever, take], events=[Item], max_pending_events=10)
    async with workflow.start() as run:
        with pytest.raises(EventLimitError) as caught:
            for number in range(100):
                await run.send_event(Item(number))
        assert run.statistics()["pending"] == 10
        assert not run.status.is_end
    for word in ("10", "pending events", run.run_id):
        assert word in str(caught.value)


async def test_a_channel_waits_for_room_and_loses_nothing():
    seen, gate = [], trio.Event()

    @step(max_concurrency=1)
    async def take(event: Item) -> StopEvent | None:
        await gate.wait()
        seen.append(event.number)
        return StopEvent() if len(seen) == 3_000 else None

    async with Workflow("room", [sleep_forever, take], events=[Item]).start() as run, trio.open_nursery() as nursery:

        async def produce(first: int) -> None:
            for number in range(first, first + 1_000):
                await channel.send(Item(number))

        channel = run.open_send_channel()
        for first in (0, 1_000, 2_000):
            nursery.start_soon(produce, first)
        await trio.testing.wait_all_tasks_blocked()
        assert run.statistics()["pending"] == SEND_ROOM
        gate.set()
        with trio.fail_after(10):
            await run.result()
    assert sorted(seen) == list(range(3_000))


async def test_a_channel_waits_for_a_call_that_receives_and_goes_on_as_it_does():
    @step
    async def receive(event: StartEvent, ctx: Context) -> StopEvent:
        count = 0
        async with ctx.receive_events(Tick) as ticks:
            while count < 3 * SEND_ROOM:
                await ticks.receive()
                count += 1
        return StopEvent(count)

    async with Workflow("receive", [receive], events=[Tick]).start() as run:

        async def produce() -> None:
            async with run.open_send_channel() as channel:
                for number in range(3 * SEND_ROOM):
                    await channel.send(Tick(number))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            with trio.fail_after(10):
                assert (await run.result()).result == 3 * SEND_ROOM


async def test_a_closed_channel_sends_no_more_and_wakes_who_waits_in_it():
    @step
    async def take(event: Item) -> None:
        await trio.sleep_forever()

    workflow = Workflow("closed", [sleep_forever, take], events=[Item])
    async with workflow.start() as run, trio.open_nursery() as nursery:
        channel = run.open_send_channel()
        refused = []

        async def produce() -> None:
            with pytest.raises(trio.ClosedResourceError):
                for number in range(10_000):
                    await channel.send(Item(number))
            refused.append(True)

        nursery.start_soon(produce)
        await trio.testing.wait_all_tasks_blocked()
        channel.close()
        channel.close()
        await trio.testing.wait_all_tasks_blocked()
        assert refused == [True]
        with pytest.raises(trio.ClosedResourceError):
            await channel.send(Item())


async def test_the_end_of_the_run_breaks_its_channels():
    async with collecting(1, []).start() as run:
        with run.open_send_channel() as channel:
            await channel.send(Item(1))
            await run.result()
            with pytest.raises(trio.BrokenResourceError):
                await channel.send(Item(2))
    channel.close()
    await channel.aclose()


async def test_the_end_of_the_run_wakes_a_blocked_sender():
    @step
    async def take(event: Item) -> None:
        await trio.sleep_forever()

    workflow = Workflow("blocked", [sleep_forever, take], events=[Item])
    async with workflow.start() as run, trio.open_nursery() as nursery:

        async def produce() -> None:
            with run.open_send_channel() as channel, pytest.raises(trio.BrokenResourceError):
                for number in range(10_000):
                    await channel.send(Item(number))

        nursery.start_soon(produce)
        await trio.testing.wait_all_tasks_blocked()
        await run.abort()


async def test_a_step_may_send_into_its_own_run():
    runs: list[WorkflowRun] = []

    @step
    async def begin(event: StartEvent) -> None:
        await runs[0].send_event(Item(5))
        await trio.sleep_forever()

    @step
    async def take(event: Item) -> StopEvent:
        return StopEvent(event.number)

    async with Workflow("self", [begin, take], events=[Item]).start() as run:
        runs.append(run)
        assert (await run.result()).result == 5
