"""One subscription: everything once, in order, as fast as the client takes it, with exact gaps."""

from itertools import pairwise
from typing import Any

import trio
from trio.testing import MockClock

from blazen_trio import Engine, open_engine
from blazen_trio.stores import MemoryStore
from tests.websocket.fakes import Client, LoudNote, Note, asking, connected, new_tap, pouring, serving


def total(client: Client, subscription: int) -> int:
    """What was delivered and what was declared missing, added up; fails if it is not in order or overlaps."""
    position: int = client.items(subscription)[0]["seq"] - missed(client.items(subscription)[0])
    begin = position
    for item in client.items(subscription):
        assert item["seq"] == position + missed(item)
        position = item["seq"]
    return position - begin


def missed(item: dict[str, Any]) -> int:
    event = item["event"]
    return int(event["data"]["missed"]) if event["event_type"] == "StreamGap" else 1


async def test_who_falls_behind_the_window_gets_one_gap_of_exactly_what_it_missed(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine, window=40) as server:
        run = await engine.start("pouring")
        async with connected(server) as slow, connected(server) as quick:
            for client in (slow, quick):
                await client.ask("subscribe", run_id=run.run_id, id=1)
            tap.notes(3)
            for client in (slow, quick):
                await client.reached(1, 3)
            slow.connection.block()
            for count in range(4, 1_000):
                tap.notes(1)
                await quick.reached(1, count)
                await quick.received(1, count)
            slow.connection.let_go()
            while slow.until(1) < 999:
                await trio.sleep(1)
                await slow.received(1, slow.until(1))
            items = slow.items(1)
            gaps = [item for item in items if item["event"]["event_type"] == "StreamGap"]
            assert len(gaps) == 1
            assert len(items) - 1 + missed(gaps[0]) == total(slow, 1) == 999
            assert 35 <= len([each for each in items if each["seq"] > gaps[0]["seq"]]) <= 40
            tap.end()
            assert await slow.ended(1) is None
    assert quick.seqs(1) == list(range(1, 1_001))


async def test_what_is_stored_no_more_is_a_gap_at_the_start(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring(10)]) as engine, serving(engine, window=5) as server:
        run = await engine.start("pouring")
        for _ in range(50):
            tap.notes(1)
            await trio.sleep(0.1)
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id, after=7)
            await client.reached(subscription, 40)
            for seq in (40, 45):
                await client.received(subscription, seq)
                await client.reached(subscription, seq + 5)
            first = client.items(subscription)[0]
            assert (first["seq"], missed(first)) == (40, 33)
            assert client.seqs(subscription) == list(range(40, 51))


async def test_no_more_is_under_way_than_the_client_has_room_for(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine, window=30) as server:
        run = await engine.start("pouring")
        tap.notes(200)
        async with connected(server) as client:
            few = await client.say("subscribe", run_id=run.run_id, window=7)
            many = await client.say("subscribe", run_id=run.run_id, window=5_000)
            await trio.sleep(1)
            assert (client.until(few), client.until(many)) == (7, 30)
            await client.received(few, 3)
            await trio.sleep(1)
            assert client.until(few) == 10
            await client.received(few, 2)
            await trio.sleep(1)
            assert client.until(few) == 10
            while client.until(few) < 200:
                await client.received(few, client.until(few))
                await trio.sleep(1)
            assert client.seqs(few) == list(range(1, 201))


async def test_what_was_not_sent_yet_cannot_be_received(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        tap.notes(200)
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id, window=10)
            await client.reached(subscription, 10)
            await client.received(subscription, 11)
            await client.received(99, 5)  # of a subscription that may just have ended
            await trio.sleep(1)
            assert client.until(subscription) == 10
            assert [each["error"]["type"] for each in client.said("error")] == ["ProtocolError"]


