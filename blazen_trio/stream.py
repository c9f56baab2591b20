"""The broadcast of a run: one shared list of records, and a position for each reader.

The rules of this file:

* A stream numbers what is appended from ``last_seq + 1``, without holes, and keeps the last ``capacity`` records.
* Appending never waits and never asks who is there. Readers come and fetch; the first record after all of them went to
  sleep wakes them, and what is appended before they run costs no further wake-up.
* A reader owns nothing but its position, the number of the last event it has seen. Below ``Stream.dropped`` nothing is
  kept: a reader that stands there gets one ``StreamGap`` for exactly the events between, and goes on behind them.
* What a lossless reader has not seen is not dropped. The list then grows beyond ``capacity``; the caller is told
  through ``on_held`` when such a reader is more than half a buffer behind, and bounds the growth by publishing less.
* Subscriptions are known weakly: one that was forgotten without being closed neither observes nor holds the run.

Why a list with an offset: a deque has no cheap slice in its middle, and slots set aside for ``capacity`` records would
cost 80 kB in a run that publishes nothing. Old records are cut off an eighth of a buffer at a time, so memory holds at
most 9/8 of ``capacity``, while ``dropped`` is exact at every moment.
"""

import contextlib
import functools
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import perf_counter, time
from typing import Final, TypeAlias

import attrs
import trio
from trio.lowlevel import ParkingLot, checkpoint, checkpoint_if_cancelled

from blazen_trio.core.events import Event, StreamGap, is_event_class
from blazen_trio.core.publication import MissedEvents, Publication, StreamItem

BATCH_SIZE_MAX: Final = 500
"""Records that a reader copies at once: enough that a copy costs nothing per event (some 10 ns), few enough that many
slow readers do not keep a second stream alive."""

READER_SLICE_S: Final = 0.001
"""So long may a reader that finds everything ready go on before other tasks get their turn. The engine's slice is as
long: with a shorter one, a reader that does nothing but read would fall behind a run that does nothing but publish."""

IN_USE: Final = "this subscription is being read by another task; subscribe once for each reader"

_NEVER: Final = sys.maxsize

EventTypes: TypeAlias = type[Event] | Iterable[type[Event]]
ReaderRef: TypeAlias = "weakref.ref[EventSubscription]"


@attrs.frozen
class StreamStatistics:
    """The condition of a stream: ``backlog`` is what it keeps beyond ``capacity`` for lossless readers."""

    capacity: int
    published: int
    kept: int
    backlog: int
    subscribers: int
    lossless_subscribers: int
    held: bool
    closed: bool


@attrs.frozen
class SubscriptionStatistics:
    """The condition of a subscription: the last number seen, events still to read, events lost in gaps so far."""

    position: int
    behind: int
    missed: int
    lossless: bool
    closed: bool


