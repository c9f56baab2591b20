"""The guard between a stream and the library: whole frames both ways, deadlines, one word at the end."""

import gc

import attrs
import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from blazen_trio.websocket import WebsocketLimits
from blazen_trio.websocket.server.guard import GuardedStream, Traffic, send_in_time
from blazen_trio.websocket.server.writing import close_frame, text_frame
from tests.websocket.clients import CLOSE, TEXT, Client, masked, open_house


@attrs.define
class Told:
    """Remembers what the guard said."""

    closes: list[tuple[int, str]] = attrs.Factory(list)
    done: int = 0
    gones: int = 0

    def close_soon(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))

    def websocket_done(self) -> None:
        self.done += 1

    def gone(self) -> None:
        self.gones += 1


def guard_of(stream: trio.abc.Stream, told: Told, head: bytes = b"", **limits) -> GuardedStream:
    return GuardedStream(stream, head, WebsocketLimits(**limits), Traffic(), told)


async def test_the_library_gets_the_head_then_whole_frames(autojump_clock):
    near, far = memory_stream_pair()
    guard = guard_of(far, Told(), head=b"head")
    hello, half = masked(TEXT, b"hello"), masked(TEXT, b"x" * 200)
    await near.send_all(hello + half[:50])
    assert await guard.receive_some(4) == b"head"
    assert await guard.receive_some(4) == hello
    with trio.move_on_after(1) as scope:
        await guard.receive_some(4)
    assert scope.cancelled_caught
    await near.send_all(half[50:])
    assert await guard.receive_some(4) == half


async def test_a_violation_is_told_once_and_what_was_right_passes_first(autojump_clock):
    near, far = memory_stream_pair()
    told = Told()
    guard = guard_of(far, told)
    await near.send_all(masked(TEXT, b"hello") + masked(3))
    assert await guard.receive_some() == masked(TEXT, b"hello")
    assert [code for code, _ in told.closes] == [1002]


async def test_the_end_of_the_stream_is_told(autojump_clock):
    near, far = memory_stream_pair()
    told = Told()
    guard = guard_of(far, told)
    await near.aclose()
    assert await guard.receive_some() == b""
    assert (guard.has_peer_gone, told.gones) == (True, 1)


async def test_after_the_close_frame_nothing_goes_out(autojump_clock):
    near, far = memory_stream_pair()
    guard = guard_of(far, Told())
    await guard.send_frame(text_frame(b"before"))
    await guard.send_farewell(1001, "away")
    await guard.send_farewell(1002, "again")
    await guard.send_all(b"\x8a\x00")  # a pong of the library is dropped
    with pytest.raises(trio.BrokenResourceError):
        await guard.send_frame(text_frame(b"after"))
    await far.aclose()
    client = Client(near)
    assert [await client.frame() for _ in range(3)] == [(TEXT, b"before"), (CLOSE, b"\x03\xe9away"), (-1, b"")]


async def test_a_pong_that_waited_behind_the_close_frame_is_dropped(autojump_clock):
    near, far = lockstep_stream_pair()
    guard = guard_of(far, Told())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(guard.send_frame, text_frame(b"before"))
        await wait_all_tasks_blocked()
        nursery.start_soon(guard.send_all, b"\x8a\x00")
        nursery.start_soon(guard.send_farewell, 1001, "away")
        await wait_all_tasks_blocked()
        nursery.start_soon(guard.send_all, b"\x8a\x01!")
        await wait_all_tasks_blocked()
        nursery.start_soon(Client(near).end)
        await wait_all_tasks_blocked()
        await far.aclose()


async def test_the_librarys_own_close_is_the_last_word_too(autojump_clock):
    near, far = memory_stream_pair()
    guard = guard_of(far, Told())
    await guard.send_all(close_frame(1000, ""))
    await guard.send_farewell(1001, "away")
    await far.aclose()
    assert await Client(near).end() == 1000


async def test_a_send_has_five_seconds_for_each_64_kib(autojump_clock):
    near, far = lockstep_stream_pair()
    told = Told()
    guard = guard_of(far, told)
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            for _ in range(4):
                await trio.sleep(4)
                await near.receive_some(65536)

        nursery.start_soon(read)
        with pytest.raises(trio.BrokenResourceError, match="did not take"):
            await guard.send_frame(text_frame(b"x" * 65536 * 5))
    assert trio.current_time() == pytest.approx(16 + 5)
    assert (guard.is_broken, told.gones) == (True, 1)


async def test_a_cancelled_send_breaks_the_stream(autojump_clock):
    _, far = lockstep_stream_pair()
    told = Told()
    guard = guard_of(far, told)
    with trio.move_on_after(1):
        await guard.send_frame(text_frame(b"hello"))
    assert told.gones == 1
    for send in (guard.send_frame, guard.send_all):
        with pytest.raises(trio.BrokenResourceError):
            await send(text_frame(b"more"))


async def test_a_send_that_is_cancelled_before_it_begins_breaks_nothing(autojump_clock):
    near, far = memory_stream_pair()
    guard = guard_of(far, Told())
    with trio.CancelScope() as scope:
        scope.cancel()
        await guard.send_frame(text_frame(b"hello"))
    await guard.send_frame(text_frame(b"world"))
    assert await Client(near).frame() == (TEXT, b"world")


async def test_senders_that_wait_for_each_other_may_be_cancelled(autojump_clock):
    near, far = lockstep_stream_pair()
    guard = guard_of(far, Told())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(guard.send_frame, text_frame(b"first"))
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await guard.send_frame(text_frame(b"second"))
        assert await Client(near).frame() == (TEXT, b"first")
    assert not guard.is_broken


async def test_many_frames_let_others_run(autojump_clock):
    _, far = memory_stream_pair()
    guard = guard_of(far, Told())
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(1_000):
            await guard.send_frame(text_frame(b"x"))
        nursery.cancel_scope.cancel()
    assert turns >= 20


async def test_sending_in_time_is_sending(autojump_clock):
    near, far = memory_stream_pair()
    await send_in_time(far, b"x" * 200_000, 1.0)
    await far.aclose()
    assert len(await Client(near).rest()) == 200_000


async def test_a_connection_that_is_over_is_forgotten(autojump_clock):
    async with open_house() as house:
        for _ in range(5):
            client = await house.guest()
            await client.say(masked(CLOSE))
            assert await client.end() == 1005
        await wait_all_tasks_blocked()
        house.sessions.clear()
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, GuardedStream)]
