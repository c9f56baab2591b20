"""The client's parts that decide: requests until their outcome, places, and patience; without any connection."""

import gc
import json
import weakref
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio import PeerError, ProtocolError
from blazen_trio.websocket.client.ledger import UNKNOWN, Ledger
from blazen_trio.websocket.client.patience import Patience, Waiter
from blazen_trio.websocket.client.places import Places
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.client.violations import ViolationError
from blazen_trio.websocket.protocol import Request
from blazen_trio.websocket.protocol.messages import Get, Result, SendEvent

BYTES = 1_000


@attrs.define
class Books:
    """A ledger, and how often it rang."""

    rings: int = 0
    places: Places = attrs.field(init=False)
    ledger: Ledger = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.places = Places(self.ring)
        self.ledger = Ledger("peer", self.places, self.ring)

    def ring(self) -> None:
        self.rings += 1

    def connect(self, places: int = 8) -> None:
        self.places.renew(places)
        self.ledger.connected(BYTES)

    def ask(self, kind: type[Any] = Result, **fields: Any) -> Asked:
        request: Request = kind(id=self.ledger.new_id(), run_id=fields.pop("run_id", "run"), **fields)
        return self.ledger.ask(Asked(request, request.is_repeatable))

    def said(self) -> list[tuple[str, int]]:
        """All that is to be said now: what it is, and its id."""
        texts: list[bytes] = []
        while text := self.ledger.next_cancel() or self.ledger.next_request():
            texts.append(text)
        return [(each["type"], each["id"]) for each in map(json.loads, texts)]


async def problem(asked: Asked) -> str:
    with pytest.raises(PeerError) as caught:
        await asked.outcome()
    return caught.value.problem


async def test_what_is_soon_answered_goes_first_and_the_last_places_are_its_own() -> None:
    books = Books()
    for number in range(10):
        books.ask(Result, run_id=str(number))
    books.ask(Get)
    books.connect(places=4)
    assert books.said() == [("get", 11), ("result", 1), ("result", 2)]
    books.ask(Get)
    books.ask(Get)
    assert books.said() == [("get", 12)]
    books.ledger.answered(1)
    assert books.said() == [("get", 13)]
    for request_id in (11, 12, 13):
        books.ledger.answered(request_id)
    assert books.said() == [("result", 3), ("result", 4)]


async def test_who_leaves_before_it_was_sent_is_forgotten_with_its_request() -> None:
    for is_connected in (True, False):
        books = Books()
        if is_connected:
            books.connect(places=1)
            books.ask(Get)
            assert books.said() == [("get", 1)]
        for kind in (Result, Get):
            asked = books.ask(kind)
            books.ledger.leave(asked)
            left = weakref.ref(asked)
            del asked
            gc.collect()
            assert left() is None
        assert books.said() == []
        assert books.ledger.statistics() == {"requests": int(is_connected), "unsent": 0}


async def test_a_cancel_is_said_once_and_rings() -> None:
    books = Books()
    books.connect()
    asked = books.ask()
    assert books.said() == [("result", 1)]
    rings = books.rings
    books.ledger.leave(asked)
    assert books.rings > rings
    assert books.said() == [("cancel", 1)]
    assert books.said() == []
    assert books.ledger.answered(1) is asked
    with pytest.raises(ViolationError):
        books.ledger.answered(1)


async def test_a_cancel_that_comes_too_late_is_not_said() -> None:
    for is_lost in (True, False):
        books = Books()
        books.connect()
        asked = books.ask()
        assert books.said() == [("result", 1)]
        books.ledger.leave(asked)
        if is_lost:
            books.ledger.lost()
            books.connect()
        else:
            books.ledger.answered(1)
        assert books.said() == []
        assert books.ledger.statistics() == {"requests": 0, "unsent": 0}


async def test_a_cancel_needs_no_place() -> None:
    books = Books()
    books.connect(places=1)
    asked = books.ask()
    assert books.said() == [("result", 1)]
    books.ask(Get)
    assert books.said() == []
    books.ledger.leave(asked)
    assert books.said() == [("cancel", 1)]
    books.ledger.answered(1)
    assert books.said() == [("get", 2)]


async def test_a_loss_tells_those_of_whom_nobody_knows_and_says_the_others_again() -> None:
    books = Books()
    books.connect(places=2)
    data: dict[str, Any] = {"event": {"event_type": "Note", "data": {}}}
    asked = [books.ask(Result), books.ask(SendEvent, **data)]
    assert [each for each, _ in books.said()] == ["send_event", "result"]
    unsent = books.ask(SendEvent, **data)
    books.ledger.lost()
    assert await problem(asked[1]) == UNKNOWN
    books.connect(places=2)
    assert books.said() == [("send_event", unsent.id), ("result", asked[0].id)]
    assert (asked[0].times_sent, unsent.times_sent) == (2, 1)


async def test_what_is_too_big_fails_and_takes_no_place() -> None:
    books = Books()
    books.connect(places=1)
    big = books.ask(Get, run_id="x" * BYTES)
    small = books.ask(Get)
    assert books.said() == [("get", small.id)]
    with pytest.raises(ProtocolError, match="the server takes at most 1000"):
        await big.outcome()


# --- Patience ---------------------------------------------------------------------------------------------------------


async def test_a_connection_that_was_lost_and_is_there_again_ends_nobody(autojump_clock: MockClock) -> None:
    patience, ended = Patience("peer", 10), list[PeerError]()

    def end(error: PeerError) -> None:
        ended.append(error)
        waiters.clear()

    waiters: list[Waiter] = [(0.0, end)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.run, lambda: waiters)
        await wait_all_tasks_blocked()
        for _ in range(3):
            patience.note_lost("gone")
            patience.note_connected()
            patience.note_steady()
            await trio.sleep(20)
        assert ended == []
        patience.note_lost("gone")
        await trio.sleep(9)
        assert ended == []
        await trio.sleep(2)
        assert str(ended[0].problem) == "no connection for 10 s; the last attempt: gone"
        nursery.cancel_scope.cancel()


async def test_without_a_proof_the_time_since_the_first_loss_counts(autojump_clock: MockClock) -> None:
    patience, ended = Patience("peer", 10), list[float]()

    def end(_: PeerError) -> None:
        ended.append(trio.current_time())
        waiters.clear()

    waiters: list[Waiter] = [(0.0, end)]
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.run, lambda: waiters)
        while not ended and trio.current_time() < begun + 30:
            patience.note_lost("gone")
            await trio.sleep(1)
            if not ended:
                patience.note_connected()
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert ended[0] - begun == pytest.approx(10, abs=1.2)
