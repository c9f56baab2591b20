"""A real server on a real engine, and clients that speak to it in raw bytes: over sockets, or streams in memory."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from trio.testing import memory_stream_pair

from blazen_trio import Context, Engine, Event, StartEvent, StopEvent, StreamGap, Workflow, open_engine, step
from blazen_trio.abc import Store
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket import WebsocketServer, open_websocket_server
from tests.websocket.clients import CLOSE, PING, PONG, TEXT, Client, masked, request
from tests.websocket.fakes import Approval, Note, Refused, approving, asking

_ANSWERS = {PING: PONG, CLOSE: CLOSE}


@attrs.define
class Guest:
    """A client that keeps all that it hears, and answers pings and goodbyes.

    Attributes:
        said: the server's messages.
        code: of the server's close frame; 1006: there was none.
        is_over: the server closed the stream.
        reached: up to where it has everything, by subscription.
    """

    client: Client
    said: list[dict[str, Any]] = attrs.Factory(list)
    code: int = 1006
    is_over: bool = False
    last_id: int = 0
    reached: dict[int, int] = attrs.Factory(dict)
    _news: trio.Event = attrs.Factory(trio.Event)

    async def read(self) -> None:
        """Be the task that listens."""
        while (got := await self.client.frame())[0] != -1:
            self._hear(*got)
            if got[0] in _ANSWERS:
                await self._reply(*got)
        self.is_over = True
        self._news.set()

    async def _reply(self, opcode: int, payload: bytes) -> None:
        try:
            await self.send(_ANSWERS[opcode], payload)
        except trio.BrokenResourceError:
            return

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.said.append(json.loads(payload))
            if self.said[-1]["type"] == "events":
                self.reached[self.said[-1]["subscription"]] = self.said[-1]["until"]
        elif opcode == CLOSE:
            self.code = int.from_bytes(payload[:2], "big") or 1005
        self._news.set()

    async def send(self, opcode: int, payload: bytes = b"") -> None:
        await self.client.say(masked(opcode, payload))

    async def say(self, type: str, **fields: Any) -> int:
        """Send a request; gives its id."""
        fields.setdefault("id", self.last_id + 1)
        self.last_id = max(self.last_id, fields["id"])
        await self.send(TEXT, json.dumps({"type": type, **fields}).encode())
        return int(fields["id"])

    async def ask(self, type: str, **fields: Any) -> Any:
        """Send a request; gives the value of its answer, or raises the error as ``Refused``."""
        return await self.answer(await self.say(type, **fields))

    async def answer(self, request_id: int) -> Any:
        found = await self.answered(request_id)
        if found["type"] == "error":
            raise Refused(found["error"]["type"], found["error"]["message"])
        return found["value"]

    async def answered(self, request_id: int) -> dict[str, Any]:
        """The first answer to this request, whichever it is."""
        found: dict[str, Any] = await self.until(lambda: next(iter(self.answers(request_id)), None))
        return found

    async def got(self, subscription: int, count: int) -> None:
        """Wait until so many items came."""
        await self.until(lambda: len(self.items(subscription)) >= count)

    async def received(self, subscription: int, seq: int) -> None:
        text = json.dumps({"type": "received", "subscription": subscription, "seq": seq})
        await self.send(TEXT, text.encode())

    async def until(self, is_there: Callable[[], Any]) -> Any:
        """Wait until what was heard makes this true."""
        with trio.fail_after(100):
            while not (found := is_there()):
                assert not self.is_over, f"closed with {self.code} before it came"
                self._news = trio.Event()
                await self._news.wait()
        return found

    async def closed(self) -> int:
        """The code that the server closes with."""
        with trio.fail_after(100):
            while not self.is_over:
                self._news = trio.Event()
                await self._news.wait()
        return self.code

    async def ended(self, subscription: int) -> Any:
        """The error that a subscription ends with."""
        found = await self.until(lambda: next(iter(self.heard("ended", subscription)), None))
        return found.get("error")

    def answers(self, request_id: int | None) -> list[dict[str, Any]]:
        return [each for each in self.said if each["type"] in ("ok", "error") and each["id"] == request_id]

    def faults(self) -> list[str]:
        return [each["error"]["message"] for each in self.answers(None)]

    def heard(self, type: str, subscription: int | None = None) -> list[dict[str, Any]]:
        return [
            each
            for each in self.said
            if each["type"] == type and (subscription is None or each["subscription"] == subscription)
        ]

    def items(self, subscription: int) -> list[dict[str, Any]]:
        return [item for each in self.heard("events", subscription) for item in each["items"]]

    def tally(self, subscription: int) -> tuple[int, int]:
        """Events that came, and those that were declared missing."""
        items = self.items(subscription)
        gaps = [
            each["event"]["data"]["missed"] for each in items if each["event"]["event_type"] == StreamGap.event_type
        ]
        return len(items) - len(gaps), sum(gaps)


@attrs.define
class Castle:
    """A server, its engine, and a nursery for those who come."""

    server: WebsocketServer
    engine: Engine
    nursery: trio.Nursery
    sockets: list[trio.SocketStream] = attrs.Factory(list)

    def stranger(self) -> Client:
        """A client that has said nothing yet, over a stream in memory."""
        near, far = memory_stream_pair()
        self.nursery.start_soon(self.server.serve, far)
        return Client(near)

    async def caller(self) -> Client:
        """One over a socket."""
        self.sockets.append(await trio.open_tcp_stream("127.0.0.1", self.server.port))
        return Client(self.sockets[-1])

    async def guest(self, client: Client | None = None, **headers: Any) -> Guest:
        """A client that was let in and greeted."""
        client = client or self.stranger()
        await client.shake_hands(request(**headers))
        guest = Guest(client)
        self.nursery.start_soon(guest.read)
        await guest.until(lambda: guest.heard("welcome"))
        return guest

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is there, nobody has left anything, and nothing went wrong."""
        counts = self.server.statistics()
        held = [counts[each] for each in ("connections", "streams", "subscriptions", "errors")]
        return not any(held) and not self.server.feeds.statistics()["feeds"]

    async def settle(self) -> None:
        """Wait until all is quiet."""
        with trio.fail_after(30):
            while not self.is_quiet:  # noqa: ASYNC110 - they end in many ways
                await trio.sleep(0.01)


