"""``Delivery``: one subscription, which is one task: what is stored, then what its run's feed has, and then the end.

Rules of this file:

* ``position`` is the number up to which the client has been sent everything, or was told that it missed it. Whatever
  comes stands behind it; so nothing is sent twice or left out, also where one source follows another.
* Who stands below the feed's window reads by himself until he is in it. Who falls out of it later gets one gap.
* Not more than ``window`` numbers beyond ``received`` are on their way.
* A send is never cancelled, since half a frame would be the end of the connection: who leaves while one is under way
  leaves behind it.
"""

import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, Protocol

import trio

from blazen_trio.engine import EngineRun
from blazen_trio.parking import Parking
from blazen_trio.websocket.limits import WebsocketLimits
from blazen_trio.websocket.protocol import ErrorView, events_message
from blazen_trio.websocket.protocol.messages import Subscribe
from blazen_trio.websocket.server.feeds import Condition, Feeds, RunFeed, Types
from blazen_trio.websocket.server.interfaces import ConnectionLike
from blazen_trio.websocket.server.shown import ItemWriter, gap_item
from blazen_trio.websocket.server.window import Window
from blazen_trio.websocket.server.window_reader import WindowReader, new_window
from blazen_trio.websocket.server.writing import text_frame

_TELLINGS_PER_WINDOW: Final = 4
"""So often a client learns how far it is while nothing on the way is for it."""


class Source(Protocol):
    """Where a delivery takes from."""

    @property
    def window(self) -> Window:
        """What is there."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether nothing will come behind that."""
        ...

    def next_frame(self, subscription: int, position: int, end: int, types: Types) -> tuple[int, bytes | None]:
        """See ``RunFeed.next_frame``."""
        ...

    async def more(self) -> None:
        """Wait until there may be more; a checkpoint."""
        ...


class CatchUp:
    """What one subscriber reads by himself: a window that goes along with him."""

    def __init__(self, run: EngineRun, position: int, writer: ItemWriter, limits: WebsocketLimits) -> None:
        self.window: Window = new_window(position, limits)
        self._limits = limits
        self._reader = WindowReader(run, self.window, writer, limits)

    @property
    def is_over(self) -> bool:
        """Whether nothing will come behind that."""
        return self._reader.is_over

    def next_frame(self, subscription: int, position: int, end: int, types: Types) -> tuple[int, bytes | None]:
        """See ``RunFeed.next_frame``."""
        end = min(end, self.window.last)
        return self.window.frame(subscription, position, end, types, self._limits.batch_bytes)

    async def more(self) -> None:
        """Read on; a checkpoint."""
        await self._reader.wait()
        self._reader.take_in()

    def close(self) -> None:
        """Read no more."""
        self._reader.close()


class Delivery:
    """One subscription of a connection.

    Attributes:
        id: its name on the connection.
        run_id: whose stream it is.
        told: by run, what this connection was told last of its condition.
        position: see above.
        was_waited_for: see ``RunFeed``.
    """

    def __init__(
        self, request: Subscribe, connection: ConnectionLike, limits: WebsocketLimits, told: dict[str, Condition]
    ) -> None:
        self.id: int = request.id
        self.run_id: str = request.run_id
        self.told: dict[str, Condition] = told
        self._connection = connection
        self._limits = limits
        self._types: Types = None if request.types is None else frozenset(request.types)
        self._window = min(request.window or limits.window, limits.window)
        self.position: int = request.after
        self.was_waited_for: bool = False
        self._sent = self._received = request.after
        self._scope: trio.CancelScope | None = None
        self._credit: Parking | None = None
        self._is_sending = self._is_left = False
        self._gone = trio.Event()

    # --- For the session ----------------------------------------------------------------------------------------------

    def take_received(self, seq: int) -> bool:
        """The client has taken everything up to ``seq``; false if it was not sent that much."""
        if seq > self._sent:
            return False
        self._received = max(self._received, seq)
        if self._credit is not None:
            self._credit.set(None)
        return True

    async def leave(self) -> None:
        """End it, and wait until nothing more of it is sent; a checkpoint."""
        self._is_left = True
        if self._scope is not None and not self._is_sending:
            self._scope.cancel()
        await self._gone.wait()

    def gone(self) -> None:
        """Nothing more of it will be sent."""
        self._gone.set()

    @contextmanager
    def until_left(self) -> Generator[None, None, None]:
        """What is done in this block for it is cancelled when the client leaves."""
        with trio.CancelScope() as self._scope:
            if self._is_left:
                self._scope.cancel()
            yield

    # --- The task -----------------------------------------------------------------------------------------------------

    async def deliver(self, feeds: Feeds, run: EngineRun) -> ErrorView | None:
        """Send everything behind the position until the stream is over; gives why, unless it is the end; a checkpoint.

        Raises:
            StoreError: what is stored cannot be read.
        """
        async with feeds.joined(run, self) as feed:
            if self.position < feed.window.floor:
                await self._catch_up(run, feed)
            while not self._is_at_end(feed):
                await self._go_on(feed, feed)
            await self._tell_position()
            if self._is_news(feed.condition()):
                await self._tell_condition(feed)
            return feed.error

    async def _catch_up(self, run: EngineRun, feed: RunFeed) -> None:
        own = CatchUp(run, self.position, feed.writer, self._limits)
        try:
            while self.position < feed.window.floor and not self._is_at_end(own):
                await self._go_on(own, feed)
        finally:
            own.close()

    def _is_at_end(self, source: Source) -> bool:
        return source.is_over and self.position >= source.window.last

    async def _go_on(self, source: Source, feed: RunFeed) -> None:
        """Do what is to be done next; a checkpoint, unless nothing on the way is for this client."""
        end = self._received + self._window
        if self._is_news(feed.condition()):
            await self._tell_condition(feed)
        elif self.position >= end:
            await self._wait_for_credit()  # and until then it wants nothing more to be read, either
        elif self.position >= source.window.last:
            self.was_waited_for = False
            await source.more()
        elif self.position < source.window.floor:
            await self._send_gap(source.window.floor)
        else:
            await self._send_next(source, end)

    def _is_news(self, condition: Condition) -> bool:
        told = self.told.get(self.run_id)
        return told is not condition and told != condition

    async def _tell_condition(self, feed: RunFeed) -> None:
        self.told[self.run_id] = feed.condition()
        await self._send(feed.run_frame)

    async def _send_next(self, source: Source, end: int) -> None:
        until, ready = source.next_frame(self.id, self.position, end, self._types)
        self.position = until
        if ready is not None:
            self._sent = until
            await self._send(ready)
        elif until >= end or (until - self._sent) * _TELLINGS_PER_WINDOW >= self._window:
            await self._tell_position()

    async def _send_gap(self, floor: int) -> None:
        gap = gap_item(floor, floor - self.position, time.time())
        self.position = self._sent = floor
        await self._send(text_frame(events_message(self.id, floor, [gap])))

    async def _tell_position(self) -> None:
        if self._sent < self.position:
            self._sent = self.position
            await self._send(text_frame(events_message(self.id, self.position, [])))

    async def _wait_for_credit(self) -> None:
        self._credit = Parking()
        try:
            await self._credit.wait()
        finally:
            self._credit = None

    async def undisturbed(self, send: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
        """Send this as a whole, though the client may leave in the meantime; a checkpoint."""
        self._is_sending = True
        try:
            await send(data)
        finally:
            self._is_sending = False
        if self._is_left and self._scope is not None:
            self._scope.cancel()
            await trio.lowlevel.checkpoint()

    async def _send(self, ready: bytes) -> None:
        await self.undisturbed(self._connection.send_frame, ready)
