"""``Context``: what a step can do beside returning events. One per call and attempt.

Only what can block is ``async``, and every async method is a checkpoint. A context works from the call's own task, from
tasks of a nursery inside the step, and from the worker thread of a plain ``def`` step (the synchronous methods).
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload
from uuid import NAMESPACE_OID, uuid5

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from blazen_trio.codec import Plain
from blazen_trio.core.annotations import ContextParameter
from blazen_trio.core.calls import Call, Unencoded
from blazen_trio.core.errors import EncodeError
from blazen_trio.core.events import Event, InputRequestEvent, ProgressEvent, UsageEvent, is_event_class, require_event
from blazen_trio.core.ids import format_id
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.messages import (
    AnswerKept,
    EventAwaited,
    EventClaimed,
    EventCollected,
    EventDeclined,
    EventSent,
    EventWanted,
    InputRequested,
    InputWithdrawn,
    Message,
    OnceRecorded,
    ProgressReported,
    StreamWritten,
    UsageReported,
    WaitEnded,
)
from blazen_trio.core.questions import is_same
from blazen_trio.core.retry import RetryConfig, RetryStack
from blazen_trio.parking import Parking
from blazen_trio.session_refs import SessionRefRegistry
from blazen_trio.values import State, TypedState

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    from blazen_trio.runner import Runner

    S = TypeVarWithDefault("S", default=State)
else:
    S = TypeVar("S")

E = TypeVar("E", bound=Event)
R = TypeVar("R")


class Context(ContextParameter, Generic[S]):
    """A call's view of its run. A step gets one by annotating a parameter with ``Context``.

    ``Context[Trip]`` tells type checkers that ``ctx.state`` has the fields of ``Trip``, the workflow's ``state_type``.
    """

    __slots__ = ("_asked", "_sent", "_state", "_unread", "_written", "call", "runner")

    def __init__(self, runner: "Runner", call: Call) -> None:
        self.runner: Runner = runner
        self.call: Call = call
        self._sent = self._written = self._asked = 0
        self._state: State | None = None
        record = call.record
        self._unread = list(record.received) if record is not None and record.received else None

    # --- Who and where ------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.runner.run_id

    @property
    def workflow_name(self) -> str:
        """The workflow's name."""
        return self.runner.definition.name

    @property
    def step_name(self) -> str:
        """The step's name."""
        return self.call.step_name

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.call.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this call, after retries and resumes too; different for any other call."""
        return f"{self.runner.run_id}:{format_id(self.call.id)}"

    @property
    def metadata(self) -> dict[str, Any]:
        """What the caller of ``run`` or ``start`` gave as ``metadata``."""
        return self.runner.metadata

    @property
    def session(self) -> dict[str, Any]:
        """Live objects of the run by name (connections, locks); never saved."""
        return self.runner.session

    @property
    def session_refs(self) -> SessionRefRegistry:
        """Live objects of the run by keys that may stand in events and in ``state``. No failure undoes an insert."""
        return self.runner.session_refs

    @property
    def state(self) -> S:
        """The run's values; see ``State``."""
        if self._state is None:
            state_type = self.runner.definition.options.state_type
            self._state = State(self) if state_type is None else TypedState(self, state_type)
        return cast("S", self._state)

    def resolved_retry(self, call: RetryConfig | None = None) -> RetryConfig:
        """The retry configuration for what the step calls itself.

        The first that is given: ``call``, the step's, the workflow's, the default.
        """
        options = self.runner.definition.options
        return RetryStack(step=self.call.plan.step.retry, workflow=options.retry).resolve(call)

    # --- Out ----------------------------------------------------------------------------------------------------------

    def send_event(self, event: Event) -> None:
        """Put an event into the queue now, before the call ends. It belongs to the call's fan-out.

        A repeated call does not deliver again what it already sent (same order, equal value).

        Raises:
            EventLimitError: too many events are pending in the run.
            TypeError: not an event.
        """
        require_event(event, "send_event")
        record = self.call.record
        place, self._sent = self._sent, self._sent + 1
        if record is not None and place < len(record.sent) and _is_repeated(record.sent, place, event):
            return
        self.post(EventSent(self.call, event, self.runner.clock()))

    def write_event_to_stream(self, event: Event) -> None:
        """Show an event to the stream's subscribers, now. It is not routed.

        A repeated call does not publish again what it already wrote (same order, equal value).

        Raises:
            EventLimitError: the call wrote more than ``max_pending_events``.
            TypeError: not an event.
        """
        if not isinstance(event, Event) or type(event) is Event:  # looked at here too: few calls need that one
            require_event(event, "write_event_to_stream")
        record = self.call.record
        place = self._written
        self._written = place + 1
        if record is not None and place < len(record.written) and _is_repeated(record.written, place, event):
            return
        runner = self.runner
        post = runner.post if get_ident() == runner.thread else self.post  # as in post, for streams of many events
        post(StreamWritten(self.call, event, runner.clock()))

    def emit_usage(self, event: UsageEvent) -> None:
        """Count tokens and cost, and publish them. They count once, with the call's success.

        Raises:
            TypeError: not a ``UsageEvent``.
        """
        if not isinstance(event, UsageEvent):
            raise TypeError(f"emit_usage takes a UsageEvent, not {event!r}")
        self.post(UsageReported(self.call, event, self.runner.clock()))

    def report_progress(self, current: float, total: float | None = None, label: str = "") -> None:
        """Tell how far the work is; published, and kept as the run's ``progress``."""
        event = ProgressEvent(current=current, total=total, label=label, step_name=self.step_name)
        self.post(ProgressReported(self.call, event, self.runner.clock()))

    # --- In -----------------------------------------------------------------------------------------------------------

    async def wait_for_event(self, event_class: type[E], match: Callable[[E], bool] | None = None) -> E:
        """Wait for an event of exactly this class for which ``match`` is true; a checkpoint.

        One event goes to one waiter, the one that waits longest. What comes while nobody waits is kept for the next
        waiter. A repeated call gets what it got before. While it waits the call keeps its slot, but no pause waits for
        it.
        """
        _check_class(event_class, "wait_for_event")
        await checkpoint_if_cancelled()  # before anything is taken: a task that is cancelled gets no event
        found = self._received_before(event_class, match)
        if found is not None:
            await cancel_shielded_checkpoint()
            return found
        waiter = Waiter(self.call, event_class, match is not None, Parking(), self.runner.is_final_wait(self.call))
        self.post(EventAwaited(waiter, self.runner.clock()))
        return await self._wait(waiter, match)

    async def _wait(self, waiter: Waiter, match: Callable[[E], bool] | None) -> E:
        try:
            while True:
                event: E = await waiter.token.wait()
                if match is None:
                    return event
                waiter.token = Parking()
                if match(event):
                    self.post(EventClaimed(waiter))
                    return event
                self.post(EventDeclined(waiter, self.runner.clock()))
        except BaseException:
            self.runner.feed(WaitEnded(waiter, self.runner.clock()))
            raise

    def _received_before(self, event_class: type[E], match: Callable[[E], bool] | None) -> E | None:
        """What an earlier attempt of this call got, which this attempt did not ask for yet."""
        for place, event in enumerate(self._unread or ()):
            if type(event) is event_class and (match is None or match(event)):
                del cast("list[Event]", self._unread)[place]
                return event
        return None

    def receive_events(self, event_class: type[E]) -> "EventChannel[E]":
        """A receive channel of events of exactly this class, for ``async with``; what comes is kept until received."""
        _check_class(event_class, "receive_events")
        self.post(EventWanted(event_class))
        return EventChannel(self, event_class)

    async def request_input(self, prompt: str, metadata: dict[str, Any] | None = None) -> Any:
        """Ask a person and wait for the answer; a checkpoint.

        With an ``input_handler`` that answers. Else the question is on the stream and in the run's ``pending_inputs``
        until ``respond_to_input``. A repeated call does not ask again: it gets the answer that was given.
        """
        await checkpoint_if_cancelled()  # a task that is cancelled asks nobody
        place, self._asked = self._asked, self._asked + 1
        request_id = str(uuid5(NAMESPACE_OID, f"{self.idempotency_key}:{place}"))
        answers = self._answers_with(request_id)
        if request_id in answers:
            await cancel_shielded_checkpoint()
            return answers[request_id]
        question = InputRequestEvent(prompt=prompt, request_id=request_id, metadata=dict(metadata or {}))
        handler = self.runner.definition.options.input_handler
        if handler is None:
            return await self._ask(question)
        await cancel_shielded_checkpoint()
        answer = await handler(question)
        self.post(AnswerKept(self.call, request_id, answer))
        return answer

    def _answers_with(self, request_id: str) -> Mapping[str, Any]:
        """Where an answer to a question of the call is, if there is one: with the call, or with the whole run.

        The call of a run inside another one may be new: its step failed, and the repeated call of that has a new run.
        """
        record = self.call.record
        return self.runner.state.answered if record is None or request_id not in record.answers else record.answers

    async def _ask(self, question: InputRequestEvent) -> Any:
        parking = Parking()
        is_final = self.runner.is_final_wait(self.call)
        self.post(InputRequested(self.call, question, parking, is_final, self.runner.clock()))
        try:
            return await parking.wait()
        except trio.Cancelled:
            if not self.runner.is_cancelling(self.call):  # the step's own scope: it does not want to know any more
                self.post(InputWithdrawn(self.call, question.request_id, self.runner.clock()))
            raise

    def collect_events(self, event_class: type[E], count: int) -> list[E] | None:
        """Add the call's event, once, to the step's buffer of this class; the events when ``count`` are there.

        There is one buffer per step and class in a run; it starts anew when it was full. If the call that got the
        events fails, they are back in the buffer.

        Raises:
            TypeError: the call's event is not of this class.
            ValueError: ``count`` is less than 1.
        """
        _check_class(event_class, "collect_events")
        if type(self.call.event) is not event_class:
            raise TypeError(
                f"step {self.step_name!r} was called with a {type(self.call.event).__name__}; "
                f"collect_events({event_class.__name__}, ...) adds the call's own event"
            )
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"collect_events collects at least 1 event, not {count!r}")
        return cast("list[E] | None", self.post(EventCollected(self.call, event_class, count)))

    # --- Once ---------------------------------------------------------------------------------------------------------

    @overload
    async def once(self, name: str, function: Callable[..., Awaitable[R]], *args: Any) -> R: ...

    @overload
    async def once(self, name: str, function: Callable[..., R], *args: Any) -> R: ...

    async def once(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(*args)`` (sync or async) and record the result, so that a repeated call does not do it again.

        Names are per call. A checkpoint. If the function fails nothing is recorded.
        """
        await checkpoint()  # before the function, never between it and its record: what was done is not done again
        record = self.call.record
        if record is not None and name in record.once:
            return self._revive(record.once[name])
        result = function(*args)
        if inspect.isawaitable(result):
            result = await result
        self.post(OnceRecorded(self.call, name, self._keep(result, name)))
        if self.runner.root.is_durable:
            await self.runner.wait_saved()
        return result

    def _keep(self, result: object, name: str) -> object:
        """A result as plain data, so that a repeated call gets a copy; what cannot be encoded is kept as it is."""
        try:
            return self.runner.codec.to_plain(result, f"the result of once({name!r})")
        except EncodeError:
            return Unencoded(result)

    def _revive(self, kept: object) -> object:
        return kept.value if isinstance(kept, Unencoded) else self.runner.codec.from_plain(cast("Plain", kept))

    # --- The door -----------------------------------------------------------------------------------------------------

    def post(self, message: Message) -> Any:
        """Tell the run; from the thread of a plain step by way of Trio's own thread."""
        runner = self.runner
        if get_ident() == runner.thread:
            return runner.post(message)
        return trio.from_thread.run_sync(runner.post, message)

    def __repr__(self) -> str:
        return f"<Context of step {self.step_name!r}, attempt {self.attempt}, run {self.run_id}>"


class EventChannel(trio.abc.ReceiveChannel[E]):
    """Events of one class as a channel into a call. The run's end cancels the call, so it has no end of its own."""

    def __init__(self, context: Context[Any], event_class: type[E]) -> None:
        self._context = context
        self._event_class = event_class
        self._is_closed = False

    async def receive(self) -> E:
        """The next event; a checkpoint. ``trio.ClosedResourceError`` after ``aclose``."""
        if self._is_closed:
            raise trio.ClosedResourceError
        return await self._context.wait_for_event(self._event_class)

    async def aclose(self) -> None:
        """Receive no more; a checkpoint."""
        self._is_closed = True
        await checkpoint()


def _is_repeated(earlier: list[Event], place: int, event: Event) -> bool:
    """Whether an earlier attempt did this already; what it did from a difference on is forgotten."""
    if is_same(earlier[place], event):
        return True
    del earlier[place:]
    return False


def _check_class(event_class: object, verb: str) -> None:
    if not is_event_class(event_class):
        raise TypeError(f"{verb} takes an event class, not {event_class!r}")
