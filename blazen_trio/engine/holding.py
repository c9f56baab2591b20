"""A run that an engine holds: brought into memory, living there, parked again.

Rules of this file:

* ``HeldRun`` exists as long as the engine holds the run; its ``runner`` only while the run is in memory.
* Whoever uses a run in memory counts as a user (``enter``): it is not parked under anybody's hands.
* The run comes and goes under a lock: whoever comes while it is being parked finds it as it was parked.
* Parking decides in one synchronous step: snapshot, then nothing counts any more. So nothing falls between.
* A run whose store failed, or that does not fit its workflow, is *stopped*: it stays held, so that nobody tries again
  and again, and its error is for all who wait for its end. Whoever asks something of it makes it try once more.
"""

import copy
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from blazen_trio.block import RunBlock
from blazen_trio.core.errors import RunLockedError, StoreError, WorkflowError
from blazen_trio.core.events import InputRequestEvent
from blazen_trio.core.messages import DispatchHeld
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus
from blazen_trio.durable import DurableRunner, Journal
from blazen_trio.engine.infos import Seen, questions_of, told
from blazen_trio.groups import is_passing
from blazen_trio.journal import base_of
from blazen_trio.run import WorkflowRun
from blazen_trio.snapshot import WorkflowSnapshot, restore, take
from blazen_trio.workflow import Workflow

if TYPE_CHECKING:
    from blazen_trio.engine.engine import Engine

_IDLE: Final = frozenset({RunStatus.AWAITING_INPUT, RunStatus.PAUSED})
"""In these a run has nothing to do until somebody outside does something."""

logger: Final = logging.getLogger("blazen_trio")


