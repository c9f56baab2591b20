"""Hostile sequences of frames, each against sessions that are idle, streaming, slow and closing.

After each: the right code, the socket closed in time though the client says nothing more, nothing left, and another
client notices nothing.
"""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.websocket.clients import (
    BINARY,
    CLOSE,
    CLOSED_BY_ITSELF,
    PING,
    PONG,
    SESSIONS,
    TEXT,
    Client,
    Echo,
    is_alive,
    masked,
    open_house,
)

MIB = 1024 * 1024


def close(code: int, reason: bytes = b"") -> bytes:
    return masked(CLOSE, code.to_bytes(2, "big") + reason)


def unmasked(opcode: int, payload: bytes = b"") -> bytes:
    return bytes([0x80 | opcode, len(payload)]) + payload


HOSTILE: dict[str, tuple[int, bytes]] = {
    **{f"opcode {code:#x}": (1002, masked(code)) for code in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)},
    **{f"reserved bits {rsv}": (1002, masked(TEXT, b"x", rsv=rsv)) for rsv in range(1, 8)},
    "reserved bit in a ping": (1002, masked(PING, rsv=1)),
    "reserved bit in a close": (1002, masked(CLOSE, rsv=4)),
    "reserved bit in a fragment": (1002, masked(TEXT, fin=False) + masked(0, rsv=4)),
    "text not masked": (1002, unmasked(TEXT, b"hello")),
    "ping not masked": (1002, unmasked(PING)),
    "close not masked": (1002, unmasked(CLOSE)),
    "empty text not masked": (1002, unmasked(TEXT)),
    "ping in fragments": (1002, masked(PING, fin=False)),
    "pong in fragments": (1002, masked(PONG, fin=False)),
    "close in fragments": (1002, masked(CLOSE, fin=False)),
    "long ping": (1002, masked(PING, b"x" * 126)),
    "huge ping": (1002, masked(PING, b"x" * 70_000)),
    "long pong": (1002, masked(PONG, b"x" * 126)),
    "long close": (1002, close(1000, b"x" * 124)),
    "continuation of nothing": (1002, masked(0, b"x")),
    "open continuation of nothing": (1002, masked(0, b"x", fin=False)),
    "continuation after the end": (1002, masked(TEXT, b"x") + masked(0, b"y")),
    "text in a text": (1002, masked(TEXT, b"x", fin=False) + masked(TEXT, b"y")),
    "length of 2 bytes for 5": (1002, b"\x81\xfe\0\5" + b"\0" * 9),
    "length of 2 bytes for 125": (1002, b"\x81\xfe\0\x7d" + b"\0" * 129),
    "length of 8 bytes for 5": (1002, b"\x81\xff" + b"\0" * 7 + b"\5" + b"\0" * 9),
    "length of 8 bytes for 65535": (1002, b"\x81\xff" + b"\0" * 6 + b"\xff\xff" + b"\0" * 9),
    "length with its highest bit": (1002, b"\x81\xff\x80" + b"\0" * 7 + b"\0" * 4),
    "length of all bits": (1002, b"\x81\xff" + b"\xff" * 8 + b"\0" * 4),
    "binary": (1003, masked(BINARY, b"x")),
    "empty binary": (1003, masked(BINARY)),
    "binary in fragments": (1003, masked(BINARY, b"x", fin=False)),
    "not utf-8": (1007, masked(TEXT, b"\xff")),
    "utf-8 cut off": (1007, masked(TEXT, "€".encode()[:2])),
    "utf-8 too long": (1007, masked(TEXT, b"\xc0\x80")),
    "surrogate": (1007, masked(TEXT, b"\xed\xa0\x80")),
    "above unicode": (1007, masked(TEXT, b"\xf4\x90\x80\x80")),
    "not utf-8 in a fragment": (1007, masked(TEXT, b"ok", fin=False) + masked(0, b"\xff")),
    "not utf-8 in a reason": (1007, close(1000, b"\xff")),
    "close of one byte": (1002, masked(CLOSE, b"\x03")),
    **{f"close {code}": (1002, close(code)) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)},
    "one byte too many": (1009, masked(TEXT, b"x" * (MIB + 1))),
    "length of 1 TB": (1009, b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"\0" * 4),
    "length of 8 EB": (1009, b"\x81\xff\x7f" + b"\xff" * 7 + b"\0" * 4),
    "too many bytes in fragments": (1009, masked(TEXT, b"x" * MIB, fin=False) + masked(0, b"x")),
    "too many bytes, few characters": (1009, masked(TEXT, "€".encode() * 400_000)),
    "endless message": (1009, masked(TEXT, fin=False) + masked(0, b"x" * 100_000, fin=False) * 20),
    "empty fragments": (1008, masked(TEXT, fin=False) + masked(0, fin=False) * 2_000),
    "fragments of one byte": (1008, masked(TEXT, fin=False) + masked(0, b"x", fin=False) * 2_000),
    "flood of pings": (1008, masked(PING, b"x" * 125) * 500),
    "flood of pongs": (1008, masked(PONG) * 500),
    "pings in a message": (1008, masked(TEXT, fin=False) + masked(PING) * 500),
    "garbage": (1002, b"GET / HTTP/1.1\r\n\r\n"),
    "zeros": (1002, b"\0" * 1_000),
    "0xff": (1002, b"\xff" * 1_000),
}
PARTING: dict[str, tuple[int, bytes]] = {
    "ping after close": (1000, close(1000) + masked(PING)),
    "close after close": (1000, close(1000) + close(1001)),
    "text after close": (1000, close(1000) + masked(TEXT, b"x")),
    "garbage after close": (1000, close(1000) + b"\xff" * 10_000),
    "close without a code": (1005, masked(CLOSE)),
    "close in a message": (1001, masked(TEXT, b"x", fin=False) + close(1001)),
    "private code": (4999, close(4999, b"bye")),
}
GONE_AFTER_S = {"idle": 20 + 5, "streaming": 5, "slow": 20 + 5, "closing": 2}
"""When a client that reads nothing is gone: a ping, an event, a close frame has so long to be taken."""


