"""One connection: handshake, messages, keep-alive, close.

Rules of this file:

* Whatever goes wrong is one ``LostError``, which says why; and nothing here waits for ever on a server that is silent.
* trio-websocket's own reader runs in a fence: what bytes of a server make it raise is a lost connection.
* A server that refuses the handshake answers in plain HTTP, and often keeps the connection open: then trio-websocket
  would wait for ever. What it said is read off the bytes.
"""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from wsproto.frame_protocol import CloseReason

from blazen_trio.groups import alone
from blazen_trio.websocket.client.beginnings import Addressee
from blazen_trio.websocket.client.dialling import Address, Dial, DialError
from blazen_trio.websocket.client.tap import Tap
from blazen_trio.websocket.protocol import VERSIONS, Fault, read_from_server
from blazen_trio.websocket.protocol.messages import ServerMessage, Welcome

CONNECT_S: Final = 5.0
"""So long may it take to be connected, handshake and welcome included."""

QUIET_S: Final = 20.0
"""After so much silence the server is asked whether it is there."""

PONG_S: Final = 20.0
"""After so much silence more it is not."""

CLOSE_S: Final = 2.0
"""So long is waited for the server to close, too."""

HURRY_S: Final = 0.1
"""So long at most to get the goodbye out, where nobody will read its answer."""


_BROKEN: Final = (1005, 1006)
"""Codes that stand for a close without any."""

_SWITCHED: Final = 101
_RECEIVE_BYTES: Final = 65_536
_QUEUE_MESSAGES: Final = 16

_SPOKEN: Final = " or ".join(VERSIONS)

_ADVICE: Final = {
    400: f"does it speak {_SPOKEN}?",
    401: "the token is missing or wrong; pass token=",
    403: "this client is not allowed there",
    421: "this host name is not in its hosts=, see open_websocket_server",
    426: "is this the port of a websocket?",
    503: "it has too many connections",
}


