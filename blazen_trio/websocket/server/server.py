"""``WebsocketServer``: what all connections share, and each connection's fence.

* ``serve`` is the whole life of one accepted stream: head, then a page or a websocket. No exception leaves it but
  ``Cancelled`` and what ends the program.
* What a fence stops is logged: a line each, but no more than one in a second.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import attrs
import trio
from wsproto.frame_protocol import CloseReason

from blazen_trio.engine import Engine
from blazen_trio.groups import is_passing, leaves, split_cancelled
from blazen_trio.step_registry import StepRegistry
from blazen_trio.websocket.limits import WebsocketLimits
from blazen_trio.websocket.server.access import Doorkeeper, is_upgrade
from blazen_trio.websocket.server.connection import Connection, SessionLike
from blazen_trio.websocket.server.feeds import Feeds
from blazen_trio.websocket.server.guard import RECEIVE_BYTES, Traffic, send_in_time
from blazen_trio.websocket.server.head import Head, HeadReader, RefusedError
from blazen_trio.websocket.server.interfaces import Authorize
from blazen_trio.websocket.server.metrics import exposition
from blazen_trio.websocket.server.pages import page_answer

LOG_PAUSE_S: Final = 1.0

TICKS: Final = 10
"""How often keep-alive looks in the time it may take: it is late by a tenth at most."""

_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

_LATER: Final = (("Retry-After", "10"),)

logger: Final = logging.getLogger("blazen_trio")


@attrs.frozen(kw_only=True)
class ServerOptions:
    """The options of ``open_websocket_server`` that are the server's own; it documents them."""

    limits: WebsocketLimits = attrs.field(
        default=WebsocketLimits(), validator=attrs.validators.instance_of(WebsocketLimits)
    )
    authorize: Authorize | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.is_callable())
    )
    registry: StepRegistry | None = None


