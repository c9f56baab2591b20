"""RFC 6455 as the Autobahn test-suite sees it: its groups 1 to 7 and 10, as far as messages are text; our own cases.

What comes in is echoed, so that each byte is seen twice. Each case is one connection to the real server over a stream
in memory. docs/guide/websocket.md says how the suite itself is run (``autobahn_echo.py``), and with what result.
"""

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.websocket.castle import open_castle, start_event
from tests.websocket.clients import CLOSE, PING, PONG, TEXT, House, masked, open_house

GREETING = "Hello-µ@ßöäüàá-UTF-8!!"


def text(*parts: bytes, between: bytes = b"") -> bytes:
    """A message in so many fragments, with something between each two."""
    last = len(parts) - 1
    frames = [masked(0 if n else TEXT, part, fin=n == last) for n, part in enumerate(parts)]
    return between.join(frames)


async def told(house: House, data: bytes, chop: int = 0) -> tuple[list[tuple[int, bytes]], int]:
    """What the server sends until it has answered our goodbye, and the code that it closes with."""
    client = await house.guest()
    try:
        for begin in range(0, len(data), chop or len(data)):
            await client.say(data[begin : begin + (chop or len(data))])
            await wait_all_tasks_blocked()
        await client.say(masked(CLOSE, b"\x03\xe8"))
    except trio.BrokenResourceError:  # it has heard enough
        pass
    frames: list[tuple[int, bytes]] = []
    while (got := await client.frame())[0] not in (CLOSE, -1):
        frames.append(got)
    code = int.from_bytes(got[1][:2], "big") if got[0] == CLOSE else 1006
    await client.stream.aclose()
    return frames, code


# --- 1: framing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chop", [0, 997])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 70_001])
async def test_texts_of_each_length_come_back(autojump_clock, size, chop):
    async with open_house() as house:
        payload = b"*" * size
        assert await told(house, masked(TEXT, payload), chop) == ([(TEXT, payload)], 1000)


@pytest.mark.parametrize("size", [0, 125, 126, 127, 128])
async def test_texts_may_come_byte_by_byte(autojump_clock, size):
    async with open_house() as house:
        assert await told(house, masked(TEXT, b"*" * size), 1) == ([(TEXT, b"*" * size)], 1000)


# --- 2: pings and pongs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chop", [0, 1])
@pytest.mark.parametrize("payload", [b"", b"hello", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
async def test_a_ping_gets_a_pong_with_its_bytes(autojump_clock, payload, chop):
    async with open_house() as house:
        assert await told(house, masked(PING, payload), chop) == ([(PONG, payload)], 1000)


async def test_a_ping_of_126_bytes_is_none(autojump_clock):
    async with open_house() as house:
        assert await told(house, masked(PING, b"\xfe" * 126)) == ([], 1002)


async def test_pongs_that_nobody_asked_for_are_not_answered(autojump_clock):
    async with open_house() as house:
        data = masked(PONG) + masked(PONG, b"x") + masked(PING, b"payload") + masked(PONG, b"x")
        assert await told(house, data) == ([(PONG, b"payload")], 1000)


@pytest.mark.parametrize("chop", [0, 1])
async def test_ten_pings_get_ten_pongs_in_their_order(autojump_clock, chop):
    async with open_house() as house:
        data = b"".join(masked(PING, b"payload-%d" % n) for n in range(10))
        assert await told(house, data, chop) == ([(PONG, b"payload-%d" % n) for n in range(10)], 1000)


# --- 3 and 4: reserved bits and opcodes -------------------------------------------------------------------------------


@pytest.mark.parametrize("chop", [0, 1])
@pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE])
@pytest.mark.parametrize("rsv", range(1, 8))
async def test_reserved_bits_are_refused(autojump_clock, rsv, opcode, chop):
    async with open_house() as house:
        good = masked(TEXT, b"Hello") + masked(PING)
        frames, code = await told(house, good + masked(opcode, b"", rsv=rsv) + masked(PING), chop)
        assert code == 1002
        assert frames in ([], [(TEXT, b"Hello"), (PONG, b"")])


@pytest.mark.parametrize("chop", [0, 1])
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode payload"])
async def test_reserved_opcodes_are_refused(autojump_clock, opcode, payload, chop):
    async with open_house() as house:
        frames, code = await told(house, masked(TEXT, b"Hello") + masked(opcode, payload) + masked(PING), chop)
        assert code == 1002
        assert frames in ([], [(TEXT, b"Hello")])


# --- 5: fragments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chop", [0, 1])
@pytest.mark.parametrize(
    ("data", "frames"),
    [
        (text(b"fragment1", b"fragment2"), [(TEXT, b"fragment1fragment2")]),
        (text(b"", b"", b""), [(TEXT, b"")]),
        (text(b"", b"middle", b""), [(TEXT, b"middle")]),
        (text(b"1", b"2", between=masked(PING, b"p")), [(PONG, b"p"), (TEXT, b"12")]),
        (text(*[b"x"] * 5, between=masked(PING, b"p")), [*[(PONG, b"p")] * 4, (TEXT, b"xxxxx")]),
        (text(b"1", b"2", between=masked(PONG, b"p")), [(TEXT, b"12")]),
        (text(b"1", b"2") + text(b"3", b"4"), [(TEXT, b"12"), (TEXT, b"34")]),
    ],
)
async def test_fragments_become_one_message(autojump_clock, data, frames, chop):
    async with open_house() as house:
        got, code = await told(house, data, chop)
        assert code == 1000
        assert sorted(got) == sorted(frames)
        assert [each for each in got if each[0] == TEXT] == [each for each in frames if each[0] == TEXT]


