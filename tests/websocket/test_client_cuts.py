"""The connection is cut at each message of a session, before it or behind it, and again at another one.

Each request has one outcome, and each subscription sees every event once and in order.
"""

from functools import partial
from typing import Any

import attrs
import trio
import trio.lowlevel
from trio.testing import MockClock

from blazen_trio import PeerError, StopEvent
from blazen_trio.websocket.client.ledger import UNKNOWN
from tests.websocket.dialled import dialled
from tests.websocket.fake_server import FakeServer, Model
from tests.websocket.stories import ANY, Mark, noting, outcome_of

NOTES = 6


@attrs.define
class Told:
    """What a client was told in one session."""

    sent: int = 0
    unknown: int = 0
    result: Any = None
    all: list[int] = attrs.field(factory=list)
    marks: list[int] = attrs.field(factory=list)


async def session(server: FakeServer) -> Told:
    """A run from its start to its end, with two who read it."""
    told = Told()
    async with dialled(server.dial, workflows=[noting]) as engine, trio.open_nursery() as nursery:
        run = await engine.start("noting")
        nursery.start_soon(read, run, None, told.all)
        nursery.start_soon(read, run, Mark, told.marks)
        for _ in range(NOTES):
            outcomes: list[Any] = []
            await outcome_of(partial(run.send_event, ANY), outcomes)
            [error] = outcomes
            told.sent += error is None
            told.unknown += isinstance(error, PeerError) and error.problem == UNKNOWN
        await run.pause()
        server.model.ask(run.run_id)
        await run.refresh()
        await run.respond_to_input(run.pending_inputs[0].request_id, 1)
        await run.resume_in_place()
        await run.abort()
        told.result = (await run.result()).event
        assert [each.run_id for each in await engine.runs()] == [run.run_id]
    return told


async def read(run, types, into: list[int]) -> None:
    async with run.stream_events(types=types) as subscription:
        async for item in subscription.envelopes():
            into.append(item.seq)


async def check(*cuts: tuple[int, str], dials: int) -> int:
    """One session with these cuts; gives how many messages it took."""
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery, Model())
        server.cut_at = cuts[0] if cuts else None
        if len(cuts) > 1:
            nursery.start_soon(cut_again, server, cuts[1])
        with trio.fail_after(1_000):
            told = await session(server)
        nursery.cancel_scope.cancel()
    agrees(told, server.model)
    assert server.dials <= dials
    return server.messages


async def cut_again(server: FakeServer, cut: tuple[int, str]) -> None:
    """After the first cut there is a second one, so many messages later."""
    first = server.cut_at
    while server.dials < 2:  # noqa: ASYNC110 - on a clock that jumps
        await trio.sleep(0.001)
    assert first is not None
    server.cut_at = (server.messages + cut[0], cut[1])


def agrees(told: Told, model: Model) -> None:
    """What the client was told is what the server has."""
    [run] = model.runs.values()
    kinds = [each.event.event_type for each in run.items]
    sent = kinds.count("Note") - 1  # the run itself began with one
    assert told.sent + told.unknown == NOTES
    assert told.sent <= sent <= told.sent + told.unknown
    assert told.all == list(range(1, len(kinds) + 1))
    assert told.marks == [number for number, kind in enumerate(kinds, 1) if kind == "Mark"]
    assert told.result == StopEvent(len(kinds))


async def test_without_a_cut_all_is_done_once(autojump_clock: MockClock) -> None:
    assert await check(dials=1) >= 40


async def test_a_cut_at_every_message(autojump_clock: MockClock) -> None:
    messages = await check(dials=1)
    for number in range(2, messages + 1):  # the first is the first welcome: without it there is no client
        for place in ("before", "after"):
            await check((number, place), dials=2)


async def test_a_second_cut_soon_after_every_one(autojump_clock: MockClock) -> None:
    messages = await check(dials=1)
    for number in range(2, messages + 1, 3):
        for later in range(1, 9):
            await check((number, "after"), (later, "before"), dials=3)


async def test_cuts_while_nothing_can_be_dialled_for_a_while(autojump_clock: MockClock) -> None:
    messages = await check(dials=1)
    for number in range(2, messages + 1, 3):
        async with trio.open_nursery() as nursery:
            server = FakeServer(nursery)
            server.cut_at = (number, "before")
            nursery.start_soon(refuse_for_a_while, server)
            told = await session(server)
            nursery.cancel_scope.cancel()
        agrees(told, server.model)


async def refuse_for_a_while(server: FakeServer) -> None:
    while server.dials < 1:  # noqa: ASYNC110 - on a clock that jumps
        await trio.lowlevel.checkpoint()
    server.refusals = ["down"] * 6
