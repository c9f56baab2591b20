"""Workers: tasks that run calls, one after another, without a task switch between them.

Rules of this file:

* A worker takes the next ready call itself. Before it awaits a step while more is ready, one *follower* is armed:
  another worker that is scheduled and takes over in the moment the first one suspends. So whenever a worker suspends
  while work is ready, exactly one follower is armed, and steps that block overlap as if each had its own task; steps
  that do not block cost no task at all. There is no fixed leader.
* Each worker has one cancel scope that it keeps over many calls. A time-out arms its deadline only when the step really
  suspends. A scope that was cancelled is left and replaced.
* A call's end is told in the same turn in which the step ended: nothing can come between.
* Calls never see each other's context variables: a worker whose call changed one is replaced.
* User code runs unprotected from ``KeyboardInterrupt``, the engine's own frames protected.
"""

import random
import types
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, current_task, wait_task_rescheduled

from blazen_trio.context import Context
from blazen_trio.core.annotations import without_partial
from blazen_trio.core.calls import Call
from blazen_trio.core.messages import StepFailed, StepInterrupted, StepSucceeded
from blazen_trio.core.results import check_yielded, read_result
from blazen_trio.core.status import RunStatus
from blazen_trio.core.steps import StepKind
from blazen_trio.failures import failure_of, timeout_failure
from blazen_trio.groups import split_cancelled
from blazen_trio.outages import notice_outage
from blazen_trio.slices import SLICE_CALLS
from blazen_trio.threads import thread_limiter

if TYPE_CHECKING:
    from blazen_trio.runner import Runner

IDLE_MAX: Final = 4
"""Idle workers that a run keeps: waking one costs half of starting one, and each holds 2 kB."""

# Why a worker's scope was cancelled (``None`` while it was not, or when a deadline did it):

INTERRUPT: Final = "interrupt"
"""For a pause."""

END: Final = "end"
"""The run is over."""

RENEW: Final = "renew"
"""By a deadline that passed after the step had ended by itself."""


_NO_SCOPE: Final = trio.CancelScope()
"""In place of a scope in runs whose workers need none (``Runner.has_worker_scopes``); never entered."""


