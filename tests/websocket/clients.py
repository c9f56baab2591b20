"""A server without an engine, over streams in memory; a client that can send any bytes; sessions of four kinds."""

import os
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import attrs
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from blazen_trio.websocket import WebsocketLimits, WebsocketServer
from blazen_trio.websocket.server import Connection, SessionLike, text_frame
from blazen_trio.websocket.server.access import Doorkeeper
from blazen_trio.websocket.server.server import ServerOptions

TOKEN = "s3cret"
NO_ENGINE: Any = SimpleNamespace(node_id="node", statistics=lambda: {"held": 3, "finished": 7})
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

CLOSED_BY_ITSELF = 1000
"""The code of a session that closes: it was first, so it counts, whatever the client does then."""


def request(
    *,
    line: str = "GET / HTTP/1.1",
    without: str = "",
    more: tuple[str, ...] = (),
    **changed: str,
) -> bytes:
    """The head of a good handshake, but for what a test changes."""
    headers = {
        "Host": "localhost:8765",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Protocol": "blazen.v1",
    }
    headers.update({name.replace("_", "-"): value for name, value in changed.items()})
    headers.pop(without, None)
    lines = [line, *(f"{name}: {value}" for name, value in headers.items()), *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"\1\2\3\4") -> bytes:
    """A frame as a client sends it."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        head += b"\xfe" + struct.pack("!H", len(payload))
    else:
        head += b"\xff" + struct.pack("!Q", len(payload))
    repeated = mask * (len(payload) // 4 + 1)
    return head + mask + bytes(a ^ b for a, b in zip(payload, repeated, strict=False))


@attrs.define
class Client:
    """The client's end of a connection; it reads what the server sends, frame by frame."""

    stream: trio.abc.Stream
    received: bytearray = attrs.Factory(bytearray)
    _lock: trio.Lock = attrs.Factory(trio.Lock)

    async def say(self, data: bytes) -> None:
        """Send this; tasks may do so at once, like one that answers pings beside one that asks."""
        async with self._lock:
            await self.stream.send_all(data)

    async def answer(self) -> tuple[int, str]:
        """The status and the head of the server's answer."""
        head = (await self._until(b"\r\n\r\n")).decode()
        return int(head.split(" ", 2)[1]), head

    async def shake_hands(self, head: bytes | None = None) -> None:
        await self.say(head or request())
        status, text = await self.answer()
        assert status == 101, text

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload. ``(-1, b"")``: there is none, the server closed the socket."""
        try:
            first, length = await self._exactly(2)
            assert length < 128, "a server does not mask"
            if length == 126:
                length = int.from_bytes(await self._exactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self._exactly(8), "big")
            return first & 0x0F, await self._exactly(length)
        except EOFError:
            return -1, b""

    async def end(self) -> int:
        """Read on until the server closes the socket; the code of its close frame, 1006 without one."""
        code = 1006
        with trio.fail_after(1_000):
            while (got := await self.frame())[0] != -1:
                assert code == 1006, "nothing comes behind a close frame"
                if got[0] == CLOSE:
                    code = int.from_bytes(got[1][:2], "big") or 1005
        return code

    async def rest(self) -> bytes:
        while await self._more():
            pass
        return bytes(self.received)

    async def _exactly(self, count: int) -> bytes:
        while len(self.received) < count:
            if not await self._more():
                raise EOFError
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def _until(self, end: bytes) -> bytes:
        while end not in self.received:
            if not await self._more():
                raise EOFError
        return await self._exactly(self.received.index(end) + len(end))

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self.received += data
        return bool(data)


@attrs.define
class Echo:
    """Sends back what it gets."""

    connection: Connection
    closed: int = 0

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive(self, text: str) -> None:
        await self.connection.send(text.encode())

    def close(self) -> None:
        self.closed += 1


@attrs.define
class Idle(Echo):
    """Says nothing."""

    async def receive(self, text: str) -> None:
        await trio.lowlevel.checkpoint()


@attrs.define
class Streaming(Echo):
    """Sends all the time."""

    async def open(self) -> None:
        self.connection.nursery.start_soon(self._stream)

    async def _stream(self) -> None:
        while True:
            await self.connection.send_frame(text_frame(b"an event"))
            await trio.sleep(0.1)


@attrs.define
class Slow(Echo):
    """Takes a minute for each message."""

    async def receive(self, text: str) -> None:
        await trio.sleep(60)


@attrs.define
class Closing(Echo):
    """Wants to be rid of the client at once: whatever the client says, the close frame was there before it."""

    async def open(self) -> None:
        self.connection.close_soon(CLOSED_BY_ITSELF, "enough")
        await trio.lowlevel.checkpoint()


SESSIONS: dict[str, Callable[[Connection], Echo]] = {
    "idle": Idle,
    "streaming": Streaming,
    "slow": Slow,
    "closing": Closing,
}


def doorkeeper(**options: Any) -> Doorkeeper:
    plain: dict[str, Any] = {"host": "127.0.0.1", "token": None, "origins": frozenset(), "hosts": frozenset()}
    return Doorkeeper(**(plain | {"is_open": not options.get("token")} | options))


@attrs.define
class Witness:
    """Another client, of a session of one kind, that keeps what it hears and when: nothing must be amiss.

    ``heard``: seconds since it came, opcode and payload; the opcode -1 stands for the end.
    """

    kind: str
    client: Client
    came_at: float
    heard: list[tuple[float, int, bytes]] = attrs.Factory(list)

    async def watch(self) -> None:
        """Be the task that listens; it never says goodbye."""
        opcode = 0
        while opcode != -1:
            opcode, payload = await self.client.frame()
            self.heard.append((round(trio.current_time() - self.came_at, 3), opcode, payload))

    async def check(self) -> None:
        """See that it was served as if it were alone: everything, in time, and nothing else.

        Not to be asked at a tenth of a second, when the next event is due.
        """
        seconds = trio.current_time() - self.came_at
        wanted: list[tuple[float, int, bytes]]
        if self.kind == "closing":
            wanted = [(0.0, CLOSE, b"\x03\xe8enough"), (2.0, -1, b"")]
        else:
            await self.client.say(masked(PING, b"still there?"))
            await wait_all_tasks_blocked()
            wanted = [(round(seconds, 3), PONG, b"still there?")]
        if self.kind == "streaming":
            wanted = [(each / 10, TEXT, b"an event") for each in range(int(seconds * 10) + 1)] + wanted
        assert seconds >= 2
        assert sorted(self.heard) == sorted(wanted)


@attrs.define
class House:
    """A server in a nursery, and clients of it."""

    server: WebsocketServer
    nursery: trio.Nursery
    sessions: list[Any]

    def client(self) -> Client:
        """A client whose stream the server serves."""
        near, far = memory_stream_pair()
        self.nursery.start_soon(self.server.serve, far)
        return Client(near)

    async def guest(self) -> Client:
        """A client whose handshake is done."""
        client = self.client()
        await client.shake_hands()
        return client

    async def witness(self, kind: str) -> Witness:
        """A guest whose session is of this kind, and who listens; of a slow session, in the middle of a message."""
        client = await self.guest()
        witness = Witness(kind, client, trio.current_time())
        self.nursery.start_soon(witness.watch)
        if kind == "slow":
            await client.say(masked(TEXT, b"take your time"))
        await wait_all_tasks_blocked()
        return witness

    def is_quiet(self, connections: int = 0) -> bool:
        """Whether nothing is left of the others."""
        counts = self.server.statistics()
        return (counts["connections"], counts["streams"]) == (connections, connections)


def alone(session: Callable[[Connection], SessionLike]) -> Callable[[WebsocketServer, Connection], SessionLike]:
    """Sessions that need no server."""
    return lambda _server, connection: session(connection)


@asynccontextmanager
async def open_house(
    session: Callable[[Connection], SessionLike] = Echo,
    *,
    limits: WebsocketLimits | None = None,
    **options: Any,
) -> AsyncGenerator[House, None]:
    sessions: list[Any] = []

    def open_session(_server: WebsocketServer, connection: Connection) -> SessionLike:
        sessions.append(session(connection))
        opened: SessionLike = sessions[-1]
        return opened

    chosen = ServerOptions(limits=limits or WebsocketLimits())
    server = WebsocketServer(NO_ENGINE, doorkeeper(**options), open_session, chosen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.keep_alive)
        yield House(server, nursery, sessions)
        nursery.cancel_scope.cancel()


async def is_alive(client: Client) -> bool:
    """Whether a client of an ``Echo`` is served."""
    word = os.urandom(4).hex().encode()
    await client.say(masked(TEXT, word))
    return await client.frame() == (TEXT, word)
