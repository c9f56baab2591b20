"""The requests that are under way, each until its one outcome.

Rules of this file:

* A request is answered once. When its connection is lost it is said again on the next one if that does no harm;
  otherwise its outcome is a ``PeerError`` at once, for nobody knows whether it was done.
* Nobody is asked more at once than it said it takes; what is soon answered goes before what may wait for long.
* Who asks for the result of one run joins those who wait for it already: they take one place.
* A request whose user went away before it was sent never is. One that was sent keeps its id and its place until the
  answer comes, which is dropped. What may wait for long is cancelled then, so that the answer comes soon; nobody
  joins it any more, and nobody waits for the message to go out.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import trio

from blazen_trio.core.errors import PeerError, ProtocolError
from blazen_trio.websocket.client.patience import Waiter
from blazen_trio.websocket.client.places import Places
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.client.violations import ViolationError
from blazen_trio.websocket.protocol import Request, encode
from blazen_trio.websocket.protocol.messages import Cancel, Result

UNKNOWN: Final = "the connection was lost before the answer came, so nobody knows whether it was done; look at the run"


class TooBigError(ProtocolError):
    """A request that this server takes on no connection: to send it again changes nothing."""


class Ledger:
    """Requests of one client, over all its connections.

    Args:
        peer: what errors call the server.
        places: how many requests it takes at once.
        ring: called when there is something to say.
    """

    def __init__(self, peer: str, places: Places, ring: Callable[[], object]) -> None:
        self._peer = peer
        self._places = places
        self._ring = ring
        self._asked: dict[int, Asked] = {}
        self._results: dict[str, Asked] = {}
        self._quick: dict[int, Asked] = {}
        self._long: dict[int, Asked] = {}
        self._cancelled: dict[int, Asked] = {}  # of which the server has yet to hear that
        self._bytes_max: int | None = None  # of a message; there is one while there is a connection
        self._next_id = 1

    def new_id(self) -> int:
        """An id that no request had before."""
        self._next_id += 1
        return self._next_id - 1

    # --- For those who want something ---------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> Asked:
        """Somebody waits for the answer to this; gives the request that stands for it."""
        asked = self._joined(asked)
        if not asked.waiting:
            asked.since = trio.current_time()
        asked.waiting += 1
        if asked.id not in self._asked:
            self._add(asked)
        return asked

    def _joined(self, asked: Asked) -> Asked:
        """The same question that is on its way already, if there is one; without a connection each has its own time."""
        request = asked.request
        if not isinstance(request, Result):
            return asked
        first = self._results.get(request.run_id)
        if first is None or self._bytes_max is None:
            self._results[request.run_id] = first = asked
        return first

    def say(self, request: Request) -> None:
        """Send a request whose answer nobody waits for, once, on this connection."""
        self._add(Asked(request, is_repeatable=False))

    def _add(self, asked: Asked) -> None:
        self._asked[asked.id] = asked
        self._queue(asked)
        self._ring()

    def _queue(self, asked: Asked) -> None:
        (self._long if asked.request.is_long else self._quick)[asked.id] = asked

    def leave(self, asked: Asked) -> None:
        """Somebody does not wait for this any more."""
        asked.waiting -= 1
        if asked.waiting or asked.id not in self._asked:
            return
        if not asked.is_sent:
            self._drop(asked)
        elif asked.request.is_long:
            self._part(asked)
            self._cancelled[asked.id] = asked
            self._ring()

    def _drop(self, asked: Asked) -> None:
        """It has its outcome, or needs none."""
        for each in (self._asked, self._quick, self._long, self._cancelled):
            each.pop(asked.id, None)
        self._part(asked)

    def _part(self, asked: Asked) -> None:
        """Nobody joins it any more."""
        if isinstance(asked.request, Result) and self._results.get(asked.request.run_id) is asked:
            del self._results[asked.request.run_id]

    # --- For the connection -------------------------------------------------------------------------------------------

    def connected(self, bytes_max: int) -> None:
        """All that is under way will be said, or said again, in the order in which it was asked."""
        self._bytes_max = bytes_max
        self._quick.clear()
        self._long.clear()
        for asked in self._asked.values():
            self._queue(asked)

    def next_cancel(self) -> bytes | None:
        """What the server is told of a request that nobody waits for any more; it takes no place."""
        if not self._cancelled:
            return None
        request_id, _ = self._cancelled.popitem()
        return encode(Cancel(id=request_id))

    def next_request(self) -> bytes | None:
        """The next request to be sent, if there is a place for it."""
        while self._quick and self._places.has_room:
            if text := self._sent(self._quick):
                return text
        while self._long and self._places.has_room_for_long:
            if text := self._sent(self._long):
                return text
        return None

    def _sent(self, queue: dict[int, Asked]) -> bytes | None:
        asked = queue.pop(next(iter(queue)))
        if not self._fits(asked):
            return None
        asked.is_sent = True
        asked.times_sent += 1
        self._places.take()
        return asked.text

    def _fits(self, asked: Asked) -> bool:
        assert self._bytes_max is not None
        if len(asked.text) <= self._bytes_max:
            return True
        problem = (
            f"the request has {len(asked.text)} bytes, and the server takes at most {self._bytes_max}; "
            "send less, or raise message_bytes= of its WebsocketLimits"
        )
        self._end(asked, TooBigError(problem))
        return False

    def lost(self) -> None:
        """The connection is gone, or could not be made."""
        self._bytes_max = None
        for asked in list(self._asked.values()):
            is_unknown = asked.is_sent and not asked.is_repeatable
            asked.is_sent = False
            if is_unknown or not asked.waiting:
                self._end(asked, PeerError(self._peer, UNKNOWN))

    def end(self, request_id: int, error: Exception) -> None:
        """One request ends with this error, though its answer is never read."""
        if request_id in self._asked:
            self._end(self._asked[request_id], error)

    def fail(self, error: Exception) -> None:
        """All that is under way ends with this error."""
        for asked in list(self._asked.values()):
            self._end(asked, error)

    def _end(self, asked: Asked, error: Exception) -> None:
        self._drop(asked)
        asked.fail(error)

    # --- What comes ---------------------------------------------------------------------------------------------------

    def __contains__(self, request_id: int) -> bool:
        return request_id in self._asked

    def answered(self, request_id: int) -> Asked:
        """The answer to this request came; raises ``ViolationError`` if nobody asked for it."""
        asked = self._asked.get(request_id)
        if asked is None or not asked.is_sent:
            raise ViolationError(f"the server answered request {request_id}, which nobody made")
        self._drop(asked)
        self._places.free()
        return asked

    # --- What it holds ------------------------------------------------------------------------------------------------

    def waiters(self) -> Iterator[Waiter]:
        """All requests that somebody waits for."""
        for asked in self._asked.values():
            if asked.waiting:
                yield asked.since, partial(self._end, asked)

    def statistics(self) -> dict[str, int]:
        """Counts: requests that have no answer yet, and of those the ones not sent yet."""
        return {"requests": len(self._asked), "unsent": sum(not each.is_sent for each in self._asked.values())}
