"""What a client that was let in can do wrong, against the real server on a real engine; others notice nothing of it.

Each story has a witness: another client, whose questions are answered in time whatever the first one does.
"""

import json
from typing import Any

import pytest
import trio

from blazen_trio.websocket import Access, WebsocketLimits
from tests.websocket.castle import Castle, Guest, open_castle, start_event
from tests.websocket.clients import TEXT, TOKEN, masked, request
from tests.websocket.fakes import Refused
from tests.websocket.nonsense import DEEP, NONSENSE


async def witness(castle: Castle) -> Guest:
    """Somebody else, in the middle of a stream."""
    other = await castle.guest()
    await other.ask("start", workflow="asking", event=start_event(1), run_id="witness")
    return other


async def is_served(other: Guest) -> bool:
    """Whether it is, at once."""
    begun = trio.current_time()
    view = await other.ask("get", run_id="witness")
    return view["run_id"] == "witness" and trio.current_time() - begun < 1


async def test_nonsense_is_answered_once_and_the_connection_lives(autojump_clock, caplog):
    async with open_castle() as castle:
        other, client = await witness(castle), await castle.guest()
        for name, (text, request_id) in NONSENSE.items():
            client.said.clear()
            await client.send(TEXT, text.encode())
            await client.until(lambda: client.said)
            await client.ask("workflows", id=9)
            (error, _) = client.said
            assert (error["type"], error["id"]) == ("error", request_id), name
            assert "internal error" not in error["error"]["message"], name
            assert len(json.dumps(error)) < 2_000, name
        assert await is_served(other)
        assert len(await other.ask("runs")) == 1
    assert not caplog.records


async def test_after_a_hundred_faults_it_is_enough(autojump_clock):
    async with open_castle() as castle:
        other, client = await witness(castle), await castle.guest()
        await client.client.say(masked(TEXT, b"{") * 101 + masked(TEXT, b'{"type":"runs","id":1}'))
        assert await client.closed() == 1008
        assert len(client.faults()) <= 101
        assert not client.answers(1)
        assert await is_served(other)
        assert castle.server.statistics()["faults"] == 101


async def test_a_million_bytes_of_json_are_one_message_and_one_more_is_none(autojump_clock):
    mib = 1024 * 1024
    async with open_castle() as castle:
        client = await castle.guest()
        text = DEEP % ('"%s"')
        await client.send(TEXT, (text % ("x" * (mib - len(text) + 2))).encode())
        assert (await client.answer(7))["status"] == "running"
        await client.send(TEXT, (text % ("x" * (mib - len(text) + 3))).encode())
        assert await client.closed() == 1009


# --- Who may not come in, and what may not be seen --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (request(), 401),
        (request(line=f"GET /?token={TOKEN} HTTP/1.1"), 401),
        (request(line=f"GET /?access_token={TOKEN} HTTP/1.1"), 401),
        (request(line=f"GET /?bearer={TOKEN}#{TOKEN} HTTP/1.1"), 401),
        (request(line=f"GET /{TOKEN} HTTP/1.1"), 404),
        (request(Cookie=f"token={TOKEN}"), 401),
        (request(Authorization=f"Basic {TOKEN}"), 401),
        (request(Authorization=TOKEN), 401),
        (request(Authorization="Bearer"), 401),
        (request(Authorization="Bearer "), 401),
        (request(Authorization=f"Bearer {TOKEN[:-1]}"), 401),
        (request(Authorization=f"Bearer {TOKEN}x"), 401),
        (request(Authorization=f"Bearer {TOKEN.upper()}"), 401),
        (request(Authorization=f"Bearer {TOKEN}, {TOKEN}"), 401),
        (request(Sec_WebSocket_Protocol="blazen.v1, bearer."), 401),
        (request(Sec_WebSocket_Protocol=f"blazen.v1, Bearer.{TOKEN}"), 401),
        (request(Sec_WebSocket_Protocol=f"blazen.v1, {TOKEN}"), 401),
        (request(Sec_WebSocket_Protocol=f"blazen.v1, bearer.{TOKEN}", Authorization="Bearer other"), 400),
        (request(Authorization=f"Bearer {TOKEN}", Host="evil.example:8765"), 421),
        (request(Authorization=f"Bearer {TOKEN}", Host="127.0.0.1.evil.example"), 421),
        (request(Authorization=f"Bearer {TOKEN}", Host="localhost.evil.example"), 421),
        (request(Authorization=f"Bearer {TOKEN}", Host="notlocalhost"), 421),
        (request(Authorization=f"Bearer {TOKEN}", Origin="http://evil.example"), 403),
        (request(Authorization=f"Bearer {TOKEN}", Origin="http://localhost:8765.evil.example"), 400),
        (request(Authorization=f"Bearer {TOKEN}", Origin="http://localhost:8765@evil.example"), 400),
        (request(Authorization=f"Bearer {TOKEN}", Origin="http://evil.example/http://localhost:8765"), 403),
        (request(Authorization=f"Bearer {TOKEN}", Origin="file://"), 403),
        (request(Authorization=f"Bearer {TOKEN}", Origin=""), 403),
        (request(Authorization=f"Bearer {TOKEN}", Origin="http://localhost:8765"), 101),
        (request(Authorization=f"bearer {TOKEN}"), 101),
        (request(Sec_WebSocket_Protocol=f"blazen.v1, bearer.{TOKEN}"), 101),
    ],
)
async def test_the_door_of_the_real_server(autojump_clock, head, status):
    async with open_castle(token=TOKEN) as castle:
        client = castle.stranger()
        await client.say(head)
        got, text = await client.answer()
        assert got == status
        assert TOKEN not in text


