"""The client's ledger against a model of its server: programs of asking, leaving, answering, losing, in any order.

The server knows which ids are open on its connection. It never has more of them than it takes, nor more long ones than
leave room for others; an id is asked at most once on each connection and never again after its answer; a cancel names
what is open, long, and wanted by nobody, once. At the end all is answered: everybody who still waits has one outcome,
and nothing is left.
"""

import json
from typing import Any, TypeAlias

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from blazen_trio import PeerError
from blazen_trio.websocket.client.ledger import Ledger
from blazen_trio.websocket.client.places import RESERVED_SHARE, Places
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.protocol import Request, RequestCancelledError
from blazen_trio.websocket.protocol.messages import Delete, Get, Pause, Result

Act: TypeAlias = tuple[Any, ...]

KINDS: tuple[type[Any], ...] = (Get, Delete, Pause, Result, Result)
numbers = st.integers(0, 9)
acts: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(KINDS), st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("ask"), st.sampled_from(KINDS), st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("leave"), numbers),
    st.tuples(st.just("leave"), numbers),
    st.tuples(st.just("give_up"), st.sampled_from(KINDS), st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("write"), st.integers(1, 4)),
    st.tuples(st.just("write"), st.integers(1, 4)),
    st.tuples(st.just("answer"), numbers),
    st.tuples(st.just("lose")),
    st.tuples(st.just("connect"), st.integers(1, 8)),
    st.tuples(st.just("connect"), st.integers(1, 8)),
)


@attrs.define(eq=False)
class Client:
    """A client's ledger, those who wait, and what its server has heard."""

    count: int = 0
    is_connected: bool = False
    open: dict[int, Request] = attrs.Factory(dict)
    cancelled: set[int] = attrs.Factory(set)
    answered: set[int] = attrs.Factory(set)
    waiting: list[Asked] = attrs.Factory(list)
    left: list[Asked] = attrs.Factory(list)
    asked: dict[int, Request] = attrs.Factory(dict)
    places: Places = attrs.field(init=False)
    ledger: Ledger = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.places = Places(int)
        self.ledger = Ledger("peer", self.places, int)

    def ask(self, kind: type[Any], run_id: str) -> None:
        request: Request = kind(id=self.ledger.new_id(), run_id=run_id)
        self.asked[request.id] = request
        self.waiting.append(self.ledger.ask(Asked(request, request.is_repeatable)))

    def leave(self, number: int) -> None:
        if self.waiting:
            asked = self.waiting.pop(number % len(self.waiting))
            self.left.append(asked)
            self.ledger.leave(asked)

    def give_up(self, kind: type[Any], run_id: str) -> None:
        """Somebody asks, waits no longer than until it is said, and asks again."""
        self.ask(kind, run_id)
        self.write()
        self.leave(len(self.waiting) - 1)
        self.ask(kind, run_id)

    def write(self, texts: int = 1_000) -> None:
        """The link sends so many messages."""
        for _ in range(texts if self.is_connected else 0):
            text = self.ledger.next_cancel() or self.ledger.next_request()
            if text is None:
                return
            said = json.loads(text)
            if said["type"] == "cancel":
                self.hear_cancel(said["id"])
            else:
                self.hear(said["id"])

    def hear_cancel(self, request_id: int) -> None:
        assert request_id in self.open
        assert self.open[request_id].is_long
        assert request_id not in self.cancelled
        assert request_id not in {each.id for each in self.waiting}
        self.cancelled.add(request_id)

    def hear(self, request_id: int) -> None:
        assert request_id not in self.open
        assert request_id not in self.answered
        request = self.open[request_id] = self.asked[request_id]
        assert len(self.open) <= self.count
        if request.is_long:
            assert len(self.open) <= max(1, self.count - self.count // RESERVED_SHARE)

    def answer(self, number: int) -> None:
        if self.open:
            request_id = sorted(self.open)[number % len(self.open)]
            del self.open[request_id]
            self.answered.add(request_id)
            asked = self.ledger.answered(request_id)
            if request_id in self.cancelled:
                asked.fail(RequestCancelledError())
            else:
                asked.answer(request_id)

    def lose(self) -> None:
        self.ledger.lost()
        self.is_connected = False
        self.open.clear()
        self.cancelled.clear()

    def connect(self, count: int) -> None:
        if not self.is_connected:
            self.is_connected, self.count = True, count
            self.places.renew(count)
            self.ledger.connected(10_000)

    async def end(self) -> None:
        """All is answered; who waits has the answer to what he asked, or was told that nobody knows."""
        self.connect(4)
        self.write()
        while self.open:
            self.answer(0)
            self.write()
        for asked in self.waiting:
            try:
                assert await asked.outcome() == asked.id
            except PeerError:
                assert isinstance(asked.request, Delete)  # it is not said again
            self.ledger.leave(asked)
        assert self.ledger.next_cancel() is None
        assert self.ledger.statistics() == {"requests": 0, "unsent": 0}


async def live(program: list[Act]) -> None:
    client = Client()
    client.connect(4)
    for name, *arguments in program:
        getattr(client, name)(*arguments)
    with trio.fail_after(5):
        await client.end()


@settings(max_examples=4 * settings().max_examples)
@given(st.lists(acts, min_size=40, max_size=80))
def test_whatever_happens_each_request_has_one_outcome_and_nothing_is_left(program: list[Act]) -> None:
    trio.run(live, program)
