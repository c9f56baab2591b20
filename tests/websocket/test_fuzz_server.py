"""Good handshakes and sessions, made bad by chance, against the real server on a real engine, over streams in memory.

A witness streams all the while: it gets every event, and its questions are answered at once. Nothing is logged, and in
the end nothing is left: no connection, no subscription, no feed, no task, no memory.
"""

import gc
import json
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from blazen_trio.websocket import Access, WebsocketLimits
from tests.budget import share
from tests.websocket.castle import Castle, Guest, open_castle, start_event
from tests.websocket.clients import CLOSE, PING, PONG, TEXT, TOKEN, masked, request

RUNS = ("one", "two", "three")
ONE_AFTER_ANOTHER = 4
"""So many attack at once."""

MEMORY_GROWTH_MAX = 600_000
"""Bytes that may be left after 2,000 attacks: the witness's stream in the store, caches of names and frames."""


def few_runs(access: Access) -> bool:
    """Whatever is started, it is one of a few: what they leave in the store is no growth."""
    return access.verb not in ("start", "call") or access.run_id in RUNS


def say(type: str, **fields: Any) -> bytes:
    return masked(TEXT, json.dumps({"type": type, **fields}).encode())


def some_session(dice: random.Random) -> list[bytes]:
    """Frames that mean something, each whole."""
    run_id = dice.choice([*RUNS, "stream", "absent"])
    words: list[Callable[[int], bytes]] = [
        lambda n: say("start", id=n, workflow="counting", event=start_event([50, 10, 0.01]), run_id=dice.choice(RUNS)),
        lambda n: say("start", id=n, workflow="asking", event=start_event({"a": [1, "é😀"]}), run_id=dice.choice(RUNS)),
        lambda n: say("subscribe", id=n, run_id=run_id, after=dice.randrange(60), window=dice.choice([1, 7, 1_000])),
        lambda n: say("subscribe", id=n, run_id="stream", types=["Note"]),
        lambda n: say("unsubscribe", id=n, subscription=dice.randrange(1, 12)),
        lambda _: say("received", subscription=dice.randrange(1, 12), seq=dice.randrange(30)),
        lambda _: say("cancel", id=dice.randrange(1, 16)),
        lambda n: say("result", id=n, run_id="stream") + say("cancel", id=n),
        lambda n: say("get", id=n, run_id=run_id),
        lambda n: say("runs", id=n, limit=10),
        lambda n: say("result", id=n, run_id=run_id),
        lambda n: say("snapshot", id=n, run_id=run_id),
        lambda n: say("history", id=n, run_id=run_id),
        lambda n: say("workflows", id=n),
        lambda n: say("statistics", id=n),
        lambda n: say("abort", id=n, run_id=dice.choice(RUNS), reason="fuzz"),
        lambda n: say("delete", id=n, run_id=dice.choice(RUNS)),
        lambda n: say("send_event", id=n, run_id=run_id, event={"event_type": "Approval", "data": {"by": "x"}}),
        lambda n: say("respond_to_input", id=n, run_id=run_id, request_id="x", response=[1]),
        lambda n: say("deref_session_ref", id=n, key="k"),
        lambda n: say(
            "call", id=n, call_id=dice.choice(RUNS), workflow="asking", steps=["ask"], event=start_event(None)
        ),
        lambda _: masked(PING, b"p" * dice.randrange(126)),
        lambda _: masked(PONG),
        lambda n: masked(TEXT, b'{"type":"get",', fin=False) + masked(0, b'"id":%d,"run_id":"stream"}' % n),
        lambda n: masked(TEXT, b'{"type":"get",', fin=False) + masked(PING) + masked(0, b'"id":%d}' % n),
        lambda _: masked(CLOSE, b"\x03\xe8bye"),
    ]
    return [dice.choice(words)(number) for number in range(1, dice.randrange(2, 16))]


def flip(dice: random.Random, data: bytes, count: int) -> bytes:
    spoiled = bytearray(data)
    for _ in range(count if spoiled else 0):
        spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
    return bytes(spoiled)


def spoiled_frames(dice: random.Random, frames: list[bytes]) -> list[bytes]:
    """The frames, with something wrong: order, number, or bytes."""
    frames = list(frames)
    for _ in range(dice.choice([0, 1, 1, 2, 4])):
        at = dice.randrange(len(frames))
        match dice.randrange(8):
            case 0:
                dice.shuffle(frames)
            case 1:
                frames.insert(at, frames[at])
            case 2:
                frames[at] = frames[at][: dice.randrange(len(frames[at]) + 1)]
            case 3:
                frames[at] = flip(dice, frames[at], dice.choice([1, 1, 3, 30]))
            case 4:
                frames[at] = frames[at][:2] + dice.randbytes(4) + frames[at][6:]  # another mask
            case 5:
                frames.insert(at, dice.randbytes(dice.randrange(1, 200)))
            case 6:
                frames[at] = frames[at][:1] + bytes(each & 0x7F for each in frames[at][1:2]) + frames[at][2:]  # no mask
            case _:
                frames[at] = frames[at] * dice.choice([2, 60, 300])
    return frames


