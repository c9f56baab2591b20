"""The stream of a run, one event after another, however often the connection is lost in between."""

import contextlib
import weakref
from time import perf_counter

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled

from blazen_trio.core.events import Event
from blazen_trio.core.publication import StreamItem
from blazen_trio.stream import READER_SLICE_S, SubscriptionStatistics
from blazen_trio.websocket.client.desk import Desk
from blazen_trio.websocket.client.feeds import Feed
from blazen_trio.websocket.client.knowledge import Knowledge
from blazen_trio.websocket.client.own_error import own_error
from blazen_trio.websocket.protocol.views import ItemView


class RemoteSubscription(trio.abc.ReceiveChannel[Event]):
    """One reader of a run's stream, for one task at a time; made by ``RemoteRun.stream_events``.

    A receive channel and an asynchronous context manager. It sees each event once and in order; what the server does
    not have any more is one ``StreamGap``. After the run's last event it raises ``trio.EndOfChannel``, once closed
    ``trio.ClosedResourceError``.

    What else ``receive`` raises:

    * the error that the server answered, such as ``RunNotFoundError``;
    * ``PeerError`` when it waited longer than the client's ``patience`` without a connection: the subscription is whole
      and can be received from again; and when the client was closed;
    * ``ProtocolError`` when the server left something out, or told it twice;
    * ``EventDecodeError`` for one event that does not fit its class; the next ``receive`` goes on behind it.
    """

    def __init__(self, desk: Desk, feed: Feed, types: tuple[type[Event], ...] | None, read: "Reading") -> None:
        self._desk = desk
        self._feed = feed
        self._types = types
        self._read = read
        self._is_busy = False
        self._yield_at = 0.0
        token = trio.lowlevel.current_trio_token()
        weakref.finalize(self, _forget_soon, token, desk, feed).atexit = False

    @property
    def position(self) -> int:
        """The number of the last event seen."""
        return self._feed.position

    async def receive(self) -> Event:
        """The next event, or a ``StreamGap``; a checkpoint."""
        return (await self.receive_item()).event

    async def receive_item(self) -> StreamItem:
        """The next event in its envelope; a gap bears the number of the last event missed; a checkpoint."""
        if self._is_busy:
            raise trio.BusyResourceError(
                "this subscription is being read by another task; subscribe once for each reader"
            )
        self._is_busy = True
        try:
            await self._pause()
            while True:
                item = self._read.item(await self._next())
                if self._types is None or isinstance(item.event, self._types):
                    return item
        finally:
            self._is_busy = False

    async def _pause(self) -> None:
        """Let other tasks run if that is due; see ``EventSubscription``."""
        if perf_counter() < self._yield_at:
            await checkpoint_if_cancelled()
        else:
            await checkpoint()
            self._yield_at = perf_counter() + READER_SLICE_S

    async def _next(self) -> ItemView:
        feed = self._feed
        while True:
            if feed.is_closed:
                raise trio.ClosedResourceError
            item = feed.pop()
            if item is not None:
                return item
            if feed.error is not None:
                raise own_error(feed.error, feed.run_id)
            if feed.is_over:
                raise trio.EndOfChannel
            await feed.wait()
            self._yield_at = perf_counter() + READER_SLICE_S

    def statistics(self) -> SubscriptionStatistics:
        """The position, and how far it is behind what has come from the server."""
        feed = self._feed
        behind = feed.received - feed.position
        return SubscriptionStatistics(feed.position, behind, feed.missed, lossless=False, closed=feed.is_closed)

    def envelopes(self) -> "RemoteEnvelopes":
        """A view of this subscription that gives each event as a ``StreamItem``."""
        return RemoteEnvelopes(self)

    def close(self) -> None:
        """Leave the stream; a task that waits in ``receive`` gets ``trio.ClosedResourceError``. Idempotent."""
        self._desk.close(self._feed)

    async def aclose(self) -> None:
        """Leave the stream as ``close`` does, and pass a checkpoint."""
        self.close()
        await checkpoint()


class RemoteEnvelopes(trio.abc.ReceiveChannel[StreamItem]):
    """A subscription that gives each event as a ``StreamItem``; same position, closed together."""

    def __init__(self, subscription: RemoteSubscription) -> None:
        self._subscription = subscription

    async def receive(self) -> StreamItem:
        """The next event in its envelope; a checkpoint."""
        return await self._subscription.receive_item()

    def statistics(self) -> SubscriptionStatistics:
        """The statistics of the subscription."""
        return self._subscription.statistics()

    async def aclose(self) -> None:
        """Close the subscription, and pass a checkpoint."""
        await self._subscription.aclose()


class Reading:
    """How items of one run become events."""

    def __init__(self, knowledge: Knowledge, workflow_name: str) -> None:
        self._knowledge = knowledge
        self._workflow_name = workflow_name

    def item(self, view: ItemView) -> StreamItem:
        """The item; raises ``EventDecodeError``."""
        event = self._knowledge.read(view.event, self._workflow_name)
        return StreamItem(view.seq, view.timestamp, event, view.source_step, view.call_id, view.attempt)


def _forget_soon(token: trio.lowlevel.TrioToken, desk: Desk, feed: Feed) -> None:
    """A subscription was collected: in any thread and at any moment, so the work is left to Trio."""
    with contextlib.suppress(trio.RunFinishedError):
        token.run_sync_soon(desk.close, feed)
