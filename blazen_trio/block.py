"""The block that a run lives in: opens its nursery, starts it, and leaves nothing behind."""

import time
from types import TracebackType
from typing import Final

import trio

from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.events import Event
from blazen_trio.core.messages import RunResumed, RunStarted
from blazen_trio.endings import Ending
from blazen_trio.groups import alone, is_passing
from blazen_trio.run import WorkflowResult, WorkflowRun, make_result
from blazen_trio.runner import Runner
from blazen_trio.session_refs import RefLifetime

_ENDING_WITH_THE_BLOCK: Final = tuple(each for each in RefLifetime if each is not RefLifetime.UNTIL_EXPLICIT_DROP)


class RunBlock:
    """The ``async with`` block of a run: opens its nursery, starts it, and leaves nothing behind.

    Entering is not a checkpoint, leaving is. Without an ``event`` the run goes on from what its state is. Of one that
    ``is_watched`` somebody else sees how it ends, so leaving raises no failure.
    """

    __slots__ = ("_ending", "_event", "_manager", "_runner", "_workflow")

    def __init__(
        self, workflow: WorkflowDefinition, runner: Runner, event: Event | None, *, is_watched: bool = False
    ) -> None:
        self._workflow = workflow
        self._runner = runner
        self._event = event
        self._ending = Ending(runner.state)
        self._ending.is_taken = is_watched
        self._manager = trio.open_nursery()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> WorkflowRun:
        await self._begin()
        return WorkflowRun(self._workflow, self._runner, self._ending)

    async def _begin(self) -> None:
        runner = self._runner
        if runner.nursery is not None:
            raise RuntimeError(
                "the block of a run can be entered once; call workflow.start() or resume() for another run"
            )
        runner.nursery = await self._manager.__aenter__()
        runner.outer_deadline = trio.current_effective_deadline()
        now = runner.clock()
        wall_offset = time.time() - now
        if self._event is None:
            runner.post(RunResumed(now, wall_offset))
        else:
            runner.post(RunStarted(now, self._event, wall_offset))

    @trio.lowlevel.enable_ki_protection
    async def run_to_end(self) -> WorkflowResult:
        """Run without a handle: the end of the run is the end of its last task."""
        await self._begin()
        try:
            await self._leave_nursery(None)
            return make_result(self._runner, self._ending)  # with the session refs: they are the caller's now
        except BaseException:
            self._forget_session_refs()
            raise

    def _forget_session_refs(self) -> None:
        """What outlives the run is only what somebody wants to remove himself."""
        self._runner.purge_session_refs(*_ENDING_WITH_THE_BLOCK)

    async def _leave_nursery(self, body_error: BaseException | None) -> None:
        """Wait until the run's last task has ended; what leaves is one exception, without Trio's group around it."""
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised again, alone; or the body's Cancelled is
            if body_error is None or not isinstance(alone(error), trio.Cancelled):  # a defect is never lost
                raise alone(error) from None  # noqa: ASYNC104 - it is what the nursery raised, without its group

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        runner = self._runner
        if runner.state.outcome is None:
            runner.leave_block()
            self._ending.is_taken = True
        try:
            await self._leave_nursery(exc)  # noqa: ASYNC102 - as a nursery: its tasks' end is awaited, cancelled or not
        finally:
            self._forget_session_refs()
        error, is_taken = self._ending.error, self._ending.is_taken
        is_urgent = is_passing(error) and (not is_taken or isinstance(exc, trio.Cancelled))
        if is_urgent or (error is not None and exc is None and not is_taken):
            self._ending.take()
