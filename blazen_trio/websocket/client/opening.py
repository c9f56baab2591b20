"""``open_websocket_client``: the block that a client lives in."""

import math
import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import attrs

from blazen_trio.groups import open_users_nursery
from blazen_trio.websocket.client.client import Client
from blazen_trio.websocket.client.desk import Desk
from blazen_trio.websocket.client.dialling import Address, dialer
from blazen_trio.websocket.client.engine import RemoteEngine
from blazen_trio.websocket.client.feeds import WINDOW
from blazen_trio.websocket.client.knowledge import Knowledge
from blazen_trio.websocket.client.link import Link
from blazen_trio.websocket.client.wire import Hello
from blazen_trio.workflow import Workflow

PATIENCE_S: Final = 30.0
"""So long does whoever wants something wait for a connection."""

MESSAGE_BYTES: Final = 64 * 1024**2
"""So big may a message of the server be: results and snapshots are single messages."""


def open_websocket_client(
    url: str,
    *,
    token: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    workflows: Iterable[Workflow] = (),
    patience: float = PATIENCE_S,
    window: int = WINDOW,
    message_bytes: int = MESSAGE_BYTES,
) -> AbstractAsyncContextManager[RemoteEngine]:
    """The engine of a server, as an async context manager.

    The first connection is made when the block is entered, and must succeed. One that is lost later is made anew, for
    ever, after pauses that grow to ten seconds; subscriptions go on where they were, and requests that do no harm
    twice are made again. Leaving the block ends all that is under way with ``PeerError``, says goodbye, and waits at
    most two seconds for the server to do the same.

    Args:
        url: ``ws://HOST:PORT`` or ``wss://HOST:PORT``.
        token: what the server wants to see; it travels as a header. Over ``ws://`` others can read it on the way.
        ssl_context: for ``wss://``; by default ``ssl.create_default_context()``.
        workflows: those whose event classes shall be known here. Events of other classes arrive as ``DynamicEvent``,
            and a result of another class is an ``EventDecodeError``.
        patience: seconds for which whoever wants something waits for a connection; then it is a ``PeerError``.
        window: events of one subscription that may be queued here while nobody takes them.
        message_bytes: so big may a message of the server be. A bigger one ends whom it was for with ``ProtocolError``;
            the connection is made anew, and all else goes on.

    Raises:
        PeerError: there is no connection; it says why and what to do.
        TypeError: an argument is of the wrong kind.
        ValueError: a bad URL, token or number, or two workflows of one name.
    """
    address = Address.of(url)
    _check_token(token)
    _check_numbers(patience, window, message_bytes)
    options = Options(url, patience, window, Knowledge(workflows))
    hello = Hello(dialer(address, ssl_context), address, token, message_bytes)
    return connected(options, hello)


@attrs.frozen
class Options:
    """What a client is told that its connections need not know."""

    url: str
    patience: float
    window: int
    knowledge: Knowledge


@asynccontextmanager
async def connected(options: Options, hello: Hello) -> AsyncGenerator[RemoteEngine, None]:
    """The client's block: everything that it starts lives in here."""
    desk = Desk(options.url, options.patience)
    link = Link(hello, desk)
    client = Client(options.url, link, options.knowledge, options.window)
    desk.on_run = client.note_view
    async with open_users_nursery() as nursery:
        nursery.start_soon(link.run)
        await link.wait_open()
        nursery.start_soon(desk.lose_patience)
        try:
            yield RemoteEngine(client)
        finally:
            await link.close()  # noqa: ASYNC102 - it shields what must be done, with a deadline
            nursery.cancel_scope.cancel()


# --- Arguments --------------------------------------------------------------------------------------------------------


def _check_token(token: object) -> None:
    if token is None:
        return
    if not isinstance(token, str):
        raise TypeError(f"token= is a text, not {type(token).__name__}")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("token= must be of printable ASCII characters without spaces")


def _check_numbers(patience: object, window: object, message_bytes: object) -> None:
    if not isinstance(patience, int | float) or isinstance(patience, bool):
        raise TypeError(f"patience= is a number of seconds, not {patience!r:.60}")
    if not patience > 0 or math.isnan(patience):
        raise ValueError(f"patience= must be more than 0 seconds, not {patience!r}")
    for name, value in (("window", window), ("message_bytes", message_bytes)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name}= is a whole number, not {value!r:.60}")
        if value < 1:
            raise ValueError(f"{name}= must be at least 1, not {value}")
