"""The whole condition of a run, as plain data in one place: a snapshot is this through the codec."""
# pyright: reportUnknownVariableType=false
# (in attrs.Factory(dict): dict[X, Y] would say it, but makes each run 0.1 us slower per field)

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from blazen_trio.core.calls import Call, Lane, Origin
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import Outcome, WakeTask
from blazen_trio.core.events import Event, InputRequestEvent, ProgressEvent
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.ids import format_id
from blazen_trio.core.limits import HISTORY_EVENTS_MAX
from blazen_trio.core.mailbox import Mailbox
from blazen_trio.core.scopes import Scope
from blazen_trio.core.shared_state import SharedState
from blazen_trio.core.status import Rest, RunStatus
from blazen_trio.core.usage import TokenUsage

NO_USAGE: Final = TokenUsage()


@attrs.define(eq=False)
class Question:
    """An open question: of a call that waits for the answer, or an event that was routed (``call`` is ``None``).

    Attributes:
        origin: that of the answer.
        run: whose question it is; not always that of the whole tree.
        token: the runner's own name for the task that waits.
        is_final: nothing but an answer lets the call go on: no deadline, no other task of the step.
    """

    event: InputRequestEvent
    origin: Origin
    run: "RunState"
    call: Call | None = None
    token: Any = None
    is_final: bool = True


@attrs.define(eq=False)
class Emission:
    """Events that were emitted while nothing is dispatched, by the step ``source``: one, or the items of a fan-out."""

    events: Sequence[Event]
    origin: Origin
    is_fan_out: bool
    source: str | None = None


@attrs.define(eq=False)
class Nesting:
    """What a run knows of being inside a call of another run.

    Attributes:
        definition: of its workflow.
        rest: what the run around it was told last.
        asked: the request ids of its own open questions; without them, closing those would look at all of the tree.
        session: its live objects by name (``ctx.session``), which outlive an interruption; never saved.
    """

    definition: WorkflowDefinition
    rest: Rest = Rest.BUSY
    asked: dict[str, None] = attrs.Factory(dict)
    session: dict[str, Any] = attrs.Factory(dict)


