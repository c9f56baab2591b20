"""Clients over streams of any kind: what ``dial`` gives."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from blazen_trio.websocket import RemoteEngine
from blazen_trio.websocket.client.dialling import Address, Dial
from blazen_trio.websocket.client.feeds import WINDOW
from blazen_trio.websocket.client.knowledge import Knowledge
from blazen_trio.websocket.client.opening import MESSAGE_BYTES, PATIENCE_S, Options, connected
from blazen_trio.websocket.client.wire import Hello


def dialled(dial: Dial, url: str = "ws://server", **options: Any) -> AbstractAsyncContextManager[RemoteEngine]:
    """A client with the options of ``open_websocket_client``, which it does not check."""
    known = Knowledge(options.pop("workflows", ()))
    hello = Hello(dial, Address.of(url), options.pop("token", None), options.pop("message_bytes", MESSAGE_BYTES))
    return connected(Options(url, **{"patience": PATIENCE_S, "window": WINDOW, **options}, knowledge=known), hello)
