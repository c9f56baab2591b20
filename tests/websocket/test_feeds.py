"""A run's stream, read and encoded once for everybody who subscribes to it."""

import trio
from trio.testing import MockClock

from blazen_trio import open_engine
from blazen_trio.stores import MemoryStore
from tests.websocket.fakes import Note, asking, connected, new_tap, pouring, serving


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
