"""One subscription: what came and was not taken yet, and whether anything is missing.

Rules of this file:

* Items come with rising numbers. Without a filter there is no hole but a gap of exactly its size; whoever sends
  something else is told no more, and the reader gets a ``ProtocolError`` behind the last item that was right.
* ``received`` is the last number that came, ``position`` the last one that the reader took. A new connection goes on
  behind the former; what is queued stays.
* The queue is bounded: the server sends at most a window beyond what it was told is taken, and the window is what the
  reader wants or, if that is less, what this connection's server grants. A new connection is asked for more only when
  no more than half of the last window is queued, so never more than one and a half of the widest are.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import attrs
import trio

from blazen_trio.core.errors import ProtocolError
from blazen_trio.core.events import StreamGap
from blazen_trio.websocket.client.own_error import own_error
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.messages import Events, Subscribe
from blazen_trio.websocket.protocol.views import ItemView

WINDOW: Final = 1_000
"""Events of one subscription that are on their way or queued here, unless the server allows fewer."""

_GAP: Final = StreamGap.event_type


@attrs.define(eq=False)
class Feed:
    """The items of one subscription.

    Attributes:
        id: names it in messages, on every connection.
        created: when the run was whose stream it is; one that has its id since is another.
        wanted: the window that the reader wants.
        received: the number of the last event that came.
        position: the number of the last event that was taken.
        said: the last number that the server knows to be taken.
        is_subscribed: whether this connection's server was asked for it.
        is_confirmed: whether that server has answered.
        is_left: whether that server was told to stop.
        is_closed: its reader wants no more.
        is_over: nothing more will come.
        error: what is raised when the queue is empty, if so.
        missed: events that were taken as gaps.
        since: when its reader began to wait; ``None``: it does not.
    """

    id: int
    run_id: str
    created: float | None
    types: list[str] | None
    wanted: int
    received: int
    on_moved: Callable[["Feed"], None] = attrs.field(repr=False)
    position: int = 0
    said: int = 0
    is_subscribed: bool = False
    is_confirmed: bool = False
    is_left: bool = False
    is_closed: bool = False
    is_over: bool = False
    error: Exception | None = None
    items: deque[ItemView] = attrs.field(factory=deque[ItemView], repr=False)
    missed: int = 0
    since: float | None = None
    _window: int = attrs.field(init=False)  # the last one that was granted
    _queued_max: int = 0
    _refusal: Exception | None = None
    _more: trio.Event = attrs.field(factory=trio.Event, repr=False)

    def __attrs_post_init__(self) -> None:
        self.position = self.said = self.received
        self._window = self.wanted

    # --- For the connection -------------------------------------------------------------------------------------------

    @property
    def wants_subscription(self) -> bool:
        """Whether it is time to ask for more items on a new connection."""
        is_wanted = not self.is_subscribed and not self.is_closed and not self.is_over
        return is_wanted and len(self.items) <= self._window // 2

    def subscribe(self, window_max: int) -> Subscribe:
        """The request for what comes behind that which is here."""
        self.is_subscribed = True
        self.said = self.received
        self._window = max(1, min(self.wanted, window_max))
        self._queued_max = len(self.items) + self._window
        return Subscribe(
            id=self.id,
            run_id=self.run_id,
            after=self.received,
            types=self.types,
            window=self._window,
            created=self.created,
        )

    @property
    def wants_to_say(self) -> bool:
        """Whether so much was taken that the server should hear of it."""
        is_heard = self.is_subscribed and not self.is_closed and not self.is_over
        return is_heard and self.position - self.said >= max(1, self._window // 4)

    def take(self, message: Events) -> None:
        """Items came; raises ``ProtocolError`` if they cannot be, and then those that can are queued."""
        if self.is_closed or self.is_over:
            return
        try:
            for item in message.items:
                self._check(item)
                self.received = item.seq
                self.items.append(item)
            self._check_until(message.until)
            self.received = message.until
        finally:
            self._settle()

    def _check(self, item: ItemView) -> None:
        if item.seq <= self.received:
            raise ProtocolError(f"item {item.seq} of run {self.run_id!r} came after item {self.received}")
        missed = _missed(item)
        begin = item.seq - 1 if missed is None else item.seq - missed
        if begin < self.received or (self.types is None and begin != self.received):
            raise ProtocolError(f"items {self.received} and {item.seq} of run {self.run_id!r} do not follow each other")
        if len(self.items) >= self._queued_max:
            raise ProtocolError(f"more items of run {self.run_id!r} came than were asked for")

    def _check_until(self, until: int) -> None:
        if until < self.received or (self.types is None and until != self.received):
            raise ProtocolError(
                f"the server says that run {self.run_id!r} was sent up to {until}, and it was up to {self.received}"
            )

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come."""
        self.is_over = True
        self.error = self.error or error
        self.wake()

    def lose(self) -> None:
        """The connection is gone; what is here stays."""
        self.is_subscribed = self.is_confirmed = False

    def _settle(self) -> None:
        """What a server's filter left out counts as taken when nothing before it is queued."""
        if self.items:
            self.wake()
        elif self.received > self.position:
            self.position = self.received
            self.on_moved(self)

    # --- For the reader -----------------------------------------------------------------------------------------------

    def pop(self) -> ItemView | None:
        """Take the next item, if there is one."""
        if not self.items:
            return None
        item = self.items.popleft()
        self.position = item.seq if self.items else self.received
        self.missed += _missed(item) or 0
        self.on_moved(self)
        return item

    def close(self) -> None:
        """The reader wants no more."""
        self.is_closed = True
        self.items.clear()
        self.wake()

    async def wait(self) -> None:
        """Wait until something is different; a checkpoint. Raises what ended the waiting, if it took too long."""
        self.since, self._refusal, self._more = trio.current_time(), None, trio.Event()
        try:
            await self._more.wait()
        finally:
            self.since = None
        if self._refusal is not None:
            raise own_error(self._refusal, self.run_id)

    def refuse(self, error: Exception) -> None:
        """The reader waits too long; it may come back."""
        self._refusal = error
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        self._more.set()


def _missed(item: ItemView) -> int | None:
    """How many events a gap stands for; ``None``: the item is none."""
    if item.event.event_type != _GAP:
        return None
    return _count(item.event)


def _count(gap: EventData) -> int:
    data: Any = gap.data
    missed = cast("dict[str, Any]", data).get("missed") if type(data) is dict else None
    if type(missed) is not int or missed < 1:
        raise ProtocolError("a gap came that does not say how many events it stands for")
    return missed
