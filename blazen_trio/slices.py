"""The time slice: how long engines of one Trio program may go on before every other task gets its turn.

Workers run calls without a checkpoint between them, which is what makes a call cheap. So that nobody starves, all
workers of all runs in one ``trio.run`` share one slice. Its owner may work until the slice is over. A worker that finds
it over runs one call and yields. When the owner gets its next turn (then everybody has had one) the slice begins anew:
for the *heir*, drawn by lot from the workers that had a turn meanwhile, so that runs which are busy at once all go on;
for the owner itself if there was none. It also begins anew for the heir of an owner that ended, and when its owner
stays away for as long as a slice lasts.

Threads need a turn, too (plain steps, stores, the user's own). CPython promises them its lock within the switch
interval (5 ms). But whenever the lock is let go for a moment, as Trio does once in a scheduler pass, a waiting thread
begins to wait anew, and it takes longer to wake than the moment lasts: beside a loop that yields each 0.1 to 5 ms a
thread round trip took seconds (beside an idle one 0.1 ms). So once in a switch interval a slice ends with a real rest.
"""

import random
import sys
import threading
import time
from typing import Final

import trio

SLICE_S: Final = 0.001
"""Long against a checkpoint (7 us), so that yielding costs under 1 %; short against what a person or socket notices."""

SLICE_CALLS: Final = 1_000
"""Calls after which a worker yields whatever the clock says: a clock of tests may stand still."""

HANDOVER_S: Final = 1e-5
"""Such a rest: the shortest that the system takes for a real one, 80 us with what it adds. None without threads."""

_lots: Final = random.Random()
"""Not the generator that everybody shares: how often it is used depends on time, and users seed theirs in tests."""


class Slice:
    """The slice of one ``trio.run``.

    Attributes:
        end: when it is over, on Trio's clock.
        owner: the worker that it belongs to.
        heir: the worker that it belongs to next.
        has_begun: the owner has had its first turn in it.
        rivals: how many workers the heir was drawn from.
    """

    __slots__ = ("_threads_due", "end", "has_begun", "heir", "owner", "rivals")

    def __init__(self) -> None:
        self.end: float = 0.0
        self.owner: object = None
        self.heir: object = None
        self.has_begun: bool = False
        self.rivals: int = 0
        self._threads_due = 0.0

    def begin_turn(self, worker: object, now: float) -> None:
        """A worker got its turn from Trio."""
        if self.owner is worker and self.has_begun and self.heir is not None:
            self.owner, self.heir, self.has_begun = self.heir, None, False
        elif self.owner is worker or now >= self.end + SLICE_S or self._is_inherited_by(worker):
            self.owner, self.heir, self.has_begun = worker, None, True
            self.end = now + SLICE_S
        else:
            self._draw(worker)

    def _is_inherited_by(self, worker: object) -> bool:
        """Whether the owner has ended and the heir has its next turn: everybody has had one since it was drawn."""
        return self.owner is None and self.heir is worker

    def _draw(self, worker: object) -> None:
        """Make the k-th worker the heir with probability 1/k: then each of them has the same chance."""
        self.rivals = 1 if self.heir is None else self.rivals + 1
        if _lots.randrange(self.rivals) == 0:
            self.heir = worker

    def let_threads_run(self) -> None:
        """A worker is about to yield: if it is time, let Python's lock go for long enough that a thread can take it."""
        now = time.monotonic()
        if now >= self._threads_due:
            if threading.active_count() > 1:
                time.sleep(HANDOVER_S)
            self._threads_due = now + sys.getswitchinterval()

    def forget(self, worker: object) -> None:
        """A worker ended: it has no more turns, and nothing shall keep its run in memory."""
        if self.owner is worker:
            self.owner = None
        if self.heir is worker:
            self.heir = None


_slice: trio.lowlevel.RunVar[Slice] = trio.lowlevel.RunVar("blazen_trio.slice")


def current_slice() -> Slice:
    """The slice of the current ``trio.run``."""
    try:
        return _slice.get()
    except LookupError:
        shared = Slice()
        _slice.set(shared)
        return shared
