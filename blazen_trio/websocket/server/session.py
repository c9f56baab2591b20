"""``Session``: what one client asks, and the one answer to each.

Rules of this file:

* A session always reads: each request has a task of its own, in the connection's nursery. So answers come in any order.
* What a client may not do is answered, with the id of its request if that can be told; after too many such messages the
  connection is closed.
* What may be big waits as a request, not as an answer: those requests are served one after another, and each answer is
  encoded when it is its turn to be sent. So a client that takes no answers costs one big one, not a hundred.
* A client that cancels a long request ends the waiting, and is answered. What a request does is not cancelled, nor is
  an answer that is there.
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
from blazen_trio.core.errors import EventDecodeError, ProtocolError
from blazen_trio.engine import EngineRun
from blazen_trio.websocket.protocol import (
    VERSION,
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
    Ok,
    Received,
    Runs,
    Snapshot,
    Subscribe,
    Unsubscribe,
    Welcome,
    verb,
)
from blazen_trio.websocket.protocol.views import LimitsView, ResultView, RunView
from blazen_trio.websocket.server.authorizing import Caller
from blazen_trio.websocket.server.calls import CALLS, begin, end
from blazen_trio.websocket.server.delivery import Delivery
from blazen_trio.websocket.server.feeds import Condition, condition_of
from blazen_trio.websocket.server.interfaces import ConnectionLike, ServerLike
from blazen_trio.websocket.server.trouble import told_error
from blazen_trio.websocket.server.verbs import LONG_VERBS, VERBS, Failure, Later, Verb

_BULKY: Final = (History, Runs, Snapshot)
"""Requests whose answers may be big, and that wait for nothing but the store."""

_VERBS: Final[Mapping[type[Request], Verb]] = {**VERBS, **CALLS}

_CANCELLED: Final = RequestCancelledError()


class Session:
    """One client of a server.

    Attributes:
        subscriptions: by their id.
    """

    def __init__(self, server: ServerLike, connection: ConnectionLike) -> None:
        self.subscriptions: dict[int, Delivery] = {}
        self._server = server
        self._connection = connection
        self._caller = Caller(server.engine, server.authorize, connection)
        self._limits = server.limits
        self._ids: set[int] = set()
        self._beginning: dict[int, tuple[str, trio.Event]] = {}  # calls whose run is not durable yet, with its id
        self._waits: dict[int, trio.CancelScope] = {}  # of long requests: what ends the waiting
        self._told: dict[str, Condition] = {}
        self._bulk, self._turn = trio.Lock(), trio.Lock()
        self._tasks = self._faults = 0
        self._is_closed = False

    # --- For the connection -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Greet the client; a checkpoint."""
        limits = LimitsView(
            message_bytes=self._limits.message_bytes, window=self._limits.window, requests=self._limits.requests
        )
        library = f"blazen_trio {blazen_trio.__version__}"
        await self._send(Welcome(version=VERSION, library=library, node_id=self._server.node_id, limits=limits))

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
        elif message.id in self._ids:
            await self._fault(f"the request {message.id} has no answer yet; take another id", None)
        elif problem := self._excess(message):
            await self._send_error(message.id, ProtocolError(problem, str(message.id)))
        else:
            self._begin(message)
            await checkpoint()

    def close(self) -> None:
        """The connection is over."""
        self._is_closed = True

    def statistics(self) -> dict[str, int]:
        """What it holds."""
        return {"requests": len(self._ids), "subscriptions": len(self.subscriptions), "faults": self._faults}

    # --- Messages -----------------------------------------------------------------------------------------------------

    def _excess(self, request: Request) -> str:
        """What there would be too much of.

        Tasks are counted twice as generously as ids: a client may ask anew before our side has seen its last answer
        leave. A client that takes no answers has tasks enough soon, too.
        """
        limits = self._limits
        if len(self._ids) >= limits.requests or self._tasks >= 2 * limits.requests:
            return f"more than {limits.requests} requests at once"
        if not isinstance(request, Subscribe):
            return ""
        if request.id in self.subscriptions:
            return f"there is a subscription {request.id} already; take another id"
        if len(self.subscriptions) >= limits.subscriptions:
            return f"more than {limits.subscriptions} subscriptions"
        return ""

    def _begin(self, request: Request) -> None:
        self._ids.add(request.id)
        self._tasks += 1
        if isinstance(request, Subscribe):  # known from now on, so that an "unsubscribe" right behind it finds it
            delivery = Delivery(request, self._connection, self._limits, self._told)
            self.subscriptions[request.id] = delivery
            self._server.subscriptions += 1
            self._connection.nursery.start_soon(self._serve_subscription, request, delivery)
        else:
            if isinstance(request, Call):
                self._beginning[request.id] = request.call_id, trio.Event()
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
            await checkpoint()

    async def _fault(self, problem: str, request_id: int | None) -> None:
        request_id = None if request_id in self._ids else request_id
        error = ProtocolError(problem, None if request_id is None else str(request_id))
        self._count_fault()
        await self._send_error(request_id, error)

    def _count_fault(self) -> None:
        self._faults += 1
        self._server.faults += 1
        if self._faults > self._limits.faults and not self._is_closed:
            self._is_closed = True
            self._connection.close_soon(CloseReason.POLICY_VIOLATION, "too many faulty messages")

    # --- Requests -----------------------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> None:
        """Be the task of one request."""
        try:
            async with self._bulk if isinstance(request, _BULKY) else nullcontext():
                outcome = await self._outcome(request)
                self._has_begun(request)  # or never will
                self._waits.pop(request.id, None)
                await self._answer(request, outcome)
        finally:
            self._tasks -= 1

    async def _outcome(self, request: Request) -> Any:
        """What it comes to: its value, or the exception that is its answer."""
        try:
            await self._caller.check(request)
            await self._wait_begun(getattr(request, "run_id", None))
            if isinstance(request, Unsubscribe):
                return await self._unsubscribe(request)
            if request.is_long:
                return await self._long_outcome(request, self._waits[request.id])
            return await _VERBS[type(request)](self._server, self._caller, request)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is one answer
            return error

    async def _long_outcome(self, request: Request, wait: trio.CancelScope) -> object:
        outcome: object
        if isinstance(request, Call):
            outcome = await self._call(request, wait)
        else:
            outcome = await LONG_VERBS[type(request)](self._server, request, wait)
        return _CANCELLED if wait.cancelled_caught else outcome

    async def _call(self, request: Call, wait: trio.CancelScope) -> ResultView | None:
        run = await begin(self._server, request)
        self._has_begun(request)
        with wait:
            return await end(self._server, run)
        return None

    async def _wait_begun(self, run_id: str | None) -> None:
        """An abort may be right behind the call: then there is a run to abort; a checkpoint if it is."""
        for call_id, begun in list(self._beginning.values()):
            if call_id == run_id:
                await begun.wait()

    def _has_begun(self, request: Request) -> None:
        if request.id in self._beginning:
            self._beginning.pop(request.id)[1].set()

    async def _answer(self, request: Request, outcome: object) -> None:
        try:
            self._turn.acquire_nowait()  # no checkpoint: what was seen of a run would be older than what is told of it
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            if isinstance(outcome, Later):
                outcome = await _now(outcome)
            await self._send_payload(self._answer_of(request, outcome))
        finally:
            self._turn.release()
        if isinstance(outcome, RunView) and outcome.run_id in self._told:
            self._server.feeds.poke(outcome.run_id)

    def _answer_of(self, request: Request, outcome: object) -> bytes:
        """The answer, which is to be sent now: the id is free."""
        self._ids.discard(request.id)
        if isinstance(outcome, RunView):
            self._note_told(outcome)
        return self._payload(request, outcome)

    def _payload(self, request: Request, outcome: object) -> bytes:
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
        if isinstance(outcome, ProtocolError | EventDecodeError):
            self._count_fault()
        return encode(Error(id=request.id, error=told_error(outcome, f"request {verb(request)!r}")))

    def _note_told(self, view: RunView) -> None:
        """The client learns from an answer what the run is like: it may be older than what it was told by itself."""
        if view.run_id in self._told:
            self._told[view.run_id] = condition_of(view)

    # --- Subscriptions ------------------------------------------------------------------------------------------------

    async def _serve_subscription(self, request: Subscribe, delivery: Delivery) -> None:
        """Be the task of one subscription, from the request for it to its end."""
        try:
            with delivery.scope:
                await self._subscribe(request, delivery)
        finally:
            self._forget(delivery)
        if delivery.is_left and request.id in self._ids:
            await self._answer(request, ProtocolError("it was left before it began"))
        delivery.gone()

    async def _subscribe(self, request: Subscribe, delivery: Delivery) -> None:
        try:
            await self._caller.check(request)
            run = await self._server.engine.get(request.run_id)
        except Exception as error:  # noqa: BLE001 - as for other requests
            self._forget(delivery)
            await delivery.undisturbed(self._send_payload, self._answer_of(request, error))
            return
        finally:
            self._tasks -= 1
        await delivery.undisturbed(self._send_payload, self._answer_of(request, None))
        ended = Ended(delivery.id, await self._delivered(delivery, run))
        self._forget(delivery)
        await delivery.undisturbed(self._send_payload, encode(ended))

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
        await self._send_payload(encode(message))

    async def _send_payload(self, payload: bytes) -> None:
        try:
            await self._connection.send(payload)
        except trio.BrokenResourceError:
            return


async def _now(later: Later) -> object:
    """What was left for the answer's turn, or the exception that is its answer."""
    try:
        return await later.make()
    except Exception as error:  # noqa: BLE001 - as for the rest of a request
        return error
