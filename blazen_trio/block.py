"""The block that a run lives in: opens its nursery, starts it, and leaves nothing behind."""

import time
from types import TracebackType

import trio

from blazen_trio.core.events import Event
from blazen_trio.core.messages import AbortRequested, RunStarted
from blazen_trio.endings import alone, is_passing
from blazen_trio.run import WorkflowResult, WorkflowRun
from blazen_trio.runner import Runner


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
        """Wait until the run's last task has ended; what leaves is one exception, without Trio's group around it."""
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseException as error:  # noqa: BLE001 - raised again, alone
            if body_error is None or not isinstance(alone(error), trio.Cancelled):  # a defect is never lost
                raise alone(error) from None

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        runner = self._runner
        if runner.state.outcome is None:
            runner.post(AbortRequested(runner.clock(), "its block ended"))
            self._run.disregard_failure()
        await self._leave_nursery(exc)
        outcome = runner.state.outcome
        assert outcome is not None
        is_untaken = self._run.has_untaken_failure
        if (exc is None and is_untaken) or (
            is_passing(outcome.error) and (is_untaken or isinstance(exc, trio.Cancelled))
        ):
            self._run.take_result()