@pytest.mark.parametrize("target", ["/metrics", f"/metrics?token={TOKEN}", "/metrics?"])
async def test_metrics_are_for_those_with_the_token(autojump_clock, target):
    async with open_castle(token=TOKEN) as castle:
        for more, status in (
            ("", 401),
            ("Authorization: Bearer wrong\r\n", 401),
            (f"Authorization: Bearer {TOKEN}\r\n", 200),
        ):
            client = castle.stranger()
            await client.say(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
            assert (await client.answer())[0] == status


SEEN = ("get", "info", "result", "snapshot", "history", "subscribe", "pause", "resume", "abort", "delete")


async def test_each_verb_is_asked_about_and_a_no_looks_the_same_for_what_is_not_there(autojump_clock):
    asked: list[Access] = []

    async def nobody(access: Access) -> bool:
        asked.append(access)
        return access.workflow == "asking" and access.verb in {"start", "get"}

    async with open_castle(authorize=nobody, limits=WebsocketLimits(faults=1_000)) as castle:
        other, client = await witness(castle), await castle.guest()
        await castle.engine.start("keeping", 1, run_id="hidden")
        over = await castle.engine.start("counting", [1, 0, 0], run_id="over")
        await over.result()
        more: dict[str, dict[str, Any]] = {verb: {} for verb in SEEN}
        more["respond_to_input"] = {"request_id": "x", "response": 1}
        more["send_event"] = {"event": {"event_type": "Approval", "data": {"by": "me"}}}
        told = set()
        for verb, fields in more.items():
            for run_id in ("hidden", "over", "absent"):
                client.said.clear()
                asked.clear()
                number = await client.say(verb, run_id=run_id, **fields)
                with pytest.raises(Refused):
                    await client.answer(number)
                assert all(each.run_id == run_id for each in asked)
                assert [each.verb for each in asked][:1] == ([verb] if run_id != "absent" or verb == "abort" else [])
                told.add(json.dumps(client.said).replace(f'"id": {number}', '"id": N').replace(run_id, "RUN"))
        assert len(told) == 1
        for verb in ("statistics", "workflows", "runs"):
            with pytest.raises(Refused, match=f"authorize= refused '{verb}'"):
                await client.ask(verb)
        assert (await castle.engine.get("hidden")).status.value != "aborted"
        assert not client.heard("run")
        assert not client.heard("events")
        assert await is_served(other)


SHOWN: dict[str, tuple[dict[str, Any], str | None]] = {
    "as a header": ({"Authorization": "Bearer reader-7"}, "reader-7"),
    "as a subprotocol": ({"Sec_WebSocket_Protocol": "blazen.v1, bearer.reader-8"}, "reader-8"),
    "not at all": ({}, None),
}


@pytest.mark.parametrize("way", SHOWN)
async def test_the_hook_sees_who_asks_and_what_exactly(way):
    shown: dict[str, Any]
    shown, token = SHOWN[way]
    asked: list[Access] = []

    def note(access: Access) -> bool:
        asked.append(access)
        return True

    async with open_castle(authorize=note) as castle:
        client = await castle.guest(await castle.caller(), X_Team="Blue; Green", **shown)
        host, port = castle.sockets[0].socket.getsockname()
        await client.ask("start", workflow="asking", event=start_event(1), run_id="mine")
        await client.ask("get", run_id="mine")
        await client.ask("subscribe", run_id="mine")
        await client.ask("runs", workflow="asking")
        await client.ask("statistics")
        with pytest.raises(Refused, match="RunNotFoundError"):
            await client.ask("info", run_id="absent")  # of what is not there nobody is asked
        await client.ask("call", call_id="called", workflow="echoing", steps=["echo"], event=start_event(1))
    whole = request(X_Team="Blue; Green", **shown).decode().splitlines()[1:-1]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in whole)}
    who: Any = {"remote": f"{host}:{port}", "token": token, "headers": headers}
    assert headers["x-team"] == "Blue; Green"
    assert asked == [
        Access(verb="start", run_id="mine", workflow="asking", **who),
        Access(verb="get", run_id="mine", workflow="asking", **who),
        Access(verb="subscribe", run_id="mine", workflow="asking", **who),
        Access(verb="runs", run_id=None, workflow="asking", **who),
        Access(verb="get", run_id="mine", workflow="asking", **who),
        Access(verb="statistics", run_id=None, workflow=None, **who),
        Access(verb="call", run_id="called", workflow="echoing", **who),
    ]


