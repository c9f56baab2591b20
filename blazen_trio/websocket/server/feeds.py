"""``RunFeed``: the stream of one run, read once and encoded once for all who subscribe to it.

Rules of this file:

* A feed lives while somebody subscribes to its run; it reads while one of them has taken all that it has. So the
  quickest leads, the others find what it left in the window, and if nobody takes anything, nothing is read. It is the
  run's own buffer that fills then, not this one; the run itself never waits.
* What a feed has is in its window, bounded. Whoever falls out of that has missed something. Who is about to is waited
  for a moment, since he may only be behind others in the queue for the processor; but not again before he has caught
  up, so that nobody who is slow makes the others slow.
* Whole frames are kept, for the many that are in step: the same numbers for the same subscription id are the same
  bytes. Batches end at multiples of ``batch_events``, so that those who fell out of step are in step again soon.
* A feed never raises: what goes wrong ends it, and is told to those who subscribe.
"""

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias

import trio
from trio.lowlevel import ParkingLot

from blazen_trio.core.events import InputRequestEvent
from blazen_trio.core.status import RunStatus
from blazen_trio.engine import EngineRun
from blazen_trio.websocket.limits import WebsocketLimits
from blazen_trio.websocket.protocol import ErrorView, encode
from blazen_trio.websocket.protocol.messages import Run
from blazen_trio.websocket.protocol.views import RunView
from blazen_trio.websocket.server.shown import ItemWriter, run_view
from blazen_trio.websocket.server.trouble import told_error
from blazen_trio.websocket.server.window import Window
from blazen_trio.websocket.server.window_reader import WindowReader, new_window
from blazen_trio.websocket.server.writing import text_frame

_COUNTED: Final = ("readers", "events", "bytes")

PACE_S: Final = 0.001
"""So long after it was read the stream is not read again: an event after a silence goes out at once, and of many that
come one by one those of a millisecond go out together, for one wake-up and one frame of each subscriber."""

FRAMES_KEPT: Final = 64
"""Frames of a feed that are kept: those who are in step need one or two, those who are not need some more."""

GRACE_MS: Final = 50
"""So long those who are about to fall out of the window are waited for: more than a turn of thousands of tasks."""

Types: TypeAlias = frozenset[str] | None
"""The wire names of the event classes that a subscriber wants; ``None``: all."""

Condition: TypeAlias = tuple[RunStatus, tuple[str, ...]]
"""What clients are told of by itself: a run's status, and its open questions."""


class Follower(Protocol):
    """Who subscribes: where he stands, and whether he was waited for and has not caught up since."""

    position: int
    was_waited_for: bool


def condition_of(view: RunView) -> Condition:
    """What of a view clients are told of by itself."""
    return view.status, tuple([each.request_id for each in view.questions])


