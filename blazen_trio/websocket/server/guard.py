"""``GuardedStream``: stands between the socket and trio-websocket, and has the last word in both directions.

* Inwards: the library gets a head written here, then whole frames that ``FrameMeter`` let through, never more.
* Outwards: one whole frame at a time, whoever sends it; each 64 KiB of it have ``limits.send`` seconds. A frame that
  was not finished (too slow, or cancelled) can never be: the stream is broken then, and its connection ends.
* After our close frame nothing goes out; what the library still wants to say is dropped.
* ``aclose`` is the library's word that it is done. The socket itself belongs to the connection.
"""

import os
from typing import Final, Protocol

import attrs
import trio
from wsproto.frame_protocol import CloseReason

from blazen_trio.websocket.limits import SEND_CHUNK_BYTES, WebsocketLimits
from blazen_trio.websocket.server.frames import FrameMeter
from blazen_trio.websocket.server.writing import close_frame

RECEIVE_BYTES: Final = 16 * 1024
"""Received at once: much for what a client asks, little beside the limit of the inbox."""

SENDS_AT_ONCE: Final = 32
"""Frames written without letting others run: a write takes some 6 us, a checkpoint 3 us."""

INBOX_BUSY: Final = 200
"""Messages unread from which on the reader takes it slower, so that the session can catch up."""

NAP_S: Final = 0.01

_CLOSE_BYTE: Final = b"\x88"


@attrs.define
class Traffic:
    """What went through all guards of a server."""

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Owner(Protocol):
    """Who is told what the guard finds out."""

    def close_soon(self, code: int, reason: str) -> None:
        """The client broke a rule."""
        ...

    def websocket_done(self) -> None:
        """The library wants the connection closed."""
        ...

    def gone(self) -> None:
        """The client is gone, or nothing can be sent to it any more."""
        ...


