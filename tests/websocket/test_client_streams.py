"""Streams from afar: each event once and in order, however often the connection is lost."""

import gc
import itertools
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio import (
    Context,
    DynamicEvent,
    Event,
    EventDecodeError,
    PeerError,
    ProtocolError,
    RunNotFoundError,
    StartEvent,
    StopEvent,
    StreamGap,
    Workflow,
    open_engine,
    step,
)
from blazen_trio.stores import MemoryStore
from blazen_trio.stream import SubscriptionStatistics
from blazen_trio.websocket import WebsocketLimits
from blazen_trio.websocket.client.link import CLOSED
from blazen_trio.websocket.protocol import VERSION, encode
from blazen_trio.websocket.protocol import messages as said
from blazen_trio.websocket.protocol.errors import ErrorView
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.messages import Ended, Error, Events, ServerMessage, Welcome
from blazen_trio.websocket.protocol.views import ItemView, LimitsView
from tests.websocket.fake_server import BYTES, Model
from tests.websocket.lines import Line, exchange
from tests.websocket.stories import LoudMark, Mark, Note, Scene, numbers, scene, take


class Unheard(Event):
    """A class that the client does not know."""


def item(number: int, event_type: str = "Note", **data: object) -> ItemView:
    return ItemView(number, 0.0, EventData(event_type, data))


async def answered(story: Scene) -> int:
    """The id of the last subscription, when the server has answered it."""
    await wait_all_tasks_blocked()
    return int(story.heard(said.Subscribe)[-1].id)


async def test_a_subscription_tells_what_it_holds(autojump_clock: MockClock) -> None:
    async with scene(Model(floor=3)) as story:
        run = await story.run()
        await story.server.publish(6)
        async with run.stream_events() as subscription:
            assert await take(subscription, 2)
            await wait_all_tasks_blocked()
            assert subscription.statistics() == SubscriptionStatistics(4, 2, 3, lossless=False, closed=False)
        assert subscription.envelopes().statistics().closed


async def test_a_server_that_comes_back_may_grant_another_window(autojump_clock: MockClock) -> None:
    async with scene(window=8) as story:
        run = await story.run()
        await story.server.publish(40)
        subscription = run.stream_events()
        await wait_all_tasks_blocked()
        assert await numbers(subscription, 4) == [1, 2, 3, 4]
        begun = 5
        for granted in (2, 8, 1, 100):
            story.server.greeting = encode(Welcome(VERSION, "fake", "node", LimitsView(BYTES, granted, 8)))
            await story.server.cut()
            await trio.sleep(1)
            assert story.heard(said.Subscribe)[-1].window == min(8, granted)
            assert await numbers(subscription, 8) == list(range(begun, begun + 8))
            begun += 8


@step
async def mark_and_wait(event: StartEvent, ctx: Context) -> StopEvent:
    ctx.write_event_to_stream(Mark())
    await trio.sleep_forever()
    return StopEvent()


async def test_where_no_more_are_taken_one_can_be_left_for_another(autojump_clock: MockClock) -> None:
    waiting = Workflow("waiting", [mark_and_wait], events=[Mark], publish_lifecycle=False)
    async with (
        open_engine(MemoryStore(), [waiting]) as engine,
        exchange(limits=WebsocketLimits(subscriptions=3)) as there,
    ):
        await there.open(engine)
        async with there.client([], [waiting]) as remote:
            run = await remote.start("waiting")
            kept = [run.stream_events() for _ in range(2)]
            for _ in range(20):
                async with run.stream_events() as subscription:
                    assert await subscription.receive() == Mark()
            assert [await numbers(each, 1) for each in kept] == [[1], [1]]


@pytest.mark.parametrize("is_opened_anew", [True, False])
async def test_a_stream_is_never_that_of_a_successor_under_the_id(
    autojump_clock: MockClock, *, is_opened_anew: bool
) -> None:
    lines: list[Line] = []
    waiting = Workflow("waiting", [mark_and_wait], events=[Mark], publish_lifecycle=False)
    async with open_engine(MemoryStore(), [waiting]) as engine, exchange() as there:
        await there.open(engine)
        async with there.client(lines, [waiting]) as remote:
            run = await remote.start("waiting", run_id="mine")
            subscription = run.stream_events()
            assert await numbers(subscription, 1) == [1]
            there.is_reachable = False
            lines[-1].cut()
            await engine.abort("mine")
            await trio.sleep(1)
            await engine.delete("mine")
            await engine.start("waiting", run_id="mine")
            there.is_reachable = True
            if is_opened_anew:
                subscription = run.stream_events(after=subscription.position)
            with pytest.raises(RunNotFoundError):
                await numbers(subscription, 100)
            assert await numbers((await remote.get("mine")).stream_events(), 1) == [1]


