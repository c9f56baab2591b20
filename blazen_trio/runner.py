"""The runner: carries out what the machine decides, on Trio. It has one nursery per run and decides nothing itself.

* What happens comes in by the ``door``; what most runs never need is in ``parts``.
* User code is never called from an effect; it runs in workers.
"""

import logging
import math
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, ClassVar, Final

import trio
from trio.lowlevel import ParkingLot, reschedule

from blazen_trio.codec import Codec
from blazen_trio.core.calls import Call, Lane
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import (
    CancelCalls,
    CancelTimer,
    ClearDeadline,
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
    TellRest,
    TellRun,
    WakeTask,
    WithdrawSlot,
)
from blazen_trio.core.errors import StepFailedError, WorkflowError
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import (
    AbortRequested,
    DeadlinePassed,
    Message,
    PauseRequested,
    ResumeRequested,
    SlotGranted,
    TimerFired,
)
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus
from blazen_trio.groups import is_passing
from blazen_trio.parking import Parking
from blazen_trio.parts import Parts
from blazen_trio.session_refs import RefLifetime
from blazen_trio.slices import Slice, current_slice
from blazen_trio.snapshot import WorkflowSnapshot, take
from blazen_trio.timers import Timer
from blazen_trio.tokens import Tokens
from blazen_trio.worker import END, INTERRUPT, Worker

GRACE_S: Final = 5.0
"""Seconds after which a step that does not end when it is cancelled is named in a warning."""

logger: Final = logging.getLogger("blazen_trio")


