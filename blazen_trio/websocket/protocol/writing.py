"""Message to text. Items of a stream are encoded once each; a batch of them is joined of what is encoded already."""

from collections.abc import Iterable
from typing import Final

import msgspec

from blazen_trio.websocket.protocol.messages import Message
from blazen_trio.websocket.protocol.views import ItemView

_encoder: Final = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """A message as UTF-8 text."""
    return _encoder.encode(message)


def encode_item(item: ItemView) -> bytes:
    """One item of a stream, for ``events_message``."""
    return _encoder.encode(item)


def events_message(subscription: int, until: int, items: Iterable[bytes]) -> bytes:
    """An ``Events`` message of items that are encoded already: byte for byte what ``encode`` would write."""
    return b'{"type":"events","subscription":%d,"until":%d,"items":[%b]}' % (subscription, until, b",".join(items))