async def test_one_that_is_left_gives_its_place_back_whatever_the_server_answers(autojump_clock: MockClock) -> None:
    def refuse(message: Any) -> list[ServerMessage] | None:
        if isinstance(message, said.Unsubscribe):
            return [Error(message.id, ErrorView("RuntimeError", "not now"))]
        return []

    def forget(message: Any) -> list[ServerMessage] | None:
        return [] if isinstance(message, said.Subscribe) else None

    for script in (forget, refuse):
        async with scene() as story:
            run = await story.run()
            story.server.script = script
            for _ in range(20):
                subscription = run.stream_events()
                await wait_all_tasks_blocked()
                await subscription.aclose()
                await wait_all_tasks_blocked()
            story.server.script = lambda _: None
            await run.info()
            assert (await run.result()).result == 0
            assert len(story.heard(said.Subscribe)) == len(story.heard(said.Unsubscribe)) == 20
            statistics = story.engine.statistics()
            assert (statistics["subscriptions"], statistics["requests"], statistics["reconnects"]) == (0, 0, 0)


async def test_a_stream_is_read_from_any_place_to_its_end(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        await story.server.publish(5)
        async with run.stream_events(after=2) as subscription:
            [first, *_] = items = await take(subscription, 3)
            assert [each.seq for each in items] == [3, 4, 5]
            assert (first.event, first.timestamp) == (Note(0), 3.0)
            story.model.end()
            await story.server.tell()
            for _ in range(2):
                with pytest.raises(trio.EndOfChannel):
                    await subscription.receive()
        with pytest.raises(trio.ClosedResourceError):
            await subscription.receive()
        assert story.engine.statistics()["subscriptions"] == 0
        assert [event async for event in run.stream_events()] == [Note(0)] * 5


async def test_it_subscribes_at_once_and_tells_the_refusal_to_the_reader(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        del story.model.runs["run"]
        subscription = run.stream_events()
        assert await answered(story) == subscription._feed.id
        for _ in range(2):
            with pytest.raises(RunNotFoundError):
                await subscription.receive()


async def test_envelopes_share_the_place_with_their_subscription(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        await story.server.publish(3)
        async with run.stream_events() as subscription, subscription.envelopes() as envelopes:
            assert await subscription.receive() == Note(0)
            assert (await envelopes.receive()).seq == 2
            assert subscription.position == 2
        with pytest.raises(trio.ClosedResourceError):
            await envelopes.receive()


async def test_one_task_reads_at_a_time_and_another_may_close(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        subscription = run.stream_events()

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await subscription.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await subscription.receive()
            subscription.close()
            subscription.close()


async def test_a_cancelled_receive_takes_nothing(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        async with run.stream_events() as subscription:
            with trio.move_on_after(1):
                await subscription.receive()
            await story.server.publish(2)
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await subscription.receive()
            assert await numbers(subscription, 2) == [1, 2]


# --- Which events -----------------------------------------------------------------------------------------------------


async def test_the_server_filters_what_is_known_here_with_all_subclasses(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        for event_type in ("Note", "Mark", "Unheard", "LoudMark", "Note"):
            await story.server.publish(event_type=event_type)
        async with run.stream_events(types=Mark) as marks:
            assert [each.event for each in await take(marks, 2)] == [Mark(), LoudMark()]
            await wait_all_tasks_blocked()
            assert marks.position == 5
        assert story.heard(said.Subscribe)[0].types == ["LoudMark", "Mark"]


@pytest.mark.parametrize("types", [Event, (Unheard, Mark), (DynamicEvent, Mark)])
async def test_what_is_not_known_here_is_chosen_here(types: Any, autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        for event_type in ("Note", "Unheard", "Mark", "StreamGap"):
            await story.server.publish(event_type=event_type)
        story.model.run().items[-1].event.data = {"missed": 1}
        wanted = types if isinstance(types, tuple) else (types,)
        expected = [Note(), DynamicEvent("Unheard", {"number": 0}), Mark(), StreamGap(1)]
        async with run.stream_events(types=types) as subscription:
            chosen = [each for each in expected if isinstance(each, (*wanted, StreamGap))]
            got = [each.event for each in await take(subscription, len(chosen))]
        assert got == [DynamicEvent("Unheard", {"number": 0}) if isinstance(e, DynamicEvent) else e for e in chosen]
        assert story.heard(said.Subscribe)[0].types is None


async def test_what_is_gone_is_a_gap_that_every_filter_lets_pass(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        await story.server.publish(6)
        story.model.floor = 4
        async with run.stream_events() as subscription, run.stream_events(types=Mark) as marks:
            assert await subscription.receive() == StreamGap(4)
            assert subscription.position == 4
            assert await numbers(subscription, 2) == [5, 6]
            assert await marks.receive() == StreamGap(4)


async def test_an_event_that_does_not_fit_its_class_is_one_error(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        await story.server.publish(1)
        story.model.run().publish("Note", number="three")
        await story.server.publish(1)
        async with run.stream_events() as subscription:
            assert await numbers(subscription, 1) == [1]
            with pytest.raises(EventDecodeError, match="number"):
                await subscription.receive()
            assert await numbers(subscription, 1) == [3]


# --- Flow -------------------------------------------------------------------------------------------------------------


async def test_a_reader_that_does_not_read_gets_a_window_and_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with scene() as story:
        slow = (await story.run("slow")).stream_events()
        quick = (await story.run("quick")).stream_events()
        await wait_all_tasks_blocked()
        await story.server.publish(100, "slow")
        for _ in range(100):
            await story.server.publish(1, "quick")
            assert await quick.receive() == Note(0)
        await wait_all_tasks_blocked()
        assert story.engine.statistics()["queued_items"] == 8
        assert (await (await story.engine.get("quick")).info()).run_id == "quick"
        assert await numbers(slow, 100) == list(range(1, 101))
        await wait_all_tasks_blocked()
        places = [0, *(each.seq for each in story.heard(said.Received) if each.subscription == slow._feed.id)]
        assert all(2 <= after - before <= 8 for before, after in itertools.pairwise(places))  # a quarter, or more
        assert places[-1] >= 98


async def test_the_window_is_the_smaller_one_of_both_sides(autojump_clock: MockClock) -> None:
    async with scene(window=3) as story:
        run = await story.run()
        _reader = run.stream_events()
        await wait_all_tasks_blocked()
        await story.server.publish(10)
        await wait_all_tasks_blocked()
        assert story.heard(said.Subscribe)[0].window == 3
        assert story.engine.statistics()["queued_items"] == 3


async def test_a_subscription_that_was_closed_or_forgotten_is_left(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        closed, forgotten = run.stream_events(), run.stream_events()
        await wait_all_tasks_blocked()
        await story.server.publish(3)
        closed.close()
        await story.server.publish(3)  # on its way already
        del forgotten
        gc.collect()
        await wait_all_tasks_blocked()
        assert len(story.heard(said.Unsubscribe)) == 2
        assert story.server.connections[0].readers == {}
        assert story.engine.statistics()["subscriptions"] == 0
        assert story.engine.statistics()["reconnects"] == 0


# --- Lost connections -------------------------------------------------------------------------------------------------


async def test_it_goes_on_behind_what_came_and_keeps_what_is_queued(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        async with run.stream_events() as subscription:
            await wait_all_tasks_blocked()
            await story.server.publish(4)
            assert await numbers(subscription, 1) == [1]
            await wait_all_tasks_blocked()
            await story.server.cut()
            await story.server.publish(4)
            assert await numbers(subscription, 7) == list(range(2, 9))
            assert [each.after for each in story.heard(said.Subscribe)] == [0, 4]


async def test_what_is_queued_is_not_asked_for_again(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        async with run.stream_events() as subscription:
            await wait_all_tasks_blocked()
            await story.server.publish(3)
            await wait_all_tasks_blocked()
            await story.server.cut()
            await story.engine.workflows()
            await story.server.publish(2)
            assert await numbers(subscription, 5) == [1, 2, 3, 4, 5]
            assert [each.after for each in story.heard(said.Subscribe)] == [0, 3]


async def test_cuts_do_not_make_the_queue_of_a_slow_reader_grow(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        async with run.stream_events() as subscription:
            await story.server.publish(100)
            for _ in range(10):
                await story.engine.workflows()
                await wait_all_tasks_blocked()
                assert story.engine.statistics()["queued_items"] <= 12
                await story.server.cut()
            assert await numbers(subscription, 100) == list(range(1, 101))


async def test_a_subscription_may_begin_without_a_connection(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.refusals = ["down"] * 5
        await story.server.cut()
        await wait_all_tasks_blocked()
        subscription, never_sent = run.stream_events(), run.stream_events()
        never_sent.close()
        await story.server.publish(2)
        assert await numbers(subscription, 2) == [1, 2]
        assert len(story.heard(said.Subscribe)) == 1


async def test_one_that_was_left_is_left_on_the_next_connection_too(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        subscription = run.stream_events()
        await wait_all_tasks_blocked()
        story.server.script = lambda message: [] if isinstance(message, said.Unsubscribe) else None
        subscription.close()
        await wait_all_tasks_blocked()
        await story.server.cut()
        await story.engine.workflows()
        assert len(story.heard(said.Subscribe)) == 1
        assert story.engine.statistics()["requests"] == 0


async def test_a_reader_loses_patience_and_may_come_back(autojump_clock: MockClock) -> None:
    async with scene(patience=10) as story:
        run = await story.run()
        subscription = run.stream_events()
        await wait_all_tasks_blocked()
        story.server.refusals = ["down"] * 1_000
        await story.server.cut()
        for _ in range(2):
            begun = trio.current_time()
            with pytest.raises(PeerError, match="10 s; the last attempt: down"):
                await subscription.receive()
            assert trio.current_time() - begun == pytest.approx(10)
        story.server.refusals = []
        await story.server.publish(1)
        assert await numbers(subscription, 1) == [1]


async def test_what_is_queued_is_read_before_the_end_of_the_client(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        subscription = run.stream_events()
        await wait_all_tasks_blocked()
        await story.server.publish(2)
        await wait_all_tasks_blocked()
    assert [each.seq for each in await take(subscription, 2)] == [1, 2]
    with pytest.raises(PeerError, match=CLOSED):
        await subscription.receive()


# --- Servers that leave something out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "items"),
    [
        (4, [item(3), item(4)]),  # a hole before it
        (4, [item(2), item(4)]),  # and within
        (2, [item(1), item(2)]),  # twice
        (3, [item(3), item(2)]),  # out of order
        (3, [item(2)]),  # a hole behind it
        (1, [item(2)]),
        (0, []),
        (4, [item(4, "StreamGap", missed=2)]),  # a gap that is too small
        (4, [item(4, "StreamGap", missed=4)]),  # and too big
        (4, [item(4, "StreamGap")]),
        (4, [item(4, "StreamGap", missed=-1)]),
        (15, [item(number) for number in range(2, 16)]),  # more than a window and a half
    ],
)
async def test_is_told_at_once_behind_what_was_right(
    until: int, items: list[ItemView], autojump_clock: MockClock
) -> None:
    async with scene() as story:
        run = await story.run()
        other = (await story.run("other")).stream_events()
        subscription = run.stream_events()
        number = await answered(story)
        await story.server.say(Events(number, 1, [item(1)]), Events(number, until, items))
        await wait_all_tasks_blocked()
        assert await numbers(subscription, 1) == [1]
        with pytest.raises(ProtocolError):
            await take(subscription, 100)
        with pytest.raises(ProtocolError):
            await subscription.receive()
        await wait_all_tasks_blocked()
        assert len(story.heard(said.Unsubscribe)) == 1
        await story.server.publish(1, "other")
        assert await numbers(other, 1) == [1]
        assert story.engine.statistics()["reconnects"] == 0


@pytest.mark.parametrize(
    ("until", "items"),
    [(1, [item(2)]), (3, [item(3), item(3)]), (4, [item(4, "StreamGap", missed=5)])],
)
async def test_a_filtered_one_is_held_to_order(until: int, items: list[ItemView], autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        subscription = run.stream_events(types=Note)
        number = await answered(story)
        await story.server.say(Events(number, until, items))
        with pytest.raises(ProtocolError):
            await take(subscription, 3)


async def test_the_end_may_be_an_error(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        subscription = run.stream_events()
        number = await answered(story)
        error = ErrorView("RunNotFoundError", "gone", {"problem": "gone", "run_id": "run"})
        await story.server.say(Events(number, 1, [item(1)]), Ended(number, error))
        assert await numbers(subscription, 1) == [1]
        with pytest.raises(RunNotFoundError):
            await subscription.receive()
