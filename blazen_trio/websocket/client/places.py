"""How many requests the server takes at once, and how many of these places are taken.

* Each request and each subscription takes one, from when it is sent until its answer comes.
* What may wait for long (the end of a run) never takes the last ones: an answer to a question can always be sent.
* On a new connection all of them are free.
"""

from collections.abc import Callable
from typing import Final

RESERVED_SHARE: Final = 4
"""One place in so many is kept free of requests that wait for long."""


class Places:
    """The places of one connection. ``ring`` is called when one becomes free."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._count = self._taken = 0
        self._ring = ring

    def renew(self, count: int) -> None:
        """There is a new connection, to a server that takes so many."""
        self._count, self._taken = max(1, count), 0

    @property
    def has_room(self) -> bool:
        """Whether there is one for what is soon answered."""
        return self._taken < self._count

    @property
    def has_room_for_long(self) -> bool:
        """Whether there is one for what may wait for long."""
        return self._taken < max(1, self._count - self._count // RESERVED_SHARE)

    def take(self) -> None:
        """Something is sent that will be answered."""
        self._taken += 1

    def free(self) -> None:
        """An answer came."""
        self._taken -= 1
        self._ring()
