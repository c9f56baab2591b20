"""The time slice: how long engines of one Trio program may go on before every other task gets its turn.

Workers run calls without a checkpoint between them, which is what makes a call cheap. So that nobody starves, all workers of
all runs in one ``trio.run`` share one slice. Its owner may work until the slice is over. A worker that finds it over runs one
call and yields. The slice begins anew when its owner gets its next turn (then everybody has had one), or when the owner did
not come back for as long as a slice lasts.
"""

from typing import Final

import trio

SLICE_S: Final = 0.001
"""Long against a checkpoint (7 us), so that yielding costs under 1 %; short against what a person or socket notices."""

SLICE_CALLS: Final = 1_000
"""Calls after which a worker yields whatever the clock says: a clock of tests may stand still."""


class Slice:
    """The slice of one ``trio.run``."""

    __slots__ = ("end", "owner")

    def __init__(self) -> None:
        self.end = 0.0
        self.owner: object = None

    def begin_turn(self, worker: object, now: float) -> None:
        """A worker got its turn from Trio."""
        if self.owner is worker or now >= self.end + SLICE_S:
            self.owner = worker
            self.end = now + SLICE_S


_slice: trio.lowlevel.RunVar[Slice] = trio.lowlevel.RunVar("blazen_trio.slice")


def current_slice() -> Slice:
    """The slice of the current ``trio.run``."""
    try:
        return _slice.get()
    except LookupError:
        shared = Slice()
        _slice.set(shared)
        return shared