@attrs.define(eq=False, repr=False)
class Stream:
    """The published events of one run, for any number of readers.

    Keeps the last ``capacity`` (at least 1) records; the first one appended has the number ``last_seq + 1``.

    All methods are synchronous and belong to the run's Trio thread. ``on_observed`` is called with ``True`` when the
    first subscription appears and with ``False`` when the last one went; ``on_held`` with ``True`` when a lossless
    reader is more than half a buffer behind and with ``False`` when none is. Both are called on changes only, from
    within the call that made the change (for a subscription that was forgotten: soon after it was collected).
    """

    _capacity: int
    last_seq: int = attrs.field(default=0, kw_only=True)
    _on_observed: Callable[[bool], None] = attrs.field(kw_only=True, alias="on_observed")
    _on_held: Callable[[bool], None] = attrs.field(kw_only=True, alias="on_held")
    _records: list[Publication] = attrs.field(init=False)
    _offset: int = attrs.field(init=False)  # the number before that of _records[0]
    _due: int = attrs.field(init=False)  # the number at which append has more to do than to append
    _readers: dict[ReaderRef, None] = attrs.field(init=False)  # dicts, for they keep an order
    _lossless: dict[ReaderRef, None] = attrs.field(init=False)  # those of them that must miss nothing
    _lot: ParkingLot | None = attrs.field(default=None, init=False)  # made when the first reader goes to sleep
    _parked: bool = attrs.field(default=False, init=False)
    _held: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        if self._capacity < 1:
            raise ValueError(f"the buffer of a stream needs room for at least one event, not {self._capacity}")
        self._records = []
        self._readers = {}
        self._lossless = {}
        self._offset = self.last_seq
        self._due = self.last_seq + self._capacity + self._slack

    # --- For the run --------------------------------------------------------------------------------------------------

    def append(self, record: Publication) -> None:
        """Publish the record with the number ``last_seq + 1``. Constant time; wakes sleeping readers once."""
        self._records.append(record)
        self.last_seq = seq = self.last_seq + 1
        if seq >= self._due:
            self._attend()
        if self._parked:
            self.wake()

    def close(self) -> None:
        """End the stream: readers get what is kept, then ``trio.EndOfChannel``. Idempotent.

        Nobody is told of readers any more: the callbacks lead to the run, and without that cycle a run that is over is
        freed at once instead of by the garbage collector, which makes the next one a third cheaper.
        """
        self._closed = True
        self._due = 0
        self._on_observed = self._on_held = _tell_nobody
        self.wake()

    def subscribe(
        self, after: int = 0, types: EventTypes | None = None, *, lossless: bool = False
    ) -> "EventSubscription":
        """A subscription to everything published after number ``after``, past or to come.

        ``types`` is an event class or several: only their instances (of subclasses too) are delivered, and every
        ``StreamGap``. What is no longer kept shows as a gap at the start; an ``after`` beyond the end waits until the
        stream gets there. Must be called inside Trio.
        """
        subscription = EventSubscription(checked_position(after), self, checked_types(types), lossless)
        forgotten = functools.partial(self._forget_soon, trio.lowlevel.current_trio_token())
        self._join(weakref.ref(subscription, forgotten), lossless=lossless)
        return subscription

    @property
    def dropped(self) -> int:
        """The number of the last event that is no longer kept (0: all are)."""
        floor = self.last_seq - self._capacity
        if self._lossless:
            floor = min(floor, self._slowest())
        return max(floor, self._offset)

    @property
    def backlog(self) -> int:
        """How many events are kept beyond the capacity, because a lossless reader has not seen them."""
        return max(0, self.last_seq - self.dropped - self._capacity)

    @property
    def closed(self) -> bool:
        """Whether the last event was published."""
        return self._closed

    def statistics(self) -> StreamStatistics:
        """Counts: what the stream keeps and for whom."""
        return StreamStatistics(
            capacity=self._capacity,
            published=self.last_seq,
            kept=self.last_seq - self.dropped,
            backlog=self.backlog,
            subscribers=len(self._readers),
            lossless_subscribers=len(self._lossless),
            held=self._held,
            closed=self._closed,
        )

    # --- For the subscriptions ----------------------------------------------------------------------------------------

    def read(self, position: int, count: int) -> list[Publication]:
        """At most ``count`` records after ``position``, which must not be below ``dropped``."""
        start = position - self._offset
        return self._records[start : start + count]

    def fresh_until(self, position: int) -> int:
        """The number the stream may reach before what follows ``position`` can be dropped."""
        return position + self._capacity

    async def park(self) -> None:
        """Sleep until something is appended, the stream ends or a subscription in use is closed."""
        if self._lot is None:
            self._lot = ParkingLot()
        self._parked = True
        await self._lot.park()

    def wake(self) -> None:
        """Let all sleeping readers look again."""
        self._parked = False
        if self._lot is not None:
            self._lot.unpark_all()

    def settle(self) -> None:
        """End the hold if no lossless reader is too far behind any more; called whenever one of them moved."""
        if self._held and not self._is_lagging():
            self._held = False
            self._due = 0
            self._on_held(self._held)

    def leave(self, subscription: "EventSubscription") -> None:
        """Forget a subscription that was closed."""
        self._remove([weakref.ref(subscription)])  # references to one living object are equal

    # --- Inside -------------------------------------------------------------------------------------------------------

    @property
    def _slack(self) -> int:
        return self._capacity // 8 + 1

    def _attend(self) -> None:
        """Do what append leaves for later, and work out when that will be needed again."""
        if self._closed:
            raise RuntimeError("an event was published after the end of the stream")
        self._trim()
        self._hold_if_lagging()
        trim_due = max(self.last_seq, self._offset + self._capacity) + self._slack
        self._due = min(trim_due, self._hold_due())

    def _trim(self) -> None:
        dropped = self.dropped
        del self._records[: dropped - self._offset]
        self._offset = dropped

    def _hold_due(self) -> int:
        """Positions only rise: before this number no lossless reader can be too far behind."""
        if self._held or not self._lossless:
            return _NEVER
        return self._slowest() + self._capacity // 2 + 1

    def _slowest(self) -> int:
        readers = [reader for reference in self._lossless if (reader := reference()) is not None]
        return min((reader.position for reader in readers), default=_NEVER)

    def _is_lagging(self) -> bool:
        return self.last_seq - self._slowest() > self._capacity // 2

    def _hold_if_lagging(self) -> None:
        if not self._held and self._lossless and self._is_lagging():
            self._held = True
            self._on_held(self._held)

    def _join(self, reference: ReaderRef, *, lossless: bool) -> None:
        self._readers[reference] = None
        if len(self._readers) == 1:
            self._on_observed(bool(self._readers))
        if lossless:
            self._lossless[reference] = None
            self._due = 0
            self._hold_if_lagging()

    def _remove(self, references: Sequence[ReaderRef]) -> None:
        for reference in references:
            del self._readers[reference]
            self._lossless.pop(reference, None)
        self._trim()
        self.settle()
        if references and not self._readers:
            self._on_observed(bool(self._readers))

    def _forget_soon(self, token: trio.lowlevel.TrioToken, _reference: ReaderRef) -> None:
        """A subscription was collected: in any thread and at any moment, so the work is left to Trio."""
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(self._sweep, idempotent=True)

    def _sweep(self) -> None:
        self._remove([reference for reference in self._readers if reference() is None])


