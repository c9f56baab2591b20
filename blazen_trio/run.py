"""``WorkflowRun``: the handle of one run, and the block that it lives in."""

from typing import Any

import attrs
from trio.lowlevel import checkpoint

from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import UnknownInputRequestError
from blazen_trio.core.events import Event, InputRequestEvent, ProgressEvent, StopEvent, require_event
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.messages import (
    AbortRequested,
    EventReceived,
    InputAnswered,
    SenderOpened,
)
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.endings import Ending
from blazen_trio.runner import Runner
from blazen_trio.send_channel import RunSendChannel
from blazen_trio.session_refs import SessionRefRegistry
from blazen_trio.snapshot import WorkflowSnapshot
from blazen_trio.stream import EventSubscription, EventTypes


@attrs.frozen
class WorkflowResult:
    """What a completed run gave.

    Attributes:
        run_id: the run's id.
        event: the ``StopEvent`` (or subclass) that ended it.
        result: ``StopEvent.result``; of a subclass the event itself.
        usage_total: tokens used by all successful calls.
        cost_total_usd: what they cost.
        session_refs: the run's live objects. Of ``workflow.run()`` they are the caller's now; of a run in a block they
            are the run's own, and most are gone when the block ends (see ``RefLifetime``).
    """

    run_id: str
    event: Event
    result: Any
    usage_total: TokenUsage
    cost_total_usd: float
    session_refs: SessionRefRegistry = attrs.field(factory=SessionRefRegistry, repr=False, eq=False)


class WorkflowRun:
    """One run of a workflow, from outside: controls, questions, the stream, the result.

    Made by ``workflow.start``; it lives in that ``async with`` block. All methods may be called by any number of tasks.
    """

    def __init__(self, workflow: WorkflowDefinition, runner: Runner, ending: Ending) -> None:
        self._workflow = workflow
        self._runner = runner
        self._ending = ending

    # --- What it is ---------------------------------------------------------------------------------------------------

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
    def session_refs(self) -> SessionRefRegistry:
        """The run's live objects. When the block ends only those that live ``UNTIL_EXPLICIT_DROP`` stay."""
        return self._runner.session_refs

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

    # --- The end ------------------------------------------------------------------------------------------------------

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
        await runner.wait_finished()
        return make_result(runner, self._ending)

    async def abort(self, reason: str | None = None) -> None:
        """End the run now, and wait until none of its calls runs any more; a checkpoint. Harmless after the end."""
        self._runner.post(AbortRequested(self._runner.clock(), reason))
        self._ending.is_taken = self._ending.is_taken or self.status is RunStatus.ABORTED
        await self._wait_saved()
        if self._runner.is_own_task():
            await checkpoint()  # the step that asks is itself what would be waited for
        else:
            await self._runner.wait_ended()

    # --- Pause --------------------------------------------------------------------------------------------------------

    async def pause(self, *, interrupt: bool = False) -> None:
        """Stop dispatching at once, and wait until no call runs; a checkpoint.

        Calls that wait for an event, for an answer or for their next attempt are not waited for. With
        ``interrupt=True`` the running calls are cancelled and their events put back; that does not use up an attempt.

        Raises:
            RunClosedError: the run was over already.
            RuntimeError: called by a step of this run, which would wait for itself.
        """
        self._refuse_own_task("pause")
        await self._runner.pause(interrupt=interrupt)
        await self._wait_saved()

    async def resume_in_place(self) -> None:
        """Go on after ``pause``; a checkpoint. Harmless if the run is not paused.

        Raises:
            RunClosedError: the run is over.
        """
        self._runner.resume_in_place()
        await self._runner.wait_saved()

    # --- Snapshots ----------------------------------------------------------------------------------------------------

    async def snapshot(self) -> WorkflowSnapshot:
        """The whole condition of the run at one instant, to go on from with ``workflow.resume``; a checkpoint.

        At any time, after the end too; the run is neither stopped nor disturbed. Calls that run are in it as events
        that wait; what they did to values and usage is not.

        Raises:
            EncodeError: something in the run cannot be saved; the run goes on unharmed.
            SessionRefCapacityError: so many events hold live objects that ``max_session_refs`` is exceeded; likewise.
            SessionRefsNotSerializableError: live objects cannot be saved, or the policy forbids it; likewise.
        """
        await checkpoint()
        return self._runner.snapshot()

    # --- In and out ---------------------------------------------------------------------------------------------------

    async def send_event(self, event: Event) -> None:
        """Put an event into the run's queue; a checkpoint.

        Raises:
            EventLimitError: too many events are pending.
            RunClosedError: the run is over.
            TypeError: not an event.
        """
        require_event(event, "send_event")
        await checkpoint()  # before it is sent: a cancelled call sends nothing
        self._runner.post(EventReceived(event, self._runner.clock()))
        await self._wait_saved()

    def open_send_channel(self) -> RunSendChannel:
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
        await checkpoint()  # before it is given: a cancelled call answers nothing
        if not isinstance(request_id, str):
            raise UnknownInputRequestError(request_id, self.run_id)
        self._runner.post(InputAnswered(request_id, response, self._runner.clock()))
        await self._wait_saved()

    def stream_events(
        self, after: int = 0, types: EventTypes | None = None, *, lossless: bool = False
    ) -> EventSubscription:
        """Subscribe to what the run publishes; a receive channel to be used with ``async with``.

        Args:
            after: begin behind the event with this number; what is no longer kept is told as a ``StreamGap``.
            types: an event class, or several: only these (and gaps) are delivered.
            lossless: hold the run's dispatch rather than let this subscriber miss anything.
        """
        return self._runner.subscribe(after, types, lossless=lossless)

    async def _wait_saved(self) -> None:
        """What was asked of a durable run is promised when it is written; with any other it is done."""
        if self._runner.is_durable:
            await self._runner.wait_saved()

    def _refuse_own_task(self, verb: str) -> None:
        if self._runner.is_own_task():
            raise RuntimeError(f"a step cannot await {verb}() of its own run {self.run_id}: it would wait for itself")

    def __repr__(self) -> str:
        return f"<WorkflowRun {self.run_id} of {self._workflow.name!r}, {self.status.value}>"


def make_result(runner: Runner, ending: Ending) -> WorkflowResult:
    """The result of a run that is over; raises its error."""
    event, state = ending.take(), runner.state
    return WorkflowResult(state.run_id, event, result_of(event), state.usage, state.cost_usd, runner.session_refs)


def result_of(event: Event) -> Any:
    """The result that a stop event stands for: its ``result``, or the event itself if it is of a subclass."""
    return event.result if type(event) is StopEvent else event