class Runner(Parts):
    """One run on Trio.

    Attributes:
        ready: calls that were started and wait for a worker; bounded by the limits of the steps.
        armed: the follower: a worker that is scheduled and will take the next call.
        has_worker_scopes: each worker has a cancel scope of its own. A run without a handle and without step time-outs
            needs none: nobody can interrupt it, no user's block is in its nursery, so at its end the nursery itself is
            cancelled.
        outer_deadline: when the caller's own scopes end the run.
        idle: workers that wait for a call, the last to come in front.
        variables: the context variables that every call begins with: those of the task that started the run.
    """

    __slots__ = (
        "_call_timers",
        "_deadline",
        "_ended",
        "_grace",
        "_quiet",
        "_room",
        "_tokens",
        "_waiting",
        "armed",
        "has_worker_scopes",
        "idle",
        "nursery",
        "outer_deadline",
        "ready",
        "slice",
        "variables",
        "workers",
    )

    def __init__(
        self, definition: WorkflowDefinition, state: RunState, codec: Codec, metadata: dict[str, Any] | None
    ) -> None:
        super().__init__(definition, state, codec, metadata)
        self.slice: Slice = current_slice()
        self.variables: Context = copy_context()
        self.ready: deque[Call] | None = None
        self.workers: dict[Worker, None] = {}
        self.idle: list[Worker] = []
        self.armed: Worker | None = None
        self.nursery: trio.Nursery | None = None
        self._waiting: list[Parking] | None = None
        self.has_worker_scopes: bool = state.is_attended or definition.has_timeouts
        self.outer_deadline: float = math.inf
        self._ended: trio.Event | None = None
        self._quiet: ParkingLot | None = None
        self._room: ParkingLot | None = None
        self._grace: Timer | None = None
        self._tokens: Tokens | None = None
        self._call_timers: dict[Call, Timer] | None = None
        self._deadline: Timer | None = None

    child_type: ClassVar[Any] = None
    """What runs inside this one are run by, if not by a ``ChildRunner``."""

    is_durable: ClassVar[bool] = False
    """Whether what happens is saved before anybody sees it."""

    # --- Workers and tasks --------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Schedule a worker that takes the next call: one that is idle, else a new one."""
        if self.idle:
            worker = self.idle.pop()
            assert worker.task is not None
            reschedule(worker.task)
        else:
            worker = Worker(self)
            self.workers[worker] = None
            self.start_task(worker.work)
        self.armed = worker

    def arm_if_needed(self) -> None:
        """Schedule a worker if there are calls for one and none is."""
        if self.ready and self.armed is None:
            self.arm()

    def start_task(self, function: Callable[[], Any]) -> None:
        """Start a task of the run, with the run's own context variables."""
        assert self.nursery is not None
        start_soon, name = self.nursery.start_soon, f"{function.__qualname__} of run {self.run_id}"
        self.variables.run(lambda: start_soon(function, name=name))

    def worker_left(self, worker: Worker) -> None:
        """A worker ended: because there was no more to do, or because a call left it unusable."""
        self.workers.pop(worker, None)
        self.slice.forget(worker)
        if self.armed is worker:
            self.armed = None
        if self.ready and self.armed is None and self.state.outcome is None:
            self.arm()
        if not (self.workers or self.ready):
            self.ready = None  # 0.8 kB of the 8 that a run may hold while it waits for a person
        if self.state.outcome is not None:
            self._end_if_empty()

    def _end_if_empty(self) -> None:
        if not self.workers:
            if self._timers is not None:
                self._timers.close()
            self.purge_session_refs(RefLifetime.UNTIL_PARENT_FINISH)
            if self._ended is not None:
                self._ended.set()

    async def wait_finished(self) -> None:
        """Wait until the run is over; a checkpoint."""
        if self.is_over:
            await trio.lowlevel.checkpoint()
            return
        parking = Parking()  # not an Event: a run that waits for a person shall hold less than 8 kB, of which it is 0.4
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(parking)
        try:
            await parking.wait()
        finally:
            self._waiting.remove(parking)

    async def wait_ended(self) -> None:
        """Wait until no call of the ended run runs any more; a checkpoint."""
        if self.workers:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()
        else:
            await trio.lowlevel.checkpoint()

    def leave_block(self) -> None:
        """The block that the run lives in is left, but the run is not over."""
        self.post(AbortRequested(self.clock(), "its block ended"))

    def cancelled_from_outside(self) -> None:
        """A worker was cancelled by a scope around the run: it is over."""
        self.feed(AbortRequested(self.clock(), "cancelled from outside"))

    def is_cancelling(self, call: Call) -> bool:
        """Whether the run itself is cancelling a call now."""
        return self.state.outcome is not None or any(
            worker.call is call and worker.is_cancelled for worker in self.workers
        )

    def is_final_wait(self, call: Call) -> bool:
        """Whether nothing but what it waits for lets a call go on: no deadline, and no other task of the step.

        Asked only for a run without a handle; with one, anything may come.
        """
        if self.state.is_attended or call.plan.timeout_s is not None:
            return False
        if trio.current_effective_deadline() < self.outer_deadline:
            return False
        task = trio.lowlevel.current_task()
        is_alone = not any(nursery.child_tasks for nursery in task.child_nurseries)
        return is_alone and any(worker.task is task for worker in self.workers)

    def is_own_task(self) -> bool:
        """Whether the current task is a worker of this run, or runs inside of one: it would wait for itself."""
        tasks = {worker.task for worker in self.workers}
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task not in tasks:
            task = None if task.parent_nursery is None else task.parent_nursery.parent_task
        return task is not None

    async def wait_saved(self) -> None:
        """Wait until what happened so far is saved, if the run is durable; a checkpoint."""
        if self.root is self:
            await trio.lowlevel.checkpoint()
        else:
            await self.root.wait_saved()

    # --- Runs inside this one -----------------------------------------------------------------------------------------

    @property
    def root(self) -> "Runner":
        """The runner of the run around all others: it has the stream, the session refs and the handle."""
        return self

    def _tell_run(self, effect: TellRun) -> None:
        runner = self.live.get(effect.run)
        if runner is not None:
            self.later(lambda: runner.post(effect.message))
        elif effect.run.nesting is not None:  # it waits for its turn, as if paused: nothing has to be done
            self.tell_resting(Machine(effect.run.nesting.definition, effect.run), effect.message)

    def tell_resting(self, machine: Machine, message: Message) -> None:
        """Tell a run inside this one that is in none of its calls now."""
        self.decider(machine)(message)

    def _tell_rest(self, effect: TellRest) -> None:
        """There is a run around this one only for the runner of a child."""

    @property
    def tokens(self) -> Tokens:
        """The tokens of limiters that calls hold."""
        if self._tokens is None:
            self._tokens = Tokens(self)
        return self._tokens

    # --- Pausing and sending ------------------------------------------------------------------------------------------

    def take_unbegun(self) -> tuple[Call, ...]:
        """Take back the calls that no worker has begun."""
        calls = tuple(self.ready or ())
        if self.ready is not None:
            self.ready.clear()
        for call in calls:
            if call.plan.has_tokens:
                self.tokens.release(call)
        return calls

    async def pause(self, *, interrupt: bool) -> None:
        """Stop dispatch, here and in the runs inside, and wait until nothing runs; a checkpoint."""
        state = self.state
        self.stop_dispatch(interrupt=interrupt)
        for runner in self.live_ones():
            if runner.state.outcome is None:
                runner.stop_dispatch(interrupt=interrupt)
        await trio.lowlevel.checkpoint()
        while state.status is RunStatus.PAUSED and len(state.running) != state.parked:
            self._quiet = self._quiet or ParkingLot()
            await self._quiet.park()

    def stop_dispatch(self, *, interrupt: bool) -> None:
        """Start nothing more, and take back what was not begun."""
        unbegun = self.take_unbegun() if self.state.outcome is None else ()
        self.post(PauseRequested(self.clock(), interrupt, unbegun))

    def resume_in_place(self) -> None:
        """The pause is over, here and in the runs inside."""
        self.go_on()
        for runner in self.live_ones():
            if self.state.outcome is None and runner.state.outcome is None:
                runner.go_on()

    def go_on(self) -> None:
        """The pause is over: the time-outs of waiting calls run again, and those go on who still wait for the pause."""
        now = self.clock()
        self.post(ResumeRequested(now))
        for worker in self.workers:
            worker.release_deadline(now)
        if self._quiet is not None:
            self._quiet.unpark_all()

    def statistics(self) -> dict[str, Any]:
        """What the run holds now."""
        state = self.state
        return {
            "status": state.status.value,
            "pending": state.pending,
            "running": len(state.running),
            "parked": state.parked,
            "retrying": len(state.timers),
            "questions": len(state.questions),
            "emitted": state.emitted,
            "consumed": state.consumed,
            "late": state.late,
            "published": state.seq,
            "workers": len(self.workers),
            "idle_workers": len(self.idle),
            "children": len(self.live_ones()),
            "timers": 0 if self._timers is None else len(self._timers),
            "session_refs": 0 if self._session_refs is None else len(self._session_refs),
            "stream": None if self._stream is None else self._stream.statistics(),
            "limiters": {} if self._tokens is None else self._tokens.statistics(),
        }

    @property
    def is_kept(self) -> bool:
        """Whether what happens now does not count: the run goes on from before it."""
        return self.before_outage is not None

    def meet_outage(self, error: StepFailedError) -> None:
        """The run is about to end with this, since a server is lost: keep it as it is, for whoever has a handle."""
        if not self.state.is_attended:
            return
        try:
            self.before_outage: WorkflowSnapshot | None = self._take()
        except WorkflowError as problem:
            logger.warning("run %s: a server is lost (%s), and it cannot be kept: %s", self.run_id, error, problem)

    def snapshot(self) -> WorkflowSnapshot:
        """The run as it is now, or as it was before an outage. The refs that live until then go, if it was taken."""
        snapshot = self.before_outage or self._take()
        self.purge_session_refs(RefLifetime.UNTIL_SNAPSHOT)
        return snapshot

    def _take(self) -> WorkflowSnapshot:
        refs = self._session_refs
        return take(self.definition, self.state, self.codec, self.saved_metadata, self.clock(), refs=refs)

    async def wait_for_room(self, count: int, is_given_up: Callable[[], bool]) -> None:
        """Wait until fewer than ``count`` events are pending, or the run is over, or who waits has given up."""
        while self.state.outcome is None and self.state.pending >= count and not is_given_up():
            self.count_blocked(1)
            self._room = self._room or ParkingLot()
            try:
                await self._room.park()
            finally:
                self.count_blocked(-1)

    def admit_senders(self, count: float = 1) -> None:
        """A call ended, or a channel was closed: let so many senders look whether they still have to wait."""
        if self._room is not None:
            self._room.unpark(count=count)

    def grant_slot(self, lane: Lane) -> None:
        """A token of a shared limiter is there for a step."""
        self.post(SlotGranted(lane.plan.index, self.clock()))

    # --- Effects ------------------------------------------------------------------------------------------------------

    def _start_step(self, call: StartStep) -> None:
        if call.plan.has_tokens:
            self.tokens.take(call)
        if self.ready is None:
            self.ready = deque()
        self.ready.append(call)

    def _publish(self, effect: Publish) -> None:
        if self.state.is_attended:  # else nobody has a handle to subscribe with
            (self._stream or self.stream).append(effect)

    def _wake(self, effect: WakeTask) -> None:
        effect.token.set(effect.value)

    def _offer(self, effect: OfferEvent) -> None:
        effect.waiter.token.set(effect.event)

    def _set_timer(self, effect: SetTimer) -> None:
        call = effect.call
        if self._call_timers is None:
            self._call_timers = {}
        self._call_timers[call] = self.timers.set(effect.at, lambda: self._timer_fired(call))

    def _timer_fired(self, call: Call) -> None:
        if self._call_timers is not None:
            del self._call_timers[call]
        self.post(TimerFired(call, self.clock()))

    def _cancel_timer(self, effect: CancelTimer) -> None:
        timer = None if self._call_timers is None else self._call_timers.pop(effect.call, None)
        if timer is not None:
            self.timers.cancel(timer)

    def _set_deadline(self, effect: SetDeadline) -> None:
        self._deadline = self.timers.set(effect.at, lambda: self.post(DeadlinePassed(self.clock())))

    def _clear_deadline(self, _effect: ClearDeadline) -> None:
        if self._deadline is not None:
            self.timers.cancel(self._deadline)
            self._deadline = None

    def _cancel_calls(self, effect: CancelCalls) -> None:
        calls = set(effect.calls)
        reason = INTERRUPT if self.state.outcome is None else END
        cancelled = [(worker, worker.cancel(reason)) for worker in self.workers if worker.call in calls]
        self._grace = self.timers.set(self.clock() + GRACE_S, lambda: self._warn_of(cancelled))
        if not self.has_worker_scopes:
            self._cancel_nursery()

    def _cancel_nursery(self) -> None:
        """End all calls of a run without a handle; the timers stay, to warn of calls that do not end."""
        assert self.nursery is not None
        self.timers.shield()
        self.nursery.cancel_scope.cancel()

    def _warn_of(self, cancelled: list[tuple[Worker, trio.CancelScope]]) -> None:
        for worker, scope in cancelled:
            if worker.call is not None and worker.is_in(scope):
                logger.warning(
                    "run %s: step %r did not end within %g s of being cancelled; it swallows trio.Cancelled, shields "
                    "itself, or blocks its thread. The run's block waits for it",
                    self.run_id,
                    worker.call.step_name,
                    GRACE_S,
                )

    def _request_slot(self, effect: RequestSlot) -> None:
        self.tokens.request(effect.lane)

    def _withdraw_slot(self, effect: WithdrawSlot) -> None:
        self.tokens.withdraw(effect.lane)

    def _quiesce(self, _effect: Quiesce) -> None:
        now = self.clock()
        for worker in self.workers:
            worker.hold_deadline(now)
        if self._quiet is not None:
            self._quiet.unpark_all()
        if self._grace is not None:
            self.timers.cancel(self._grace)

    def _reply(self, effect: Reply | Reject) -> None:
        self._answer = effect

    def _finish(self, effect: Finish) -> None:
        """The run is over: idle workers go home, busy ones were cancelled; whoever waits is told."""
        self.take_unbegun()
        if self._tokens is not None:
            self._tokens.withdraw_all()
        while self.idle:
            task = self.idle.pop().task
            assert task is not None
            reschedule(task)
        if self._stream is not None:
            self._stream.close()
        for lot in (self._quiet, self._room):
            if lot is not None:
                lot.unpark_all()
        self.is_over = True
        for parking in self._waiting or ():
            parking.set(None)
        if is_passing(effect.outcome.error):
            assert self.nursery is not None
            self.nursery.cancel_scope.cancel()  # it ends the program, so it does not wait for the block's body
        self._end_if_empty()

    PERFORM: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        StartStep: _start_step,
        Publish: _publish,
        WakeTask: _wake,
        OfferEvent: _offer,
        SetTimer: _set_timer,
        CancelTimer: _cancel_timer,
        SetDeadline: _set_deadline,
        ClearDeadline: _clear_deadline,
        CancelCalls: _cancel_calls,
        RequestSlot: _request_slot,
        WithdrawSlot: _withdraw_slot,
        TellRun: _tell_run,
        TellRest: _tell_rest,
        Quiesce: _quiesce,
        Reject: _reply,
        Reply: _reply,
        Finish: _finish,
    }
