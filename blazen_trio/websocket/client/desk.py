"""What is said next, and what each message of the server means: decided here, without waiting.

Rules of this file:

* The link does what it is told: it sends ``next_text`` while there is one, and gives everything that comes to ``take``.
* A request is the ``ledger``'s, a subscription the ``readers``'; an id is never that of both.
* An answer that nobody asked for, or text that is no message, is a violation: then nobody knows which answers will
  never come, so all that is under way fails with a ``ProtocolError``. Of a message that is too big that is known: one
  fails, and the others go on with the next connection.
* After ``give_up`` there will be no connection any more, and whoever wants something is told so.
"""

from collections.abc import Callable, Iterator

import trio

from blazen_trio.core.errors import PeerError, ProtocolError
from blazen_trio.websocket.client.beginnings import Addressee
from blazen_trio.websocket.client.feeds import Feed
from blazen_trio.websocket.client.ledger import Ledger
from blazen_trio.websocket.client.own_error import own_error
from blazen_trio.websocket.client.patience import Patience, Waiter
from blazen_trio.websocket.client.places import Places
from blazen_trio.websocket.client.readers import Readers
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.client.violations import ViolationError
from blazen_trio.websocket.protocol import Fault, read_error
from blazen_trio.websocket.protocol.messages import (
    Ended,
    Error,
    Events,
    Ok,
    Run,
    ServerMessage,
    Unsubscribe,
    Welcome,
)
from blazen_trio.websocket.protocol.views import LimitsView, RunView


class Desk:
    """Requests and subscriptions of one client, over all its connections.

    Attributes:
        peer: what errors call the server.
        on_run: called with what the server tells of a run by itself.
        is_connected: whether there is a connection.
        failure: why there will be none any more.
    """

    def __init__(self, peer: str, patience: float) -> None:
        self.peer: str = peer
        self.on_run: Callable[[RunView], object] = lambda _: None
        self.is_connected: bool = False
        self.failure: PeerError | None = None
        self._bell = trio.Event()
        self._places = Places(self._ring)
        self._ledger = Ledger(peer, self._places, self._ring)
        self._readers = Readers(self._ledger, self._places, self._ring)
        self._patience = Patience(peer, patience)

    # --- For those who want something ---------------------------------------------------------------------------------

    def new_id(self) -> int:
        """An id that no request had before."""
        return self._ledger.new_id()

    def ask(self, asked: Asked) -> Asked:
        """Say a request, now or when there is a connection; gives the one that stands for it. Then ``leave`` it.

        Raises:
            PeerError: the client was closed.
        """
        self._check(asked.request.subject)
        return self._ledger.ask(asked)

    def leave(self, asked: Asked) -> None:
        """Somebody does not wait for this any more; the server may hear of it, when the link comes to it."""
        self._ledger.leave(asked)

    def open(self, feed: Feed) -> None:
        """Subscribe, now or when there is a connection; raises as ``ask`` does."""
        self._check(feed.run_id)
        self._readers.open(feed)

    def close(self, feed: Feed) -> None:
        """Leave a subscription."""
        self._readers.close(feed)

    def note_moved(self, feed: Feed) -> None:
        """Something of a subscription was taken."""
        self._readers.note_moved(feed)

    def _check(self, run_id: str | None) -> None:
        if self.failure is not None:
            raise own_error(self.failure, run_id)

    # --- For the connection -------------------------------------------------------------------------------------------

    def connected(self, limits: LimitsView) -> None:
        """There is a connection: all that is under way is said, or said again."""
        self.is_connected = True
        self._patience.note_connected()
        self._places.renew(limits.requests)
        self._readers.connected(limits.window)
        self._ledger.connected(limits.message_bytes)
        self._ring()

    def next_text(self) -> bytes | None:
        """The next message to be sent, ``None``: nothing now; wait with ``wait_for_more``."""
        return self._ledger.next_cancel() or self._readers.next_text() or self._ledger.next_request()

    def _ring(self) -> None:
        """There may be something to say."""
        self._bell.set()

    def listen(self) -> None:
        """From now on ``wait_for_more`` waits for what is new."""
        if self._bell.is_set():
            self._bell = trio.Event()

    async def wait_for_more(self) -> None:
        """Wait until there may be something to say; a checkpoint."""
        await self._bell.wait()

    def note_steady(self) -> None:
        """The connection has proved to be one."""
        self._patience.note_steady()

    def lost(self, problem: str) -> None:
        """The connection is gone, or could not be made."""
        self.is_connected = False
        self._patience.note_lost(problem)
        self._ledger.lost()
        self._readers.lost()

    def fail(self, error: Exception) -> None:
        """All that is under way ends with this error; the connection is over, too."""
        self._ledger.fail(error)
        self._readers.fail(error)

    def refuse(self, error: ProtocolError, addressee: Addressee | None) -> None:
        """What the server said cannot be taken: it ends whom it was for or, if that is not known, all."""
        if addressee is None:
            self.fail(error)
        elif addressee.is_subscription:
            self._readers.end(addressee.number, error)
        else:
            self._ledger.end(addressee.number, error)

    def give_up(self, problem: str) -> None:
        """There will be no connection any more."""
        if self.failure is None:
            self.failure = PeerError(self.peer, problem)
            self.fail(self.failure)

    async def lose_patience(self) -> None:
        """While there is no connection, end what waits too long; for ever."""
        await self._patience.run(self._waiters)

    def _waiters(self) -> Iterator[Waiter]:
        yield from self._ledger.waiters()
        yield from self._readers.waiters()

    # --- What comes ---------------------------------------------------------------------------------------------------

    def take(self, message: ServerMessage | Fault) -> None:
        """The server said something; raises ``ViolationError``."""
        match message:
            case Ok(id=request_id, value=value):
                self._answered(request_id, value)
            case Error(id=int(request_id), error=error, run=view):
                self._take_run(view)
                self._refused(request_id, read_error(error))
            case Error(error=error):
                raise ViolationError(f"the server could not read what this client said: {read_error(error)}")
            case Events():
                self._readers.take(message)
            case Ended(subscription=subscription, error=error):
                self._readers.ended(subscription, None if error is None else read_error(error))
            case Run(run=view):
                self._take_run(view)
            case Fault(problem=problem, request_id=int(request_id)) if request_id in self._ledger:
                self._refused(request_id, ProtocolError(problem, str(request_id)))
            case Fault(problem=problem):
                raise ViolationError(problem)
            case Welcome():
                raise ViolationError("a second welcome")
        self.note_steady()

    def _answered(self, request_id: int, value: object) -> None:
        if self._readers.confirmed(request_id) is not None:
            return
        self._over(request_id).answer(value)

    def _refused(self, request_id: int, error: Exception) -> None:
        feed = self._readers.confirmed(request_id)
        if feed is None:
            self._over(request_id).fail(error)
        else:
            self._readers.refused(feed, error)

    def _over(self, request_id: int) -> Asked:
        asked = self._ledger.answered(request_id)
        if isinstance(asked.request, Unsubscribe):
            self._readers.left(asked.request)
        return asked

    def _take_run(self, view: RunView | None) -> None:
        try:
            if view is not None:
                self.on_run(view)
        except ProtocolError as error:
            raise ViolationError(error.problem) from None

    # --- What it holds ------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, int]:
        """Counts: requests that wait for an answer, of those the ones not sent yet, subscriptions, items queued."""
        return {**self._ledger.statistics(), **self._readers.statistics()}
