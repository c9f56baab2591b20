"""A stretch of a run's stream, encoded: without holes, and bounded in events and in bytes.

* It holds the items with the numbers from ``floor + 1`` to ``last``. What comes in behind a hole begins it anew: what
  it held stands in front of the hole, and whoever has not taken it yet misses it together with the hole.
* It never forgets the item that was added last, however big that is.
"""

from typing import Final

import msgspec

from blazen_trio.websocket.protocol import events_message
from blazen_trio.websocket.server.writing import text_frame

_KEPT_EIGHTHS: Final = 7
"""When it is full it is cut down to so many eighths at once, so that cutting costs nothing per item."""


class EncodedItem(msgspec.Struct, gc=False):
    """One item: its number, the wire names that it goes by, its text, and whether it stands for what is missing."""

    seq: int
    names: frozenset[str]
    data: bytes
    is_gap: bool = False


class Window:
    """Encoded items behind number ``start``.

    Attributes:
        floor: the number in front of the first item.
        last: the number of the last item.
    """

    def __init__(self, start: int, *, events_max: int, bytes_max: int) -> None:
        self.floor: int = start
        self.last: int = start
        self.bytes: int = 0
        self._items: list[EncodedItem] = []
        self._events_max = events_max
        self._bytes_max = bytes_max

    def add(self, item: EncodedItem) -> None:
        """Take in the next item, or a gap."""
        if item.is_gap:
            self._begin_behind(item.seq)
            return
        if item.seq != self.last + 1:
            self._begin_behind(item.seq - 1)
        self._items.append(item)
        self.last = item.seq
        self.bytes += len(item.data)
        if len(self._items) > self._events_max or self.bytes > self._bytes_max:
            self._cut()

    def take(self, position: int, end: int, types: frozenset[str] | None, bytes_max: int) -> tuple[int, list[bytes]]:
        """The texts of the items behind ``position``, which is in the window, up to ``end``, and where that leads to.

        Of other types none; not more than ``bytes_max`` bytes, but always one.
        """
        texts, size = list[bytes](), 0
        for item in self._items[position - self.floor : end - self.floor]:
            if types is None or not types.isdisjoint(item.names):
                size += len(item.data)
                if texts and size > bytes_max:
                    return item.seq - 1, texts
                texts.append(item.data)
        return end, texts

    def frame(
        self, subscription: int, position: int, end: int, types: frozenset[str] | None, bytes_max: int
    ) -> tuple[int, bytes | None]:
        """What ``take`` gives, as a subscription's frame; ``None``: there is nothing for it on the way."""
        until, texts = self.take(position, end, types, bytes_max)
        return until, text_frame(events_message(subscription, until, texts)) if texts else None

    def __len__(self) -> int:
        return len(self._items)

    def _begin_behind(self, seq: int) -> None:
        self._items.clear()
        self.floor = self.last = seq
        self.bytes = 0

    def _cut(self) -> None:
        events_kept = self._events_max * _KEPT_EIGHTHS // 8
        bytes_kept = self._bytes_max * _KEPT_EIGHTHS // 8
        cut = 0
        while cut < len(self._items) - 1 and (len(self._items) - cut > events_kept or self.bytes > bytes_kept):
            self.bytes -= len(self._items[cut].data)
            cut += 1
        del self._items[:cut]
        self.floor += cut
