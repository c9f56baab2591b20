"""Each request has exactly one answer, whatever it was, and nobody is harmed by what one client says."""

import json

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket.protocol import REQUESTS, read_from_server
from blazen_trio.websocket.protocol.messages import Call, Error, verb
from blazen_trio.websocket.server.lists import LISTS
from blazen_trio.websocket.server.session import _VERBS, Session
from blazen_trio.websocket.server.verbs import LONG_VERBS, VERBS
from tests.websocket.fakes import FakeConnection, Refused, approving, asking, connected, new_tap, pouring, serving


async def test_the_greeting_says_what_a_client_must_know(autojump_clock: MockClock) -> None:
    async with (
        open_engine(MemoryStore(), [asking]) as engine,
        serving(engine) as server,
        trio.open_nursery() as nursery,
    ):
        connection = FakeConnection(nursery)
        await Session(server, connection).open()
        (greeting,) = connection.sent
        assert greeting["version"] == "blazen.v1"
        assert greeting["node_id"] == "node"
        assert greeting["limits"] == {"message_bytes": 100_000, "window": 100, "requests": 20}


def test_every_request_that_there_is_has_somebody_who_does_it() -> None:
    own = {"subscribe", "unsubscribe", "call"}
    done = {*_VERBS, *LONG_VERBS, *LISTS}
    assert {verb(each) for each in REQUESTS if each not in done} == own
    assert {each for each in REQUESTS if each.is_long} == {*LONG_VERBS, Call}


@pytest.mark.parametrize(
    ("text", "request_id", "says"),
    [
        ("{", None, "not JSON"),
        ("[]", None, "expected an object"),
        ('{"type": "dance", "id": 3}', 3, "unknown type 'dance'"),
        ('{"type": "get", "id": 3}', 3, "run_id"),
        ('{"type": "get", "id": 3, "run_id": 7}', 3, "xpected `str`"),
        ('{"type": "get", "id": 3, "run_id": "x", "run_id": "y"}', None, "twice"),
        ('{"type": "get", "id": 0, "run_id": "x"}', None, "id"),
        ('{"type": "get", "id": 3, "run_id": "x", "extra": 1}', 3, "extra"),
        ('{"type": "get", "id": 3, "run_id": "' + "x" * 100_000 + '"}', None, "limit of 100,000"),
    ],
)
async def test_what_is_no_request_is_answered(autojump_clock: MockClock, text, request_id, says) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        await client.session.receive(text)
        (answer,) = client.connection.sent
        assert (answer["type"], answer["id"], answer["error"]["type"]) == ("error", request_id, "ProtocolError")
        assert says in answer["error"]["message"]
        assert isinstance(read_from_server(json.dumps(answer), bytes_max=10_000), Error)
        assert await client.ask("runs") == []


