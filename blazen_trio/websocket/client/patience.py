"""Who waits too long without a connection.

* The time counts from when the connection was lost, or from when the waiting began if that is later.
* A new connection stops it; but if that is lost before it has proved to be one, by an answer or by holding, the time
  since the first loss counts.
* Who has lost patience gets a ``PeerError`` that says why the last attempt failed.
"""

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

import trio

from blazen_trio.core.errors import PeerError

Waiter: TypeAlias = tuple[float, Callable[[PeerError], object]]
"""Since when somebody waits, and what is done when that is too long."""


class Patience:
    """How long the users of one client wait without a connection, in seconds."""

    def __init__(self, peer: str, seconds: float) -> None:
        self._peer = peer
        self._seconds = seconds
        self._problem = ""
        self._down_since: float | None = None
        self._down = trio.Event()

    def note_connected(self) -> None:
        """There is a connection, which has yet to prove to be one."""
        self._down = trio.Event()

    def note_steady(self) -> None:
        """The connection has proved to be one."""
        self._down_since = None

    def note_lost(self, problem: str) -> None:
        """The connection is gone, or could not be made."""
        self._problem = problem
        if self._down_since is None:
            self._down_since = trio.current_time()
        self._down.set()

    async def run(self, waiters: Callable[[], Iterable[Waiter]]) -> None:
        """While there is no connection, end what waits too long; for ever."""
        while True:
            await self._down.wait()
            if self._down.is_set():  # it may be another one meanwhile
                dues = [self._due(since) for since, _ in waiters()]
                await trio.sleep_until(min(dues, default=trio.current_time() + self._seconds))
            if self._down.is_set():
                self._end_due(waiters())

    def _end_due(self, waiters: Iterable[Waiter]) -> None:
        for since, give_up in list(waiters):
            if self._due(since) <= trio.current_time():
                give_up(PeerError(self._peer, self._impatience))

    def _due(self, since: float) -> float:
        assert self._down_since is not None
        return max(since, self._down_since) + self._seconds

    @property
    def _impatience(self) -> str:
        waited = "" if math.isinf(self._seconds) else f" for {self._seconds:g} s"
        return f"no connection{waited}; the last attempt: {self._problem}"
