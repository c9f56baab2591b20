"""``open_websocket_server``: listeners, the block they live in, and its end.

* Options that would open the engine to strangers are refused before a socket is.
* An error of accept never ends the server: it is logged, and tried again.
* Leaving the block: no more connections, 1001 to all, ``limits.close`` for their answers, then the sockets are closed.
"""

import logging
import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import trio

from blazen_trio.engine import Engine
from blazen_trio.groups import open_users_nursery
from blazen_trio.step_registry import StepRegistry
from blazen_trio.websocket.limits import WebsocketLimits
from blazen_trio.websocket.server.access import PORT_MAX, Doorkeeper, is_loopback, read_hosts, read_origins, read_token
from blazen_trio.websocket.server.interfaces import Authorize
from blazen_trio.websocket.server.server import ServerOptions, WebsocketServer
from blazen_trio.websocket.server.session import Session

ACCEPT_PAUSE_S: Final = 0.1
"""Before accept is tried again: out of file descriptors, it fails at once until somebody closes one."""

LOG_EVERY: Final = 100
"""Failures of accept in a row that get one line: one in ten seconds."""

BACKLOG: Final = 1_024
"""Connections that may wait to be accepted: 1,000 clients come back at once after a restart."""

PORT_ATTEMPTS: Final = 20

logger: Final = logging.getLogger("blazen_trio")


def open_websocket_server(
    engine: Engine,
    host: str | None = "127.0.0.1",
    port: int = 8765,
    *,
    token: str | None = None,
    authorize: Authorize | None = None,
    origins: Iterable[str] = (),
    hosts: Iterable[str] = (),
    ssl_context: ssl.SSLContext | None = None,
    limits: WebsocketLimits = WebsocketLimits(),
    registry: StepRegistry | None = None,
) -> AbstractAsyncContextManager[WebsocketServer]:
    """A websocket server of an engine, as an async context manager. It also serves the console page.

    Entering is a checkpoint. Leaving the block, too: it closes all connections, with the code 1001, in at most
    ``limits.close`` seconds and a little.

    Args:
        engine: whose runs it shows.
        host: that it is bound to: an address or a name. ``None`` means all of this machine's addresses.
        port: 0 takes a free one; it is the server's ``port``.
        token: what clients must show.
        authorize: asked before each request, with an ``Access``; a false answer refuses it.
        origins: of pages from elsewhere whose scripts may connect, like ``https://example.com``.
        hosts: names under which the server is reached, beside loopback names, ``host`` and addresses.
        ssl_context: makes it speak TLS.
        limits: what one client may take.
        registry: steps that peers may build workflows of.

    Raises:
        OSError: on entering: the port is taken, or the host is not one of this machine.
        TypeError: at once: an option is something else.
        ValueError: at once: an option is wrong, or would let strangers in.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= PORT_MAX:
        raise ValueError(f"port= must be a whole number from 0, which takes any free one, to {PORT_MAX}, not {port!r}")
    if not is_loopback(host) and token is None and authorize is None:
        raise ValueError(
            f"a server on {host!r} can be reached from other machines: give it a token= or authorize=, "
            'or bind it to "127.0.0.1"'
        )
    doorkeeper = Doorkeeper(
        host=host,
        token=read_token(token),
        origins=read_origins(origins),
        hosts=read_hosts(hosts),
        is_open=token is None and authorize is None,
    )
    options = ServerOptions(limits=limits, authorize=authorize, registry=registry)
    return _open_server(WebsocketServer(engine, doorkeeper, Session, options), host, port, ssl_context)


@asynccontextmanager
async def _open_server(
    server: WebsocketServer, host: str | None, port: int, ssl_context: ssl.SSLContext | None
) -> AsyncGenerator[WebsocketServer, None]:
    if server.registry is not None:
        server.engine.made.use(server.registry)  # so that runs of before go on, too
    async with open_reception(server, host, port, ssl_context):
        yield server


@asynccontextmanager
async def open_reception(
    server: WebsocketServer, host: str | None, port: int, ssl_context: ssl.SSLContext | None = None
) -> AsyncGenerator[None, None]:
    """Listen for a server, as long as the block lasts."""
    sockets = await _open_listeners(host, port)
    server.addresses = [each.socket.getsockname()[:2] for each in sockets]
    listeners = [PatientListener(_tls(each, ssl_context)) for each in sockets]
    async with open_users_nursery() as nursery:
        server.feeds.nursery = nursery
        listening = trio.CancelScope()
        nursery.start_soon(server.keep_alive, name="websocket server: keep-alive")
        nursery.start_soon(_listen, server, listeners, nursery, listening, name="websocket server: accept")
        try:
            yield
        finally:
            listening.cancel()
            with trio.CancelScope(shield=True):  # each connection has a deadline
                await _close(server)
            nursery.cancel_scope.cancel()


async def _listen(
    server: WebsocketServer, listeners: "list[PatientListener]", nursery: trio.Nursery, scope: trio.CancelScope
) -> None:
    with scope:
        await trio.serve_listeners(server.serve, listeners, handler_nursery=nursery)


async def _close(server: WebsocketServer) -> None:
    server.close_all()
    with trio.move_on_after(server.limits.close):
        await server.wait_empty()


# --- Listeners --------------------------------------------------------------------------------------------------------


class PatientListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose accept does not fail: what is wrong with one connection, or for a while, passes."""

    def __init__(self, listener: trio.abc.Listener[Any]) -> None:
        self._listener = listener

    async def accept(self) -> trio.abc.Stream:
        """The next connection; a checkpoint."""
        failures = 0
        while True:
            try:
                stream: trio.abc.Stream = await self._listener.accept()
            except OSError as error:
                if not failures % LOG_EVERY:
                    logger.warning("websocket: accept failed, and is tried again: %s", error)
                failures += 1
                await trio.sleep(ACCEPT_PAUSE_S)
            else:
                return stream

    async def aclose(self) -> None:
        """Stop listening; a checkpoint."""
        await self._listener.aclose()


def _tls(listener: trio.SocketListener, ssl_context: ssl.SSLContext | None) -> trio.abc.Listener[Any]:
    return listener if ssl_context is None else trio.SSLListener(listener, ssl_context, https_compatible=True)


async def _open_listeners(host: str | None, port: int) -> list[trio.SocketListener]:
    """The listeners of a host, all on one port, also if any port will do."""
    for _ in range(PORT_ATTEMPTS):
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        ports = [each.socket.getsockname()[1] for each in listeners]
        if len(set(ports)) == 1:
            return listeners
        for each in listeners:
            await each.aclose()
        try:  # the port that is free for one of the addresses may be so for the others
            return await trio.open_tcp_listeners(ports[0], host=host, backlog=BACKLOG)
        except OSError:
            continue
    raise OSError(f"no port is free on all addresses of {host!r}")
