"""``Answers``: to each request exactly one, whatever becomes of it.

Rules of this file:

* An id is taken from when its request came until its answer is about to be sent: nothing is waited for in between.
* Answers that may be big are made when it is their turn, one after another.
* What an answer tells of a run is noted, since it may be older than what its client was told by itself.
"""

from collections.abc import Generator
from contextlib import contextmanager

import trio

from blazen_trio.core.errors import ProtocolError
from blazen_trio.websocket.protocol import Request, encode
from blazen_trio.websocket.protocol.messages import Error, Ok, verb
from blazen_trio.websocket.protocol.views import RunView
from blazen_trio.websocket.server.feeds import Condition, Feeds, condition_of
from blazen_trio.websocket.server.interfaces import ConnectionLike
from blazen_trio.websocket.server.trouble import told_error
from blazen_trio.websocket.server.verbs import Failure, Later


class Answers:
    """What one client asked, and is answered.

    Attributes:
        ids: of requests that have no answer yet.
        tasks: that serve them, until the answer is sent.
    """

    def __init__(self, connection: ConnectionLike, feeds: Feeds, told: dict[str, Condition]) -> None:
        self.ids: set[int] = set()
        self.tasks: int = 0
        self._connection = connection
        self._feeds = feeds
        self._told = told
        self._turn = trio.Lock()

    def expect(self, request: Request) -> None:
        """A request came; its task will be ``serving``."""
        self.ids.add(request.id)
        self.tasks += 1

    @contextmanager
    def serving(self) -> Generator[None, None, None]:
        """The part of a request's task that ends with its answer."""
        try:
            yield
        finally:
            self.tasks -= 1

    async def give(self, request: Request, outcome: object) -> None:
        """Answer with a value, or an exception; a checkpoint. Only the connection's end may cancel it."""
        try:
            self._turn.acquire_nowait()  # no checkpoint: what was seen of a run would be older than what is told of it
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            if isinstance(outcome, Later):
                outcome = await _now(outcome)
            self.ids.discard(request.id)
            self._note(outcome)
            await self.send(_payload(request, outcome))
        finally:
            self._turn.release()
        if isinstance(outcome, RunView) and outcome.run_id in self._told:
            self._feeds.poke(outcome.run_id)

    def _note(self, outcome: object) -> None:
        if isinstance(outcome, RunView) and outcome.run_id in self._told:
            self._told[outcome.run_id] = condition_of(outcome)

    async def send(self, payload: bytes) -> None:
        """Send a message, unless nobody is there any more; a checkpoint."""
        try:
            await self._connection.send(payload)
        except trio.BrokenResourceError:  # whoever reads from the connection learns it, too
            return


def _payload(request: Request, outcome: object) -> bytes:
    if isinstance(outcome, Failure):
        told = told_error(outcome.error, f"request {verb(request)!r}")
        return encode(Error(id=request.id, error=told, run=outcome.run))
    if not isinstance(outcome, Exception):
        try:
            return encode(Ok(id=request.id, value=outcome))
        except Exception as error:  # noqa: BLE001 - a value that is no JSON is a bug of ours
            outcome = error
    if isinstance(outcome, ProtocolError) and outcome.request_id is None:
        outcome.request_id = str(request.id)
    return encode(Error(id=request.id, error=told_error(outcome, f"request {verb(request)!r}")))


async def _now(later: Later) -> object:
    """What was left for the answer's turn, or the exception that is its answer."""
    try:
        return await later.make()
    except Exception as error:  # noqa: BLE001 - as for the rest of a request
        return error
