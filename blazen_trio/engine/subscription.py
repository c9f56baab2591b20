"""The stream of an engine's run: what is stored of it, and then what comes, wherever the run is.

Rules of this file:

* Items are read by number, so nothing is seen twice or left out, whether they come from the store, from the run in
  memory, or from the store again after another engine took the run over.
* What is stored no more is one ``StreamGap``.
* Of the run in memory only its items count; what it has no more is in the store, which alone knows of gaps.
* A run that is in memory is followed there; one of another engine is asked for in the store now and then.
"""

import copy
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import checkpoint

from blazen_trio.core.errors import StoreError
from blazen_trio.core.events import Event
from blazen_trio.core.publication import MissedEvents, Publication, StreamItem
from blazen_trio.durable.items import ItemCodec
from blazen_trio.engine.holding import HeldRun
from blazen_trio.stream import (
    IN_USE,
    EventSubscription,
    EventTypes,
    SubscriptionStatistics,
    checked_position,
    checked_types,
)

if TYPE_CHECKING:
    from blazen_trio.engine.engine import Engine
    from blazen_trio.engine.handle import EngineRun

POLL_S: Final = 0.25
"""How often the store is asked about a run that another engine holds."""

PAGE: Final = 500
"""Items read from the store at once."""


class EngineSubscription(trio.abc.ReceiveChannel[Event]):
    """One reader of a run's stream, for one task at a time; made by ``EngineRun.stream_events``."""

    def __init__(
        self, engine: "Engine", run: "EngineRun", after: int, types: EventTypes | None, *, lossless: bool
    ) -> None:
        self._engine = engine
        self._run = run
        self._codec = ItemCodec(run.workflow)
        self._types = checked_types(types)
        self._lossless = lossless
        self._items: deque[StreamItem] = deque()
        self._live: EventSubscription | None = None
        self._is_closed = self._is_used = False
        self._missed = 0
        self.position: int = checked_position(after)
        held = engine.held.get(run.run_id)
        if held is not None and held.runner is not None:
            self._follow(held)
        elif held is not None:  # it is about to come into memory: then nothing of it is missed
            held.readers = [*(held.readers or ()), lambda: self._follow(held)]

    async def receive(self) -> Event:
        """The next event, or a ``StreamGap``; a checkpoint."""
        return (await self.receive_item()).event

    async def receive_item(self) -> StreamItem:
        """The next event in its envelope; a gap bears the number of the last event missed; a checkpoint."""
        return (await self._receive_record()).envelope()

    async def _receive_record(self) -> Publication:
        if self._is_used:
            raise trio.BusyResourceError(IN_USE)
        self._is_used = True
        try:
            while True:
                record = await self._next()
                self.position = record.seq
                if self._types is None or isinstance(record.event, self._types):
                    return record
        finally:
            self._is_used = False

    async def receive_records(self, count: int) -> list[Publication]:
        """The records of the next events: what is there, from one to ``count``; a checkpoint.

        Much cheaper for each than one by one.
        """
        records = [await self._receive_record()]
        for record in self._ready(count - 1):
            self.position = record.seq
            if self._types is None or isinstance(record.event, self._types):
                records.append(record)
        return records

    def _ready(self, count: int) -> Iterable[Publication]:
        """At most so many records behind this position that need not be waited for."""
        if self._items:
            return [self._items.popleft() for _ in range(min(count, len(self._items)))]
        if count < 1 or self._live is None or self._live.dropped > self.position:
            return ()
        try:
            records = self._live.receive_records_nowait(count)
        except trio.EndOfChannel:  # whoever waits for the next one learns it
            return ()
        return [each for each in records if each.seq > self.position and not isinstance(each, MissedEvents)]

    async def _next(self) -> Publication:
        while True:
            if self._is_closed:
                raise trio.ClosedResourceError
            if self._items:
                await checkpoint()
                return self._items.popleft()
            if self._live is not None and self._live.dropped <= self.position:
                record = await self._next_live(self._live)
                if record is not None:
                    return record
            elif not await self._read_stored():
                await self._wait_for_more()

    async def _next_live(self, live: EventSubscription) -> Publication | None:
        """The next record of the run in memory; ``None`` if that is none, or if the run is there no more."""
        try:
            record = await live.receive_record()
        except trio.EndOfChannel:
            self._live = None
            return None
        is_next = record.seq > self.position and not isinstance(record, MissedEvents)
        return record if is_next else None

    async def _read_stored(self) -> bool:
        """Read what the store has behind this position; false if there is nothing."""
        try:
            page = await self._engine.store.read_stream(self._run.run_id, after=self.position, limit=PAGE)
        except StoreError:
            self._engine.check_open()  # then the store is closed, too
            raise
        if self.position < page.floor:
            missed = page.floor - self.position
            self._missed += missed
            self._items.append(MissedEvents(page.floor, missed, self._engine.committer.now()).envelope())
        self._items += map(self._codec.read, page.rows)
        return bool(self._items)

    async def _wait_for_more(self) -> None:
        """Everything stored was read: follow the run in memory, or wait a while; it is the end if the run is over.

        Raises what stopped the run, if so.
        """
        held = self._engine.held.get(self._run.run_id)
        if held is not None and held.error is not None:
            await checkpoint()
            raise copy.copy(held.error)
        if held is not None and not held.is_queued:
            if await held.enter() is not None:
                self._follow(held)
                held.exit()
            return
        record = await self._engine.store.info(self._run.run_id)
        if record.header.is_finished and not await self._read_stored():
            raise trio.EndOfChannel
        if not self._items:
            self._engine.check_open()
            await trio.sleep(POLL_S)

    def _follow(self, held: HeldRun) -> None:
        if held.runner is not None and not self._is_closed:
            if self._live is not None:
                self._live.close()
            self._live = held.runner.subscribe(self.position, None, lossless=self._lossless)

    def statistics(self) -> SubscriptionStatistics:
        """The position, and how far it is behind what this process has of the stream."""
        behind = len(self._items) + (0 if self._live is None else self._live.statistics().behind)
        return SubscriptionStatistics(self.position, behind, self._missed, self._lossless, self._is_closed)

    def envelopes(self) -> "EngineEnvelopes":
        """A view of this subscription that gives each event as a ``StreamItem``."""
        return EngineEnvelopes(self)

    def close(self) -> None:
        """Leave the stream. Idempotent."""
        self._is_closed = True
        if self._live is not None:
            self._live.close()

    async def aclose(self) -> None:
        """Leave the stream as ``close`` does, and pass a checkpoint."""
        self.close()
        await checkpoint()


class EngineEnvelopes(trio.abc.ReceiveChannel[StreamItem]):
    """A subscription that gives each event as a ``StreamItem``; same position, closed together."""

    def __init__(self, subscription: EngineSubscription) -> None:
        self._subscription = subscription

    async def receive(self) -> StreamItem:
        """The next event in its envelope; a checkpoint."""
        return await self._subscription.receive_item()

    async def aclose(self) -> None:
        """Close the subscription, and pass a checkpoint."""
        await self._subscription.aclose()