class HeldRun:
    """One run that this engine holds.

    Attributes:
        run_id: its id.
        workflow: it is a run of this.
        fence: what the store gave with it.
        created: when, in seconds since the epoch.
        seen: what is known of it outside.
        runner: while it is in memory.
        run: its handle there.
        error: why it stopped here.
        idle_since: on Trio's clock, since when it has only questions left, or is paused.
        is_queued: it waits for its turn to come into memory.
        readers: are told when the run is in memory next: whoever reads from the beginning must not come too late.
        users: who uses it in memory now.
    """

    __slots__ = (
        "_gone",
        "_lock",
        "created",
        "engine",
        "error",
        "fence",
        "idle_since",
        "is_queued",
        "readers",
        "run",
        "run_id",
        "runner",
        "seen",
        "users",
        "workflow",
    )

    def __init__(self, engine: "Engine", workflow: Workflow, run_id: str, fence: int, created: float) -> None:
        self.engine: Engine = engine
        self.workflow: Workflow = workflow
        self.run_id: str = run_id
        self.fence: int = fence
        self.created: float = created
        self.seen: Seen = Seen()
        self.runner: DurableRunner | None = None
        self.run: WorkflowRun | None = None
        self.error: Exception | None = None
        self.idle_since: float | None = None
        self.is_queued: bool = False
        self.readers: list[Callable[[], None]] | None = None
        self.users: int = 0
        self._lock: trio.Lock | None = None
        self._gone: trio.Event | None = None

    # --- Into memory --------------------------------------------------------------------------------------------------

    async def bring(self, state: RunState | None, metadata: dict[str, Any]) -> None:
        """Bring the run into memory, where it goes on; ``state`` is that of one which was just created.

        It was counted as in memory before.
        """
        try:
            async with self._locked():
                self.is_queued = False
                if self.run is not None or not self.is_held or self.engine.is_closing:
                    return
                if state is None:
                    await self._load()
                else:
                    await self._begin(DurableRunner(self.workflow, state, metadata, self._journal(None)))
        except WorkflowError as error:
            if not self.engine.is_closing:
                logger.error("run %s cannot go on here: %s", self.run_id, error)  # noqa: TRY400 - what, not where
        finally:
            self.engine.in_memory -= 1
            self.engine.pump()

    async def enter(self) -> WorkflowRun | None:
        """The run's handle, with the run kept in memory until ``exit``; ``None`` if it is not held here any more.

        Raises:
            SnapshotError: the run does not fit its workflow as it is now.
            StoreError: it cannot be read.
        """
        self.users += 1
        try:
            async with self._locked():
                if self.run is None and self.is_held:
                    await self._load()
                run = self.run
        except BaseException:
            self.users -= 1
            raise
        self.users -= run is None
        return run

    def exit(self) -> None:
        """Whoever entered needs it no more."""
        self.users -= 1

    @property
    def is_held(self) -> bool:
        """Whether the engine holds it still."""
        return self.engine.held.get(self.run_id) is self

    @asynccontextmanager
    async def _locked(self) -> AsyncGenerator[None, None]:
        """One task at a time brings it into memory, or out of it. The lock lives while somebody uses it."""
        lock = self._lock = self._lock or trio.Lock()
        try:
            async with lock:
                yield
        finally:
            if self._lock is lock and not lock.locked():
                self._lock = None

    async def _load(self) -> None:
        try:
            await self._load_from_store()
        except WorkflowError as error:
            self.stop(error)
            raise

    async def _load_from_store(self) -> None:
        self.engine.check_open()
        stored = await self.engine.store.read(self.run_id)
        if stored.fence != self.fence:
            raise RunLockedError(self.run_id, None if stored.owner is None else stored.owner.engine_id)
        self.engine.made.check(stored)
        snapshot = told(self.workflow, stored)
        restored = restore(self.workflow, self.workflow.codec, snapshot, trio.current_time())
        if self.seen.is_frozen:
            self.engine.note_away(restored.state, -1)
        self.seen.status, self.seen.questions = snapshot.status, questions_of(restored.state)
        base = base_of(snapshot) if stored.entries else None
        journal = self._journal(base, base_bytes=len(stored.snapshot or b""))
        runner = DurableRunner(self.workflow, restored.state, restored.metadata, journal)
        if restored.refs is not None:
            runner.use_session_refs(restored.refs, is_owner=True)
        await self._begin(runner, is_paused=snapshot.status is RunStatus.PAUSED)

    def _journal(self, base: bytes | None, *, base_bytes: int = 0) -> Journal:
        journal = Journal(self.engine.committer, self.engine.durability, self.fence, base, base_bytes=base_bytes)
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
                self.runner, self.run, self.error, self.idle_since = runner, run, None, None
                self.seen.state = runner.state
                readers, self.readers = self.readers, None
                for tell in readers or ():
                    tell()
                task_status.started()
                await runner.wait_finished()
                self._over(runner)
        finally:
            self.engine.in_memory -= 1
            self._left(runner)

    def _over(self, runner: DurableRunner) -> None:
        """The run goes on here no more; calls of it may still clean up."""
        outcome, error = runner.state.outcome, runner.journal.error
        if outcome is not None and error is None:
            if outcome.event is not None:
                self.engine.note_refs(runner)
            self.engine.note_finished(runner.state)
            self.gone()
        if outcome is not None and outcome.error is not None and is_passing(outcome.error):
            raise outcome.error  # it ends the program

    def _left(self, runner: DurableRunner) -> None:
        """The run is out of memory."""
        if self.runner is runner:
            self.runner = self.run = None
        if runner.journal.error is not None:
            self.stop(runner.journal.error)
        self.engine.pump()

    # --- The end ------------------------------------------------------------------------------------------------------

    def gone(self) -> None:
        """The run is over, or is not held here any more: whoever waits for its end looks again."""
        self.engine.forget(self)
        self._tell()

    def _tell(self) -> None:
        gone, self._gone = self._gone, None
        if gone is not None:
            gone.set()

    async def wait_over(self) -> None:
        """Wait until the run is over, or is not held here any more; a checkpoint. Raises why it stopped here."""
        if self.error is None and self.is_held:
            if self._gone is None:  # an Event has no truth value
                self._gone = trio.Event()
            await self._gone.wait()
        else:
            await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise copy.copy(self.error)

    def lose(self, error: Exception) -> None:
        """It is not to go on here."""
        if self.runner is not None:
            self.runner.journal.failed(error)
        self.stop(error)

    def stop(self, error: Exception) -> None:
        """It cannot go on here; who has it if this engine has not is known by the store alone."""
        self.error = error
        self.engine.note_idle(self, is_idle=False)
        if isinstance(error, RunLockedError):
            self.gone()
        else:
            self._tell()

    # --- Out of memory ------------------------------------------------------------------------------------------------

    def _on_header(self, status: RunStatus, questions: tuple[InputRequestEvent, ...]) -> None:
        """What lists show of the run was written."""
        self.seen.status, self.seen.questions = status, questions
        self.engine.note_idle(self, is_idle=status in _IDLE)
        self.engine.tell_watchers(self.run_id)

    @property
    def may_be_parked(self) -> bool:
        """Whether it is in memory, has only questions left or is paused and quiet, and nobody is using it."""
        runner = self.runner
        return (
            runner is not None
            and not self.users
            and runner.state.status in _IDLE
            and _is_quiet(runner.state)
            and not runner.is_observed
            and not runner.state.senders
        )

    async def park_if_idle(self, *, is_released: bool) -> None:
        """Take the run out of memory if it still only waits; a checkpoint."""
        async with self._locked():
            if self.may_be_parked:
                await self._park(is_released=is_released)

    async def park_for_good(self) -> None:
        """Save the run: the engine closes; a checkpoint."""
        async with self._locked():
            runner = self.runner
            if runner is not None and runner.state.outcome is None and runner.journal.error is None:
                await self._park(is_released=True)

    async def _park(self, *, is_released: bool) -> None:
        """Save the run and take it out of memory; under the lock."""
        runner = self.runner
        assert runner is not None
        snapshot = _saved(runner)
        self.seen.freeze(runner.state)
        runner.journal.park(snapshot, is_released=is_released)
        self.runner = self.run = None
        self.engine.note_idle(self, is_idle=False)
        try:
            await runner.wait_saved()
        except StoreError as error:  # the store has it as it was before
            logger.warning("run %s was not parked: %s", self.run_id, error)
        else:
            if is_released:
                self.gone()
            else:
                self.engine.note_away(runner.state, 1)
        runner.leave()

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
        return take(runner.definition, runner.state, runner.codec, runner.saved_metadata, runner.clock())