async def test_only_events_of_the_types_asked_for_are_sent_but_the_number_moves_on(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            loud = await client.say("subscribe", run_id=run.run_id, types=["LoudNote"], window=8)
            all_notes = await client.say("subscribe", run_id=run.run_id, types=["Note"], window=8)
            for _ in range(50):
                tap.publish(Note, LoudNote, Note, Note)
                await trio.sleep(0.1)
                for each in (loud, all_notes):
                    await client.received(each, client.until(each))
            for _ in range(5):
                tap.notes(1)
                await trio.sleep(0.1)
            tap.end()
            assert await client.ended(loud) is None
            assert await client.ended(all_notes) is None
            assert client.seqs(loud) == list(range(2, 201, 4))
            assert client.seqs(all_notes) == list(range(1, 206))
            assert client.until(loud) == client.until(all_notes) == 206
            assert all(each["until"] - each["items"][-1]["seq"] < 8 for each in client.said("events", loud)[:50])


async def test_a_client_that_wants_nothing_of_it_is_not_stuck_by_its_own_window(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine, window=200) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            for window in (1, 2, 3, 9):
                await client.ask("subscribe", run_id=run.run_id, types=["StopEvent"], window=window, id=window)
            tap.notes(100)
            tap.end()
            for window in (1, 2, 3, 9):
                with trio.fail_after(100):
                    while not client.said("ended", window):
                        await client.received(window, client.until(window))
                        await trio.sleep(0.1)
                assert client.seqs(window) == [101]


async def test_who_waits_for_little_learns_four_times_in_a_window_how_far_it_is(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id, types=["LoudNote"], window=40)
            for _ in range(45):
                tap.publish(Note)
                await trio.sleep(0.1)
            assert [each["until"] for each in client.said("events")] == [10, 20, 30, 40]
            assert client.items(subscription) == []


async def test_who_has_no_room_left_knows_how_far_it_is(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            await client.say("subscribe", run_id=run.run_id, types=["LoudNote"], window=40)
            for kind in [*[Note] * 38, LoudNote, Note, Note, LoudNote]:
                tap.publish(kind)
                await trio.sleep(0.1)
            told = [(each["until"], [item["seq"] for item in each["items"]]) for each in client.said("events")]
            assert told == [(10, []), (20, []), (30, []), (39, [39]), (40, [])]


async def test_gaps_are_told_whatever_was_asked_for(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring(10)]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        for _ in range(30):
            tap.notes(1)
            await trio.sleep(0.1)
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id, types=["LoudNote"])
            await client.connection.until(lambda: client.items(subscription))
            (gap,) = client.items(subscription)
            assert (gap["seq"], missed(gap)) == (20, 20)


async def test_nothing_of_a_subscription_comes_behind_the_answer_to_its_end(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            client.connection.delay_s = 1.0
            for waited_s in (0.0, 0.5, 1.5, 2.5, 2.9, 3.5, 20.0):
                subscription = await client.say("subscribe", run_id=run.run_id)
                tap.notes(3)
                await trio.sleep(waited_s)
                left = await client.say("unsubscribe", subscription=subscription)
                assert await client.answer(left) is None
                told = len(client.connection.sent)
                tap.notes(3)
                await trio.sleep(30)
                assert len(client.connection.sent) == told
                assert len(client.answers(subscription)) == 1
            assert client.connection.cancelled_sends == 0
            assert not client.session.subscriptions
            assert not server.feeds.statistics()["feeds"]


async def test_who_waits_for_room_or_for_events_may_leave_at_once(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        tap.notes(5)
        async with connected(server) as client:
            full = await client.say("subscribe", run_id=run.run_id, window=2)
            idle = await client.say("subscribe", run_id=run.run_id)
            await client.reached(full, 2)
            await client.reached(idle, 5)
            with trio.fail_after(1):
                assert await client.ask("unsubscribe", subscription=full) is None
                assert await client.ask("unsubscribe", subscription=idle) is None
                assert await client.ask("unsubscribe", subscription=99) is None
            assert not client.said("ended")


async def test_batches_keep_to_their_bytes_and_one_big_event_goes_alone(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with (
        open_engine(MemoryStore(), [pouring()]) as engine,
        serving(engine, batch_bytes=300, window_bytes=1_000) as server,
    ):
        run = await engine.start("pouring")
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id)
            tap.notes(64)
            await client.reached(subscription, 64)
            assert client.seqs(subscription) == list(range(1, 65))
            assert {len(each["items"]) for each in client.said("events")} <= {1, 2}


async def test_a_window_too_small_for_its_items_loses_nothing_for_who_keeps_up(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine, window_bytes=1) as server:
        run = await engine.start("pouring")
        tap.notes(20)
        async with connected(server) as client:
            caught_up = await client.say("subscribe", run_id=run.run_id)
            await client.reached(caught_up, 20)
            tap.notes(20)
            await client.reached(caught_up, 40)
            assert client.seqs(caught_up) == list(range(1, 41))


async def test_the_condition_of_a_run_is_told_before_the_events_of_that_moment(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server:
        run = await engine.start("asking")
        async with connected(server) as client:
            first = await client.say("subscribe", run_id=run.run_id)
            second = await client.say("subscribe", run_id=run.run_id)
            await client.reached(first, 1)
            await client.reached(second, 1)
            await trio.sleep(1)
            (question,) = run.pending_inputs
            await client.ask(
                "respond_to_input", run_id=run.run_id, request_id=question.request_id, response={"pages": 3}
            )
            await client.ended(first)
            await client.ended(second)
    told = [each["run"] for each in client.said("run")]
    statuses = [each["status"] for each in told]
    assert statuses[-1] == "completed"
    assert all(one != other for one, other in pairwise(told))
    sent = client.connection.sent
    asked = next(place for place, each in enumerate(sent) if each["type"] == "run" and each["run"].get("questions"))
    assert sent[asked]["run"]["questions"][0]["metadata"] == {"unit": "pages"}
    assert asked < next(place for place, each in enumerate(sent) if each["type"] == "events")
    completed = next(place for place, each in enumerate(sent) if each.get("run") == told[-1])
    assert completed < min(place for place, each in enumerate(sent) if each["type"] == "ended")


async def test_a_client_that_was_blocked_is_told_the_condition_before_the_events(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        run = await engine.start("asking")
        client.connection.block()
        await client.say("subscribe", run_id=run.run_id)
        await trio.sleep(1)
        client.connection.let_go()
        await client.reached(1, 1)
        assert [each["type"] for each in client.connection.sent] == ["ok", "run", "events"]
        assert client.said("run")[0]["run"]["questions"]


async def test_a_pause_is_told_though_it_is_no_event(autojump_clock: MockClock) -> None:
    new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as one, connected(server) as other:
            for client in (one, other):
                await client.ask("subscribe", run_id=run.run_id)
            await trio.sleep(1)
            await one.ask("pause", run_id=run.run_id, interrupt=True)
            await trio.sleep(1)
            await run.resume_in_place()
            await trio.sleep(1)
            await run.abort()
            for client in (one, other):
                assert await client.ended(1) is None
            assert statuses(other) == ["running", "paused", "running", "aborted"]
            assert statuses(one) in (["running", "paused", "running", "aborted"], ["running", "running", "aborted"])


def statuses(client: Client) -> list[str]:
    return [each["run"]["status"] for each in client.said("run")]


async def test_an_answer_that_is_older_than_what_was_told_is_not_the_last_word(autojump_clock: MockClock) -> None:
    new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            await client.ask("subscribe", run_id=run.run_id)
            await trio.sleep(1)
            client.connection.block()
            await client.say("workflows")  # its answer is under way,
            await client.say("workflows")  # that of this one goes when all of the pause was told,
            old = await client.say("get", run_id=run.run_id)  # and only then that of this one
            await trio.sleep(1)
            await (await engine.get(run.run_id)).pause(interrupt=True)
            await trio.sleep(1)
            client.connection.let_go()
            await trio.sleep(1)
            assert (await client.answer(old))["status"] == "running"
            assert statuses(client) == ["running", "paused", "paused"]
            assert client.connection.sent[-1]["type"] == "run"


async def test_a_lost_connection_ends_its_subscriptions_quietly(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as lost, connected(server) as client:
            for each in (lost, client):
                await each.ask("subscribe", run_id=run.run_id)
            lost.connection.is_broken = True
            tap.notes(3)
            await client.reached(1, 3)
            await trio.sleep(1)
            assert not lost.session.subscriptions
            assert server.feeds.statistics()["feed_readers"] == 1


async def test_readers_of_a_run_that_a_closing_engine_leaves_learn_it(autojump_clock: MockClock) -> None:
    new_tap()
    async with trio.open_nursery() as nursery:
        async with open_engine(MemoryStore(), [pouring()]) as engine:
            run = await engine.start("pouring")
            client: Client = await nursery.start(_live, engine)
            subscription = await client.say("subscribe", run_id=run.run_id)
            await client.answer(subscription)
        assert (await client.ended(subscription))["type"] == "StoreError"
        nursery.cancel_scope.cancel()


async def _live(engine: Engine, *, task_status: trio.TaskStatus[Client]) -> None:
    """A client of a server that outlives the engine."""
    async with serving(engine) as server, connected(server) as client:
        task_status.started(client)
        await trio.sleep_forever()