def spoiled_head(dice: random.Random) -> bytes:
    head = request(Authorization=f"Bearer {TOKEN}")
    match dice.randrange(12):
        case 0:
            return flip(dice, head, dice.choice([1, 1, 2, 20]))
        case 1:
            return head[: dice.randrange(len(head))]
        case 2:
            lines = head.split(b"\r\n")
            dice.shuffle(lines)
            return b"\r\n".join(lines)
        case 3:
            at = dice.randrange(len(head))
            return head[:at] + dice.randbytes(dice.randrange(1, 30)) + head[at:]
        case _:
            return head


async def attack(castle: Castle, dice: random.Random) -> None:
    """Be one hostile client, from the first byte to the last."""
    client = castle.stranger()
    frames = spoiled_frames(dice, some_session(dice))
    try:
        await client.say(spoiled_head(dice))
        if dice.random() < 0.9:
            with trio.move_on_after(1):
                await client.answer()
        await send_in_pieces(client.stream, b"".join(frames), dice)
        with trio.move_on_after(dice.choice([0.0, 0.05, 1.0, 9.0])):
            await client.rest()
    except (EOFError, IndexError, ValueError, UnicodeDecodeError, trio.BrokenResourceError):
        pass  # it had enough, or its answer was none
    await client.stream.aclose()


async def send_in_pieces(stream: trio.abc.Stream, data: bytes, dice: random.Random) -> None:
    size = dice.choice([1, 7, 100, 100_000]) if len(data) < 2_000 else 100_000
    for begin in range(0, len(data), size):
        await stream.send_all(data[begin : begin + size])
        if dice.random() < 0.2:
            await trio.sleep(0.001)


@attrs.define
class Witness:
    """Somebody who streams while others are hostile."""

    guest: Guest
    reached: int = 0

    async def look(self) -> None:
        """See that all came, and that questions are answered at once."""
        begun = trio.current_time()
        assert (await self.guest.ask("get", run_id="stream"))["run_id"] == "stream"
        assert trio.current_time() - begun < 1
        seqs = [each["seq"] for each in self.guest.items(1)]
        assert seqs == list(range(self.reached + 1, self.reached + 1 + len(seqs)))
        assert self.guest.tally(1)[1] == 0
        self.reached += len(seqs)
        await self.guest.received(1, self.reached)
        self.guest.said.clear()


async def besiege(castle: Castle, witness: Witness, seeds: range) -> None:
    for begin in range(seeds.start, seeds.stop, ONE_AFTER_ANOTHER):
        async with trio.open_nursery() as nursery:
            for seed in range(begin, min(begin + ONE_AFTER_ANOTHER, seeds.stop)):
                nursery.start_soon(attack, castle, random.Random(seed))
        await witness.look()


async def fuzz(seeds: range, warm: int) -> int:
    """Attack with these seeds; how many bytes were left after all but the first ``warm``."""
    limits = WebsocketLimits(window=100)
    async with open_castle(token=TOKEN, authorize=few_runs, limits=limits) as castle:
        run = await castle.engine.start("counting", [10**9, 20, 30.0], run_id="stream")
        witness = Witness(await castle.guest(Authorization=f"Bearer {TOKEN}"))
        await witness.guest.ask("subscribe", id=1, run_id="stream")
        await besiege(castle, witness, seeds[:warm])
        before = await held(castle)
        await besiege(castle, witness, seeds[warm:])
        left = await held(castle) - before
        assert witness.reached > len(seeds) / 100
        await run.abort()
        await witness.guest.client.stream.aclose()
        await castle.settle()
        return left


async def held(castle: Castle) -> int:
    """Bytes held when all but the witness are gone, and the runs that they started too."""
    await trio.sleep(30)
    counts = castle.server.statistics()
    assert (counts["connections"], counts["streams"], counts["subscriptions"], counts["errors"]) == (1, 1, 1, 0)
    assert castle.server.feeds.statistics()["feeds"] == 1
    gc.collect()
    return tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0


async def test_a_hundred_clients_that_are_bad_by_chance(autojump_clock, caplog, watch):
    await fuzz(range(120), 0)
    assert not caplog.records


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1_000_000, 2_000_000, 3_000_000])
async def test_thousands_of_clients_that_are_bad_by_chance(autojump_clock, caplog, watch, seed):
    await fuzz(range(seed, seed + share(2_000)), 0)
    assert not caplog.records


@pytest.mark.slow
async def test_two_thousand_bad_clients_leave_no_memory(autojump_clock, caplog):
    tracemalloc.start()
    try:
        left = await fuzz(range(300 + share(2_000)), 300)
    finally:
        tracemalloc.stop()
    assert left < MEMORY_GROWTH_MAX
    assert not caplog.records