async def test_a_call_does_not_show_the_result_of_a_run_that_its_caller_may_not_see(autojump_clock):
    def only_asking(access: Access) -> bool:
        return access.workflow == "asking"

    async with open_castle(authorize=only_asking) as castle:
        client = await castle.guest()
        run = await castle.engine.start("counting", [1, 0, 0], run_id="secret")
        await run.result()
        with pytest.raises(Refused, match="PeerError"):
            await client.ask("call", call_id="secret", workflow="asking", steps=["ask"], event=start_event([1, 0, 0]))


# --- Floods -----------------------------------------------------------------------------------------------------------


async def test_a_flood_of_requests_is_answered_one_by_one(autojump_clock):
    async with open_castle(limits=WebsocketLimits(requests=100)) as castle:
        other, client = await witness(castle), await castle.guest()
        for number in range(1, 1_001):
            await client.say("result", id=number, run_id="witness")
        answers = await client.until(
            lambda: [each for each in client.said if each["type"] == "error"][899:] and client.said
        )
        refused = [each["id"] for each in answers if each["type"] == "error"]
        assert refused == list(range(101, 1_001))
        assert await is_served(other)
        await other.ask("abort", run_id="witness")
        for number in range(1, 101):
            await client.answered(number)
            assert len(client.answers(number)) == 1
        client.said.clear()
        assert len(await client.ask("runs", id=1)) == 1


async def test_an_id_that_is_used_twice_at_once_is_a_fault_and_the_first_is_answered(autojump_clock):
    async with open_castle() as castle:
        other, client = await witness(castle), await castle.guest()
        await client.say("result", id=5, run_id="witness")
        for verb in ("result", "get", "subscribe"):
            await client.say(verb, id=5, run_id="witness")
        await client.until(lambda: len(client.faults()) == 3)
        await other.ask("abort", run_id="witness")
        with pytest.raises(Refused, match="WorkflowAbortedError"):
            await client.answer(5)
        assert len(client.answers(5)) == 1


async def test_coming_and_going_a_thousand_times_leaves_nothing(autojump_clock):
    async with open_castle() as castle:
        other, client = await witness(castle), await castle.guest()
        for number in range(1, 501):
            await client.say("subscribe", id=2 * number, run_id="witness")
            await client.say("unsubscribe", id=2 * number + 1, subscription=2 * number)
            if not number % 20:
                await client.answered(2 * number + 1)
                client.said.clear()
        assert castle.server.statistics()["subscriptions"] == 0
        assert castle.server.feeds.statistics()["feeds"] == 0
        assert await is_served(other)
        assert not client.is_over


