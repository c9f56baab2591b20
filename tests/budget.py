"""What tests may take.

* Slow tests: by hand in full, in ``.ci/run`` a share of it (``SLOW_SHARE``, 1 by default).
* What must be bounded: the CPU time of its own thread is counted, so that a busy machine changes nothing.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

SLOW_SHARE = float(os.environ.get("SLOW_SHARE", "1"))

BOUNDED_S = 30.0
"""More than anything bounded takes, traced by coverage on a slow machine too; what lacks its bound takes minutes."""


def share(count: int) -> int:
    """That share of so many repetitions, at least one."""
    return max(1, round(count * SLOW_SHARE))


@contextmanager
def soon() -> Iterator[None]:
    """What happens in this block is bounded: it does not grow with the square of what it is given, or worse."""
    begun = time.thread_time()
    yield
    assert time.thread_time() - begun < BOUNDED_S
