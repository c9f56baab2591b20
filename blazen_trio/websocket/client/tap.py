"""The bytes of one connection: counted, timed, and each send with a deadline.

Rules of this file:

* A send that takes too long, or is cancelled half-way, leaves half a frame: the stream is broken from then on, and
  closed, so that its reader hears of it.
* ``heard_at`` is when anything came, pongs too: a connection on which nothing comes is asked, and then given up.
* Of the beginning some bytes are kept: what a server that refuses says stands there. So it is with each message.
"""

import re
from typing import Final

import trio

from blazen_trio.websocket.client.beginnings import Beginnings

SEND_S: Final = 5.0
"""So long may it take to send ``SEND_UNIT`` bytes; a peer that takes none in this time is dead, or far too slow."""

SEND_UNIT: Final = 65_536

HEAD_BYTES: Final = 8_192
"""Bytes that are kept of a server's answer to the handshake."""

_CLOSE: Final = b"\x88"
"""So a close frame begins; trio-websocket sends one frame at a time."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_TEXT_CHARS_MAX: Final = 300


class Tap(trio.abc.Stream):
    """A stream, watched. ``ended`` is set when nothing more can come; ``beginnings`` are those of messages."""

    def __init__(self, stream: trio.abc.Stream, message_bytes: int) -> None:
        self._stream = stream
        self._is_broken = False
        self._head = b""
        self.ended: trio.Event = trio.Event()
        self.beginnings: Beginnings = Beginnings(message_bytes)
        self.heard_at: float = trio.current_time()
        self.has_said_goodbye: bool = False
        self.bytes_in: int = 0
        self.bytes_out: int = 0

    @property
    def status(self) -> int | None:
        """The HTTP status that the server answered the handshake with; ``None``: that was no HTTP, or has not come."""
        found = _STATUS.match(self._head)
        return None if found is None else int(found[1])

    @property
    def text(self) -> str:
        """What the server said beside the status, for people."""
        body = self._head.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
        return " ".join("".join(each if each.isprintable() else " " for each in body).split())[:_TEXT_CHARS_MAX]

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What came; a checkpoint."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        self.heard_at = trio.current_time()
        self.bytes_in += len(data)
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self.beginnings.feed(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; a checkpoint. Raises ``BrokenResourceError`` if it takes too long, and always after that."""
        if self._is_broken:
            raise trio.BrokenResourceError("an earlier send was cut off")
        self._is_broken = True  # until all is sent
        self.has_said_goodbye = self.has_said_goodbye or data[:1] == _CLOSE
        try:
            with trio.fail_after(SEND_S * (1 + len(data) // SEND_UNIT)):
                await self._stream.send_all(data)
            self._is_broken = False
        except trio.TooSlowError:
            raise trio.BrokenResourceError("the server takes nothing") from None
        finally:
            if self._is_broken:
                self.ended.set()
                await trio.aclose_forcefully(self._stream)  # noqa: ASYNC102, ASYNC120 - it never waits
        self.bytes_out += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream's; a checkpoint."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
