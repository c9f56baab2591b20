"""``EngineRun``: one run of an engine, wherever it is now. The methods are those of ``WorkflowRun``."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from blazen_trio.abc import NUMBER_MAX
from blazen_trio.core.events import Event, InputRequestEvent, ProgressEvent
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.engine.infos import RunInfo, Seen, info_of, require_same, result_in, state_of, told
from blazen_trio.engine.subscription import POLL_S, EngineSubscription
from blazen_trio.run import WorkflowResult
from blazen_trio.session_refs import SessionRefRegistry
from blazen_trio.snapshot import WorkflowSnapshot
from blazen_trio.stream import EventTypes
from blazen_trio.workflow import Workflow

if TYPE_CHECKING:
    from blazen_trio.engine.engine import Engine
    from blazen_trio.engine.holding import HeldRun


class EngineRun:
    """One run of an engine. Any number of tasks may use it, and any number of handles may be of one run.

    The properties tell what this engine knows: of a run in memory all, of another what was so when it was looked at
    last, by ``Engine.get`` or ``refresh``. What they tell is of the run that it was made of, never of another one that
    has its id since that was deleted.

    Attributes:
        run_id: its id.
        created: when it was, in seconds since the epoch.
    """

    __slots__ = ("_engine", "_last_seen", "_workflow", "created", "run_id")

    def __init__(self, engine: "Engine", workflow: Workflow, run_id: str, seen: Seen, created: float) -> None:
        self.run_id: str = run_id
        self.created: float = created
        self._engine = engine
        self._workflow = workflow
        self._last_seen = seen

    # --- What it is ---------------------------------------------------------------------------------------------------

    @property
    def workflow(self) -> Workflow:
        """The workflow it is a run of."""
        return self._workflow

    @property
    def _held(self) -> "HeldRun | None":
        """The run, if this engine holds it."""
        held = self._engine.held.get(self.run_id)
        return held if held is not None and held.created == self.created else None

    @property
    def _seen(self) -> Seen:
        held = self._held
        if held is not None and held.seen.status is not None:
            self._last_seen = held.seen
        return self._last_seen

    @property
    def status(self) -> RunStatus:
        """Where the run is: what is saved of that."""
        status = self._seen.status
        assert status is not None
        return status

    @property
    def pending_inputs(self) -> tuple[InputRequestEvent, ...]:
        """The open questions, oldest first, as far as they are saved; empty after the end."""
        return self._seen.questions

    @property
    def usage_total(self) -> TokenUsage:
        """Tokens used so far; what a call used is taken back if it fails."""
        seen = self._seen
        return seen.usage if seen.state is None else seen.state.usage_total()

    @property
    def cost_total_usd(self) -> float:
        """Cost so far, in US dollars."""
        seen = self._seen
        return seen.cost_usd if seen.state is None else seen.state.cost_total_usd()

    @property
    def history(self) -> tuple[HistoryEvent, ...]:
        """What happened, oldest first; empty unless the workflow has ``collect_history=True``, and while parked."""
        state = self._seen.state
        return () if state is None else tuple(state.history or ())

    @property
    def progress(self) -> ProgressEvent | None:
        """The last progress that a step reported; not known while the run is parked."""
        state = self._seen.state
        return None if state is None else state.progress

    @property
    def session_refs(self) -> SessionRefRegistry:
        """The run's live objects; none while it is not in memory."""
        held = self._held
        return SessionRefRegistry() if held is None or held.runner is None else held.runner.session_refs

    def statistics(self) -> dict[str, Any]:
        """What the run holds now; of one that is not in memory only its status."""
        held = self._held
        if held is None or held.runner is None:
            return {"status": self.status.value}
        return held.runner.statistics()

    def running_steps(self) -> dict[str, int]:
        """How many calls of each step run now; none while the run is not in memory here."""
        held = self._held
        if held is None or held.runner is None:
            return {}
        return dict(Counter(call.step_name for call in held.runner.state.running))

    async def last_seq(self) -> int:
        """The number of the last event that it published, as far as that is saved; a checkpoint.

        Raises:
            RunNotFoundError: it was deleted.
        """
        return (await self._engine.store.read_stream(self.run_id, after=NUMBER_MAX, limit=1)).last

    @property
    def is_held(self) -> bool:
        """Whether this engine holds it: what is known of it here is what is so."""
        return self._held is not None

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Have ``tell`` called whenever its status or its questions may be others here; gives what ends that.

        ``tell`` must neither wait nor raise.
        """
        return self._engine.watch(self.run_id, tell)

    async def info(self) -> RunInfo:
        """What the store says of it; a checkpoint.

        Raises:
            RunNotFoundError: it was deleted.
        """
        return info_of(require_same(await self._engine.store.info(self.run_id), self.created))

    async def refresh(self) -> None:
        """Look at the run again, wherever it is; a checkpoint."""
        stored = require_same(await self._engine.store.read(self.run_id), self.created)
        self._last_seen = Seen.of(state_of(self._workflow, stored))

    # --- The end ------------------------------------------------------------------------------------------------------

    async def result(self) -> WorkflowResult:
        """Wait for the end of the run and give its result; a checkpoint. Any number of tasks may wait.

        Raises:
            SnapshotError: the run does not fit its workflow as it is now.
            StoreError: what the run did could not be saved; or the engine was closed, and the run goes on later.
            WorkflowError: the error that ended the run; each waiter gets its own copy.
        """
        while True:
            held = self._held
            if held is not None:
                await held.wait_over()
                self._last_seen = held.seen
            if not self.status.is_end or self._last_seen.state is None:
                self._engine.check_open()  # its store may be closed by now
                await self._look_for_end()
            state = self._last_seen.state
            if self.status.is_end and state is not None:
                await trio.lowlevel.checkpoint()
                return result_in(state)
            self._engine.check_open()
            await trio.sleep(POLL_S)

    async def _look_for_end(self) -> None:
        record = require_same(await self._engine.store.info(self.run_id), self.created)
        if record.header.is_finished:
            await self.refresh()

    async def abort(self, reason: str | None = None) -> None:
        """End the run now; harmless after the end; a checkpoint."""
        await self._engine.abort(self.run_id, reason)

    # --- Controls -----------------------------------------------------------------------------------------------------

    async def pause(self, *, interrupt: bool = False) -> None:
        """Stop dispatching at once, and wait until no call runs; a checkpoint. See ``WorkflowRun.pause``."""
        await self._engine.pause(self.run_id, interrupt=interrupt)

    async def resume_in_place(self) -> None:
        """Go on after ``pause``; a checkpoint."""
        await self._engine.resume(self.run_id)

    async def send_event(self, event: Event) -> None:
        """Put an event into the run's queue; a checkpoint. See ``WorkflowRun.send_event``."""
        await self._engine.send_event(self.run_id, event)

    async def respond_to_input(self, request_id: str, response: object) -> None:
        """Answer a question; a checkpoint. See ``WorkflowRun.respond_to_input``."""
        await self._engine.respond_to_input(self.run_id, request_id, response)

    async def snapshot(self) -> WorkflowSnapshot:
        """The whole condition of the run at one instant; a checkpoint. See ``WorkflowRun.snapshot``."""
        held = self._held
        runner = None if held is None else held.runner
        if runner is None:
            return told(self._workflow, require_same(await self._engine.store.read(self.run_id), self.created))
        await trio.lowlevel.checkpoint()
        snapshot = runner.snapshot()
        await runner.wait_saved()  # nobody sees what a crash could undo
        return snapshot

    def stream_events(
        self, after: int = 0, types: EventTypes | None = None, *, lossless: bool = False
    ) -> EngineSubscription:
        """Subscribe to what the run publishes: what is stored, and then what comes. See ``WorkflowRun``.

        While somebody reads it a run of this engine stays in memory.
        """
        return EngineSubscription(self._engine, self, after, types, lossless=lossless)

    def __repr__(self) -> str:
        return f"<EngineRun {self.run_id} of {self._workflow.name!r}, {self.status.value}>"
