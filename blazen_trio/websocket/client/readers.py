"""The subscriptions of one client, over all its connections: which to ask for, and what the server is told of each.

Rules of this file:

* A subscription is asked for again on each connection, by the same id, behind the last event that came; one whose
  queue is still full only when there is room in it.
* ``received`` is said before anything else is asked for: that lets the server go on.
* One that is opened behind a goodbye is asked for when that is answered: the server may have as many as it takes.
* One that was left is known until the server has answered the goodbye: until then its events are no violation. Then
  its place is free, whether the server has answered the request for it or not.
"""

from collections.abc import Callable, Iterator

from blazen_trio.core.errors import ProtocolError
from blazen_trio.websocket.client.feeds import Feed
from blazen_trio.websocket.client.ledger import Ledger
from blazen_trio.websocket.client.patience import Waiter
from blazen_trio.websocket.client.places import Places
from blazen_trio.websocket.client.violations import ViolationError
from blazen_trio.websocket.protocol import encode
from blazen_trio.websocket.protocol.messages import Events, Received, Unsubscribe


class Readers:
    """Subscriptions of one client.

    Args:
        ledger: the requests, of which a goodbye is one.
        places: how many requests the server takes at once.
        ring: called when there is something to say.
    """

    def __init__(self, ledger: Ledger, places: Places, ring: Callable[[], object]) -> None:
        self._ledger = ledger
        self._places = places
        self._ring = ring
        self._feeds: dict[int, Feed] = {}
        self._moved: dict[Feed, None] = {}
        self._unopened: dict[Feed, None] = {}
        self._goodbyes: dict[int, None] = {}  # those that were not answered yet, by their ids, which rise
        self._window_max = 1

    # --- For those who read -------------------------------------------------------------------------------------------

    def open(self, feed: Feed) -> None:
        """Subscribe, now or when there is a connection."""
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
            self._ring()
        elif feed.wants_to_say:
            self._moved[feed] = None
            self._ring()

    def _stop(self, feed: Feed) -> None:
        """Tell the server to send no more of it."""
        if not feed.is_subscribed:
            self._feeds.pop(feed.id, None)
        if feed.id in self._feeds and not feed.is_left:
            feed.is_left = True
            goodbye = Unsubscribe(id=self._ledger.new_id(), subscription=feed.id)
            self._goodbyes[goodbye.id] = None
            self._ledger.say(goodbye)

    # --- For the connection -------------------------------------------------------------------------------------------

    def connected(self, window_max: int) -> None:
        """All that have room for more are asked for again."""
        self._window_max = window_max
        self._moved.clear()
        self._unopened = {each: None for each in self._feeds.values() if each.wants_subscription}

    def next_text(self) -> bytes | None:
        """The next that the server is told or asked of a subscription, if there is a place for it."""
        return self._next_received() or self._next_subscribe()

    def _next_received(self) -> bytes | None:
        while self._moved:
            feed, _ = self._moved.popitem()
            if feed.wants_to_say:
                feed.said = feed.position
                return encode(Received(subscription=feed.id, seq=feed.said))
        return None

    def _next_subscribe(self) -> bytes | None:
        while self._places.has_room and (feed := self._first_unopened()) is not None:
            del self._unopened[feed]
            if feed.wants_subscription:
                self._places.take()
                return encode(feed.subscribe(self._window_max))
        return None

    def _first_unopened(self) -> Feed | None:
        goodbye = next(iter(self._goodbyes), None)
        return next((each for each in self._unopened if goodbye is None or each.id < goodbye), None)

    def lost(self) -> None:
        """The connection is gone, or could not be made."""
        self._goodbyes.clear()
        for feed in list(self._feeds.values()):
            feed.lose()
            if feed.is_left:
                del self._feeds[feed.id]

    def end(self, subscription: int, error: Exception) -> None:
        """One ends with this error, though not all that came for it was read."""
        feed = self._feeds.pop(subscription, None)
        if feed is not None:
            feed.end(error)

    def fail(self, error: Exception) -> None:
        """All end with this error."""
        for feed in list(self._feeds.values()):
            feed.end(error)
        self._feeds.clear()

    # --- What comes ---------------------------------------------------------------------------------------------------

    def confirmed(self, request_id: int) -> Feed | None:
        """The subscription that this is the answer to, if it is to one; raises ``ViolationError`` for a second one."""
        feed = self._feeds.get(request_id)
        if feed is None:
            return None
        if not feed.is_subscribed or feed.is_confirmed:
            raise ViolationError(f"the server answered request {request_id}, which it had answered or was not asked")
        feed.is_confirmed = True
        self._places.free()
        return feed

    def refused(self, feed: Feed, error: Exception) -> None:
        """The server does not give this one."""
        del self._feeds[feed.id]
        feed.end(error)

    def left(self, goodbye: Unsubscribe) -> None:
        """The goodbye was answered: nothing more of it comes, also no answer to the request for it."""
        self._goodbyes.pop(goodbye.id, None)
        feed = self._feeds.pop(goodbye.subscription, None)
        if feed is not None and feed.is_subscribed and not feed.is_confirmed:
            self._places.free()

    def take(self, message: Events) -> None:
        """Events came; raises ``ViolationError``."""
        feed = self._feed(message.subscription)
        try:
            feed.take(message)
        except ProtocolError as error:
            feed.end(error)
            self._stop(feed)

    def ended(self, subscription: int, error: Exception | None) -> None:
        """A subscription is over; raises ``ViolationError``."""
        feed = self._feed(subscription)
        if not feed.is_confirmed:
            raise ViolationError(f"the server ended subscription {feed.id} before it confirmed it")
        del self._feeds[feed.id]
        feed.end(error)

    def _feed(self, subscription: int) -> Feed:
        feed = self._feeds.get(subscription)
        if feed is None or not feed.is_subscribed:
            raise ViolationError(f"the server sent items of subscription {subscription}, which does not exist")
        return feed

    # --- What it holds ------------------------------------------------------------------------------------------------

    def waiters(self) -> Iterator[Waiter]:
        """All whose reader waits."""
        for feed in self._feeds.values():
            if feed.since is not None:
                yield feed.since, feed.refuse

    def statistics(self) -> dict[str, int]:
        """Counts: subscriptions, and items that wait in them."""
        items = sum(len(each.items) for each in self._feeds.values())
        return {"subscriptions": len(self._feeds), "queued_items": items}
