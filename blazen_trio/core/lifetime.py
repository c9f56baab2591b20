"""A run's own life: its clock, coming to rest, stalling, and its end."""

from blazen_trio.core.calls import Call
from blazen_trio.core.effects import CancelCalls, ClearDeadline, Finish, Outcome, Quiesce, SetDeadline, TellRest
from blazen_trio.core.errors import EventLimitError, RunStalledError, WorkflowError
from blazen_trio.core.events import Event
from blazen_trio.core.reporting import Reporter
from blazen_trio.core.state import RunState
from blazen_trio.core.status import Rest, RunStatus

RUNNING, PAUSED, AWAITING_INPUT = RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.AWAITING_INPUT
"""As globals: reading a member of an enum class costs ten times as much in Python 3.11."""


class Lifetime(Reporter):
    """Whether a run goes on, rests or is over."""

    __slots__ = ()

    def settle(self) -> None:
        """See whether the run has stalled, come to rest, or has only questions left; at the end of a message."""
        state = self.state
        if state.outcome is not None:
            return
        if state.alive == 0 and state.senders == 0:
            self.fail(RunStalledError(state.last_step, self._open_joins(), state.run_id))
        elif not state.is_attended and (state.parked or state.asks) and self._is_hopeless():
            self._nobody_helps()
        elif state.status is PAUSED:
            if len(state.running) == state.parked:
                self.effects.append(Quiesce())
        elif state.questions or state.status is AWAITING_INPUT:
            self._mind_questions()
        if state.nesting is not None and state.outcome is None:
            self._tell_rest()

    def _tell_rest(self) -> None:
        """Let the run around this one know when it changes whether that one has to wait for this one."""
        state, nesting = self.state, self.state.nesting
        assert nesting is not None
        rest = Rest.BUSY
        if state.alive == state.asking > 0:
            rest = Rest.ASKING
        elif state.status is PAUSED and len(state.running) == state.parked:
            rest = Rest.QUIET
        if rest is not nesting.rest:
            nesting.rest = rest
            self.effects.append(TellRest(rest))

    def _open_joins(self) -> tuple[str, ...]:
        return tuple(self.definition.plans[index].name for index in self.state.root.collected or ())

    def _mind_questions(self) -> None:
        state = self.state
        is_awaiting = state.alive == state.asking > 0 and state.senders == 0
        if is_awaiting and state.status is RUNNING:
            state.status = AWAITING_INPUT
            self.stop_clock()
        elif not is_awaiting and state.status is AWAITING_INPUT:
            state.status = RUNNING
            self.start_clock()

    def _is_hopeless(self) -> bool:
        """Whether everything waits for what comes from outside, in a run that nobody outside has a handle of.

        The questions of a run inside another one are shown there. So it may hope for an answer, but for no event.
        """
        state = self.state
        is_inside = state.nesting is not None
        if is_inside and (state.asks or state.children or state.status is PAUSED):
            return False
        questions = () if is_inside else state.questions.values()
        routed = sum(question.call is None and question.run is state for question in questions)
        if state.alive > state.parked + routed:
            return False
        waiters = [] if state.mailbox is None else state.mailbox.waiters()
        return all(question.is_final for question in questions) and all(waiter.is_final for waiter in waiters)

    def _nobody_helps(self) -> None:
        state = self.state
        self.fail(RunStalledError(state.last_step, (), state.run_id, self._what_is_missing()))

    def _what_is_missing(self) -> str:
        state = self.state
        if state.questions and state.nesting is None:
            request_id, question = next(iter(state.questions.items()))
            return (
                f"it waits for an answer to {question.event.prompt!r} (request_id {request_id!r}), which nobody can "
                "give to a run of Workflow.run(); set input_handler=, or use start() and respond_to_input()"
            )
        assert state.mailbox is not None
        what = f"it waits for a {state.mailbox.waiters()[0].event_class.event_type}, which nobody can give to a run"
        if state.nesting is not None:
            return f"{what} inside another one; let another step of its workflow send it, or ask with request_input()"
        return f"{what} of Workflow.run(); let another step send it, or use start() and send_event()"

    def start_clock(self) -> None:
        """Running time counts from now on."""
        state = self.state
        state.running_since = self.now
        timeout = self.definition.options.timeout
        if timeout is not None:
            self.effects.append(SetDeadline(self.now + timeout - state.elapsed_s))

    def stop_clock(self) -> None:
        """Running time stands still."""
        state = self.state
        if state.running_since is not None:
            state.elapsed_s += self.now - state.running_since
            state.running_since = None
            if self.definition.options.timeout is not None:
                self.effects.append(ClearDeadline())

    def complete(self, event: Event) -> None:
        """The run has its result."""
        self.note("workflow_completed", event_type=type(event).event_type)
        if self.state.nesting is None:  # on a stream a StopEvent is the last thing, and that of the run around goes on
            self.publish(event)
        self._finish(Outcome(RunStatus.COMPLETED, event=event))

    def fail(
        self, error: BaseException, cause: BaseException | None = None, status: RunStatus = RunStatus.FAILED
    ) -> None:
        """The run ends with an error, unless it is over: of several reasons in one message the first counts."""
        if self.state.outcome is not None:
            return
        kind = {RunStatus.TIMED_OUT: "workflow_timed_out", RunStatus.ABORTED: "workflow_aborted"}.get(status)
        text = str(error) if isinstance(error, WorkflowError) else type(error).__name__
        self.note(kind or "workflow_failed", error=text)
        self._finish(Outcome(status, error=error, cause=cause))

    def _finish(self, outcome: Outcome) -> None:
        state = self.state
        if state.outcome is not None:
            return
        self.stop_clock()
        state.status, state.outcome = outcome.status, outcome
        self.is_stopped = True
        for call in state.running:
            self.undo(call)
        if state.running:
            self.effects.append(CancelCalls(tuple(state.running)))
        state.running.clear()
        for child in state.runs_inside():
            self.close_questions(child)
        state.children = None
        if state.nesting is not None:
            self.close_questions(state)
        self.effects.append(Finish(outcome))

    def drop_child(self, call: Call) -> RunState | None:
        """Forget the run inside a call whose attempt is over, and what it asked; give it, if there was one."""
        child = self.state.children.pop(call, None) if self.state.children else None
        if child is not None:
            for run in (child, *child.runs_inside()):
                self.close_questions(run)
        return child

    @staticmethod
    def close_questions(run: RunState) -> None:
        """Nobody needs to answer what this run asks any more."""
        for question in run.own_questions() if run.asks else ():
            run.close_question(question.event.request_id)

    def undo(self, call: Call) -> None:
        """Take back what an attempt did to the run's values, usage and collectors."""
        record = call.record
        if record is None:
            return
        if record.keys:
            self.state.values.undo(call, record.keys)
            record.keys = set()
        record.usage = []
        for event_class, entries in record.taken.items():
            back = [entry for entry in entries if event_class in entry[0].recorded().collected]  # not of calls given up
            self.state.collectors.setdefault((call.plan.index, event_class), [])[:0] = back
            self.state.kept += len(back)
        record.taken = {}

    def room_error(self, count: int) -> EventLimitError | None:
        """The error of ``count`` more events, if they are too many."""
        limit = self.definition.options.max_pending_events
        if self.state.pending + count <= limit:
            return None
        return EventLimitError("pending events", limit, self.state.last_step, self.state.run_id)
