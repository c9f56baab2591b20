"""``Session``: what one client asks, and the one answer to each.

Rules of this file:

* A session always reads: each request has a task of its own, in the connection's nursery. So answers come in any order.
* What a client may not do is answered, with the id of its request if that can be told, and so is what makes no sense;
  if there is much more of that than of what does, the connection is closed.
* What may be big waits as a request, not as an answer: those requests are served one after another, and each answer is
  encoded when it is its turn to be sent. So a client that takes no answers costs one big one, not a hundred.
* A client that cancels a long request, or leaves a subscription, ends the waiting, and is answered. What a request does
  is not cancelled, nor is an answer: no scope that a client can cancel is around it.
* The id of a request is free again when its answer is on its way; a subscription's, when nothing more of it comes.
* The end of the connection cancels what is under way. What was done until then stays.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final

import trio
from trio.lowlevel import checkpoint
from wsproto.frame_protocol import CloseReason

import blazen_trio
from blazen_trio.core.errors import ProtocolError
from blazen_trio.engine import EngineRun
from blazen_trio.engine.infos import require_same
from blazen_trio.websocket.protocol import (
    ErrorView,
    Fault,
    Message,
    Request,
    RequestCancelledError,
    encode,
    read_from_client,
    write_error,
)
from blazen_trio.websocket.protocol.messages import (
    Call,
    Cancel,
    Ended,
    Error,
    History,
    OfRun,
    Received,
    Runs,
    Snapshot,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from blazen_trio.websocket.protocol.views import LimitsView, ResultView
from blazen_trio.websocket.server.answers import Answers
from blazen_trio.websocket.server.authorizing import Caller
from blazen_trio.websocket.server.calls import CALLS, Beginnings, begin, end
from blazen_trio.websocket.server.delivery import Delivery
from blazen_trio.websocket.server.feeds import Condition
from blazen_trio.websocket.server.interfaces import ConnectionLike, ServerLike
from blazen_trio.websocket.server.lists import LISTS
from blazen_trio.websocket.server.targets import Target
from blazen_trio.websocket.server.trouble import told_error
from blazen_trio.websocket.server.verbs import LONG_VERBS, VERBS, Verb

_BULKY: Final = (History, Runs, Snapshot)
"""Requests whose answers may be big, and that wait for nothing but the store."""

_VERBS: Final[Mapping[type[Request], Verb]] = {**VERBS, **CALLS}

_CANCELLED: Final = RequestCancelledError()

LEFT: Final = "it was left before it began"


class Session:
    """One client of a server.

    Attributes:
        subscriptions: by their id.
    """

    def __init__(self, server: ServerLike, connection: ConnectionLike) -> None:
        self.subscriptions: dict[int, Delivery] = {}
        self._server = server
        self._connection = connection
        self._limits = server.limits
        self._caller = Caller(server.engine, server.authorize, connection)
        self._told: dict[str, Condition] = {}
        self._answers = Answers(connection, server.feeds, self._told)
        self._beginnings = Beginnings()
        self._waits: dict[int, trio.CancelScope] = {}  # of long requests: what ends the waiting
        self._bulk = trio.Lock()
        self._faults = 0
        self._is_closed = False

    # --- For the connection -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Greet the client; a checkpoint."""
        limits = LimitsView(
            message_bytes=self._limits.message_bytes, window=self._limits.window, requests=self._limits.requests
        )
        library = f"blazen_trio {blazen_trio.__version__}"
        await self._send(
            Welcome(version=self._connection.version, library=library, node_id=self._server.node_id, limits=limits)
        )

    async def receive(self, text: str) -> None:
        """Take a whole message; a checkpoint that waits no longer than for one send."""
        if self._is_closed:
            await checkpoint()
            return
        message = read_from_client(text, bytes_max=self._limits.message_bytes)
        if isinstance(message, Fault):
            await self._fault(message.problem, message.request_id)
        elif isinstance(message, Received):
            await self._received(message)
        elif isinstance(message, Cancel):
            self._cancel(message.id)
            await checkpoint()
        elif message.id in self._answers.ids:
            await self._fault(f"the request {message.id} has no answer yet; take another id", None)
        else:
            await self._request(message)

    def close(self) -> None:
        """The connection is over."""
        self._is_closed = True

    def statistics(self) -> dict[str, int]:
        """What it holds."""
        return {"requests": len(self._answers.ids), "subscriptions": len(self.subscriptions), "faults": self._faults}

    # --- Messages -----------------------------------------------------------------------------------------------------

    async def _request(self, request: Request) -> None:
        self._count_sense()
        if problem := self._excess(request):
            await self._send_error(request.id, ProtocolError(problem, str(request.id)))
        else:
            self._begin(request)
            await checkpoint()

    def _excess(self, request: Request) -> str:
        """What there would be too much of.

        Tasks are counted twice as generously as ids: a client may ask anew before our side has seen its last answer
        leave. A client that takes no answers has tasks enough soon, too.
        """
        limits = self._limits
        if len(self._answers.ids) >= limits.requests or self._answers.tasks >= 2 * limits.requests:
            return f"more than {limits.requests} requests at once"
        if not isinstance(request, Subscribe):
            return ""
        if request.id in self.subscriptions:
            return f"there is a subscription {request.id} already; take another id"
        if len(self.subscriptions) >= limits.subscriptions:
            return f"more than {limits.subscriptions} subscriptions"
        return ""

    def _begin(self, request: Request) -> None:
        self._answers.expect(request)
        if isinstance(request, Subscribe):  # known from now on, so that an "unsubscribe" right behind it finds it
            delivery = Delivery(request, self._connection, self._limits, self._told)
            self.subscriptions[request.id] = delivery
            self._server.subscriptions += 1
            self._connection.nursery.start_soon(self._serve_subscription, request, delivery)
        else:
            if isinstance(request, Call):
                self._beginnings.expect(request)
            if request.is_long:
                self._waits[request.id] = trio.CancelScope()
            self._connection.nursery.start_soon(self._serve, request)

    def _cancel(self, request_id: int) -> None:
        """The client does not wait any more; of what is no long request that is nothing."""
        if request_id in self._waits:
            self._waits[request_id].cancel()

    async def _received(self, message: Received) -> None:
        delivery = self.subscriptions.get(message.subscription)
        if delivery is not None and not delivery.take_received(message.seq):
            await self._fault(f"subscription {message.subscription}: {message.seq} was not sent yet", None)
        else:  # also of one that has just ended
            self._count_sense()
            await checkpoint()

    async def _fault(self, problem: str, request_id: int | None) -> None:
        """Something that makes no sense was said."""
        request_id = None if request_id in self._answers.ids else request_id
        self._count_fault()
        await self._send_error(request_id, ProtocolError(problem, None if request_id is None else str(request_id)))

    def _count_sense(self) -> None:
        """What a program of ours says by mistake is outweighed by what else it says."""
        self._faults = max(0, self._faults - 1)

    def _count_fault(self) -> None:
        self._faults += 1
        self._server.faults += 1
        if self._faults > self._limits.faults and not self._is_closed:
            self._is_closed = True
            self._connection.close_soon(CloseReason.POLICY_VIOLATION, "too many faulty messages")

    # --- Requests -----------------------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> None:
        """Be the task of one request."""
        with self._answers.serving():
            async with self._bulk if isinstance(request, _BULKY) else nullcontext():
                outcome = await self._outcome(request)
                self._beginnings.note(request.id)  # or it never will
                self._waits.pop(request.id, None)
                await self._answers.give(request, outcome)

    async def _outcome(self, request: Request) -> Any:
        """What it comes to: its value, or the exception that is its answer."""
        try:
            if isinstance(request, OfRun):
                await self._beginnings.wait(request.run_id)  # an abort may be right behind the call
            target = await self._caller.check(request)
            if isinstance(request, Subscribe):
                return require_same(await target.run(), request.created)
            if isinstance(request, Unsubscribe):
                return await self._unsubscribe(request)
            if request.is_long:
                return await self._long_outcome(request, target)
            if type(request) in LISTS:
                return await LISTS[type(request)](self._server, self._caller, request)
            return await _VERBS[type(request)](self._server, target, request)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is one answer
            return error

    async def _long_outcome(self, request: Request, target: Target) -> object:
        wait = self._waits[request.id]
        outcome: object
        if isinstance(request, Call):
            outcome = await self._call(request, wait)
        else:
            outcome = await LONG_VERBS[type(request)](self._server, target, request, wait)
        return _CANCELLED if wait.cancelled_caught else outcome

    async def _call(self, request: Call, wait: trio.CancelScope) -> ResultView | None:
        run = await begin(self._server, request)
        self._beginnings.note(request.id)
        with wait:
            return await end(self._server, run)
        return None

    # --- Subscriptions ------------------------------------------------------------------------------------------------

    async def _serve_subscription(self, request: Subscribe, delivery: Delivery) -> None:
        """Be the task of one subscription, from the request for it to its end."""
        try:
            with self._answers.serving():
                run = await self._opened(request, delivery)
            if run is not None:
                await self._deliver(run, delivery)
        finally:
            self._forget(delivery)
            delivery.gone()

    async def _opened(self, request: Subscribe, delivery: Delivery) -> EngineRun | None:
        """Answer the request; gives the run if it is to be read."""
        outcome: EngineRun | Exception = ProtocolError(LEFT)
        with delivery.until_left():
            outcome = await self._outcome(request)
        if isinstance(outcome, EngineRun):
            await self._answers.give(request, None)
            return outcome
        self._forget(delivery)
        await self._answers.give(request, outcome)
        return None

    async def _deliver(self, run: EngineRun, delivery: Delivery) -> None:
        with delivery.until_left():
            ended = Ended(delivery.id, await self._delivered(delivery, run))
            self._forget(delivery)
            await delivery.undisturbed(self._answers.send, encode(ended))

    async def _delivered(self, delivery: Delivery, run: EngineRun) -> ErrorView | None:
        """Deliver all; gives why it could not be, if so."""
        try:
            return await delivery.deliver(self._server.feeds, run)
        except trio.BrokenResourceError:
            return None  # whoever reads from the connection learns it, too
        except Exception as error:  # noqa: BLE001 - the others go on, and this client learns that it is over
            return told_error(error, f"subscription to run {run.run_id}")

    def _forget(self, delivery: Delivery) -> None:
        if self.subscriptions.get(delivery.id) is delivery:
            del self.subscriptions[delivery.id]
            self._server.subscriptions -= 1
        if all(each.run_id != delivery.run_id for each in self.subscriptions.values()):
            self._told.pop(delivery.run_id, None)

    async def _unsubscribe(self, request: Unsubscribe) -> None:
        delivery = self.subscriptions.get(request.subscription)
        if delivery is not None:
            await delivery.leave()
        await checkpoint()

    # --- Sending ------------------------------------------------------------------------------------------------------

    async def _send_error(self, request_id: int | None, error: ProtocolError) -> None:
        await self._send(Error(id=request_id, error=write_error(error)))

    async def _send(self, message: Message) -> None:
        await self._answers.send(encode(message))
