"""A server without sockets: connections that keep what was sent, and may be slow, blocked or broken."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, final

import attrs
import msgspec
import trio

from blazen_trio import Context, Engine, Event, StartEvent, StopEvent, StoreError, Workflow, step
from blazen_trio.step_registry import StepRegistry
from blazen_trio.testing.stores import _Around
from blazen_trio.websocket.limits import WebsocketLimits
from blazen_trio.websocket.protocol import REQUESTS, VERSION
from blazen_trio.websocket.protocol.messages import verb
from blazen_trio.websocket.server.feeds import Feeds
from blazen_trio.websocket.server.interfaces import Authorize
from blazen_trio.websocket.server.session import Session

LIMITS: Final = {
    "message_bytes": 100_000,
    "requests": 20,
    "subscriptions": 20,
    "window": 100,
    "window_bytes": 100_000,
    "batch_events": 16,
    "batch_bytes": 10_000,
    "faults": 5,
}


ANSWERS: Final = {verb(each): each.answer for each in REQUESTS}


@attrs.define
class FakeServer:
    engine: Engine
    authorize: Authorize | None
    limits: WebsocketLimits
    feeds: Feeds
    node_id: str = "node"
    registry: StepRegistry | None = None
    faults: int = 0
    subscriptions: int = 0

    def statistics(self) -> dict[str, Any]:
        return {"connections": 1, "feeds": self.feeds.statistics()}


@attrs.define
class FakeConnection:
    """Keeps what was sent. ``delay_s``: what each send takes; ``gate``: while there is one, sends wait for it."""

    nursery: trio.Nursery
    number: int = 1
    remote: str = "127.0.0.1"
    version: str = VERSION
    bearer: str | None = None
    headers: Mapping[str, str] = attrs.Factory(dict)
    delay_s: float = 0.0
    gate: trio.Event | None = None
    is_broken: bool = False
    closed: tuple[int, str] | None = None
    sent: list[dict[str, Any]] = attrs.Factory(list)
    frames: list[bytes] = attrs.Factory(list)
    cancelled_sends: int = 0
    on_message: Callable[[dict[str, Any]], None] = lambda _: None
    _lock: trio.Lock = attrs.Factory(trio.Lock)
    _news: trio.Event = attrs.Factory(trio.Event)

    async def send(self, payload: bytes) -> None:
        await self._send(payload)

    async def send_frame(self, frame: bytes) -> None:
        self.frames.append(frame)
        await self._send(payload_of(frame))

    async def _send(self, payload: bytes) -> None:
        async with self._lock:
            try:
                await trio.sleep(self.delay_s)
                if self.gate is not None:
                    await self.gate.wait()
            except trio.Cancelled:
                self.cancelled_sends += 1
                raise
            if self.is_broken:
                raise trio.BrokenResourceError
            self.sent.append(json.loads(payload))
            self.on_message(self.sent[-1])
            self._news.set()

    def close_soon(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def block(self) -> None:
        self.gate = trio.Event()

    def let_go(self) -> None:
        assert self.gate is not None
        self.gate.set()
        self.gate = None

    async def until(self, is_there: Callable[[], Any]) -> Any:
        """Wait until what was sent makes this true."""
        with trio.fail_after(200):
            while not (found := is_there()):
                self._news = trio.Event()
                await self._news.wait()
        return found


def payload_of(frame: bytes) -> bytes:
    """The text of one whole frame as servers write it: final, unmasked."""
    assert frame[0] == 0x81
    size, begin = frame[1], 2
    if size >= 126:
        begin = 4 if size == 126 else 10
        size = int.from_bytes(frame[2:begin], "big")
    assert len(frame) == begin + size
    return frame[begin:]


@attrs.define
class Client:
    """Somebody afar."""

    session: Session
    connection: FakeConnection
    last_id: int = 0
    asked: dict[int, str] = attrs.Factory(dict)

    async def say(self, type: str, **fields: Any) -> int:
        """Send a request; gives its id."""
        fields.setdefault("id", self.last_id + 1)
        self.last_id = max(self.last_id, fields["id"])
        self.asked[fields["id"]] = type
        await self.session.receive(json.dumps({"type": type, **fields}))
        return int(fields["id"])

    async def ask(self, type: str, **fields: Any) -> Any:
        """Send a request; gives the value of its answer, or raises the error as ``Refused``."""
        return await self.answer(await self.say(type, **fields))

    async def answer(self, request_id: int) -> Any:
        found: dict[str, Any] = await self.connection.until(lambda: next(iter(self.answers(request_id)), None))
        if found["type"] == "error":
            raise Refused(found["error"]["type"], found["error"]["message"])
        msgspec.convert(found["value"], ANSWERS[self.asked[request_id]], strict=True)
        return found["value"]

    def answers(self, request_id: int) -> list[dict[str, Any]]:
        return [each for each in self.connection.sent if each["type"] in ("ok", "error") and each["id"] == request_id]

    async def received(self, subscription: int, seq: int) -> None:
        await self.session.receive(json.dumps({"type": "received", "subscription": subscription, "seq": seq}))

    def said(self, type: str, subscription: int | None = None) -> list[dict[str, Any]]:
        """All messages of this type so far, of that subscription."""
        return [
            each
            for each in self.connection.sent
            if each["type"] == type and subscription in (None, each.get("subscription"))
        ]

    def items(self, subscription: int) -> list[dict[str, Any]]:
        return [item for each in self.said("events", subscription) for item in each["items"]]

    def seqs(self, subscription: int) -> list[int]:
        return [item["seq"] for item in self.items(subscription)]

    def until(self, subscription: int) -> int:
        """Up to where this subscription has everything."""
        return max([each["until"] for each in self.said("events", subscription)], default=0)

    async def ended(self, subscription: int) -> Any:
        """The error that ended the subscription, when it has."""
        message: dict[str, Any] = await self.connection.until(
            lambda: next(iter(self.said("ended", subscription)), None)
        )
        return message["error"]

    async def reached(self, subscription: int, seq: int) -> None:
        await self.connection.until(lambda: self.until(subscription) >= seq)


@attrs.frozen
class Refused(Exception):
    type: str
    message: str


@asynccontextmanager
async def serving(
    engine: Engine, authorize: Authorize | None = None, **limits: int
) -> AsyncGenerator[FakeServer, None]:
    """A server on this engine."""
    async with trio.open_nursery() as nursery:
        bounds = WebsocketLimits(**{**LIMITS, **limits})
        feeds = Feeds(bounds)
        feeds.nursery = nursery
        yield FakeServer(engine, authorize, bounds, feeds)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(server: FakeServer) -> AsyncGenerator[Client, None]:
    """A client of it, greeted already."""
    async with trio.open_nursery() as nursery:
        connection = FakeConnection(nursery)
        session = Session(server, connection)
        await session.open()
        assert connection.sent.pop()["type"] == "welcome"
        yield Client(session, connection)
        session.close()
        nursery.cancel_scope.cancel()


@final
class ForgetfulStore(_Around):
    """A store that for a while finds no streams."""

    is_failing = False

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.is_failing and "read_stream" in getattr(call, "__qualname__", ""):
            raise StoreError("no streams today")
        return await call()


# --- Workflows --------------------------------------------------------------------------------------------------------


class Note(Event):
    number: int


class LoudNote(Note):
    """A note that is louder."""


class Approval(Event, external=True):
    by: str


class Begin(StartEvent):
    count: int = 0


class Knock(Event, external=True):
    """Starts a run from outside."""


@attrs.define
class Tap:
    """Lets a test publish: ``run``'s step writes what the test tells it to."""

    numbers: int = 0
    _send: Any = None
    _receive: Any = None

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Any](1_000)

    def publish(self, *kinds: type[Note]) -> None:
        self._send.send_nowait(kinds)

    def notes(self, count: int) -> None:
        self.publish(*[Note] * count)

    def end(self) -> None:
        self._send.send_nowait(None)

    async def pour(self, ctx: Context) -> None:
        while (kinds := await self._receive.receive()) is not None:
            for kind in kinds:
                self.numbers += 1
                ctx.write_event_to_stream(kind(self.numbers))


taps: list[Tap] = []


def new_tap() -> Tap:
    taps.append(Tap())
    return taps[-1]


@step
async def pour(event: StartEvent, ctx: Context) -> StopEvent:
    await taps[-1].pour(ctx)
    return StopEvent("end")


def pouring(stream_buffer: int = 10_000) -> Workflow:
    return Workflow("pouring", [pour], events=[Note, LoudNote], stream_buffer=stream_buffer, publish_lifecycle=False)


@step
async def ask(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent(await ctx.request_input("how many?", metadata={"unit": "pages"}))


asking = Workflow("asking", [ask], publish_lifecycle=False)


@step
async def approve(event: StartEvent | Begin | Knock, ctx: Context) -> StopEvent:
    return StopEvent((await ctx.wait_for_event(Approval)).by)


approving = Workflow("approving", [approve], events=[Approval, Note], publish_lifecycle=False)
