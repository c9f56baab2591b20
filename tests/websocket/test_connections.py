"""One connection: messages, keep-alive, slow and silent clients, its end; what goes wrong in it stays in it."""

import logging

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blazen_trio.websocket import WebsocketLimits
from blazen_trio.websocket.server import Connection, access, text_frame
from blazen_trio.websocket.server.connection import SessionLike
from tests.websocket.castle import open_castle
from tests.websocket.clients import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Client,
    Echo,
    House,
    Idle,
    Slow,
    is_alive,
    masked,
    open_house,
    request,
)


async def test_a_message_goes_to_the_session_and_an_answer_comes_back(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        await client.say(masked(TEXT, "grüße".encode()))
        assert await client.frame() == (TEXT, "grüße".encode())


@pytest.mark.parametrize("offered", ["blazen.v1", "blazen.v2", "blazen.v1, blazen.v2"])
async def test_the_version_that_was_agreed_on_is_spoken(autojump_clock, monkeypatch, offered):
    monkeypatch.setattr(access, "VERSIONS", ("blazen.v2", "blazen.v1"))
    async with open_castle() as castle:
        client = castle.stranger()
        await client.say(request(Sec_WebSocket_Protocol=offered))
        status, head = await client.answer()
        best = offered.split(", ")[-1]
        assert status == 101
        assert f"sec-websocket-protocol: {best}" in head.lower()
        assert f'"version":"{best}"' in (await client.frame())[1].decode()


async def test_a_message_in_fragments_is_one_message(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        euro = "€".encode()
        await client.say(masked(TEXT, euro[:1], fin=False) + masked(PING, b"!") + masked(0, euro[1:]))
        assert {await client.frame(), await client.frame()} == {(PONG, b"!"), (TEXT, euro)}


async def test_frames_may_come_byte_by_byte(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        for byte in masked(TEXT, b"slow"):
            await client.say(bytes([byte]))
            await trio.sleep(1)
        assert await client.frame() == (TEXT, b"slow")


async def test_a_long_message_goes_out_whole(autojump_clock):
    long = b"x" * 700_000
    async with open_house() as house:
        client = await house.guest()
        await client.say(masked(TEXT, long))
        assert await client.frame() == (TEXT, long)


async def test_a_client_that_closes_gets_its_code_back(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        await client.say(masked(CLOSE, b"\x03\xe8bye"))
        assert await client.end() == 1000
        await wait_all_tasks_blocked()
        assert house.is_quiet()
        assert house.server.statistics()["closed"] == {"1000": 1}
        assert [each.closed for each in house.sessions] == [1]


async def test_close_soon_sends_the_code_and_waits_for_the_answer(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        next(iter(house.server.connections.values())).close_soon(1008, "no more")
        assert await client.frame() == (CLOSE, b"\x03\xf0no more")
        assert not house.is_quiet()
        begun = trio.current_time()
        await client.say(masked(CLOSE, b"\x03\xf0"))
        assert await client.frame() == (-1, b"")
        assert trio.current_time() == begun


async def test_a_client_that_does_not_answer_a_close_is_gone_after_two_seconds(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        begun = trio.current_time()
        next(iter(house.server.connections.values())).close_soon(1008, "no more")
        assert await client.end() == 1008
        assert trio.current_time() - begun == pytest.approx(2.0)
        await wait_all_tasks_blocked()
        assert house.is_quiet()


async def test_a_silent_client_that_answers_pings_stays(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        for _ in range(5):
            assert await client.frame() == (PING, b"")
            await client.say(masked(PONG))
        assert 100 <= trio.current_time() <= 120
        assert await is_alive(client)


async def test_a_silent_client_that_does_not_answer_is_closed(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        assert await client.end() == 1011
        assert 40 <= trio.current_time() <= 48
        await wait_all_tasks_blocked()
        assert house.is_quiet()


class Talkative(Idle):
    """Sends more than anybody takes."""

    async def open(self) -> None:
        self.connection.nursery.start_soon(self._talk)

    async def _talk(self) -> None:
        while True:
            await self.connection.send(b"x" * 100_000)


async def test_a_client_that_reads_nothing_is_closed_after_the_deadline_of_a_send(autojump_clock):
    async with open_house(lambda connection: (Talkative if connection.number == 1 else Echo)(connection)) as house:
        near, far = trio.testing.lockstep_stream_pair()  # it holds nothing: each byte waits for its reader
        house.nursery.start_soon(house.server.serve, far)
        await Client(near).shake_hands()
        other = await house.guest()
        await trio.sleep(4.9)
        assert house.is_quiet(2)
        await trio.sleep(0.2)
        assert house.is_quiet(1)
        assert await is_alive(other)


async def test_a_client_that_reads_slowly_but_steadily_gets_all(autojump_clock):
    async with open_house() as house:
        near, far = trio.testing.lockstep_stream_pair()
        house.nursery.start_soon(house.server.serve, far)
        client = Client(near)
        await client.shake_hands()
        await client.say(masked(TEXT, b"x" * 300_000))
        got = b""
        while len(got) < 300_000:
            got += await near.receive_some(65536)
            await trio.sleep(4)
        assert got.endswith(b"xxx")


async def test_a_cancelled_send_ends_the_connection_and_nobody_sees_half_a_frame_as_a_whole_one(autojump_clock):
    async with open_house(Idle) as house:
        near, far = trio.testing.lockstep_stream_pair()
        house.nursery.start_soon(house.server.serve, far)
        client = Client(near)
        await client.shake_hands()
        (connection,) = house.server.connections.values()
        with trio.move_on_after(1):
            await connection.send(b"x" * 1_000)
        await wait_all_tasks_blocked()
        assert house.is_quiet()
        with pytest.raises(trio.BrokenResourceError):
            await connection.send(b"more")
        assert await client.end() == 1006


async def test_an_unread_inbox_stops_no_pongs(autojump_clock):
    async with open_house(Slow) as house:
        client = await house.guest()
        await client.say(b"".join(masked(TEXT, b"hello") for _ in range(1_000)) + masked(PING, b"there?"))
        begun = trio.current_time()
        assert await client.frame() == (PONG, b"there?")
        assert trio.current_time() - begun < 1


async def test_a_flood_of_messages_that_nobody_reads_ends_its_connection(autojump_clock):
    async with open_house(Slow) as house:
        client = await house.guest()
        await client.say(masked(TEXT, b"hello") * 10_000)
        assert await client.end() == 1008


async def test_long_messages_that_nobody_reads_end_their_connection(autojump_clock):
    async with open_house(Slow) as house:
        client = await house.guest()
        await client.say(masked(TEXT, b"x" * 1_000_000) * 6)
        assert await client.end() == 1008


async def test_messages_that_are_read_are_never_too_many(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        for _ in range(6):
            await client.say(masked(TEXT, b"x" * 1_000) * 1_000)
            for _ in range(1_000):
                assert (await client.frame())[0] == TEXT


class Deliberate(Echo):
    """Takes half a millisecond for each message."""

    async def receive(self, text: str) -> None:
        await trio.sleep(0.0005)


async def test_a_client_that_says_more_than_fits_is_read_at_the_sessions_pace(autojump_clock):
    async with open_house(Deliberate) as house:
        client = await house.guest()
        await client.say(masked(TEXT, b"x" * 1_000) * 10_000 + masked(CLOSE, b"\x03\xe8"))
        assert await client.end() == 1000
        assert trio.current_time() == pytest.approx(10_000 * 0.0005, rel=0.1)


async def test_what_goes_in_and_out_is_counted(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        before = traffic(house)
        assert before[:2] == (0, 0)
        for size in (5, 70_000):
            await client.say(masked(TEXT, b"x" * size))
            assert await client.frame() == (TEXT, b"x" * size)
        payloads = 5 + 70_000
        counted = tuple(now - then for now, then in zip(traffic(house), before, strict=True))
        assert counted == (2, 2, payloads + (2 + 4) + (10 + 4), payloads + 2 + 10)
        text = house.server.metrics()
        for name, count in zip(TRAFFIC, traffic(house), strict=True):
            assert f"\nblazen_trio_websocket_{name}_total {count}\n" in text


TRAFFIC = ("messages_in", "messages_out", "bytes_in", "bytes_out")


def traffic(house: House) -> tuple[int, ...]:
    counts = house.server.statistics()
    return tuple(counts[each] for each in TRAFFIC)


class Failing(Echo):
    """Has a bug."""

    async def receive(self, text: str) -> None:
        if text == "group":
            raise ExceptionGroup("several", [ValueError("a bug"), KeyError("another")])
        if text == "task":
            self.connection.nursery.start_soon(self._fail)
        elif text == "broken":
            raise trio.BrokenResourceError("of something else")
        else:
            raise ValueError("a bug")

    async def _fail(self) -> None:
        raise ValueError("a bug in a task")


@pytest.mark.parametrize("text", ["raise", "group", "task", "broken"])
async def test_what_a_session_raises_ends_only_its_connection(autojump_clock, caplog, text):
    async with open_house(
        lambda connection: Failing(connection) if connection.number == 1 else Echo(connection)
    ) as house:
        client, other = await house.guest(), await house.guest()
        await client.say(masked(TEXT, text.encode()))
        assert await client.end() == 1011
        assert await is_alive(other)
        assert house.is_quiet(1)
        assert house.sessions[0].closed == 1
    assert len([each for each in caplog.records if each.name == "blazen_trio"]) == 1


async def test_bugs_are_logged_once_in_a_second(autojump_clock, caplog):
    async with open_house(Failing) as house:
        for _ in range(20):
            client = await house.guest()
            await client.say(masked(TEXT, b"raise") + masked(CLOSE))
            assert await client.end() == 1011
        assert house.server.statistics()["errors"] == 20
    assert len([each for each in caplog.records if each.levelno >= logging.ERROR]) == 1


class Interrupted(Echo):
    async def receive(self, text: str) -> None:
        raise KeyboardInterrupt


async def test_an_interrupt_passes_the_fence(autojump_clock):
    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        async with open_house(Interrupted) as house:
            client = await house.guest()
            await client.say(masked(TEXT, b"now"))
            await trio.sleep(5)


async def test_a_cancelled_server_ends_at_once(autojump_clock):
    with trio.move_on_after(1):
        async with open_house() as house:
            await house.guest()
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(1)
    assert house.is_quiet()


async def test_a_client_that_goes_without_a_word_leaves_nothing(autojump_clock):
    async with open_house() as house:
        client, other = await house.guest(), await house.guest()
        await client.stream.aclose()
        await wait_all_tasks_blocked()
        assert house.is_quiet(1)
        assert await is_alive(other)


async def test_half_a_message_and_gone_leaves_nothing(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        await client.say(masked(TEXT, b"half of it")[:-3])
        await client.stream.aclose()
        await wait_all_tasks_blocked()
        assert house.is_quiet()


async def test_many_tasks_send_whole_frames(autojump_clock):
    async with open_house(Idle) as house:
        client = await house.guest()
        (connection,) = house.server.connections.values()
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(_send_often, connection, str(number).encode() * 100)
            got = [await client.frame() for _ in range(500)]
        assert sorted(payload for _, payload in got) == sorted(
            str(n).encode() * 100 for n in range(50) for _ in range(10)
        )


async def _send_often(connection: Connection, payload: bytes) -> None:
    for _ in range(10):
        await connection.send_frame(text_frame(payload))


async def test_who_waits_for_the_lock_when_it_closes_learns_it(autojump_clock):
    async with open_house(Idle) as house:
        near, far = trio.testing.lockstep_stream_pair()
        house.nursery.start_soon(house.server.serve, far)
        client = Client(near)
        await client.shake_hands()
        (connection,) = house.server.connections.values()
        errors: list[Exception] = []

        async def send(payload: bytes) -> None:
            try:
                await connection.send(payload)
            except trio.BrokenResourceError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, b"x" * 1_000)
            await wait_all_tasks_blocked()
            nursery.start_soon(send, b"too late")
            await wait_all_tasks_blocked()
            connection.close_soon(1001, "away")
            assert await client.frame() == (TEXT, b"x" * 1_000)
            assert await client.frame() == (CLOSE, b"\x03\xe9away")
        assert len(errors) == 1


async def test_too_many_connections_are_turned_away(autojump_clock):
    async with open_house(limits=WebsocketLimits(connections=2)) as house:
        guests = [await house.guest() for _ in range(2)]
        third = house.client()
        status, head = await third.answer()
        assert status == 503
        assert "\r\nretry-after: 10\r\n" in head.lower()
        assert await third.rest() == b"too many connections\n"
        await guests[0].stream.aclose()
        await wait_all_tasks_blocked()
        assert await is_alive(await house.guest())


async def test_who_comes_while_the_server_goes_away_is_told_to_come_back(autojump_clock):
    async with open_house() as house:
        early, late = await house.guest(), house.client()
        house.server.close_all()
        await late.say(request())
        status, head = await late.answer()
        assert status == 503
        assert "\r\nretry-after: 10\r\n" in head.lower()
        assert await early.end() == 1001


def test_a_session_is_what_the_protocol_says():
    session: type[SessionLike] = Echo
    assert session
