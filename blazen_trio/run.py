"""``WorkflowRun``: the handle of one run, and the block that it lives in."""

import copy
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

import attrs
import trio
from trio.lowlevel import checkpoint

from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import Outcome
from blazen_trio.core.errors import RunClosedError
from blazen_trio.core.events import Event, InputRequestEvent, ProgressEvent, StopEvent
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.messages import (
    AbortRequested,
    EventReceived,
    InputAnswered,
    ResumeRequested,
    RunStarted,
    SenderClosed,
    SenderOpened,
)
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.runner import Runner
from blazen_trio.stream import EventSubscription, EventTypes

SEND_ROOM = 1_000
"""Pending events of a run up to which a send channel accepts more: enough to keep all steps busy, little memory."""


@attrs.frozen
class WorkflowResult:
    """What a completed run gave.

    Attributes:
        run_id: the run's id.
        event: the ``StopEvent`` (or subclass) that ended it.
        result: ``StopEvent.result``; of a subclass the event itself.
        usage_total: tokens used by all successful calls.
        cost_total_usd: what they cost.
        session_refs: live objects handed over by the run.
    """

    run_id: str
    event: Event
    result: Any
    usage_total: TokenUsage
    cost_total_usd: float
    session_refs: dict[str, Any] = attrs.field(factory=dict, repr=False)


