"""``Connection``: one accepted websocket, from the handshake to the close; what it carries is its ``Session``'s.

* Two tasks live as long as it does: the library's reader, and the one that gives messages to the session. The
  session's own tasks stand beside them. Whatever one of them raises ends this connection and nothing else.
* It is closed once, for the first reason that there is: by ``close_soon``, whoever calls it. Then the frame under way
  is finished, the close frame goes out, all tasks end, the client has the rest of ``limits.close`` to answer, and the
  socket is closed, whatever it did.
"""

import contextlib
import math
import sys
from collections.abc import Callable, Mapping
from typing import Final, Protocol, cast

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.frame_protocol import CloseReason

from blazen_trio.websocket.limits import WebsocketLimits
from blazen_trio.websocket.server.access import Admission
from blazen_trio.websocket.server.guard import GuardedStream, Traffic
from blazen_trio.websocket.server.head import Head
from blazen_trio.websocket.server.writing import PING, text_frame

_QUIET: Final = (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed)


class SessionLike(Protocol):
    """What a connection carries."""

    async def open(self) -> None:
        """Called once, when the websocket is accepted; a checkpoint."""
        ...

    async def receive(self, text: str) -> None:
        """A whole message came; a checkpoint that waits no longer than for a send."""
        ...

    def close(self) -> None:
        """The connection is over; its tasks have ended."""
        ...