class WebsocketServer:
    """A server of one engine. Made by ``open_websocket_server``; it lives in that block.

    Attributes:
        engine: whose runs it shows.
        authorize: asked before each request, if there is one.
        limits: what one client may take.
        registry: steps that peers may build workflows of.
        feeds: the streams that clients read now.
        addresses: hosts and ports that it listens on.
        faults: messages that made no sense; sessions count them.
        subscriptions: open ones; sessions count them.
        connections: those that are open, by their numbers.
    """

    def __init__(
        self,
        engine: Engine,
        doorkeeper: Doorkeeper,
        new_session: Callable[["WebsocketServer", Connection], SessionLike],
        options: ServerOptions,
    ) -> None:
        self.engine: Engine = engine
        self.authorize: Authorize | None = options.authorize
        self.limits: WebsocketLimits = options.limits
        self.registry: StepRegistry | None = options.registry
        self.feeds: Feeds = Feeds(options.limits)
        self.addresses: list[tuple[str, int]] = []
        self.faults: int = 0
        self.subscriptions: int = 0
        self.connections: dict[int, Connection] = {}
        self._new_session = new_session
        self._emptied = trio.Event()
        self._doorkeeper = doorkeeper
        self._traffic = Traffic()
        self._total = 0
        self._streams = 0
        self._errors = 0
        self._refused: Counter[str] = Counter()
        self._closed: Counter[int] = Counter()
        self._logged_at = -math.inf
        self._is_leaving = False

    @property
    def node_id(self) -> str:
        """That of the engine: another one each time it is opened."""
        return self.engine.node_id

    @property
    def port(self) -> int:
        """The port of all addresses that it listens on."""
        return self.addresses[0][1]

    def statistics(self) -> dict[str, Any]:
        """What is there now, and what there was since the opening, as plain data."""
        return {
            "connections": len(self.connections),
            "connections_total": self._total,
            "streams": self._streams,
            "subscriptions": self.subscriptions,
            "messages_in": self._traffic.messages_in,
            "messages_out": self._traffic.messages_out,
            "bytes_in": self._traffic.bytes_in,
            "bytes_out": self._traffic.bytes_out,
            **self.feeds.statistics(),
            "faults": self.faults,
            "errors": self._errors,
            "refused": dict(self._refused),
            "closed": {str(code): count for code, count in self._closed.items()},
        }

    def metrics(self) -> str:
        """The same of server and engine, as Prometheus reads it."""
        return exposition("websocket", self.statistics()) + exposition("engine", self.engine.statistics())

    # --- One stream ---------------------------------------------------------------------------------------------------

    async def serve(self, stream: trio.abc.Stream) -> None:
        """The life of one accepted stream, in its fence; a checkpoint."""
        self._streams += 1
        try:
            await self._serve(stream)
        except BaseException as error:  # noqa: ASYNC103, BLE001 - a fence: what may pass is raised again
            self._stop_at_fence(error)
        finally:
            self._streams -= 1
            await trio.aclose_forcefully(stream)

    def _stop_at_fence(self, error: BaseException) -> None:
        """Log what went wrong in one connection; let pass what is not its own."""
        cancelled, rest = split_cancelled(error)
        if rest is not None and (any(is_passing(each) for each in leaves(rest)) or not isinstance(rest, Exception)):
            raise error
        if rest is not None:
            self._report(rest)
        if cancelled is not None:
            raise cancelled

    def _report(self, error: BaseException) -> None:
        self._errors += 1
        now = trio.current_time()
        if now - self._logged_at >= LOG_PAUSE_S:
            self._logged_at = now
            logger.error("websocket: an error ended one connection (error %d)", self._errors, exc_info=error)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self._streams > self.limits.connections:
            await self._turn_away(stream)
            return
        request: Connection | bytes | None = None
        with trio.move_on_after(self.limits.handshake) as scope:
            request = await self._read_request(stream)
        if isinstance(request, Connection):
            await self._carry(request)
        elif request is not None:
            await _answer(stream, request, self.limits)
        else:
            self._refused["timeout" if scope.cancelled_caught else "left"] += 1

    async def _read_request(self, stream: trio.abc.Stream) -> Connection | bytes | None:
        """What a stream asks for: a websocket, or the page that it gets; ``None``: nothing, it left."""
        try:
            if (head := await self._read_head(stream)) is None:
                return None
            if not is_upgrade(head):
                return page_answer(head, self._doorkeeper, self.metrics)
            admission = self._doorkeeper.admit(head)
            self._check_staying()
        except RefusedError as refusal:
            self._refused[str(int(refusal.status))] += 1
            return refusal.answer
        self._total += 1
        return Connection(self._total, stream, head, admission, self.limits)

    def _check_staying(self) -> None:
        """One who is let in now would be told of the end by nobody."""
        if self._is_leaving:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the server is going away", _LATER)

    async def _read_head(self, stream: trio.abc.Stream) -> Head | None:
        reader = HeadReader(self.limits.head_bytes)
        with suppress(*_GONE):
            if isinstance(stream, trio.SSLStream):
                await stream.do_handshake()
            while data := await stream.receive_some(RECEIVE_BYTES):
                if (head := reader.feed(bytes(data))) is not None:
                    return head
        return None

    async def _carry(self, connection: Connection) -> None:
        self.connections[connection.number] = connection
        try:
            await connection.live(partial(self._new_session, self), self._traffic)
        finally:
            del self.connections[connection.number]
            self._closed[connection.closed or 0] += 1
            if not self.connections:
                self._emptied.set()

    async def _turn_away(self, stream: trio.abc.Stream) -> None:
        """One too many: it costs nothing more than this. A client that wants TLS hears nothing."""
        self._refused[str(int(HTTPStatus.SERVICE_UNAVAILABLE))] += 1
        if not isinstance(stream, trio.SSLStream):
            refusal = RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections", _LATER)
            with trio.move_on_after(self.limits.close), suppress(*_GONE):
                await stream.send_all(refusal.answer)

    # --- All connections ----------------------------------------------------------------------------------------------

    async def keep_alive(self) -> None:
        """Look after silent connections, for ever: one task for all of them; a checkpoint."""
        while True:
            await trio.sleep(min(self.limits.ping, self.limits.pong) / TICKS)
            now = trio.current_time()
            for connection in list(self.connections.values()):
                connection.keep_alive(now)

    def close_all(self) -> None:
        """Begin to close all connections, and let nobody in any more: the server goes away."""
        self._is_leaving = True
        for connection in list(self.connections.values()):
            connection.close_soon(CloseReason.GOING_AWAY, "the server is going away")

    async def wait_empty(self) -> None:
        """Wait until there are no connections; a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.connections:
            self._emptied = trio.Event()
            await self._emptied.wait()


async def _answer(stream: trio.abc.Stream, answer: bytes, limits: WebsocketLimits) -> None:
    """Answer, then wait until the client has read it: a socket closed over unread bytes takes the answer back."""
    with suppress(*_GONE):
        await send_in_time(stream, answer, limits.send)
        if isinstance(stream, trio.SocketStream):
            await stream.send_eof()
        with trio.move_on_after(limits.close):
            while await stream.receive_some(RECEIVE_BYTES):
                pass