@asynccontextmanager
async def open_castle(*workflows: Workflow, store: Store | None = None, **options: Any) -> AsyncGenerator[Castle, None]:
    """A castle with these workflows, or those of below."""
    async with trio.open_nursery() as nursery:
        async with (
            open_engine(store or MemoryStore(), workflows or WORKFLOWS) as engine,
            open_websocket_server(engine, port=0, **options) as server,
        ):
            castle = Castle(server, engine, nursery)
            try:
                yield castle
            finally:
                for each in castle.sockets:
                    each.socket.close()
        nursery.cancel_scope.cancel()


# --- Workflows --------------------------------------------------------------------------------------------------------


class Odd(Event):
    """Whatever Python can hold."""

    value: Any


class Big(Event):
    text: str


@step
async def count(event: StartEvent, ctx: Context) -> StopEvent:
    """Publish so many notes, each as big as is said, and the pauses between."""
    number, size, pause_s = event.data
    for each in range(number):
        ctx.write_event_to_stream(Big("x" * size) if size else Note(each))
        if pause_s:
            await trio.sleep(pause_s)
    return StopEvent(number)


@step
async def keep(event: StartEvent, ctx: Context) -> StopEvent:
    """Keep so many bytes in the state, and wait."""
    ctx.state["kept"] = "y" * event.data
    await ctx.wait_for_event(Approval)
    return StopEvent()


@step
async def echo(event: StartEvent) -> StopEvent:
    return StopEvent(event.data)


echoing = Workflow("echoing", [echo], publish_lifecycle=False)
counting = Workflow("counting", [count], events=[Note, Big, Odd], stream_buffer=100_000, publish_lifecycle=False)
keeping = Workflow("keeping", [keep], events=[Approval], publish_lifecycle=False)
WORKFLOWS = (echoing, counting, keeping, asking, approving)


def start_event(data: Any = None) -> dict[str, Any]:
    return {"event_type": "StartEvent", "data": {"data": data}}