@attrs.define(eq=False)
class RunState:
    """A run's queues, running calls, timers, questions, fan-outs, values and counters.

    ``questions`` and ``answered`` are those of the whole tree: all runs inside one run share two dicts, so that a
    request id is asked once among them, and an answer finds its question whichever of them asked.

    Attributes:
        lanes: by step, in the order of registration: what runs and what waits for a slot.
        running: the calls that run now, oldest first.
        timers: calls between two attempts, with the time they are due; while paused, with the seconds that remain.
        queue: what was emitted while paused.
        queued: how many more events than emissions are in it.
        held_wakes: tasks to wake when the run goes on, by the question that was answered.
        collectors: buffers of ``collect_events`` by step and class.
        alive: calls (waiting, running, between attempts), routed questions and queued emissions: at 0 the run stalls.
        is_attended: somebody holds the run's handle and can answer questions.
        has_begun: not so while it is a paused run that was never started: such are runs in others, and durable ones.
        is_held: a lossless subscriber is so far behind that nothing is started.
        senders: channels into the run that are open: while there is one it cannot stall.
        questions: the open questions, by request id, oldest first.
        answered: the answers given so far, by request id.
        asks: how many of the open questions are its own.
        children: runs inside this one, by the calls that they run in: of workflows that are steps here.
        nesting: what it knows of the run around it, if it is inside one.
        emitted: events routed so far.
        consumed: events that are done with: their call succeeded, or a waiting call got them.
        late: what came of calls that did not count any more.
        wall_offset: what turns the runner's clock into seconds since the epoch.
        last_step: the step that ended or sent last, for messages.
        asking: of ``alive``, those that only wait for answers.
        parked: running calls that sit in ``wait_for_event`` or ``request_input``.
        kept: events that wait for a join or a collector.
        running_since: when the clock of the timeout was started; ``None`` while it stands still.
        elapsed_s: running time before that.
        outside: events that came from outside so far.
        seq: number of the last published event.
    """

    run_id: str
    lanes: list[Lane]
    status: RunStatus = RunStatus.RUNNING
    outcome: Outcome | None = None
    root: Scope = attrs.Factory(Scope)
    running: dict[Call, None] = attrs.Factory(dict)
    timers: dict[Call, float] = attrs.Factory(dict)
    queue: list[Emission] = attrs.Factory(list)
    queued: int = 0
    held_wakes: dict[str, tuple[Call, WakeTask]] | None = None
    questions: dict[str, Question] = attrs.Factory(dict)
    answered: dict[str, object] = attrs.Factory(dict)
    asks: int = 0
    children: dict[Call, "RunState"] | None = None
    nesting: Nesting | None = None
    collectors: dict[tuple[int, type[Event]], list[tuple[Call, Event]]] = attrs.Factory(dict)
    mailbox: Mailbox | None = None
    values: SharedState = attrs.Factory(SharedState)
    history: deque[HistoryEvent] | None = None
    progress: ProgressEvent | None = None
    usage: TokenUsage = NO_USAGE
    cost_usd: float = 0.0
    is_attended: bool = True
    has_begun: bool = True
    is_held: bool = False
    senders: int = 0
    alive: int = 0
    asking: int = 0
    parked: int = 0
    kept: int = 0
    emitted: int = 0
    consumed: int = 0
    late: int = 0
    outside: int = 0
    seq: int = 0
    history_seq: int = 0
    elapsed_s: float = 0.0
    running_since: float | None = None
    wall_offset: float = 0.0
    last_step: str | None = None

    @property
    def pending(self) -> int:
        """Events in the run that no finished call has consumed; what ``max_pending_events`` bounds; 0 after the end."""
        if self.outcome is not None:
            return 0
        mail = 0 if self.mailbox is None else self.mailbox.size
        return self.alive + self.queued + self.kept + mail

    def ask(self, question: Question) -> None:
        """Open a question of this run."""
        self.questions[question.event.request_id] = question
        self.asks += 1
        if self.nesting is not None:
            self.nesting.asked[question.event.request_id] = None

    def hold_wake(self, request_id: str, call: Call, wake: WakeTask) -> None:
        """Wake a task of this call when the run goes on: its question was answered in a pause."""
        self.held_wakes = self.held_wakes or {}
        self.held_wakes[request_id] = (call, wake)

    def close_question(self, request_id: str) -> Question:
        """Nobody needs to answer it any more; there must be one."""
        question = self.questions.pop(request_id)
        question.run.asks -= 1
        if question.run.nesting is not None:
            del question.run.nesting.asked[request_id]
        return question

    def own_questions(self) -> "list[Question]":
        """Its own open questions, oldest first."""
        if self.nesting is None:
            return [question for question in self.questions.values() if question.run is self]
        return [self.questions[request_id] for request_id in self.nesting.asked]

    def runs_inside(self) -> "Iterator[RunState]":
        """The runs inside this one, at any depth, each after the one around it."""
        for child in (self.children or {}).values():
            yield child
            yield from child.runs_inside()

    def usage_total(self) -> TokenUsage:
        """What finished calls used, and what running ones and the runs inside used so far."""
        total = self.usage
        for call in self.running:
            for event in () if call.record is None else call.record.usage:
                total += TokenUsage.from_event(event)
        for child in (self.children or {}).values():
            total += child.usage_total()
        return total

    def cost_total_usd(self) -> float:
        """What finished calls cost, and running ones and the runs inside so far."""
        records = [call.record for call in self.running if call.record is not None]
        own = self.cost_usd + sum(event.cost_usd or 0.0 for record in records for event in record.usage)
        return own + sum(child.cost_total_usd() for child in (self.children or {}).values())


def new_state(definition: WorkflowDefinition, run_id: str, *, is_attended: bool = True) -> RunState:
    """The state of a run that has not begun."""
    state = RunState(run_id, [Lane(plan) for plan in definition.plans])
    state.is_attended = is_attended
    if definition.options.collect_history:
        state.history = deque(maxlen=HISTORY_EVENTS_MAX)
    return state


def new_child_state(around: RunState, call: Call, definition: WorkflowDefinition) -> RunState:
    """The state of a run that has not begun, inside a call of another one.

    Its id comes from that call, so a repeated call has a run of the same id inside: what is done once by idempotency
    keys is done once. It keeps no history: nobody has a handle to ask for it.
    """
    child = new_state(definition, f"{around.run_id}/{format_id(call.id)}", is_attended=False)
    child.questions, child.answered = around.questions, around.answered
    child.nesting = Nesting(definition)
    child.history = None
    return child
