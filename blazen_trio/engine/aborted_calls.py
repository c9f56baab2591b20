"""Calls that were aborted before they began: ids for which no run begins any more.

The rules of this file:

* A call and its abort may come over two connections, and a broken one may bring its call when the abort has come and
  gone over the next. So an abort that finds no run is remembered, and a call looks here before it begins and when it
  has begun. An abort counts from before it looks for its run: of two that pass each other one sees the other.
* Nothing here awaits. There is a bound on the number and one on the age, as for what finished calls leave behind.
* They live in this process only, as do its connections: what the end of it closes brings no call any more.
"""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import trio

from blazen_trio.core.errors import RunNotFoundError

ABORTED_S: Final = 3600.0
"""How long an abort is remembered: a broken connection ends within a minute, and its network within a quarter of an
hour."""

ABORTED_MAX: Final = 10_000
"""So many are remembered; beyond that the oldest are forgotten. An id is 1,000 characters at most."""


class AbortedCalls:
    """Ids of calls that shall not begin. All methods are synchronous.

    Args:
        capacity: ids at most.
        clock: gives seconds that only rise.
    """

    def __init__(self, capacity: int = ABORTED_MAX, clock: Callable[[], float] = trio.current_time) -> None:
        self._capacity = capacity
        self._clock = clock
        self._since: dict[str, float] = {}
        self._looking: Counter[str] = Counter()

    @contextmanager
    def aborting(self, call_id: str) -> Generator[None, None, None]:
        """An abort looks for its run in this block; it is remembered if that ends with ``RunNotFoundError``."""
        self._looking[call_id] += 1
        try:
            yield
        except RunNotFoundError:
            self._since.pop(call_id, None)  # it is the newest now
            self._since[call_id] = self._clock()
            self._expire()
            raise
        finally:
            self._looking[call_id] -= 1
            if not self._looking[call_id]:
                del self._looking[call_id]

    def __contains__(self, call_id: str) -> bool:
        self._expire()
        return call_id in self._since or call_id in self._looking

    def _expire(self) -> None:
        due = self._clock() - ABORTED_S
        while self._since:
            oldest, since = next(iter(self._since.items()))
            if since > due and len(self._since) <= self._capacity:
                return
            del self._since[oldest]

    def __len__(self) -> int:
        return len(self._since)