def code_of(name: str, kind: str) -> int:
    """What a sequence is closed with: nothing is a violation any more where a close frame went out before."""
    return CLOSED_BY_ITSELF if kind == "closing" else (HOSTILE | PARTING)[name][0]


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("name", [*HOSTILE, *PARTING])
async def test_a_hostile_client_is_closed_with_the_right_code(autojump_clock, name, kind):
    code, (_, data) = code_of(name, kind), (HOSTILE | PARTING)[name]
    async with open_house(lambda connection: (Echo if connection.number == 1 else SESSIONS[kind])(connection)) as house:
        other = await house.guest()
        client = await house.guest()
        await wait_all_tasks_blocked()  # a session that closes has done so
        await client.say(masked(TEXT, b"hello") + data)
        assert await client.end() == code
        assert trio.current_time() <= 3
        assert await is_alive(other)
        await trio.sleep(2.1)  # it stays though it saw the end of the stream
        assert house.is_quiet(1)
        assert house.server.statistics()["closed"] == {str(code): 1}
        assert house.server.statistics()["errors"] == 0


async def test_who_broke_a_rule_sees_the_end_at_once_and_who_closes_then_is_gone(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        await client.say(masked(3) + b"and whatever")
        assert await client.end() == 1002
        await client.stream.aclose()
        await wait_all_tasks_blocked()
        assert house.is_quiet()
        assert trio.current_time() == 0


@pytest.mark.parametrize("kind", SESSIONS)
async def test_byte_by_byte_it_is_the_same(autojump_clock, kind):
    async with open_house(SESSIONS[kind]) as house:
        for name, (_, data) in (HOSTILE | PARTING).items():
            if len(data) > 100:
                continue
            code = code_of(name, kind)
            client = await house.guest()
            try:
                for byte in data:
                    await client.say(bytes([byte]))
                    await trio.lowlevel.checkpoint()
            except trio.BrokenResourceError:  # it has heard enough
                pass
            assert await client.end() == code, name
        await trio.sleep(2.1)
        assert house.is_quiet()


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("name", [*HOSTILE, *PARTING])
async def test_a_hostile_client_may_also_just_go(autojump_clock, name, kind):
    _, data = (HOSTILE | PARTING)[name]
    async with open_house(SESSIONS[kind]) as house:
        for size in (1, len(data) // 2, len(data)):
            client = await house.guest()
            await client.say(data[: min(size, 100_000)])
            await client.stream.aclose()
        await wait_all_tasks_blocked()
        await trio.sleep(2)
        assert house.is_quiet()
        assert house.server.statistics()["errors"] == 0


@pytest.mark.parametrize("kind", SESSIONS)
async def test_a_client_that_reads_nothing_is_gone_in_time(autojump_clock, kind):
    async with open_house(lambda connection: (Echo if connection.number == 1 else SESSIONS[kind])(connection)) as house:
        other = await house.guest()
        near, far = trio.testing.lockstep_stream_pair()  # it holds nothing: each byte waits for its reader
        house.nursery.start_soon(house.server.serve, far)
        await Client(near).shake_hands()
        if kind == "slow":
            await near.send_all(masked(TEXT, b"take your time"))
        await trio.sleep(GONE_AFTER_S[kind] - 0.1)
        assert house.is_quiet(2)
        await trio.sleep(2.2)  # a ping may be late by a tenth of 20 s
        assert house.is_quiet(1)
        assert [each.closed for each in house.sessions] == [0, 1]
        assert house.server.statistics()["errors"] == 0
        if trio.current_time() > 20:  # it was asked, too
            assert await other.frame() == (PING, b"")
        assert await is_alive(other)


async def test_pings_to_a_client_that_reads_no_pongs_end_in_time(autojump_clock):
    async with open_house() as house:
        near, far = trio.testing.lockstep_stream_pair()
        house.nursery.start_soon(house.server.serve, far)
        await Client(near).shake_hands()
        await near.send_all(masked(PING))
        await trio.sleep(4.9)
        assert house.is_quiet(1)
        await trio.sleep(0.2)
        assert house.is_quiet()