class RunFeed:
    """The stream of one run for all who subscribe to it.

    Attributes:
        run: whose stream it is.
        window: what it has.
        is_over: nothing will come any more.
        error: why, if that is not the end of the run.
        followers: who subscribe.
        scope: of the task that reads.
    """

    def __init__(self, run: EngineRun, start: int, limits: WebsocketLimits) -> None:
        self.run: EngineRun = run
        self.window: Window = new_window(start, limits)
        self.is_over: bool = False
        self.error: ErrorView | None = None
        self.followers: set[Follower] = set()
        self.scope: trio.CancelScope = trio.CancelScope()
        self.writer: ItemWriter = ItemWriter(run.workflow)
        self._limits = limits
        self._lot = ParkingLot()
        self._demand = ParkingLot()
        self._is_wanted = False
        self._frames: dict[tuple[int, int, int, Types], tuple[int, bytes | None]] = {}
        self._frames_bytes = 0
        self._condition: Condition | None = None
        self._is_condition_old = True
        self._run_frame = b""
        self._unwatch = run.watch(self._note_change)  # from the first look on: no change falls between

    # --- For the subscribers ------------------------------------------------------------------------------------------

    def next_frame(self, subscription: int, position: int, end: int, types: Types) -> tuple[int, bytes | None]:
        """The next frame of a subscription behind ``position``, which is in the window, and where that leads to.

        Nothing beyond ``end``; ``None``: there is nothing for it on the way.
        """
        batch_events = self._limits.batch_events
        end = min(end, self.window.last, (position // batch_events + 1) * batch_events)
        key = (subscription, position, end, types)
        known = self._frames.get(key)
        return self._made(key) if known is None else known

    def _made(self, key: tuple[int, int, int, Types]) -> tuple[int, bytes | None]:
        subscription, position, end, types = key
        made = self.window.frame(subscription, position, end, types, self._limits.batch_bytes)
        self._keep(key, made)
        return made

    def _keep(self, key: tuple[int, int, int, Types], made: tuple[int, bytes | None]) -> None:
        if len(self._frames) >= FRAMES_KEPT or self._frames_bytes > self._limits.window_bytes:
            self._frames.clear()
            self._frames_bytes = 0
        self._frames[key] = made
        self._frames_bytes += len(made[1] or b"")

    async def more(self) -> None:
        """Wait until there may be something new for one who has taken everything; a checkpoint."""
        if not self._is_wanted:
            self._is_wanted = True
            self._demand.unpark_all()
        await self._lot.park()

    def poke(self) -> None:
        """Let all who wait look again."""
        self._lot.unpark_all()

    def condition(self) -> Condition:
        """The run's condition; the same object until it is another one."""
        known = self._condition
        if known is not None and not self._is_condition_old:
            return known
        view = run_view(self.run)
        self._is_condition_old = False
        now = condition_of(view)
        if known is not None and known == now:
            return known
        self._condition = now
        self._run_frame = text_frame(encode(Run(run=view)))
        return now

    @property
    def run_frame(self) -> bytes:
        """The message that tells the run's condition."""
        self.condition()
        return self._run_frame

    # --- Reading ------------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Be the task that reads the stream, until it is over or nobody subscribes; a checkpoint."""
        with self.scope:
            reader = WindowReader(self.run, self.window, self.writer, self._limits)
            try:
                await self._read_all(reader)
                self._end(None)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who subscribe learn that it is over
                self._end(told_error(error, f"the stream of run {self.run.run_id}"))
            finally:
                self._unwatch()
                reader.close()

    async def _read_all(self, reader: WindowReader) -> None:
        due = -math.inf
        while not reader.is_over:
            while not self._is_wanted:
                await self._demand.park()
            await self._wait_for_late_ones()
            if due > trio.current_time():
                await trio.sleep_until(due)
            await reader.wait()
            await self._look_elsewhere()
            self._is_wanted = False
            reader.take_in()
            self.poke()
            due = trio.current_time() + PACE_S

    async def _wait_for_late_ones(self) -> None:
        """Let those go on who stand in the older half of a window that fills."""
        is_filling = 2 * len(self.window) >= self._limits.window or 2 * self.window.bytes >= self._limits.window_bytes
        if not is_filling:
            return
        for _ in range(GRACE_MS):
            if not self._late():
                return
            await trio.sleep(0.001)
        for each in self._late():
            each.was_waited_for = True

    def _late(self) -> list[Follower]:
        floor = self.window.floor
        half = floor + len(self.window) // 2
        return [each for each in self.followers if floor <= each.position < half and not each.was_waited_for]

    async def _look_elsewhere(self) -> None:
        """Of a run that another engine has, nobody tells us: what the store says of it goes with its events."""
        if self.run.is_held or self.run.status.is_end:
            return
        info = await self.run.info()
        if _ids(info.pending_inputs) != _ids(self.run.pending_inputs) or info.status is not self.run.status:
            await self.run.refresh()
            self._is_condition_old = True

    def _note_change(self) -> None:
        self._is_condition_old = True
        self.poke()

    def _end(self, error: ErrorView | None) -> None:
        self.is_over = True
        self.error = error
        self._is_condition_old = True
        self.poke()

    def statistics(self) -> dict[str, int]:
        """What it holds."""
        return {"readers": len(self.followers), "events": len(self.window), "bytes": self.window.bytes}


class Feeds:
    """The feeds of a server, by run.

    Attributes:
        nursery: their tasks live there, as long as the server listens.
    """

    def __init__(self, limits: WebsocketLimits) -> None:
        self.nursery: trio.Nursery
        self._limits = limits
        self._feeds: dict[str, RunFeed] = {}

    @asynccontextmanager
    async def joined(self, run: EngineRun, follower: Follower) -> AsyncGenerator[RunFeed, None]:
        """The feed of a run, for one who wants what comes behind his position; entering is a checkpoint.

        Raises:
            StoreError: the run is not there any more, or its store fails.
        """
        feed = await self._of(run, follower.position)
        feed.followers.add(follower)
        try:
            yield feed
        finally:
            feed.followers.discard(follower)
            if not feed.followers:
                feed.scope.cancel()

    async def _of(self, run: EngineRun, after: int) -> RunFeed:
        if not self._is_open(run):
            last = await run.last_seq()
            if not self._is_open(run):  # nobody else has opened it in the meantime
                self._open(run, after if 0 <= last - after <= self._limits.window else last)
        return self._feeds[run.run_id]

    def _is_open(self, run: EngineRun) -> bool:
        """Whether there is a feed that will have more; one that is over is for those who have it."""
        feed = self._feeds.get(run.run_id)
        is_of_run = feed is not None and feed.run.created == run.created  # not of one that had the id before
        return feed is not None and is_of_run and not feed.is_over and not feed.scope.cancel_called

    def _open(self, run: EngineRun, start: int) -> None:
        feed = self._feeds[run.run_id] = RunFeed(run, start, self._limits)
        self.nursery.start_soon(self._read, feed, name=f"feed of {run.run_id}")

    async def _read(self, feed: RunFeed) -> None:
        try:
            await feed.read()
        finally:
            if self._feeds.get(feed.run.run_id) is feed:
                del self._feeds[feed.run.run_id]

    def poke(self, run_id: str) -> None:
        """Let all who read this run look whether there is something to tell."""
        feed = self._feeds.get(run_id)
        if feed is not None:
            feed.poke()

    def statistics(self) -> dict[str, Any]:
        """What the feeds hold, added up."""
        each = [feed.statistics() for feed in self._feeds.values()]
        return {"feeds": len(each), **{f"feed_{name}": sum(one[name] for one in each) for name in _COUNTED}}


def _ids(questions: Iterable[InputRequestEvent]) -> list[str]:
    return [each.request_id for each in questions]