async def test_who_is_wrong_too_often_is_closed_and_not_heard_any_more(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        for _ in range(5):
            await client.session.receive("{")
        assert client.connection.closed is None
        await client.session.receive("{")
        assert client.connection.closed == (1008, "too many faulty messages")
        told = len(client.connection.sent)
        await client.say("runs")
        await client.session.receive("{")
        await trio.sleep(1)
        assert len(client.connection.sent) == told


async def test_an_id_is_taken_until_its_answer_is_on_its_way(autojump_clock: MockClock) -> None:
    new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            await client.say("result", run_id=run.run_id, id=5)
            await client.say("runs", id=5)
            (fault,) = client.connection.sent
            assert (fault["type"], fault["id"]) == ("error", None)
            await client.session.receive('{"type": "get", "id": 5}')
            assert client.connection.sent[-1]["id"] is None  # it would pass for the answer that is still to come
            await run.abort()
            with pytest.raises(Refused, match="WorkflowAbortedError"):
                await client.answer(5)
            client.connection.sent.clear()
            assert len(await client.ask("runs", id=5)) == 1


async def test_requests_and_subscriptions_are_bounded(autojump_clock: MockClock) -> None:
    new_tap()
    async with (
        open_engine(MemoryStore(), [pouring()]) as engine,
        serving(engine, requests=3, subscriptions=2) as server,
    ):
        run = await engine.start("pouring")
        async with connected(server) as client:
            for _ in range(2):
                await client.ask("subscribe", run_id=run.run_id)
            with pytest.raises(Refused, match="more than 2 subscriptions"):
                await client.ask("subscribe", run_id=run.run_id)
            for _ in range(3):
                await client.say("result", run_id=run.run_id)
            with pytest.raises(Refused, match="more than 3 requests"):
                await client.ask("runs")
            await run.abort()
            await trio.sleep(1)
            await client.ask("runs")
            await client.ask("subscribe", run_id=run.run_id)
            assert client.connection.closed is None


async def test_who_takes_no_answers_gets_no_more_tasks(autojump_clock: MockClock) -> None:
    async with (
        open_engine(MemoryStore(), [asking]) as engine,
        serving(engine, requests=3) as server,
        connected(server) as client,
    ):
        client.connection.block()
        for _ in range(10):
            with trio.move_on_after(1):
                await client.say("runs")
        assert len(client.connection.nursery.child_tasks) == 4  # the answer that is on its way is no request any more


async def test_a_subscription_keeps_its_name_until_it_is_over(autojump_clock: MockClock) -> None:
    new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            await client.ask("subscribe", run_id=run.run_id, id=5)
            client.connection.sent.clear()
            with pytest.raises(Refused, match="already"):
                await client.ask("subscribe", run_id=run.run_id, id=5)
            await client.ask("unsubscribe", subscription=5)
            client.connection.sent.clear()
            assert await client.ask("subscribe", run_id=run.run_id, id=5) is None


async def test_who_leaves_before_it_began_gets_both_answers(autojump_clock: MockClock) -> None:
    hesitating = trio.Event()

    async def hesitate(access) -> bool:
        await hesitating.wait()
        return True

    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine, hesitate) as server:
        run = await engine.start("asking")
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id)
            await client.ask("unsubscribe", subscription=subscription)
            with pytest.raises(Refused, match="left before it began"):
                await client.answer(subscription)
            hesitating.set()
            await trio.sleep(1)
            assert [each["type"] for each in client.connection.sent] == ["error", "ok"]


async def test_a_bug_is_logged_and_not_told(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_) -> None:
        raise ZeroDivisionError("secret")

    async def unwritable(*_) -> object:
        return object()

    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        for number, bug in enumerate((broken, unwritable), 1):
            monkeypatch.setattr("blazen_trio.websocket.server.session._VERBS", {**VERBS, next(iter(VERBS)): bug})
            with pytest.raises(Refused, match="internal error; the log of the server says more"):
                await client.ask("start", workflow="asking", event={"event_type": "StartEvent", "data": {"data": 1}})
            assert caplog.text.count("Traceback") == number
        assert "secret" not in str(client.connection.sent)
        assert "ZeroDivisionError: secret" in caplog.text
        assert client.session.statistics() == {"requests": 0, "subscriptions": 0, "faults": 0}


async def test_the_end_of_a_connection_ends_what_it_asked_for_but_not_what_was_done(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [approving]) as engine, serving(engine) as server:
        async with connected(server) as client:
            view = await client.ask("start", workflow="approving", event={"event_type": "Knock", "data": {}})
            await client.say("result", run_id=view["run_id"])
            await client.say("subscribe", run_id=view["run_id"])
            await trio.sleep(1)
        await trio.sleep(1)
        assert server.feeds.statistics()["feeds"] == 0
        assert (await engine.get(view["run_id"])).status.value == "running"


async def test_a_broken_connection_is_no_error_of_the_server(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        client.connection.is_broken = True
        await client.session.receive("{")
        await client.say("runs")
        await trio.sleep(1)
        assert not caplog.records
