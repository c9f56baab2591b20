"""One task that waits for all of a run's times: retries, the deadline, grace periods. Started when first needed."""

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import Final

import attrs
import trio

CANCELLED_MIN: Final = 32
"""So many cancelled timers may stay in the heap until their time comes."""


@attrs.define(order=True)
class Timer:
    """Something that is due at a time of Trio's clock."""

    at: float
    number: int
    fire: Callable[[], None] = attrs.field(order=False)
    is_cancelled: bool = attrs.field(default=False, order=False)


def _refuse(_function: Callable[[], object]) -> None:
    raise RuntimeError("these timers are closed")


class Timers:
    """The times of one run. ``set`` and ``cancel`` are synchronous; due timers fire in the order of their times."""

    def __init__(self, start_task: Callable[[Callable[[], object]], None]) -> None:
        self._start_task = start_task
        self._heap: list[Timer] = []
        self._numbers = count()
        self._cancelled_count = 0  # at most so many of the heap
        self._scope: trio.CancelScope | None = None
        self._is_closed = False
        self._is_shielded = False

    def set(self, at: float, fire: Callable[[], None]) -> Timer:
        """Call ``fire`` (which must not block) when ``at`` has come."""
        timer = Timer(at, next(self._numbers), fire)
        heapq.heappush(self._heap, timer)
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=at, shield=self._is_shielded)
            self._start_task(self._run)
        elif at < self._scope.deadline:
            self._scope.deadline = at
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer. Those that were cancelled are thrown out when they are more than the others."""
        if not timer.is_cancelled:
            timer.is_cancelled = True
            self._cancelled_count += 1
        if self._cancelled_count > CANCELLED_MIN and 2 * self._cancelled_count > len(self._heap):
            self._heap = [each for each in self._heap if not each.is_cancelled]
            heapq.heapify(self._heap)
            self._cancelled_count = 0

    def close(self) -> None:
        """Forget all timers and end the task."""
        self._is_closed = True
        self._heap.clear()
        self._start_task = _refuse
        if self._scope is not None:
            self._scope.cancel()

    def shield(self) -> None:
        """Go on while the run is cancelled, until ``close``."""
        self._is_shielded = True
        if self._scope is not None:
            self._scope.shield = True

    def __len__(self) -> int:
        return sum(not timer.is_cancelled for timer in self._heap)

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        while not self._is_closed:
            assert self._scope is not None
            with self._scope:
                await trio.sleep_forever()
            if self._scope.cancelled_caught and not self._is_closed:
                self._scope = trio.CancelScope(shield=self._is_shielded)
                self._fire_due()
                self._scope.deadline = self._heap[0].at if self._heap else math.inf

    def _fire_due(self) -> None:
        now = trio.current_time()
        while self._heap and (self._heap[0].at <= now or self._heap[0].is_cancelled):
            timer = heapq.heappop(self._heap)
            if not timer.is_cancelled:
                timer.fire()