class Connection:
    """An accepted websocket.

    Attributes:
        number: which one it is of its server, from 1.
        remote: the address and port of the client.
        head: the request that it began with.
        version: of the protocol that is spoken.
        bearer: the token it showed, whichever.
        headers: of its handshake, names in lower case; of several of one name the last.
        nursery: the session's tasks; it lives as long as the connection.
        limits: of the server.
        closed: the close code, once it is closing; 1006: there was none.
    """

    def __init__(
        self, number: int, stream: trio.abc.Stream, head: Head, admission: Admission, limits: WebsocketLimits
    ) -> None:
        self.number: int = number
        self.remote: str = remote_of(stream)
        self.head: Head = head
        self.version: str = admission.version
        self.bearer: str | None = admission.bearer
        self.headers: Mapping[str, str] = dict(head.headers)
        self.nursery: trio.Nursery
        self.limits: WebsocketLimits = limits
        self.closed: int | None = None
        self._stream = stream
        self._guard: GuardedStream
        self._websocket: WebSocketConnection | None = None
        self._reason = ""
        self._close_by = -math.inf
        self._pinged_at: float | None = None

    # --- For the session ----------------------------------------------------------------------------------------------

    async def send(self, payload: bytes) -> None:
        """Send one text message of any size. It is a checkpoint only now and then.

        Raises:
            BrokenResourceError: the connection is gone, or closing.
        """
        await self._guard.send_frame(text_frame(payload))

    async def send_frame(self, data: bytes) -> None:
        """Send a frame that ``text_frame`` made: one for many clients. It is a checkpoint only now and then.

        Raises:
            BrokenResourceError: the connection is gone, or closing.
        """
        await self._guard.send_frame(data)

    def close_soon(self, code: int, reason: str) -> None:
        """Begin to close; the first call decides how."""
        if self.closed is None:
            self.closed, self._reason = code, reason
            self._close_by = trio.current_time() + self.limits.close
            self._guard.is_closing = True
            self.nursery.start_soon(self._say_farewell, name=f"websocket {self.number}: closing")

    # --- Its life -----------------------------------------------------------------------------------------------------

    async def live(self, open_session: Callable[["Connection"], SessionLike], traffic: Traffic) -> None:
        """Accept the websocket, carry the session, close; a checkpoint.

        What the session raises comes out, unless it only says that the connection is over.
        """
        self._guard = GuardedStream(self._stream, _library_head(self.head, self.version), self.limits, traffic, self)
        session: SessionLike | None = None
        try:
            async with trio.open_nursery() as self.nursery:
                websocket = await self._accept()
                session = open_session(self)
                await self._converse(websocket, session)
                if self.closed is None:  # else the frame under way is finished first
                    self.nursery.cancel_scope.cancel()
        except BaseException as error:  # noqa: ASYNC103, BLE001 - only the echo of its own end is dropped
            if (foreign := self._without_echo(error)) is not None:
                self._fail()
                raise foreign from None  # noqa: ASYNC104 - what was raised, without the echo
        finally:
            try:
                if session is not None:
                    session.close()
            finally:
                with trio.CancelScope(shield=True, deadline=self._close_by):
                    await self._part()

    async def _accept(self) -> WebSocketConnection:
        with trio.move_on_after(self.limits.handshake):
            request = await wrap_server_stream(
                self.nursery, self._guard, message_queue_size=sys.maxsize, max_message_size=self.limits.message_bytes
            )
            self._websocket = await request.accept(subprotocol=self.version)
            return self._websocket
        self.gone()
        raise trio.BrokenResourceError("the client did not take the answer to its handshake in time")

    async def _converse(self, websocket: WebSocketConnection, session: SessionLike) -> None:
        """Give each message to the session until there is no more."""
        await session.open()
        while True:
            try:
                text = await websocket.get_message()
            except ConnectionClosed:
                self.websocket_done()
                return
            self._guard.take(str(text))
            await session.receive(str(text))

    def keep_alive(self, now: float) -> None:
        """Ask a silent client whether it lives; end the connection of one that did not answer."""
        if self.closed is not None:
            return
        heard_at = self._guard.heard_at
        if self._pinged_at is not None and heard_at < self._pinged_at:
            if now - self._pinged_at >= self.limits.pong:
                self.close_soon(CloseReason.INTERNAL_ERROR, "no answer to a ping")
        elif now - heard_at >= self.limits.ping:
            self._pinged_at = math.inf  # the answer is due from when it is written
            self.nursery.start_soon(self._ping, name=f"websocket {self.number}: ping")

    async def _ping(self) -> None:
        try:
            await self._guard.send_frame(PING)
        except trio.BrokenResourceError:  # the connection ends as it is
            return
        self._pinged_at = trio.current_time()

    # --- Its end ------------------------------------------------------------------------------------------------------

    def websocket_done(self) -> None:
        """The library closes, since the client did, or sent text that is not UTF-8 or a bad close frame."""
        closed = None if self._websocket is None else self._websocket.closed
        if closed is not None:
            self.close_soon(closed.code, closed.reason or "")

    def gone(self) -> None:
        """The guard: the client is gone, or nothing can be sent to it any more."""
        self.closed = self.closed or CloseReason.ABNORMAL_CLOSURE
        self.nursery.cancel_scope.cancel()

    async def _say_farewell(self) -> None:
        with trio.move_on_at(self._close_by):  # noqa: ASYNC912 - what raises is broken, and at once
            with contextlib.suppress(trio.BrokenResourceError):
                await self._guard.send_farewell(self.closed or CloseReason.NORMAL_CLOSURE, self._reason)
        self.nursery.cancel_scope.cancel()

    def _fail(self) -> None:
        """A bug, ours or the library's, ends the connection, or somebody cancelled it."""
        if self.closed is None and trio.current_effective_deadline() > -math.inf:
            self.closed, self._reason = CloseReason.INTERNAL_ERROR, "internal error"
            self._close_by = trio.current_time() + self.limits.close

    def _without_echo(self, error: BaseException) -> BaseException | None:
        """What was raised, but for errors that say no more than that the connection is over, if it is."""
        if self.closed is None and not self._guard.has_peer_gone:
            return error
        if isinstance(error, BaseExceptionGroup):
            return cast("BaseExceptionGroup[BaseException]", error).split(_QUIET)[1]
        return None if isinstance(error, _QUIET) else error

    async def _part(self) -> None:
        """The close frame if none went out, and the client's answer, as far as there is time and anybody there."""
        guard = self._guard
        if self.closed is None:
            self.closed = CloseReason.ABNORMAL_CLOSURE
        if guard.is_broken or guard.has_peer_gone or self.closed == CloseReason.ABNORMAL_CLOSURE:
            return
        try:
            await guard.send_farewell(self.closed, self._reason)
            await guard.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


def remote_of(stream: trio.abc.Stream) -> str:
    """Who is at the other end of a stream."""
    if isinstance(stream, trio.SSLStream):
        return remote_of(cast("trio.SSLStream[trio.SocketStream]", stream).transport_stream)
    if not isinstance(stream, trio.SocketStream):
        return "memory"
    try:
        host, port, *_ = stream.socket.getpeername()
    except OSError:  # gone already
        return "unknown"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _library_head(head: Head, version: str) -> bytes:
    """The request as the library gets it: written anew, so that no byte of a client's request reaches it unread."""
    lines = [
        "GET / HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {head.one('sec-websocket-key')}",
        f"Sec-WebSocket-Protocol: {version}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")
