"""Trio with a clock that jumps and a scheduler that shuffles by a seed.

Trio runs the tasks of one batch in an order that is random on purpose. To try many orders, and the same ones again, the
scheduler's own generator is seeded. It has no public name for that: Hypothesis and pytest-trio reach for the same two
private ones, and this file is the only place of these tests that does.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
import trio
from trio._core import _run as scheduler
from trio.testing import MockClock

R = TypeVar("R")


@contextmanager
def shuffled_by(seed: int) -> Iterator[None]:
    """Let Trio order the tasks of each batch by a shuffle with this seed."""
    before = scheduler._r.getstate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        scheduler._r.seed(seed)
        try:
            yield
        finally:
            scheduler._r.setstate(before)


def run_shuffled(main: Callable[[], Awaitable[R]], seed: int) -> R:
    """Run on a clock that jumps to the next deadline when every task waits."""
    with shuffled_by(seed):
        return trio.run(main, clock=MockClock(autojump_threshold=0))
