"""The machine and its model side by side: each thing that happens is told to both, then they must agree on everything.

The driver plays the runner: it knows which calls were ordered to start, which timers and slots were asked for, and
keeps to the runner's protocol (a task that waits leaves its wait before its call ends).
"""

import operator
from collections import Counter
from typing import Any

from blazen_trio.core.calls import Batch, Call
from blazen_trio.core.effects import (
    CancelCalls,
    CancelTimer,
    ClearDeadline,
    Effect,
    Finish,
    OfferEvent,
    Publish,
    Quiesce,
    Reject,
    Reply,
    RequestSlot,
    SetDeadline,
    SetTimer,
    StartStep,
    WakeTask,
    WithdrawSlot,
)
from blazen_trio.core.events import Event, StartEvent, StepFailedEvent
from blazen_trio.core.ids import ROOT_ID
from blazen_trio.core.machine import Machine
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.messages import Message, RunStarted
from blazen_trio.core.state import RunState, new_state
from blazen_trio.core.status import RunStatus
from tests.machine.model import Model, Token, Wait, Work
from tests.machine.programs import Program
from tests.machine.recount import counted, recounted

WALL_OFFSET = 1e9


class Driver:
    """One run, lived twice."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.model = Model(program)
        self.state: RunState = new_state(program.definition, "run")
        self.machine = Machine(program.definition, self.state)
        self.now = 0.0
        self.calls: dict[int, Call] = {}
        self.timers: dict[Call, float] = {}
        self.slots: set[int] = set()
        self.untouched: list[Work] = []
        self.waiters: dict[Wait, Waiter] = {}
        self.offers: list[Wait] = []
        self.cancelled: set[Work] = set()
        self.deadline: float | None = None
        self.spent_s = 0.0
        self.is_clock_on = False
        self.seq = 0
        self.was_quiet = False

    def begin(self) -> None:
        """Start the run."""
        event = StartEvent()
        self.model.emit(self.model.root, [self.from_outside(event)])
        self.tell(RunStarted(self.now, event, WALL_OFFSET))

    def from_outside(self, event: Event) -> Token:
        """The next event that comes from outside."""
        place = self.model.outside
        self.model.outside += 1
        return Token(event, ROOT_ID, place, self.model.root, (), 0)

    # --- Telling -----------------------------------------------------------------------------------------------------

    def tell(self, message: Message) -> list[Effect]:
        """Give a message to the machine, after the model was told what it means; compare all that can be seen."""
        was_over = self.state.outcome is not None
        effects = self.machine.handle(message)
        self.model.settle()
        for effect in effects:
            self._note(effect)
        self._check_finish(effects, was_over=was_over)
        self._check_mail(effects)
        if not was_over:
            self.check()
            self._check_quiet(effects)
        return effects

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on."""
        self.spent_s += seconds if self.is_clock_on else 0.0
        self.now += seconds

    def _note(self, effect: Effect) -> None:
        match effect:
            case StartStep() as call:
                self._start(call)
            case SetTimer(call, at):
                self.timers[call] = at
            case CancelTimer(call):
                del self.timers[call]
            case RequestSlot(lane):
                assert lane.plan.index not in self.slots, "a slot is asked for twice"
                self.slots.add(lane.plan.index)
            case WithdrawSlot(lane):
                self.slots.discard(lane.plan.index)
            case SetDeadline(at):
                self.deadline = at
            case ClearDeadline():
                self.deadline = None
            case CancelCalls(calls):
                self._cancel(calls)
            case Publish(seq=seq):
                assert seq == self.seq + 1, "the numbers on the stream have a hole"
                self.seq = seq
            case _:
                assert isinstance(effect, Quiesce | Finish | Reject | Reply | WakeTask | OfferEvent)

    def _start(self, call: Call) -> None:
        work = self.work_of(call)
        self.model.start(work)
        self.calls[work.id] = call
        self.untouched.append(work)
        assert call.step_name == self.program.specs[work.step].name
        assert call.attempt == work.attempt, "an attempt is miscounted"
        assert is_given(work.event, call.event), f"{work} is called with {call.event}"

    def _cancel(self, calls: tuple[Call, ...]) -> None:
        works = {self.work_of(call) for call in calls}
        assert works == set(self.running()), "not all that runs is cancelled"
        self.cancelled |= works

    def work_of(self, call: Call) -> Work:
        """The model's name for a call."""
        found = [work for work in self.model.works if work.id == call.id]
        assert len(found) == 1, f"{call} is none of the contract's"
        return found[0]

    def running(self) -> list[Work]:
        """What runs, oldest first."""
        return self.model.having("running")

    # --- Comparing ----------------------------------------------------------------------------------------------------

    def _check_finish(self, effects: list[Effect], *, was_over: bool) -> None:
        ends = [effect.outcome for effect in effects if isinstance(effect, Finish)]
        expected = self.model.outcome
        assert len(ends) == (expected is not None and not was_over), f"machine: {ends}, contract: {expected}"
        if not ends:
            return
        assert expected is not None
        how, what = expected
        outcome = ends[0]
        assert outcome.status.value == how
        found = (outcome.event, outcome.cause, outcome.error)
        assert what in found or isinstance(outcome.error, what if isinstance(what, type) else ())
        assert isinstance(effects[-1], Finish), "something happens after the end"

    def _check_mail(self, effects: list[Effect]) -> None:
        if any(isinstance(effect, Finish) for effect in effects):
            return  # who was given something in the moment of the end is cancelled with it
        given = [(effect.token, effect.value) for effect in effects if isinstance(effect, WakeTask)]
        given += [(effect.waiter.token, effect.event) for effect in effects if isinstance(effect, OfferEvent)]
        expected: list[tuple[Any, Any]] = list(self.model.deliver())
        self.offers += [wait for wait, _ in expected if wait.is_picky]
        expected += [(wait, self.model.answers[str(wait.question)]) for wait in self.answered_waits()]
        assert Counter(map(_pair, given)) == Counter(map(_pair, expected)), f"machine: {given}, contract: {expected}"

    def answered_waits(self) -> list[Wait]:
        """Calls whose answer has come and who may have it now."""
        if self.model.is_paused or self.model.outcome is not None:
            return []
        waits = [w for w in self.model.waits if not w.is_over and w.question in self.model.answers]
        for wait in waits:
            wait.is_over = True
            wait.work.waits.remove(wait)
        return waits

    def _check_quiet(self, effects: list[Effect]) -> None:
        was_quiet, self.was_quiet = self.was_quiet, self.model.is_paused and self.model.is_quiet()
        told = any(isinstance(effect, Quiesce) for effect in effects)
        if self.model.outcome is None:
            assert not told or self.was_quiet, "the run is not quiet"
            assert told or was_quiet or not self.was_quiet, "nobody is told that the run is quiet"

    def check(self) -> None:
        """Machine and model agree, the machine agrees with itself, and no slot is idle while work waits."""
        if self.model.outcome is not None:
            assert self.state.values.visible == self.model.values("done")
            assert self.state.status.value == self.model.outcome[0]
            return
        assert counted(self.state) == recounted(self.state)
        self._check_work()
        self._check_status()
        assert self.state.values.visible == self.model.values("done", "running")
        assert self.state.values.committed() == self.model.values("done")
        assert self.state.usage_total().total_tokens == self.model.tokens_used()
        self._check_slots()

    def _check_work(self) -> None:
        """Conservation: every event is where the contract says, once, and nowhere else."""
        state, model = self.state, self.model
        waiting = [each.id for lane in state.lanes for each in _flat(lane.waiting or ())]
        assert Counter(waiting) == Counter(work.id for work in model.having("waiting"))
        assert {call.id for call in state.running} == {work.id for work in self.running()}
        sleeping = {call.id: due for call, due in state.timers.items()}
        assert sleeping == {work.id: work.due for work in model.having("sleeping")}
        queued = [event for emission in state.queue for event in emission.events]
        assert queued == [token.event for _, tokens in model.queue for token in tokens]
        assert set(state.questions) == set(model.questions)
        mail = [] if state.mailbox is None else state.mailbox.pending()
        assert Counter(map(repr, mail)) == Counter(repr(each.event) for each in model.free_mail())
        for (step, cls), entries in state.collectors.items():
            assert Counter(c.id for c, _ in entries) == Counter(e.work.id for e in model.buffered(step, cls))

    def _check_status(self) -> None:
        status = RunStatus.AWAITING_INPUT if self.model.is_awaiting() else RunStatus.RUNNING
        assert self.state.status is (RunStatus.PAUSED if self.model.is_paused else status)
        self.is_clock_on = self.state.status is RunStatus.RUNNING
        since = self.state.running_since
        assert (since is not None) == self.is_clock_on
        elapsed_s = self.state.elapsed_s + (0.0 if since is None else self.now - since)
        assert abs(elapsed_s - self.spent_s) < 1e-6, "running time is not what was lived"
        timeout = self.program.definition.options.timeout
        assert timeout is not None
        assert (self.deadline is not None) == self.is_clock_on
        assert self.deadline is None or abs(self.deadline - (self.now + timeout - self.spent_s)) < 1e-6
        if not self.model.is_paused:
            assert self.timers == self.state.timers

    def _check_slots(self) -> None:
        if self.model.is_paused or self.model.is_held:
            return
        for step, spec in enumerate(self.program.specs):
            if self.model.having("waiting", step) and spec.shares_limiter:
                assert step in self.slots, f"nobody asked for a slot for {spec.name}"
            elif self.model.having("waiting", step):
                limit = spec.limit or 100
                assert len(self.model.having("running", step)) == limit, f"{spec.name} waits beside a free slot"


def is_given(expected: Any, given: Any) -> bool:
    """Whether a call got the very events that it should."""
    if isinstance(expected, list):
        return isinstance(given, list) and all(map(operator.is_, expected, given)) and expected == given
    return (
        expected is given or (expected is StepFailedEvent and isinstance(given, StepFailedEvent)) or expected == given
    )


def _pair(pair: tuple[Any, Any]) -> tuple[int, str]:
    return id(pair[0]), repr(pair[1])


def _flat(waiting: Any) -> list[Call]:
    return [call for each in waiting for call in (_items(each) if isinstance(each, Batch) else [each])]


def _items(batch: Batch) -> list[Call]:
    index, calls = batch.next_index, []
    while not batch.is_empty:
        calls.append(batch.next_call())
    batch.next_index = index
    return calls
