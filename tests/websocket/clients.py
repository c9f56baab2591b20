"""A server without an engine, over streams in memory; a client that can send any bytes; sessions of four kinds."""

import os
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import attrs
import trio
from trio.testing import memory_stream_pair

from blazen_trio.websocket import WebsocketLimits, WebsocketServer
from blazen_trio.websocket.server import Connection, SessionLike, text_frame
from blazen_trio.websocket.server.access import Doorkeeper
from blazen_trio.websocket.server.server import ServerOptions

TOKEN = "s3cret"
NO_ENGINE: Any = SimpleNamespace(node_id="node", statistics=lambda: {"held": 3, "finished": 7})
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


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

    async def say(self, data: bytes) -> None:
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
    """Wants to be rid of the client after half a second."""

    async def open(self) -> None:
        self.connection.nursery.start_soon(self._close)

    async def _close(self) -> None:
        await trio.sleep(0.5)
        self.connection.close_soon(1000, "enough")


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