@pytest.mark.parametrize("chop", [0, 1])
@pytest.mark.parametrize(
    "data",
    [
        masked(PING, b"frag", fin=False) + masked(0, b"ment"),
        masked(PONG, b"frag", fin=False) + masked(0, b"ment"),
        masked(0, b"no beginning") + masked(TEXT, b"Hello"),
        masked(0, b"no beginning", fin=False) + masked(TEXT, b"Hello"),
        masked(0, b"no beginning", fin=False) * 3,
        text(b"1", b"2") + masked(0, b"again", fin=False) + masked(TEXT, b"Hello"),
        masked(TEXT, b"1", fin=False) + masked(TEXT, b"2"),
        masked(TEXT, b"1", fin=False) + masked(PING) + masked(TEXT, b"2", fin=False),
    ],
)
async def test_fragments_out_of_order_are_refused(autojump_clock, data, chop):
    async with open_house() as house:
        frames, code = await told(house, data, chop)
        assert code == 1002
        assert (TEXT, b"Hello") not in frames


# --- 6: UTF-8 ---------------------------------------------------------------------------------------------------------

VALID = [
    GREETING.encode(),
    "κόσμε".encode(),
    *[chr(n).encode() for n in (0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF)],
    *[chr(n).encode() for n in (0x10000, 0x1FFFE, 0x1FFFF, 0xFFFFE, 0x10FFFE, 0x10FFFF)],
]
INVALID = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",  # half a pair among good ones
    b"\x80",
    b"\xbf",
    b"\x80\xbf" * 3,
    bytes(range(0x80, 0xC0)),
    *[bytes([n]) + b" " for n in (0xC0, 0xDF, 0xE0, 0xEF, 0xF0, 0xF7, 0xF8, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF)],
    *[b"\xc3", b"\xe0\x80", b"\xef\xbf", b"\xf0\x80\x80", b"\xf7\xbf\xbf", b"\xf8\x88\x80\x80\x80"],
    *[b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"],
    *[b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80"],
    *[b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf"],
    *[b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
]


@pytest.mark.parametrize("payload", VALID)
async def test_utf_8_comes_back_however_it_is_cut(autojump_clock, payload):
    async with open_house() as house:
        single = [payload[n : n + 1] for n in range(len(payload))]
        for data in (masked(TEXT, payload), text(*single), text(b"", *single, b"")):
            assert await told(house, data) == ([(TEXT, payload)], 1000)
        assert await told(house, text(*single, between=masked(PONG)), 1) == ([(TEXT, payload)], 1000)


@pytest.mark.parametrize("payload", INVALID)
async def test_what_is_no_utf_8_is_refused_however_it_is_cut(autojump_clock, payload):
    async with open_house() as house:
        single = [payload[n : n + 1] for n in range(len(payload))]
        for data in (masked(TEXT, payload), text(b"ok", *single), masked(TEXT, b"ok ") + masked(TEXT, payload)):
            frames, code = await told(house, data)
            assert code == 1007
            assert frames in ([], [(TEXT, b"ok ")])


async def test_bad_utf_8_in_a_fragment_is_refused_before_the_next_one_comes(autojump_clock):
    async with open_house() as house:
        client = await house.guest()
        await client.say(masked(TEXT, b"good", fin=False))
        await trio.sleep(1)
        await client.say(masked(0, b"\xf4\x90\x80\x80", fin=False))
        begun = trio.current_time()
        assert (await client.frame())[1][:2] == b"\x03\xef"
        assert trio.current_time() == begun


# --- 7: closing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_good_codes_come_back(autojump_clock, code):
    async with open_house() as house:
        client = await house.guest()
        await client.say(masked(CLOSE, code.to_bytes(2, "big") + b"r" * 123))
        assert await client.end() == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
async def test_bad_codes_are_refused(autojump_clock, code):
    async with open_house() as house:
        client = await house.guest()
        await client.say(masked(CLOSE, code.to_bytes(2, "big")))
        assert await client.end() == 1002


async def test_nothing_behind_a_goodbye_counts(autojump_clock):
    for more in (masked(TEXT, b"x"), masked(PING), masked(CLOSE), text(b"a", b"b"), b"\xff" * 300):
        async with open_house() as house:
            client = await house.guest()
            await client.say(masked(TEXT, b"Hello") + masked(CLOSE, b"\x03\xe8") + more)
            assert await client.end() == 1000
            assert house.server.statistics()["errors"] == 0


async def test_a_goodbye_in_the_middle_of_a_message_counts(autojump_clock):
    async with open_house() as house:
        assert await told(house, masked(TEXT, b"fragment1", fin=False)) == ([], 1000)


# --- 10, and the session as the application ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 125, 126, 1_300, 65_535, 65_536])
async def test_a_long_message_in_fragments_of_any_size_is_one_request(autojump_clock, size):
    request = {"type": "start", "id": 1, "workflow": "asking", "event": start_event(GREETING * 20), "run_id": "r"}
    data = json.dumps(request, ensure_ascii=False).encode()
    parts = [data[begin : begin + size] for begin in range(0, len(data), size)]
    async with open_castle() as castle:
        client = await castle.guest()
        await client.client.say(text(*parts))
        assert (await client.answer(1))["run_id"] == "r"


async def test_a_long_answer_comes_in_one_frame(autojump_clock):
    async with open_castle() as castle:
        client = await castle.guest()
        await castle.engine.start("asking", "x" * 65_536, run_id="r")
        snapshot = await client.ask("snapshot", run_id="r")
        assert "x" * 65_536 in json.dumps(snapshot)