async def test_a_thousand_subscriptions_of_one_connection_each_get_all_and_one_more_is_too_many(autojump_clock):
    async with open_castle() as castle:
        other, client = await witness(castle), await castle.guest()
        await castle.engine.start("counting", [3, 0, 1.0], run_id="run")
        for number in range(1, 1_001):
            await client.say("subscribe", id=number, run_id="run")
            if not number % 50:
                await client.answer(number)
        with pytest.raises(Refused, match="more than 1000 subscriptions"):
            await client.ask("subscribe", id=2_000, run_id="run")
        await trio.sleep(30)
        assert len(client.heard("ended")) == 1_000
        got: dict[int, list[int]] = {number: [] for number in range(1, 1_001)}
        for each in client.heard("events"):
            got[each["subscription"]] += [item["seq"] for item in each["items"]]
        assert {number: each for number, each in got.items() if each != list(range(1, 5))} == {}
        assert {each.get("error") for each in client.heard("ended")} == {None}
        assert await is_served(other)
        assert castle.server.statistics()["subscriptions"] == 0


async def test_a_flood_of_received_is_nothing(autojump_clock):
    async with open_castle() as castle:
        other, client = await witness(castle), await castle.guest()
        await castle.engine.start("counting", [100, 0, 0.1], run_id="run")
        await client.ask("subscribe", id=1, run_id="run", window=1)
        text = masked(TEXT, b'{"type":"received","subscription":1,"seq":0}')
        unknown = masked(TEXT, b'{"type":"received","subscription":77,"seq":9223372036854775807}')
        for _ in range(200):
            await client.client.say((text + unknown) * 50)
            await trio.sleep(0.001)
        assert await is_served(other)
        assert len(client.items(1)) == 1
        for number in range(1, 6):
            await client.received(1, number)
            await client.got(1, number + 1)
        assert client.faults() == []
        for _ in range(101):
            await client.received(1, 9_000)
        assert await client.closed() == 1008
        assert await is_served(other)


async def test_a_flood_of_cancels_is_nothing(autojump_clock):
    async with open_castle() as castle:
        other, client = await witness(castle), await castle.guest()
        for number in range(1, 2_001):
            await client.say("result", id=number, run_id="witness")
            await client.send(TEXT, b'{"type":"cancel","id":%d}' % number)
        for _ in range(100):
            await client.client.say(masked(TEXT, b'{"type":"cancel","id":9007199254740991}') * 100)
            await trio.sleep(0.001)
        for number in range(1, 2_001):
            assert (await client.answered(number))["error"]["type"] == "RequestCancelledError"
        assert len([each for each in client.said if each["type"] == "error"]) == 2_000
        assert await is_served(other)
        assert await is_served(client)


async def test_who_waits_for_results_and_goes_leaves_nothing_and_the_run_goes_on(autojump_clock):
    async with open_castle() as castle:
        other = await witness(castle)
        for _ in range(20):
            client = await castle.guest()
            for number in range(1, 101):
                await client.say("result", id=number, run_id="witness")
            await client.client.stream.aclose()
        await trio.sleep(3)
        assert castle.server.statistics()["connections"] == 1
        assert await is_served(other)
        (question,) = (await other.ask("get", run_id="witness"))["questions"]
        await other.ask("respond_to_input", run_id="witness", request_id=question["request_id"], response="yes")
        assert (await other.ask("result", run_id="witness"))["event"]["data"] == {"result": "yes"}


async def test_long_lists_come_in_pages(autojump_clock):
    async with open_castle() as castle:
        client = await castle.guest()
        for number in range(1_100):
            await castle.engine.start("asking", 1, run_id=f"{number}" + "é" * 900)
        page = await client.ask("runs", limit=1_000)
        rest = await client.ask("runs", limit=1_000, after=page[-1]["run_id"])
        assert (len(page), len(rest)) == (1_000, 100)
        assert len({each["run_id"] for each in page + rest}) == 1_100
