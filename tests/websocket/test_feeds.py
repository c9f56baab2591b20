"""A run's stream, read once and encoded once for everybody who subscribes to it."""

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket.server.feeds import GRACE_MS, PACE_S
from blazen_trio.websocket.server.window import EncodedItem, Window
from tests.websocket.fakes import Client, FakeServer, ForgetfulStore, connected, new_tap, pouring, serving


def feeds_of(server: FakeServer) -> int:
    return int(server.feeds.statistics()["feeds"])


async def test_a_subscriber_gets_what_was_and_what_comes_and_then_the_end(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        tap.notes(3)
        await trio.sleep(1)
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id)
            await client.reached(subscription, 3)
            tap.notes(2)
            await client.reached(subscription, 5)
            tap.end()
            assert await client.ended(subscription) is None
    assert client.seqs(subscription) == [1, 2, 3, 4, 5, 6]
    assert [item["event"]["event_type"] for item in client.items(subscription)] == ["Note"] * 5 + ["StopEvent"]
    assert client.connection.sent[-1]["type"] == "ended"


async def test_all_subscribers_in_step_are_sent_the_same_bytes(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as one, connected(server) as other, connected(server) as third:
            for client, name in ((one, 7), (other, 7), (third, 8)):
                await client.ask("subscribe", run_id=run.run_id, id=name)
            tap.notes(5)
            for client, name in ((one, 7), (other, 7), (third, 8)):
                await client.reached(name, 5)
                assert client.seqs(name) == [1, 2, 3, 4, 5]
            assert one.connection.frames[-1] is other.connection.frames[-1]
            assert one.items(7) == third.items(8)


async def test_a_feed_lives_as_long_as_somebody_subscribes_and_keeps_the_run_in_memory(
    autojump_clock: MockClock,
) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        tap.notes(1)
        await trio.sleep(1)
        held = engine.held[run.run_id].runner
        assert held is not None
        async with connected(server) as one, connected(server) as other:
            first, second = [await client.say("subscribe", run_id=run.run_id) for client in (one, other)]
            await one.reached(first, 1)
            await other.reached(second, 1)
            held_by_feeds = server.feeds.statistics()
            assert held_by_feeds.pop("feed_bytes") > 100
            assert held_by_feeds == {"feeds": 1, "feed_readers": 2, "feed_events": 1}
            assert held.is_observed
            await one.ask("unsubscribe", subscription=first)
            assert feeds_of(server) == 1
        await trio.sleep(1)
        assert feeds_of(server) == 0
        assert not held.is_observed


async def test_a_blocked_client_holds_up_neither_the_run_nor_the_others(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as blocked, connected(server) as quick:
            for client in (blocked, quick):
                await client.ask("subscribe", run_id=run.run_id, id=1)
            blocked.connection.block()
            for count in range(50, 1050, 50):
                tap.notes(50)
                await quick.reached(1, count)
                await quick.received(1, count)
            tap.end()
            assert await quick.ended(1) is None
            await run.result()
    assert quick.seqs(1) == list(range(1, 1002))
    assert not blocked.seqs(1)


async def test_a_burst_reaches_everybody_who_keeps_up(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine, window=40) as server:
        run = await engine.start("pouring")
        async with connected(server) as one, connected(server) as other:
            for client in (one, other):
                await client.ask("subscribe", run_id=run.run_id, id=1)
            tap.notes(1_000)
            tap.end()
            for count in range(16, 1_001, 16):
                for client in (one, other):
                    await client.reached(1, count)
                    await client.received(1, count)
            for client in (one, other):
                await client.ended(1)
                assert client.seqs(1) == list(range(1, 1_002))


async def follow(client: Client, last: int) -> float:
    """Take everything up to there, and say so; when that was."""
    taken = 0
    while taken < last:
        await client.reached(1, taken + 1)
        taken = client.until(1)
        await client.received(1, taken)
    return trio.current_time()


async def test_a_burst_waits_a_moment_for_those_who_are_only_a_little_slower(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine, window=40) as server:
        run = await engine.start("pouring")
        async with connected(server) as quick, connected(server) as late, trio.open_nursery() as nursery:
            late.connection.delay_s = 0.02  # ten times what a window takes to fill
            for client in (quick, late):
                await client.ask("subscribe", run_id=run.run_id, id=1)
                nursery.start_soon(follow, client, 1_001)
            tap.notes(1_000)
            tap.end()
    for client in (quick, late):
        assert client.seqs(1) == list(range(1, 1_002))


async def test_who_takes_nothing_is_waited_for_once(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine, window=40) as server:
        run = await engine.start("pouring")
        async with connected(server) as quick, connected(server) as stuck:
            for client in (quick, stuck):
                await client.ask("subscribe", run_id=run.run_id, id=1)
            stuck.connection.block()
            begun = trio.current_time()
            tap.notes(1_000)
            assert await follow(quick, 1_000) - begun < (GRACE_MS + 1_000 / 10 + 50) / 1_000
    assert quick.seqs(1) == list(range(1, 1_001))


async def test_events_after_a_silence_go_at_once_and_many_within_a_millisecond_together(
    autojump_clock: MockClock,
) -> None:
    tap = new_tap()
    async with (
        open_engine(MemoryStore(), [pouring()]) as engine,
        serving(engine, window=2_000, batch_events=1_000) as server,
    ):
        run = await engine.start("pouring")
        async with connected(server) as client:
            await client.ask("subscribe", run_id=run.run_id, id=1)
            for number in range(1, 4):
                await trio.sleep(1)
                begun = trio.current_time()
                tap.notes(1)
                await client.reached(1, number)
                assert trio.current_time() == begun
            for _ in range(1_000):
                tap.notes(1)
                await trio.sleep(PACE_S / 20)
            await client.reached(1, 1_003)
            assert 40 <= len(client.said("events")) - 3 <= 60  # of 20 events each


async def test_a_run_that_is_over_can_be_read_and_read_again(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        tap.notes(30)
        tap.end()
        await run.result()
        async with connected(server) as client:
            for after in (0, 20, 31, 99):
                subscription = await client.say("subscribe", run_id=run.run_id, after=after)
                assert await client.ended(subscription) is None
                assert client.seqs(subscription) == list(range(after + 1, 32))
        await trio.sleep(1)
        assert feeds_of(server) == 0


async def test_a_run_of_another_engine_is_told_of_as_the_store_has_it(autojump_clock: MockClock) -> None:
    tap, store = new_tap(), MemoryStore()
    async with open_engine(store, [pouring()]) as one, open_engine(store, [pouring()]) as other, serving(one) as server:
        run = await other.start("pouring")
        tap.notes(3)
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id)
            await client.reached(subscription, 3)
            tap.end()
            assert await client.ended(subscription) is None
            assert client.seqs(subscription) == [1, 2, 3, 4]
            assert [each["run"]["status"] for each in client.said("run")] == ["running", "completed"]


async def test_a_store_that_fails_ends_the_subscription_and_a_new_one_tries_again(autojump_clock: MockClock) -> None:
    tap, store = new_tap(), ForgetfulStore(MemoryStore())
    async with open_engine(store, [pouring(5)]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        tap.notes(20)
        tap.end()
        await run.result()
        async with connected(server) as client:
            store.is_failing = True
            subscription = await client.say("subscribe", run_id=run.run_id, after=2)
            assert (await client.ended(subscription))["type"] == "StoreError"
            store.is_failing = False
            subscription = await client.say("subscribe", run_id=run.run_id, after=20)
            assert await client.ended(subscription) is None
            assert client.seqs(subscription) == [21]


async def test_a_bug_in_a_feed_ends_it_for_its_readers_and_for_nobody_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(item: object) -> None:
        raise ZeroDivisionError("secret")

    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id)
            await client.answer(subscription)
            await trio.sleep(1)
            feed = server.feeds._feeds[run.run_id]
            monkeypatch.setattr(feed.writer, "write", broken)
            tap.notes(1)
            error = await client.ended(subscription)
            assert (error["type"], "internal error" in error["message"]) == ("WorkflowError", True)
            assert "secret" not in str(client.connection.sent)
            assert "ZeroDivisionError" in caplog.text
            subscription = await client.say("subscribe", run_id=run.run_id)
            await client.reached(subscription, 1)
            assert (await client.ask("get", run_id=run.run_id))["status"] == "running"


def test_a_window_never_has_a_hole() -> None:
    window = Window(0, events_max=10, bytes_max=1_000)
    for seq in (1, 2, 5, 6):
        window.add(EncodedItem(seq, frozenset(), b"%d" % seq))
    assert (window.floor, window.last, len(window), window.bytes) == (4, 6, 2, 2)
    assert window.take(4, 6, None, 100) == (6, [b"5", b"6"])