class LostError(Exception):
    """A connection is over, or never was one.

    Attributes:
        problem: why, and what to do.
        is_violation: whether the server said what cannot be taken.
        addressee: whom that was for, if it is known: the others need not fail with it.
    """

    def __init__(
        self,
        problem: str,
        *,
        is_violation: bool = False,
        addressee: Addressee | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.is_violation = is_violation
        self.addressee = addressee


@attrs.frozen
class Hello:
    """What a client needs for a connection: how to dial, where to, its token, and how big a message may be."""

    dial: Dial
    address: Address
    token: str | None = attrs.field(repr=False)
    message_bytes: int

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the handshake beside those of every websocket."""
        return [] if self.token is None else [(b"Authorization", b"Bearer " + self.token.encode("ascii"))]


class Wire:
    """A websocket to a server, in the ``version`` that it chose. All methods raise ``LostError``."""

    def __init__(self, socket: WebSocketConnection, tap: Tap, message_bytes: int) -> None:
        self._socket = socket
        self._bytes_max = message_bytes
        self._is_closing = False
        self.tap: Tap = tap
        self.version: str = socket.subprotocol or ""
        self.welcome: Welcome
        self.round_trip_s: float | None = None

    async def receive(self) -> ServerMessage | Fault:
        """The next message; a checkpoint."""
        try:
            text = await self._socket.get_message()
        except ConnectionClosed:
            if self._is_closing:  # from here: trio-websocket's reader must live until the server says goodbye, too
                await trio.sleep(CLOSE_S)  # noqa: ASYNC120 - who is cancelled is leaving anyway
            raise self._lost() from None
        if isinstance(text, bytes):
            return Fault("a binary message")
        return read_from_server(text, bytes_max=4 * self._bytes_max)  # the limit of the socket counts characters

    async def send(self, text: bytes) -> None:
        """Send a message; a checkpoint."""
        try:
            await self._socket.send_message(text.decode())
        except ConnectionClosed:
            raise await self._lost_soon() from None

    async def keep_alive(self) -> None:
        """Ask a silent server whether it is there, for ever."""
        while True:
            await trio.sleep_until(self.tap.heard_at + QUIET_S)
            asked_at = trio.current_time()
            if asked_at < self.tap.heard_at + QUIET_S:
                continue
            heard_bytes = self.tap.bytes_in
            with trio.move_on_after(PONG_S):
                await self._ping()
                self.round_trip_s = trio.current_time() - asked_at
            if self.tap.bytes_in == heard_bytes:
                raise LostError(f"nothing was heard for {QUIET_S + PONG_S:g} s")

    async def _ping(self) -> None:
        try:
            await self._socket.ping()
        except ConnectionClosed:
            raise await self._lost_soon() from None

    async def close(self, code: int = CloseReason.NORMAL_CLOSURE) -> None:
        """Say that this is over, and wait a little for the server to do the same; a checkpoint.

        Whoever is cancelled is in a hurry, and the task that would read the server's answer is cancelled, too.
        """
        self._is_closing = True
        is_hurried = trio.current_effective_deadline() == -math.inf
        with trio.move_on_after(HURRY_S if is_hurried else CLOSE_S, shield=True):
            await self._socket.aclose(code)

    async def _lost_soon(self) -> LostError:
        """Why it is over, for one who does not read: that is known when trio-websocket has answered a goodbye."""
        await trio.sleep(CLOSE_S)
        return self._lost()

    def _lost(self) -> LostError:
        closed = self._socket.closed
        if closed is None or closed.code in _BROKEN:
            return LostError("the connection broke")
        if closed.code == CloseReason.MESSAGE_TOO_BIG and self.tap.beginnings.too_big is not None:
            problem = f"a message is bigger than message_bytes={self._bytes_max} of open_websocket_client"
            return LostError(problem, is_violation=True, addressee=self.tap.beginnings.addressee())
        reason = f": {closed.reason}" if closed.reason else ""
        if not self.tap.has_said_goodbye:  # the answer to a real close; wsproto tells of bad frames in the same way
            return LostError(f"the server sent bytes that are no websocket frame{reason}", is_violation=True)
        return LostError(f"the server closed the connection with code {closed.code}{reason}")


# --- The handshake ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_wire(hello: Hello) -> AsyncGenerator[Wire, None]:
    """A connection, for this block; raises ``LostError``, perhaps in a group, if there is none within five seconds."""
    deadline = trio.current_time() + CONNECT_S
    tap = await _dialled(hello, deadline)
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield await _greeted(nursery, tap, hello, deadline)
            finally:
                nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(tap)  # noqa: ASYNC102, ASYNC120 - it never waits


async def _dialled(hello: Hello, deadline: float) -> Tap:
    with trio.CancelScope(deadline=deadline):
        try:
            return Tap(await hello.dial(), hello.message_bytes)
        except (DialError, OSError) as error:
            raise LostError(str(error)) from error
    raise LostError(f"no connection within {CONNECT_S:g} s; does the server run, and is this its address?")


async def _greeted(nursery: trio.Nursery, tap: Tap, hello: Hello, deadline: float) -> Wire:
    with trio.CancelScope(deadline=deadline):
        socket: WebSocketConnection = await nursery.start(_hold_socket, tap, hello)
        if socket.subprotocol not in VERSIONS:
            raise LostError(f"it does not speak {_SPOKEN}; is it a server of blazen_trio, in a version that fits?")
        wire = Wire(socket, tap, hello.message_bytes)
        wire.welcome = await _welcome(wire)
        return wire
    raise LostError(_refusal(tap) or f"no answer to the handshake within {CONNECT_S:g} s; is this its address?")


async def _welcome(wire: Wire) -> Welcome:
    message = await wire.receive()
    if not isinstance(message, Welcome):
        raise LostError("the server did not begin with a welcome", is_violation=True)
    if message.version != wire.version:
        problem = f"the server chose {wire.version}, and then it speaks {message.version!r:.60}"
        raise LostError(problem, is_violation=True)
    return message


async def _hold_socket(
    tap: Tap, hello: Hello, *, task_status: trio.TaskStatus[WebSocketConnection] = trio.TASK_STATUS_IGNORED
) -> None:
    """The websocket with its reader, from the handshake to its end."""
    try:
        async with trio.open_nursery() as fence:
            task_status.started(await _shaken(fence, tap, hello))
    except BaseException as error:  # noqa: ASYNC103, BLE001 - the fence: trio-websocket raises what it likes
        lone = alone(error)
        if not isinstance(lone, Exception):
            raise lone from None  # noqa: ASYNC104 - without its group
        problem = (
            lone.problem if isinstance(lone, LostError) else f"this is no websocket: {str(lone) or type(lone).__name__}"
        )
        raise LostError(_refusal(tap) or problem) from lone  # noqa: ASYNC104 - there is no Cancelled in it


async def _shaken(fence: trio.Nursery, tap: Tap, hello: Hello) -> WebSocketConnection:
    async with trio.open_nursery() as guard:
        guard.start_soon(_raise_at_end, tap)
        socket = await wrap_client_stream(
            fence,
            tap,  # type: ignore[arg-type]  # any stream will do
            hello.address.host_header,
            hello.address.path,
            subprotocols=VERSIONS,
            extra_headers=hello.headers,
            message_queue_size=_QUEUE_MESSAGES,
            max_message_size=hello.message_bytes,
            receive_buffer_size=_RECEIVE_BYTES,
        )
        guard.cancel_scope.cancel()
    return socket


async def _raise_at_end(tap: Tap) -> None:
    await tap.ended.wait()
    raise LostError("the server closed the connection instead of answering the handshake")


def _refusal(tap: Tap) -> str | None:
    """What a server said that did not want a websocket."""
    if tap.status is None or tap.status == _SWITCHED:
        return None
    advice = _ADVICE.get(tap.status, "is it a server of blazen_trio?")
    said = f" ({tap.text})" if tap.text else ""
    return f"the server refused with status {tap.status}{said}: {advice}"