class WorkflowRun:
    """One run of a workflow, from outside: controls, questions, the stream, the result.

    Made by ``workflow.start``; it lives in that ``async with`` block. All methods may be called by any number of tasks.
    """

    def __init__(self, workflow: WorkflowDefinition, runner: Runner) -> None:
        self._workflow = workflow
        self._runner = runner
        self._is_taken = False

    # --- What it is ------------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._runner.run_id

    @property
    def workflow(self) -> WorkflowDefinition:
        """The workflow it is a run of."""
        return self._workflow

    @property
    def status(self) -> RunStatus:
        """Where the run is now."""
        return self._runner.state.status

    @property
    def pending_inputs(self) -> tuple[InputRequestEvent, ...]:
        """The open questions, oldest first; empty after the end."""
        state = self._runner.state
        return () if state.status.is_end else tuple(question.event for question in state.questions.values())

    @property
    def usage_total(self) -> TokenUsage:
        """Tokens used so far; what a call used is taken back if it fails."""
        return self._runner.state.usage_total()

    @property
    def cost_total_usd(self) -> float:
        """Cost so far, in US dollars."""
        return self._runner.state.cost_total_usd()

    @property
    def history(self) -> tuple[HistoryEvent, ...]:
        """What happened, oldest first; empty unless the workflow has ``collect_history=True``."""
        return tuple(self._runner.state.history or ())

    @property
    def progress(self) -> ProgressEvent | None:
        """The last progress that a step reported."""
        return self._runner.state.progress

    def statistics(self) -> dict[str, Any]:
        """What the run holds now: counts of calls and events, workers, subscribers, limiters."""
        return self._runner.statistics()

    # --- The end -----------------------------------------------------------------------------------------------------------

    async def result(self) -> WorkflowResult:
        """Wait for the end of the run and give its result; a checkpoint. Any number of tasks may wait.

        It returns as soon as the ``StopEvent`` is taken; calls that were cancelled by that may still clean up until the
        run's block ends.

        Raises:
            WorkflowError: the error that ended the run; each waiter gets its own copy.
        """
        runner = self._runner
        if runner.state.outcome is None:
            self._refuse_own_task("result")
            await runner.finished.wait()
        else:
            await checkpoint()
        return self.take_result()

    async def abort(self, reason: str | None = None) -> None:
        """End the run now, and wait until none of its calls runs any more; a checkpoint. Harmless after the end."""
        self._runner.post(AbortRequested(self._runner.clock(), reason))
        self._is_taken = self._is_taken or self.status is RunStatus.ABORTED
        await self._runner.wait_ended()

    # --- Pause -------------------------------------------------------------------------------------------------------------

    async def pause(self, *, interrupt: bool = False) -> None:
        """Stop dispatching at once, and wait until no call runs; a checkpoint.

        Calls that wait for an event, for an answer or for their next attempt are not waited for. With ``interrupt=True`` the
        running calls are cancelled and their events put back; that does not use up an attempt.

        Raises:
            RunClosedError: the run was over already.
            RuntimeError: called by a step of this run, which would wait for itself.
        """
        self._refuse_own_task("pause")
        await self._runner.pause(interrupt=interrupt)

    async def resume_in_place(self) -> None:
        """Go on after ``pause``; a checkpoint. Harmless if the run is not paused.

        Raises:
            RunClosedError: the run is over.
        """
        self._runner.post(ResumeRequested(self._runner.clock()))
        self._runner.unquiet()
        await checkpoint()

    # --- In and out ----------------------------------------------------------------------------------------------------------

    async def send_event(self, event: Event) -> None:
        """Put an event into the run's queue; a checkpoint.

        Raises:
            EventLimitError: too many events are pending.
            RunClosedError: the run is over.
            TypeError: not an event.
        """
        _check_event(event)
        self._runner.post(EventReceived(event, self._runner.clock()))
        await checkpoint()

    def open_send_channel(self) -> "RunSendChannel":
        """A bounded channel into the run: ``send`` waits while the run is busy with what it has.

        While it is open the run does not stall: more may come. Close it (``async with``) when nothing more will.

        Raises:
            RunClosedError: the run is over.
        """
        self._runner.post(SenderOpened(self._runner.clock()))
        return RunSendChannel(self._runner)

    async def respond_to_input(self, request_id: str, response: object) -> None:
        """Answer a question; a checkpoint. The same answer given again is ignored.

        Raises:
            AnswerConflictError: the question has another answer already.
            RunClosedError: the run is over.
            UnknownInputRequestError: there is no such question.
        """
        self._runner.post(InputAnswered(request_id, response, self._runner.clock()))
        await checkpoint()

    def stream_events(
        self, after: int = 0, types: EventTypes | None = None, *, lossless: bool = False
    ) -> EventSubscription:
        """Subscribe to what the run publishes; a receive channel to be used with ``async with``.

        Args:
            after: begin behind the event with this number; what is no longer kept is told as a ``StreamGap``.
            types: an event class, or several: only these (and gaps) are delivered.
            lossless: hold the run's dispatch rather than let this subscriber miss anything.
        """
        return self._runner.stream.subscribe(after, types, lossless=lossless)

    # --- Inside ------------------------------------------------------------------------------------------------------------

    @property
    def has_untaken_failure(self) -> bool:
        """Whether the run failed and nobody took that through ``result``."""
        outcome = self._runner.state.outcome
        return outcome is not None and outcome.error is not None and not self._is_taken

    def take_result(self) -> WorkflowResult:
        """The result of the run, which is over; raises its error."""
        self._is_taken = True
        state = self._runner.state
        assert state.outcome is not None
        event = state.outcome.event
        if event is None:
            raise_outcome(state.outcome)
        return WorkflowResult(state.run_id, event, result_of(event), state.usage, state.cost_usd)

    def _refuse_own_task(self, verb: str) -> None:
        if self._runner.is_own_task():
            message = f"a step cannot await {verb}() of its own run {self.run_id}: it would wait for itself"
            raise RuntimeError(message)

    def __repr__(self) -> str:
        return f"<WorkflowRun {self.run_id} of {self._workflow.name!r}, {self.status.value}>"


