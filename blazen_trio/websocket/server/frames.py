"""What a client sends, frame by frame: counted and checked before the library sees it. Pure.

* RFC 6455 says what a frame may look like (section 5), ``WebsocketLimits`` how much of it. Payloads are not looked at,
  but for their length; whether text is UTF-8 is the library's to say.
* Only whole frames are let through, so what the library keeps of a client is what this file counted.
* Any chopping of the same bytes gives the same verdict. Nothing behind a close frame or a violation counts.
"""

from typing import Final

import attrs
from wsproto.frame_protocol import CloseReason

from blazen_trio.websocket.limits import WebsocketLimits

_CONTINUATION: Final = 0x0
_TEXT: Final = 0x1
_BINARY: Final = 0x2
_CLOSE: Final = 0x8
_OPCODES: Final = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, 0x9, 0xA})
_MASK_BYTES: Final = 4
_CONTROL_BYTES_MAX: Final = 125
_LENGTH_BYTES: Final = {126: 2, 127: 8}


@attrs.frozen
class FrameError(Exception):
    """What a client did that it may not: the close code that it gets, and why."""

    code: int
    reason: str

    def __str__(self) -> str:
        return f"{self.code} {self.reason}"


class FrameMeter:
    """Counts the frames of one client.

    Attributes:
        violation: what ended it, if something did.
        is_closed: a close frame came.
        messages: whole ones that came.
        message_bytes: their payloads together.
    """

    __slots__ = (
        "_fragments",
        "_header",
        "_held",
        "_is_fin",
        "_left",
        "_limits",
        "_needed",
        "_opcode",
        "_size",
        "_tokens",
        "_tokens_at",
        "is_closed",
        "message_bytes",
        "messages",
        "violation",
    )

    def __init__(self, limits: WebsocketLimits) -> None:
        self.violation: FrameError | None = None
        self.is_closed: bool = False
        self.messages: int = 0
        self.message_bytes: int = 0
        self._limits = limits
        self._header = b""
        self._needed = 2  # bytes of the header, as far as they tell
        self._left = 0  # bytes of the payload still to come
        self._held = 0  # bytes of the frame so far
        self._opcode = _CONTINUATION
        self._is_fin = False
        self._fragments = 0  # of the message under way; 0: none is
        self._size = 0
        self._tokens = float(limits.control_frames)
        self._tokens_at = 0.0

    def feed(self, data: bytes, now: float) -> int:
        """Take in what was received at the time ``now``.

        Returns how many bytes, of those given so far and not yet returned, are whole frames without fault.
        """
        whole = at = 0
        try:
            while at < len(data) and self.violation is None and not self.is_closed:
                taken = self._take(data, at, now)
                at += taken
                self._held += taken
                if not self._needed and not self._left:
                    self._end_frame()
                    whole, self._held = whole + self._held, 0
        except FrameError as violation:
            self.violation = violation
        return whole

    def _take(self, data: bytes, at: int, now: float) -> int:
        """Take the next piece of the header or the payload; how long it is."""
        if not self._needed:
            taken = min(self._left, len(data) - at)
            self._left -= taken
            return taken
        piece = data[at : at + self._needed - len(self._header)]
        self._header += piece
        if len(self._header) == self._needed:
            self._read_header(now)
        return len(piece)

    def _read_header(self, now: float) -> None:
        if self._needed == 2:  # noqa: PLR2004 - the bytes that say how many more there are
            first, second = self._header
            self._check_bits(first, second)
            self._needed = 2 + _LENGTH_BYTES.get(second & 0x7F, 0) + _MASK_BYTES
            return
        length = self._read_length()
        if self._opcode & 0x8:
            self._count_control(now)
        else:
            self._count_data(length)
        self._left, self._header, self._needed = length, b"", 0

    def _check_bits(self, first: int, second: int) -> None:
        """What the first two bytes may say: RFC 6455, 5.2 and 5.5."""
        self._is_fin, self._opcode = bool(first & 0x80), first & 0x0F
        if first & 0x70:
            raise FrameError(CloseReason.PROTOCOL_ERROR, "reserved bit set")
        if self._opcode not in _OPCODES:
            raise FrameError(CloseReason.PROTOCOL_ERROR, f"unknown opcode {self._opcode:#x}")
        if not second & 0x80:
            raise FrameError(CloseReason.PROTOCOL_ERROR, "frame not masked")
        if self._opcode & 0x8 and not self._is_fin:
            raise FrameError(CloseReason.PROTOCOL_ERROR, "control frame in fragments")
        if self._opcode & 0x8 and second & 0x7F > _CONTROL_BYTES_MAX:
            raise FrameError(CloseReason.PROTOCOL_ERROR, "control frame too long")

    def _read_length(self) -> int:
        """The payload's length, in the shortest of the three forms."""
        short = self._header[1] & 0x7F
        if short not in _LENGTH_BYTES:
            return short
        length = int.from_bytes(self._header[2 : 2 + _LENGTH_BYTES[short]], "big")
        if length <= (_CONTROL_BYTES_MAX if short == 126 else 0xFFFF):  # noqa: PLR2004 - RFC 6455, 5.2
            raise FrameError(CloseReason.PROTOCOL_ERROR, "length not in its shortest form")
        if length >> 63:
            raise FrameError(CloseReason.PROTOCOL_ERROR, "length with its highest bit set")
        return length

    def _count_control(self, now: float) -> None:
        """A bucket of tokens: one per frame, filled up as time passes."""
        limits = self._limits
        gained = max(0.0, now - self._tokens_at) * limits.control_frames_per_s
        self._tokens = min(float(limits.control_frames), self._tokens + gained)
        self._tokens_at = now
        if self._tokens < 1:
            raise FrameError(CloseReason.POLICY_VIOLATION, "too many control frames")
        self._tokens -= 1

    def _count_data(self, length: int) -> None:
        if self._opcode == _BINARY:
            raise FrameError(CloseReason.UNSUPPORTED_DATA, "messages are text")
        if (self._opcode == _CONTINUATION) != (self._fragments > 0):
            raise FrameError(CloseReason.PROTOCOL_ERROR, "fragments out of order")
        self._fragments += 1
        self._size += length
        if self._size > self._limits.message_bytes:
            raise FrameError(CloseReason.MESSAGE_TOO_BIG, f"a message has at most {self._limits.message_bytes} bytes")
        if self._fragments > self._limits.fragments:
            raise FrameError(CloseReason.POLICY_VIOLATION, f"a message has at most {self._limits.fragments} fragments")

    def _end_frame(self) -> None:
        self._needed = 2
        if self._opcode == _CLOSE:
            self.is_closed = True
        elif not self._opcode & 0x8 and self._is_fin:
            self.messages += 1
            self.message_bytes += self._size
            self._fragments = self._size = 0
