"""A run that an engine holds: brought into memory, living there, parked again.

Rules of this file:

* ``HeldRun`` exists as long as the engine holds the run; its ``runner`` only while the run is in memory.
* Whoever uses a run in memory counts as a user (``in_memory``): it is not parked under anybody's hands.
* Parking is one synchronous step: snapshot, then nothing counts any more. So nothing falls between.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from blazen_trio.block import RunBlock
from blazen_trio.core.errors import RunLockedError, SessionRefError, SnapshotError, StoreError, WorkflowError
from blazen_trio.core.messages import DispatchHeld
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus
from blazen_trio.durable import DurableRunner, Journal
from blazen_trio.engine.infos import told
from blazen_trio.journal import base_of
from blazen_trio.run import WorkflowRun
from blazen_trio.snapshot import WorkflowSnapshot, restore, take
from blazen_trio.workflow import Workflow

if TYPE_CHECKING:
    from blazen_trio.engine.engine import Engine

logger: Final = logging.getLogger("blazen_trio")


class HeldRun:
    """One run that this engine holds.

    Attributes:
        run_id: its id.
        workflow: it is a run of this.
        fence: what the store gave with it.
        runner: while it is in memory.
        run: its handle there.
        last: its state, when it is over.
        error: why it cannot be brought into memory.
        idle_since: on Trio's clock, since when it has only questions left.
    """

    __slots__ = (
        "_gone",
        "_lock",
        "engine",
        "error",
        "fence",
        "idle_since",
        "last",
        "run",
        "run_id",
        "runner",
        "users",
        "workflow",
    )

    def __init__(self, engine: "Engine", workflow: Workflow, run_id: str, fence: int) -> None:
        self.engine = engine
        self.workflow = workflow
        self.run_id = run_id
        self.fence = fence
        self.runner: DurableRunner | None = None
        self.run: WorkflowRun | None = None
        self.last: RunState | None = None
        self.error: Exception | None = None
        self.idle_since: float | None = None
        self.users = 0
        self._lock: trio.Lock | None = None
        self._gone: trio.Event | None = None

    # --- Into memory --------------------------------------------------------------------------------------------------

    async def bring(self, state: RunState | None, metadata: dict[str, Any]) -> None:
        """Bring the run into memory, where it goes on; ``state`` is that of one which was just created.

        It was counted as in memory before.
        """
        self.engine.in_memory -= 1
        try:
            async with self._locked():
                if self.run is None and state is not None:
                    await self._begin(DurableRunner(self.workflow, state, metadata, self._journal(None)))
                elif self.run is None:
                    await self._load()
        except (SnapshotError, StoreError, SessionRefError) as error:
            logger.error("run %s cannot go on here: %s", self.run_id, error)  # noqa: TRY400 - it says what, not where
            self.lose(error)

    @contextlib.asynccontextmanager
    async def in_memory(self) -> AsyncGenerator[WorkflowRun, None]:
        """The run's handle, with the run kept in memory for the block.

        Raises:
            SnapshotError: the run does not fit its workflow as it is now.
            StoreError: it cannot be read.
        """
        self.users += 1
        try:
            async with self._locked():
                if self.run is None:
                    await self._load()
                run = self.run
            assert run is not None
            yield run
        finally:
            self.users -= 1

    def _locked(self) -> trio.Lock:
        """One task at a time brings it into memory."""
        if self._lock is None:
            self._lock = trio.Lock()
        return self._lock

    async def _load(self) -> None:
        self.engine.check_open()
        stored = await self.engine.store.read(self.run_id)
        if stored.fence != self.fence:
            raise RunLockedError(self.run_id, None if stored.owner is None else stored.owner.engine_id)
        snapshot = told(self.workflow, stored)
        restored = restore(self.workflow, self.workflow.codec, snapshot, trio.current_time())
        journal = self._journal(base_of(snapshot) if stored.entries else None)
        runner = DurableRunner(self.workflow, restored.state, restored.metadata, journal)
        if restored.refs is not None:
            runner.use_session_refs(restored.refs, is_owner=True)
        await self._begin(runner, is_paused=snapshot.status is RunStatus.PAUSED)

    def _journal(self, base: bytes | None) -> Journal:
        journal = Journal(self.engine.committer, self.engine.durability, self.fence, base)
        journal.on_header = self._on_header
        return journal

    async def _begin(self, runner: DurableRunner, *, is_paused: bool = False) -> None:
        await self.engine.nursery.start(partial(self._live, runner, is_paused=is_paused))

    async def _live(
        self, runner: DurableRunner, *, is_paused: bool, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be the block that the run lives in, until it is over or parked."""
        self.engine.in_memory += 1
        try:
            async with RunBlock(self.workflow, runner, None, is_watched=True) as run:
                if is_paused and runner.state.outcome is None:
                    runner.stop_dispatch(interrupt=False)
                self.runner, self.run, self.idle_since = runner, run, None
                task_status.started()
                await runner.wait_finished()
        finally:
            self.engine.in_memory -= 1
            self._left(runner)

    def _left(self, runner: DurableRunner) -> None:
        """The run is out of memory."""
        if self.runner is runner:
            self.runner = self.run = None
        if runner.state.outcome is not None:
            self.last = runner.state
            self.gone()
        self.engine.pump()

    # --- The end ------------------------------------------------------------------------------------------------------

    def gone(self) -> None:
        """The run is over, or is not held here any more: whoever waits for its end looks elsewhere."""
        self.engine.forget(self)
        if self._gone is not None:
            self._gone.set()

    async def wait_over(self) -> RunState | None:
        """Wait for the end of the run, and give its last state; ``None`` if it is not held here any more.

        A checkpoint. Raises what keeps it from going on here.
        """
        if self._gone is None:
            self._gone = trio.Event()
        if self.engine.held.get(self.run_id) is self:
            await self._gone.wait()
        else:
            await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return self.last

    def lose(self, error: Exception) -> None:
        """It cannot go on here."""
        if self.runner is not None:
            self.runner.journal.failed(error)
        else:
            self.error = error
            self.gone()

    # --- Out of memory ------------------------------------------------------------------------------------------------

    def _on_header(self, status: RunStatus) -> None:
        """What lists show of the run was written."""
        is_idle = status is RunStatus.AWAITING_INPUT
        self.idle_since = trio.current_time() if is_idle else None
        self.engine.note_idle(self)

    @property
    def may_be_parked(self) -> bool:
        """Whether it is in memory, has only questions left, and nobody is using it."""
        runner = self.runner
        return (
            runner is not None
            and not self.users
            and runner.state.status is RunStatus.AWAITING_INPUT
            and not runner.is_observed
            and not runner.state.senders
        )

    async def park(self, *, is_released: bool, status: RunStatus | None = None) -> None:
        """Save the run and take it out of memory; a checkpoint."""
        runner = self.runner
        if runner is None or runner.state.outcome is not None:
            await trio.lowlevel.checkpoint()
            return
        snapshot = _saved(runner)
        runner.journal.park(attrs.evolve(snapshot, status=status or snapshot.status), is_released=is_released)
        self.runner = self.run = None
        try:
            await runner.wait_saved()
        except StoreError as error:  # the store has it as it was before
            logger.warning("run %s was not parked: %s", self.run_id, error)
        if is_released:
            self.gone()
        runner.leave()

    async def park_for_good(self) -> None:
        """Save the run: the engine closes; a checkpoint."""
        await self.park(is_released=True)

    def hold_dispatch(self) -> None:
        """Start nothing more: the engine closes."""
        runner = self.runner
        if runner is not None and runner.state.outcome is None:
            for each in (runner, *runner.live.values()):
                each.feed(DispatchHeld(each.clock()))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it runs that would not wait on."""
        return self.runner is None or _is_quiet(self.runner.state)


def _is_quiet(state: RunState) -> bool:
    children = state.children or {}
    return state.outcome is not None or all(
        call.waits > 0 or (call in children and _is_quiet(children[call])) for call in state.running
    )


def _saved(runner: DurableRunner) -> WorkflowSnapshot:
    """The run as it is, with its session refs if they can be saved."""
    try:
        return runner.snapshot()
    except WorkflowError as error:
        logger.warning("run %s: its session refs are not saved with it: %s", runner.run_id, error)
        return take(runner.definition, runner.state, runner.codec, runner.metadata, runner.clock())