class RunBlock:
    """The ``async with`` block of a run: opens its nursery, starts it, and leaves nothing behind.

    Entering is not a checkpoint, leaving is.
    """

    __slots__ = ("_event", "_manager", "_run", "_runner")

    def __init__(self, run: WorkflowRun, runner: Runner, event: Event) -> None:
        self._run = run
        self._runner = runner
        self._event = event
        self._manager = trio.open_nursery()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> WorkflowRun:
        runner = self._runner
        if runner.nursery is not None:
            raise RuntimeError("the block of a run can be entered once; call workflow.start() for another run")
        runner.nursery = await self._manager.__aenter__()
        now = runner.clock()
        runner.post(RunStarted(now, self._event, time.time() - now))
        return self._run

    @trio.lowlevel.enable_ki_protection
    async def run_to_end(self) -> WorkflowResult:
        """Run without a handle: the end of the run is the end of its last task."""
        await self.__aenter__()
        await self._leave_nursery(None)
        return self._run.take_result()

    async def _leave_nursery(self, body_error: BaseException | None) -> None:
        """Wait until the run's last task has ended. What leaves is one exception, not the group that Trio wraps it in."""
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseException as error:  # noqa: BLE001 - raised again, alone
            if body_error is None or is_passing(alone(error)):
                raise alone(error) from None

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        runner = self._runner
        if runner.state.outcome is None:
            runner.post(AbortRequested(runner.clock(), "its block ended"))
            self._run._is_taken = True  # noqa: SLF001 - the handle's own block
        await self._leave_nursery(exc)
        outcome = runner.state.outcome
        assert outcome is not None
        is_untaken = self._run.has_untaken_failure
        if (exc is None and is_untaken) or (
            is_passing(outcome.error) and (is_untaken or isinstance(exc, trio.Cancelled))
        ):
            self._run.take_result()


class RunSendChannel(trio.abc.SendChannel[Event]):
    """Events into a run, with backpressure."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._is_closed = False

    async def send(self, event: Event) -> None:
        """Wait for room and put an event into the run's queue; a checkpoint.

        Raises:
            trio.BrokenResourceError: the run is over.
            trio.ClosedResourceError: this channel was closed.
        """
        _check_event(event)
        await checkpoint()
        await self._runner.wait_for_room(SEND_ROOM)
        if self._is_closed:
            raise trio.ClosedResourceError
        try:
            self._runner.post(EventReceived(event, self._runner.clock()))
        except RunClosedError as error:
            raise trio.BrokenResourceError from error

    def close(self) -> None:
        """Nothing more comes this way."""
        if not self._is_closed:
            self._is_closed = True
            self._runner.post(SenderClosed(self._runner.clock()))

    async def aclose(self) -> None:
        """``close``; a checkpoint."""
        self.close()
        await checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def result_of(event: Event) -> Any:
    """The result that a stop event stands for: its ``result``, or the event itself if it is of a subclass."""
    return event.result if type(event) is StopEvent else event


def raise_outcome(outcome: Outcome) -> NoReturn:
    """Raise the error of a run: a copy, since one exception object would collect the tracebacks of all who wait.

    Raises:
        BaseException: always.
    """
    error = outcome.error
    assert error is not None
    try:
        error = copy.copy(error)
    except Exception:  # noqa: BLE001 - a KeyboardInterrupt or SystemExit of strange make
        error = outcome.error
    assert error is not None
    if outcome.cause is not None:
        raise error from outcome.cause
    raise error


def alone(error: BaseException) -> BaseException:
    """The exception that a nursery wrapped into groups: exactly one leaves the engine.

    A ``KeyboardInterrupt`` or ``SystemExit`` goes before all others; many cancellations are one.
    """
    leaves = list(_leaves(error))
    passing = [leaf for leaf in leaves if is_passing(leaf)]
    if passing or len(leaves) == 1 or all(isinstance(leaf, trio.Cancelled) for leaf in leaves):
        return (passing or leaves)[0]
    return error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def is_passing(error: BaseException | None) -> bool:
    """Whether an exception is none of the run's own business but ends the program."""
    return isinstance(error, KeyboardInterrupt | SystemExit)


def _check_event(event: object) -> None:
    if not isinstance(event, Event) or type(event) is Event:
        message = f"a run takes instances of Event subclasses, not {event!r}"
        raise TypeError(message)
