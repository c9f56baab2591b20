"""What is under way, and what has to be said: decided here, without waiting; the link does what it is told.

Rules of this file:

* A request is answered once. When its connection is lost it is said again on the next one if that does no harm;
  otherwise its outcome is a ``PeerError`` at once, for nobody knows whether it was done.
* Nobody is asked more at once than it said it takes. What may wait for long (the end of a run) never takes the last
  places: an answer to a question can always be sent.
* Who asks for the result of one run joins those who wait for it already: a user who asks again and again with a
  deadline takes one place.
* A request whose user went away keeps its place until the answer comes, which is dropped; then the place is free.
* An answer that nobody asked for, or text that is no message, is a violation: then nobody knows which answers will
  never come, so all that is under way fails with a ``ProtocolError``.
* Who waits longer than ``patience`` without a connection gets a ``PeerError``. The time counts from when it was lost,
  or from when the waiting began if that is later. A new connection stops it; but if that is lost before it has proved
  to be one, by an answer or by holding, the time since the first loss counts.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import trio

from blazen_trio.core.errors import PeerError, ProtocolError
from blazen_trio.websocket.client.feeds import Feed
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.protocol import Fault, encode, read_error
from blazen_trio.websocket.protocol.messages import (
    Call,
    Ended,
    Error,
    Events,
    Ok,
    Pause,
    Received,
    Result,
    Run,
    ServerMessage,
    Unsubscribe,
    Welcome,
)
from blazen_trio.websocket.protocol.views import LimitsView, RunView

UNKNOWN: Final = "the connection was lost before the answer came; it is not known whether it was done"

RESERVED_SHARE: Final = 4
"""One place in so many is kept free of requests that wait for long."""

_LONG: Final = (Call, Pause, Result)


class ViolationError(Exception):
    """The server said what no server of ours says."""


class Desk:
    """Requests and subscriptions of one client, over all its connections."""

    def __init__(self, peer: str, patience: float) -> None:
        self.peer: str = peer
        self._patience = patience
        self.on_run: Callable[[RunView], object] = lambda _: None
        self._asked: dict[int, Asked] = {}
        self._results: dict[str, Asked] = {}
        self._feeds: dict[int, Feed] = {}
        self._quick: deque[Asked] = deque()
        self._slow: deque[Asked] = deque()
        self._moved: dict[Feed, None] = {}
        self._unopened: dict[Feed, None] = {}
        self._places = self._taken = 0
        self._next_id = 1
        self._limits: LimitsView | None = None
        self._down_since: float | None = None
        self._down = trio.Event()
        self._bell = trio.Event()
        self.failure: PeerError | None = None
        self.problem: str = ""

    # --- For those who want something ---------------------------------------------------------------------------------

    def new_id(self) -> int:
        """An id that no request had before."""
        self._next_id += 1
        return self._next_id - 1

    def ask(self, asked: Asked) -> Asked:
        """Say a request, now or when there is a connection; gives the one that stands for it. Then ``leave`` it.

        Raises:
            PeerError: the server does not want this client, or the client was closed.
        """
        self._check()
        asked = self._joined(asked)
        if not asked.waiting:
            asked.since = trio.current_time()
        asked.waiting += 1
        if asked.id not in self._asked:
            self._asked[asked.id] = asked
            self._queue(asked)
        return asked

    def _joined(self, asked: Asked) -> Asked:
        """The same question that is on its way already, if there is one; without a connection each has its own time."""
        request = asked.request
        if not isinstance(request, Result):
            return asked
        first = self._results.get(request.run_id)
        if first is None or not self.is_connected:
            self._results[request.run_id] = first = asked
        return first

    def leave(self, asked: Asked) -> None:
        """Somebody does not wait for this any more."""
        asked.waiting -= 1
        if not asked.waiting and not asked.is_sent:
            self._drop(asked)

    def open(self, feed: Feed) -> None:
        """Subscribe, now or when there is a connection; raises as ``ask`` does."""
        self._check()
        self._feeds[feed.id] = feed
        self.note_moved(feed)

    def close(self, feed: Feed) -> None:
        """Leave a subscription."""
        if not feed.is_closed:
            feed.close()
            self._stop(feed)

    def note_moved(self, feed: Feed) -> None:
        """Something of a subscription was taken."""
        if feed.wants_subscription:
            self._unopened[feed] = None
            self._bell.set()
        elif feed.wants_to_say:
            self._moved[feed] = None
            self._bell.set()

    def _stop(self, feed: Feed) -> None:
        """Tell the server to send no more of it."""
        if not feed.is_subscribed:
            self._feeds.pop(feed.id, None)
        if feed.id in self._feeds and not feed.is_left:
            feed.is_left = True
            goodbye = Asked(Unsubscribe(id=self.new_id(), subscription=feed.id), is_repeatable=False)
            self._asked[goodbye.id] = goodbye
            self._queue(goodbye)

    def _check(self) -> None:
        if self.failure is not None:
            raise PeerError(self.peer, self.failure.problem)

    def _queue(self, asked: Asked) -> None:
        (self._slow if isinstance(asked.request, _LONG) else self._quick).append(asked)
        self._bell.set()

    def _drop(self, asked: Asked) -> None:
        self._asked.pop(asked.id, None)
        if isinstance(asked.request, Result) and self._results.get(asked.request.run_id) is asked:
            del self._results[asked.request.run_id]

    # --- For the connection -------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._limits is not None

    def connected(self, limits: LimitsView) -> None:
        """There is a connection: all that is under way is said, or said again, in the order in which it was asked."""
        self._limits = limits
        self._down = trio.Event()
        self._places = max(1, limits.requests)
        self._taken = 0
        self._moved.clear()
        self._unopened = {each: None for each in self._feeds.values() if each.wants_subscription}
        self._quick.clear()
        self._slow.clear()
        for asked in self._asked.values():
            self._queue(asked)
        self._bell.set()

    def next_text(self) -> bytes | None:
        """The next message to be sent, ``None``: nothing now; wait with ``wait_for_more``."""
        return self._next_received() or self._next_subscribe() or self._next_request()

    def _next_received(self) -> bytes | None:
        while self._moved:
            feed, _ = self._moved.popitem()
            if feed.wants_to_say:
                feed.said = feed.position
                return encode(Received(subscription=feed.id, seq=feed.said))
        return None

    def _next_subscribe(self) -> bytes | None:
        assert self._limits is not None
        while self._unopened and self._taken < self._places:
            feed = next(iter(self._unopened))
            del self._unopened[feed]
            if feed.wants_subscription:
                self._taken += 1
                return encode(feed.subscribe(self._limits.window))
        return None

    def _next_request(self) -> bytes | None:
        for queue, room in (
            (self._quick, self._places),
            (self._slow, max(1, self._places - self._places // RESERVED_SHARE)),
        ):
            while queue and self._taken < room:
                asked = queue.popleft()
                if asked.id in self._asked and self._fits(asked):
                    asked.is_sent = True
                    asked.times_sent += 1
                    self._taken += 1
                    return asked.text
        return None

    def _fits(self, asked: Asked) -> bool:
        assert self._limits is not None
        if len(asked.text) <= self._limits.message_bytes:
            return True
        self._drop(asked)
        size, limit = len(asked.text), self._limits.message_bytes
        asked.fail(ProtocolError(f"a request of {size} bytes; the server takes {limit} (WebsocketLimits)"))
        return False

    def listen(self) -> None:
        """From now on ``wait_for_more`` waits for what is new."""
        if self._bell.is_set():
            self._bell = trio.Event()

    async def wait_for_more(self) -> None:
        """Wait until there may be something to say; a checkpoint."""
        await self._bell.wait()

    def lost(self, problem: str) -> None:
        """The connection is gone, or could not be made."""
        self.problem = problem
        self._limits = None
        if self._down_since is None:
            self._down_since = trio.current_time()
        self._down.set()
        for asked in list(self._asked.values()):
            self._lose(asked)
        for feed in list(self._feeds.values()):
            feed.lose()
            if feed.is_left:
                del self._feeds[feed.id]

    def _lose(self, asked: Asked) -> None:
        is_unknown = asked.is_sent and not asked.is_repeatable
        asked.is_sent = False
        if is_unknown or not asked.waiting:
            self._drop(asked)
            asked.fail(PeerError(self.peer, UNKNOWN, run_id=getattr(asked.request, "run_id", None)))

    def fail(self, error: Exception) -> None:
        """All that is under way ends with this error; the connection is over, too."""
        for asked in list(self._asked.values()):
            self._drop(asked)
            asked.fail(error)
        for feed in list(self._feeds.values()):
            feed.end(error)
        self._feeds.clear()

    def give_up(self, problem: str) -> None:
        """There will be no connection any more."""
        if self.failure is None:
            self.failure = PeerError(self.peer, problem)
            self.fail(self.failure)

    # --- What comes ---------------------------------------------------------------------------------------------------

    def take(self, message: ServerMessage | Fault) -> None:
        """The server said something; raises ``ViolationError``."""
        match message:
            case Ok(id=request_id, value=value):
                self._answered(request_id, value)
            case Error(id=int(request_id), error=error):
                self._refused(request_id, read_error(error))
            case Error(error=error):
                raise ViolationError(f"the server could not read what this client said: {read_error(error)}")
            case Events(subscription=subscription):
                self._take_events(self._feed(subscription), message)
            case Ended(subscription=subscription, error=error):
                self._ended(self._feed(subscription), None if error is None else read_error(error))
            case Run(run=view):
                self._take_run(view)
            case Fault(problem=problem, request_id=int(request_id)) if request_id in self._asked:
                self._refused(request_id, ProtocolError(problem, str(request_id)))
            case Fault(problem=problem):
                raise ViolationError(problem)
            case Welcome():
                raise ViolationError("a second welcome")
        self.note_steady()

    def _answered(self, request_id: int, value: object) -> None:
        if self._confirmed(request_id) is not None:
            return
        asked = self._under_way(request_id)
        if isinstance(asked.request, Unsubscribe):
            self._feeds.pop(asked.request.subscription, None)
        asked.answer(value)

    def _refused(self, request_id: int, error: Exception) -> None:
        feed = self._confirmed(request_id)
        if feed is None:
            self._under_way(request_id).fail(error)
        else:
            del self._feeds[request_id]
            feed.end(error)

    def _confirmed(self, request_id: int) -> Feed | None:
        """The subscription that this is the answer to, if it is to one."""
        feed = self._feeds.get(request_id)
        if feed is None:
            return None
        if not feed.is_subscribed or feed.is_confirmed:
            raise ViolationError(f"an answer to request {request_id}, which has no need of one")
        feed.is_confirmed = True
        self._free()
        return feed

    def _under_way(self, request_id: int) -> Asked:
        asked = self._asked.get(request_id)
        if asked is None or not asked.is_sent:
            raise ViolationError(f"an answer to request {request_id}, which nobody asked")
        self._drop(asked)
        self._free()
        return asked

    def _free(self) -> None:
        """There is a place for another request."""
        self._taken -= 1
        self._bell.set()

    def _feed(self, subscription: int) -> Feed:
        feed = self._feeds.get(subscription)
        if feed is None or not feed.is_subscribed:
            raise ViolationError(f"items of subscription {subscription}, which there is not")
        return feed

    def _ended(self, feed: Feed, error: Exception | None) -> None:
        if not feed.is_confirmed:
            raise ViolationError(f"the end of subscription {feed.id}, which was not answered yet")
        del self._feeds[feed.id]
        feed.end(error)

    def _take_run(self, view: RunView) -> None:
        try:
            self.on_run(view)
        except ProtocolError as error:
            raise ViolationError(error.problem) from None

    def _take_events(self, feed: Feed, message: Events) -> None:
        try:
            feed.take(message)
        except ProtocolError as error:
            feed.end(error)
            self._stop(feed)

    # --- Patience -----------------------------------------------------------------------------------------------------

    def note_steady(self) -> None:
        """The connection has proved to be one."""
        if self._down_since is not None:
            self._down_since = None

    async def lose_patience(self) -> None:
        """While there is no connection, end what waits too long; for ever."""
        while True:
            await self._down.wait()
            now = trio.current_time()
            await trio.sleep_until(min((due for due, _ in self._dues()), default=now + self._patience))
            for due, give_up in list(self._dues()):
                if due <= trio.current_time():
                    give_up(PeerError(self.peer, self._impatience))

    @property
    def _impatience(self) -> str:
        waited = "" if math.isinf(self._patience) else f" for {self._patience:g} s"
        return f"no connection{waited}; the last attempt: {self.problem}"

    def _dues(self) -> Iterator[tuple[float, Callable[[PeerError], None]]]:
        """When each that waits has waited long enough, and what is done then."""
        if self._down_since is None or self.is_connected:
            return
        for asked in list(self._asked.values()):
            if asked.waiting:
                yield max(asked.since, self._down_since) + self._patience, partial(self._expire, asked)
        for feed in list(self._feeds.values()):
            if feed.since is not None:
                yield max(feed.since, self._down_since) + self._patience, feed.refuse

    def _expire(self, asked: Asked, error: PeerError) -> None:
        self._drop(asked)
        asked.fail(error)

    # --- What it holds ------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, int]:
        """Counts: requests that wait for an answer, of those the ones not sent yet, subscriptions, items queued."""
        return {
            "requests": len(self._asked),
            "unsent": sum(not each.is_sent for each in self._asked.values()),
            "subscriptions": len(self._feeds),
            "queued_items": sum(len(each.items) for each in self._feeds.values()),
        }
