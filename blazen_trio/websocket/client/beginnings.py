"""How the message begins that is on its way: read off the frames, since one that is too big is never read whole.

A server writes ``type`` and ``id`` first, so the beginning says whose answer it was to be: only that one fails, and not
all that is under way. Servers never mask, and no extension is spoken, so a frame is its head and the text itself.
"""

import re
from typing import Final

import attrs

KEPT_BYTES: Final = 100
"""So much of each message is kept: its type and the number of whom it is for."""

_CONTINUATION: Final = 0
_TEXT: Final = 1
_LENGTH_BYTES: Final = {126: 2, 127: 8}

_FOR: Final = re.compile(rb'\{"type":"(?:(?:ok|error)","id"|events","(subscription)"):([0-9]{1,16})[,}]')


@attrs.frozen
class Addressee:
    """Whom a message is for: a subscription, or else a request."""

    number: int
    is_subscription: bool


class Beginnings:
    """Watches the bytes of a connection from the handshake's end on.

    Attributes:
        text: how the last message began.
        size: how many bytes of it have come.
        too_big: how the last one began that has more than ``bytes_max``; others may have come in one piece with it.
    """

    def __init__(self, bytes_max: int) -> None:
        self.text: bytes = b""
        self.size: int = 0
        self.too_big: bytes | None = None
        self._bytes_max = bytes_max
        self._rest = bytearray()  # of what cannot be read yet: the handshake, or the head of a frame
        self._is_open = False
        self._is_text = False
        self._left = 0  # bytes of this frame that have not come yet

    def feed(self, data: bytes | bytearray) -> None:
        """These bytes came."""
        self._rest += data
        if not self._is_open:
            end = self._rest.find(b"\r\n\r\n")
            self._is_open = end >= 0
            del self._rest[: end + 4 if self._is_open else -3]
        while self._is_open and self._rest and (self._left or self._read_head()):
            self._read_payload()

    def _read_head(self) -> bool:
        """Take the head of the next frame, if all of it is here."""
        length_bytes = _LENGTH_BYTES.get(self._rest[1] & 127, 0) if len(self._rest) > 1 else 0
        if len(self._rest) < 2 + length_bytes:
            return False
        opcode, self._left = self._rest[0] & 15, self._rest[1] & 127
        if length_bytes:
            self._left = int.from_bytes(self._rest[2 : 2 + length_bytes], "big")
        del self._rest[: 2 + length_bytes]
        self._is_text = opcode in (_CONTINUATION, _TEXT)
        if opcode == _TEXT:
            self.text, self.size = b"", 0
        return True

    def _read_payload(self) -> None:
        piece = self._rest[: self._left]
        del self._rest[: self._left]
        self._left -= len(piece)
        if self._is_text:
            self.size += len(piece)
            self.text += piece[: KEPT_BYTES - len(self.text)]
            if self.size > self._bytes_max:
                self.too_big = self.text

    def addressee(self) -> Addressee | None:
        """Whom the message is for that is too big, if there is one and that can be read."""
        found = _FOR.match(self.too_big or b"")
        return None if found is None else Addressee(int(found[2]), is_subscription=found[1] is not None)