@attrs.define(eq=False, repr=False)
class EventSubscription(trio.abc.ReceiveChannel[Event]):
    """One reader of a stream, with a position of its own; made by ``Stream.subscribe``.

    A receive channel and an asynchronous context manager, for one task at a time (a second one gets
    ``trio.BusyResourceError``). It counts from its creation: nothing published after that is missed by a reader that
    keeps reading. After the stream's last event it raises ``trio.EndOfChannel``, once closed
    ``trio.ClosedResourceError``.

    Every receive raises ``trio.Cancelled`` if the task is cancelled, and then nothing was taken. It lets other tasks
    run when there is nothing to read, and otherwise once a millisecond, not at each event: that is what makes it quick.
    """

    position: int  # the number of the last event seen
    _stream: Stream
    _types: tuple[type[Event], ...] | None
    _lossless: bool
    _batch: list[Publication] = attrs.field(init=False)  # copied but not seen yet; the next one stands last
    _fresh_until: int = attrs.field(default=_NEVER, init=False)  # beyond it, the batch may hold what was dropped
    _yield_at: float = attrs.field(default=0.0, init=False)
    _missed: int = attrs.field(default=0, init=False)
    _busy: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._batch = []
        if self._lossless and self.position < self._stream.dropped:  # the only gap that it will ever see
            self._batch.append(self._skip_to(self._stream.dropped))

    async def receive(self) -> Event:
        """The next event, or a ``StreamGap`` in place of events that are no longer kept. A checkpoint."""
        return (await self.receive_record()).event

    async def __anext__(self) -> Event:
        """The next event; the end of the stream ends the iteration."""
        await checkpoint_if_cancelled()
        if self._batch and self._stream.last_seq <= self._fresh_until and perf_counter() < self._yield_at:
            return self._pop().event
        try:
            return (await self._fetch()).event
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def receive_nowait(self) -> Event:
        """The next event at once, or ``trio.WouldBlock``; to empty the buffer after a ``receive``."""
        return self.receive_record_nowait().event

    @property
    def dropped(self) -> int:
        """The number of the last event that the stream does not keep any more."""
        return self._stream.dropped

    def envelopes(self) -> "EnvelopeChannel":
        """A view of this subscription, at the same position, that gives each event as a ``StreamItem``."""
        return EnvelopeChannel(self)

    def close(self) -> None:
        """Leave the stream; a task that waits in ``receive`` gets ``trio.ClosedResourceError``. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._batch.clear()
        self._stream.leave(self)
        if self._busy:
            self._stream.wake()

    async def aclose(self) -> None:
        """Leave the stream as ``close`` does, and pass a checkpoint."""
        self.close()
        await checkpoint()

    def statistics(self) -> SubscriptionStatistics:
        """The position and how far it is behind the stream."""
        return SubscriptionStatistics(
            position=self.position,
            behind=max(0, self._stream.last_seq - self.position),
            missed=self._missed,
            lossless=self._lossless,
            closed=self._closed,
        )

    async def receive_record(self) -> Publication:
        """The next event's record. A checkpoint."""
        await checkpoint_if_cancelled()
        if perf_counter() < self._yield_at and (record := self._take()) is not None:
            return record
        return await self._fetch()

    def receive_record_nowait(self) -> Publication:
        """The next event's record at once, or ``trio.WouldBlock``."""
        self._check_unused()
        record = self._take() or self._read()
        if record is not None:
            return record
        if self._stream.closed:
            raise trio.EndOfChannel
        raise trio.WouldBlock

    def receive_records_nowait(self, count: int) -> list[Publication]:
        """The next events' records at once, at most ``count`` (at least 1) of them; maybe none.

        Much cheaper for each than one by one. Raises ``trio.EndOfChannel`` after the last one.
        """
        try:
            records = [self.receive_record_nowait()]
        except trio.WouldBlock:
            return []
        if count > 1 and self._batch and self._stream.last_seq <= self._fresh_until:
            more = self._batch[:-count:-1]
            del self._batch[-len(more) :]
            records += more
            self.position = more[-1].seq
            if self._lossless:
                self._stream.settle()
        return records

    def _take(self) -> Publication | None:
        """Take the next record of the batch, if there is one that the stream still keeps: the short way."""
        if not self._batch or self._stream.last_seq > self._fresh_until:
            return None
        return self._pop()

    def _pop(self) -> Publication:
        record = self._batch.pop()
        self.position = record.seq
        if self._lossless:
            self._stream.settle()
        return record

    async def _fetch(self) -> Publication:
        """Take the next record after letting others run if that is due, and sleep until there is one."""
        self._check_unused()
        self._busy = True
        try:
            if perf_counter() >= self._yield_at:
                await self._pause(checkpoint)
            while (record := self._take() or self._read()) is None:
                if self._stream.closed:
                    raise trio.EndOfChannel
                await self._pause(self._stream.park)
            return record
        finally:
            self._busy = False

    async def _pause(self, wait: Callable[[], Awaitable[None]]) -> None:
        await wait()
        if self._closed:
            raise trio.ClosedResourceError
        self._yield_at = perf_counter() + READER_SLICE_S

    def _read(self) -> Publication | None:
        """Take the next record from the stream, if there is one yet. What is filtered out counts as seen."""
        dropped = self._stream.dropped
        if self.position < dropped:
            return self._skip_to(dropped)
        while self.position < self._stream.last_seq:
            records = self._stream.read(self.position, BATCH_SIZE_MAX)
            self._load(records)
            if self._batch:
                return self._pop()
            self.position = records[-1].seq
            if self._lossless:
                self._stream.settle()
        return None

    def _load(self, records: list[Publication]) -> None:
        """Make the records that pass the filter the batch."""
        if not self._lossless:
            self._fresh_until = self._stream.fresh_until(self.position)
        types = self._types
        self._batch = records if types is None else [record for record in records if isinstance(record.event, types)]
        self._batch.reverse()

    def _skip_to(self, dropped: int) -> MissedEvents:
        missed = dropped - self.position
        self._missed += missed
        self.position = dropped
        return MissedEvents(dropped, missed, timestamp=time())

    def _check_unused(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._busy:
            raise trio.BusyResourceError(IN_USE)


@attrs.define(eq=False, repr=False)
class EnvelopeChannel(trio.abc.ReceiveChannel[StreamItem]):
    """A subscription that gives each event as a ``StreamItem``; same position, same rules, closed together."""

    _subscription: EventSubscription

    async def receive(self) -> StreamItem:
        """The next event in its envelope; a gap bears the number of the last event missed. A checkpoint."""
        return (await self._subscription.receive_record()).envelope()

    def receive_nowait(self) -> StreamItem:
        """The next envelope at once, or ``trio.WouldBlock``."""
        return self._subscription.receive_record_nowait().envelope()

    def close(self) -> None:
        """Close the subscription. Idempotent."""
        self._subscription.close()

    async def aclose(self) -> None:
        """Close the subscription, and pass a checkpoint."""
        await self._subscription.aclose()

    def statistics(self) -> SubscriptionStatistics:
        """The statistics of the subscription."""
        return self._subscription.statistics()


def _tell_nobody(_: bool) -> None:  # noqa: FBT001 - a callback with one argument
    """The callback of a stream whose run is over."""


def checked_position(after: object) -> int:
    """The number of an event, if it is one; raises ``TypeError`` or ``ValueError``."""
    if not isinstance(after, int) or isinstance(after, bool):
        raise TypeError(f"after= is the number of an event, an int, not {after!r}")
    if after < 0:
        raise ValueError(f"after= is the number of an event and cannot be negative: {after}")
    return after


def checked_types(types: EventTypes | None) -> tuple[type[Event], ...] | None:
    """What a subscription lets through: these and gaps, ``None`` for all; raises ``TypeError``."""
    if types is None:
        return None
    several = types if isinstance(types, Iterable) and not isinstance(types, type) else (types,)
    return (*map(_checked_type, several), StreamGap)


def _checked_type(each: object) -> type[Event]:
    if is_event_class(each):
        return each
    raise TypeError(f"types= takes an event class or several, not {each!r}")
