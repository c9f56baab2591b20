"""Reading a run's stream into a window, so much at once that nobody who stands at its end falls out of it."""

from collections import deque

import trio

from blazen_trio.core.publication import Publication
from blazen_trio.engine import EngineRun
from blazen_trio.websocket.limits import WebsocketLimits
from blazen_trio.websocket.server.shown import ItemWriter
from blazen_trio.websocket.server.window import Window


def new_window(start: int, limits: WebsocketLimits) -> Window:
    """An empty window as wide as it may be."""
    return Window(start, events_max=limits.window, bytes_max=limits.window_bytes)


class WindowReader:
    """Reads what comes behind a window into it.

    Attributes:
        is_over: that was the last.
    """

    def __init__(self, run: EngineRun, window: Window, writer: ItemWriter, limits: WebsocketLimits) -> None:
        self.is_over: bool = False
        self._run = run
        self._events = run.stream_events(window.last)
        self._window = window
        self._writer = writer
        self._count = max(1, min(limits.batch_events, limits.window // 4))
        self._bytes = max(1, limits.window_bytes // 4)
        self._unread: deque[Publication] = deque()

    async def wait(self) -> None:
        """Wait until there is something to take in, or the stream is over; a checkpoint.

        Raises:
            RunNotFoundError: the run was deleted.
            StoreError: it cannot be read any more.
        """
        if self._unread:
            await trio.lowlevel.checkpoint()
            return
        try:
            records = await self._events.receive_records(self._count)
            if not self._run.is_held:  # what was read may be of another one that has the id since this was deleted
                await self._run.info()
            self._unread += records
        except trio.EndOfChannel:
            self.is_over = True

    def take_in(self) -> None:
        """Encode what is there, up to a quarter of a window. Raises ``EncodeError``."""
        room = self._bytes
        while self._unread and room > 0:
            item = self._writer.write(self._unread.popleft())
            self._window.add(item)
            room -= len(item.data)

    def close(self) -> None:
        """Read no more."""
        self._events.close()