class Worker:
    """A task of a run's nursery that runs calls.

    Attributes:
        call: what it runs now.
        reason: why its scope was cancelled.
    """

    __slots__ = ("_has_suspended", "_remaining_s", "_scope", "call", "reason", "runner", "task")

    def __init__(self, runner: "Runner") -> None:
        self.runner: Runner = runner
        self.call: Call | None = None
        self.reason: str | None = None
        self.task: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope() if runner.has_worker_scopes else _NO_SCOPE
        self._has_suspended = False
        self._remaining_s: float | None = None

    def cancel(self, reason: str) -> trio.CancelScope:
        """Cancel the call that runs now. Gives the scope that it runs in, which is replaced when the call has ended."""
        if self.reason != END:
            self.reason = reason
        if self._scope is not _NO_SCOPE:
            self._scope.cancel()
        return self._scope

    def is_in(self, scope: trio.CancelScope) -> bool:
        """Whether the call that was cancelled by this scope has not ended yet."""
        return self._scope is scope

    def hold_deadline(self, now: float) -> None:
        """The run is paused and the call waits for something: the time of its attempt stands still."""
        if self._scope.deadline != inf:
            self._remaining_s, self._scope.deadline = self._scope.deadline - now, inf

    def release_deadline(self, now: float) -> None:
        """The run goes on, and so does the time of the attempt."""
        if self._remaining_s is not None:
            self._scope.deadline, self._remaining_s = now + self._remaining_s, None

    @property
    def is_cancelled(self) -> bool:
        """Whether the engine is cancelling the call that runs now (its time-out included)."""
        return self.reason is not None or self._scope.cancel_called

    @property
    def is_timed_out(self) -> bool:
        """Whether the attempt that runs now took too long, and is being cancelled for that."""
        return self.reason is None and self._scope.cancel_called

    @trio.lowlevel.enable_ki_protection
    async def work(self) -> None:
        """Take calls until the run needs this worker no more. The entry of its task."""
        self.task = current_task()
        runner = self.runner
        try:
            is_needed = runner.has_worker_scopes
            if not is_needed:
                await self._take_calls()
            while is_needed:
                with self._scope:
                    is_needed = await self._take_calls()
                if is_needed:
                    self._account_for_cancel()
                is_needed = is_needed and not self._has_changed_variables()
        except BaseException:
            self._abandon()
            raise
        finally:
            runner.worker_left(self)

    def _has_changed_variables(self) -> bool:
        """Whether a call that was cancelled left context variables behind; the loop over calls looks inline."""
        try:
            return copy_context() != self.runner.variables
        except Exception:  # values are compared with their own __eq__, which may raise anything
            return True

    def _abandon(self) -> None:
        """The whole run was cancelled from outside: it is over, also for a body that shields itself and waits."""
        now = self.runner.clock()
        self.runner.cancelled_from_outside()
        if self.call is not None:
            self._tell(StepInterrupted(self.call, now))

    async def _take_calls(self) -> bool:  # noqa: C901, PLR0912 - the loop that every call goes through: a function costs 5 %
        """Run calls; true if the scope must be replaced, false if the worker is not needed any more."""
        runner = self.runner
        ready, feed, clock, shared_slice = runner.ready, runner.feed, runner.clock, runner.slice
        base, turn_calls = runner.variables, SLICE_CALLS
        assert ready is not None  # a worker is made for a call
        self._begin_turn()
        while True:
            if not ready:
                if not await self._rest():
                    return False
                continue
            call = self.call = ready.popleft()
            plan = call.plan
            if ready and runner.armed is None:
                runner.arm()
            try:
                if plan.is_bare:
                    result = await plan.function(call.event)
                elif plan.is_plain:
                    result = await plan.invoke(call.event, Context(runner, call))
                else:
                    result = await self._run_specially(call)
                if type(result) not in plan.single:
                    result = read_result(plan, result)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: ASYNC103 - user code may raise anything; what must pass is sorted out
                message: StepSucceeded | StepFailed = self._failed(call, error)
                now = message.at
            else:
                now = clock()
                message = StepSucceeded(call, result, now)
            self.call = None
            if plan.has_tokens:
                runner.tokens.release(call)
            feed(message)
            try:
                is_changed = copy_context() != base
            except Exception:  # values are compared with their own __eq__, which may raise anything
                is_changed = True
            if is_changed:
                return False
            if self.reason is not None:
                return True
            turn_calls -= 1
            if ready and (now >= shared_slice.end or turn_calls <= 0) and not self._has_just_yielded():
                await self._yield()
                turn_calls = SLICE_CALLS

    def _tell(self, message: StepSucceeded | StepFailed | StepInterrupted) -> None:
        """The call is over: give back what it held, and tell the machine."""
        self.call = None
        runner = self.runner
        if message.call.plan.has_tokens:
            runner.tokens.release(message.call)
        runner.feed(message)

    def _failed(self, call: Call, error: BaseException) -> StepFailed:
        """The message of a failure. What is Trio's own cancellation goes on instead."""
        cancelled, rest = split_cancelled(error)
        if cancelled is not None and trio.current_effective_deadline() == -inf:
            if rest is not None and self.reason == INTERRUPT:
                self._tell(self._step_failed(call, rest))
            raise cancelled
        return self._step_failed(call, error)

    def _step_failed(self, call: Call, error: BaseException) -> StepFailed:
        failure = failure_of(call, error)
        if failure.passes and call not in self.runner.state.running:
            raise failure.exception  # the run is over and would not tell anybody
        notice_outage(self.runner, call, failure)
        return StepFailed(call, failure, self.runner.clock(), random.random())

    def _account_for_cancel(self) -> None:
        """After the scope: tell how the call ended that was cancelled in it, and get a new scope."""
        call, reason = self.call, self.reason
        self.reason = self._remaining_s = None
        self._scope = trio.CancelScope()
        if call is None:
            return
        now = self.runner.clock()
        if reason in (None, RENEW):
            failure = timeout_failure(call, self.runner.run_id)
            self._tell(StepFailed(call, failure, now, random.random()))
        else:
            self._tell(StepInterrupted(call, now))

    # --- Steps that are not simply awaited ----------------------------------------------------------------------------

    async def _run_specially(self, call: Call) -> Any:
        runner, plan = self.runner, call.plan
        context = Context(runner, call)
        if plan.kind is StepKind.ASYNC:
            return await self._drive(plan.invoke(call.event, context), plan.timeout_s)
        if plan.kind is StepKind.THREAD:
            await thread_limiter().acquire_on_behalf_of(call)  # waiting for a thread is no part of the attempt
        if plan.timeout_s is not None:
            self._scope.deadline = runner.clock() + plan.timeout_s
        try:
            if plan.kind is StepKind.THREAD:
                return await _in_thread(call, context)
            return await self._send_all(call, context, plan.invoke(call.event, context))
        finally:
            self._disarm()

    async def _drive(self, coroutine: Coroutine[Any, Any, Any], timeout_s: float | None) -> Any:
        """Run a step by hand up to where it suspends for the first time: only then it needs a deadline."""
        begun = self.runner.clock()
        try:
            trap = coroutine.send(None)
        except StopIteration as end:
            return end.value
        self._has_suspended = True
        if timeout_s is None:
            return await _resume(coroutine, trap)
        self._scope.deadline = begun + timeout_s
        try:
            return await _resume(coroutine, trap)
        finally:
            self._disarm()

    def _disarm(self) -> None:
        """The step ended by itself: a deadline that has passed since is none of the next call's."""
        self._scope.deadline, self._remaining_s = inf, None
        if self._scope.cancel_called and self.reason is None:
            self.reason = RENEW

    async def _send_all(self, call: Call, context: Context, stream: AsyncGenerator[Any, None]) -> None:
        """Send what an async generator step yields, one by one."""
        try:
            async for event in stream:
                check_yielded(call.plan, event)
                context.send_event(event)
                if self.runner.clock() >= self.runner.slice.end:
                    await self._yield()
        finally:
            await stream.aclose()

    # --- Turns --------------------------------------------------------------------------------------------------------

    def _begin_turn(self) -> None:
        """Trio gave this worker its turn."""
        runner = self.runner
        if runner.armed is self:
            runner.armed = None
        runner.slice.begin_turn(self, runner.clock())

    def _has_just_yielded(self) -> bool:
        """Whether the last call suspended: Trio woke this worker for its end alone, so it may begin one more."""
        has_suspended, self._has_suspended = self._has_suspended, False
        return has_suspended

    async def _yield(self) -> None:
        """The slice is over: let everybody else have a turn. An armed follower goes on with the calls."""
        self.runner.slice.let_threads_run()
        if self.call is None and self.runner.armed is not None:
            await self._park()
        else:
            await checkpoint()
        self._begin_turn()

    async def _rest(self) -> bool:
        """Nothing is ready: wait for a call; false if the worker is not needed any more."""
        runner = self.runner
        status = runner.state.status
        if status.is_end or status is RunStatus.AWAITING_INPUT or len(runner.idle) >= IDLE_MAX:
            return False
        await self._park()
        self._begin_turn()
        return not runner.state.status.is_end

    async def _park(self) -> None:
        self.runner.idle.append(self)
        await wait_task_rescheduled(self._leave_idle)

    def _leave_idle(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self.runner.idle.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED


def let_interrupt(function: Any) -> None:
    """Let ``KeyboardInterrupt`` strike inside a step function, which is called from protected frames."""
    function = without_partial(function)
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    if hasattr(function, "__code__"):
        trio.lowlevel.disable_ki_protection(function)


@types.coroutine
def _resume(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that was run by hand up to its first trap."""
    try:
        while True:
            try:
                value = yield trap
            except BaseException as error:  # noqa: ASYNC103 - whatever Trio throws in is the step's to handle
                trap = coroutine.throw(error)
            else:
                trap = coroutine.send(value)
    except StopIteration as end:
        return end.value


async def _in_thread(call: Call, context: Context) -> Any:
    """Run a plain function in a worker thread. It cannot be cancelled; if it was meant to be, its result is dropped."""
    try:
        result = await trio.to_thread.run_sync(call.plan.invoke, call.event, context, limiter=trio.CapacityLimiter(1))
    finally:
        thread_limiter().release_on_behalf_of(call)
    await checkpoint_if_cancelled()
    return result