class GuardedStream(trio.abc.Stream):
    """A stream for trio-websocket.

    Attributes:
        heard_at: when the client was last heard, on Trio's clock.
        meter: counts what comes in.
        is_broken: a frame was not finished, or the socket is broken.
        is_closing: no frames but the close frame go out.
        is_farewell_sent: a close frame went out.
        has_peer_gone: the client closed its side.
    """

    __slots__ = (
        "_head",
        "_held",
        "_is_done",
        "_limits",
        "_lock",
        "_owner",
        "_sends",
        "_socket",
        "_stream",
        "_taken",
        "_taken_bytes",
        "_traffic",
        "has_peer_gone",
        "heard_at",
        "is_broken",
        "is_closing",
        "is_farewell_sent",
        "meter",
    )

    def __init__(
        self, stream: trio.abc.Stream, head: bytes, limits: WebsocketLimits, traffic: Traffic, owner: Owner
    ) -> None:
        self.heard_at: float = trio.current_time()
        self.meter: FrameMeter = FrameMeter(limits)
        self.is_broken: bool = False
        self.is_closing: bool = False
        self.is_farewell_sent: bool = False
        self.has_peer_gone: bool = False
        self._stream = stream
        self._head = head
        self._limits = limits
        self._traffic = traffic
        self._owner = owner
        self._lock = trio.Lock()
        self._held = bytearray()  # of a frame that is not whole
        self._is_done = False
        self._sends = 0
        self._taken = 0
        self._taken_bytes = 0
        self._socket = _plain_socket(stream)

    # --- Inwards ------------------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 - the guard knows better
        """Whole frames; nothing at the end, which may also be the guard's decision; a checkpoint."""
        if self._head:
            head, self._head = self._head, b""
            await trio.lowlevel.checkpoint()
            return head
        while True:
            if self._is_done:
                raise trio.ClosedResourceError
            if self._is_over:
                await trio.lowlevel.checkpoint()
                return b""
            if whole := self._let_through(await self._receive()):
                return whole

    @property
    def _is_over(self) -> bool:
        return self.has_peer_gone or self.is_broken or self.is_closing or self.meter.is_closed

    async def _receive(self) -> bytes:
        if self._unread > INBOX_BUSY:
            await trio.sleep(NAP_S)
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except trio.BrokenResourceError:
            data = b""
        self.heard_at = trio.current_time()
        self._traffic.bytes_in += len(data)
        if not data:
            self.has_peer_gone = True
            self._owner.gone()
        return bytes(data)

    def _let_through(self, data: bytes) -> bytes:
        """The whole frames there are now; a violation ends the connection."""
        messages = self.meter.messages
        size = self.meter.feed(data, self.heard_at)
        self._traffic.messages_in += self.meter.messages - messages
        self._held += data
        whole = bytes(self._held[:size])
        del self._held[:size]
        if self.meter.violation is not None:
            self._owner.close_soon(self.meter.violation.code, self.meter.violation.reason)
        elif self._unread > self._limits.inbox or self._unread_bytes > self._limits.inbox_bytes:
            self._owner.close_soon(CloseReason.POLICY_VIOLATION, "too many messages at once")
        return whole

    @property
    def _unread(self) -> int:
        return self.meter.messages - self._taken

    @property
    def _unread_bytes(self) -> int:
        return self.meter.message_bytes - self._taken_bytes

    def take(self, text: str) -> None:
        """The session got a message: there is room for another one."""
        self._taken += 1
        self._taken_bytes += len(text)  # at most its bytes; made good when all is read
        if not self._unread:
            self._taken_bytes = self.meter.message_bytes

    async def drain(self) -> None:
        """Wait until the client has said goodbye too, or gone; what else it says is dropped; a checkpoint.

        Behind a violation nobody knows where a frame begins, so no goodbye can be read: the client is shown the end of
        the stream instead, and closes. To close at once would take back what it has not read yet.
        """
        if self.meter.violation is not None and isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        while not self.meter.is_closed and not self.has_peer_gone:
            data = await self._receive()
            if self.meter.violation is None:
                self.meter.feed(data, self.heard_at)

    # --- Outwards -----------------------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """What the library sends: the answer to the handshake, pongs, the answer to a close frame; a checkpoint."""
        if self.is_farewell_sent:
            await trio.lowlevel.checkpoint()
            return
        async with self._lock:
            if self.is_farewell_sent:  # while this one waited
                return
            self.is_farewell_sent = bytes(data[:1]) == _CLOSE_BYTE
            self._check(is_farewell=True)
            await self._write(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """As the socket has it; a checkpoint."""
        await self._stream.wait_send_all_might_not_block()

    async def send_frame(self, data: bytes) -> None:
        """Send a whole frame. It lets other tasks run now and then, or when the socket is full; it can be cancelled.

        Raises:
            BrokenResourceError: the connection is gone, or closing.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            self._check()
            await self._write(data)
        finally:
            self._lock.release()
        self._traffic.messages_out += 1

    async def send_farewell(self, code: int, reason: str) -> None:
        """The close frame, behind the frame that is just being written; after it nothing goes out; a checkpoint."""
        self.is_closing = True
        async with self._lock:
            if not self.is_farewell_sent:
                self.is_farewell_sent = True
                self._check(is_farewell=True)
                await self._write(close_frame(code, reason))

    def _check(self, *, is_farewell: bool = False) -> None:
        if self.is_broken or (not is_farewell and (self.is_closing or self._is_done)):
            raise trio.BrokenResourceError("the websocket is closed")

    async def _write(self, data: bytes) -> None:
        sent = self._write_now(data)
        if sent < len(data):
            await self._write_rest(memoryview(data)[sent:])
        self._traffic.bytes_out += len(data)
        self._sends += 1
        if not self._sends % SENDS_AT_ONCE:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _write_now(self, data: bytes) -> int:
        """Write what the socket takes at once: no deadline, no turn of other tasks; how many bytes that were.

        Trio's own ``send`` would be a checkpoint for each frame, half of what a frame costs. Beneath it the socket does
        not block, and nobody else writes to it: every frame of this connection goes out under one lock.
        """
        if self._socket is None:
            return 0
        try:
            return os.write(self._socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._break()
            raise trio.BrokenResourceError("the client is gone") from error

    async def _write_rest(self, rest: memoryview) -> None:
        try:
            await send_in_time(self._stream, rest, self._limits.send)
        except BaseException:
            self._break()
            raise

    def _break(self) -> None:
        self.is_broken = True
        self._owner.gone()

    # --- The end ------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """The library is done; a checkpoint."""
        self._is_done = True
        self._owner.websocket_done()
        await trio.lowlevel.checkpoint()


def _plain_socket(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """The socket that bytes may be written to as they are; elsewhere than on POSIX a socket is no file to write to."""
    return stream.socket if os.name == "posix" and isinstance(stream, trio.SocketStream) else None


async def send_in_time(stream: trio.abc.SendStream, data: bytes | memoryview, chunk_s: float) -> None:
    """Send, with a deadline for each 64 KiB; a checkpoint.

    Raises:
        BrokenResourceError: it was missed, or the other side is gone.
    """
    for begin in range(0, len(data), SEND_CHUNK_BYTES):
        with trio.move_on_after(chunk_s) as scope:
            await stream.send_all(data[begin : begin + SEND_CHUNK_BYTES])
        if scope.cancelled_caught:
            raise trio.BrokenResourceError(f"the client did not take {SEND_CHUNK_BYTES} bytes in {chunk_s} s")
