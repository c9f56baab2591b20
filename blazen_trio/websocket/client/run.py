"""``RemoteRun``: one run of an engine that is somewhere else. The methods are those of ``EngineRun``."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from blazen_trio.codec import to_json
from blazen_trio.core.errors import RUN_ENDS, PeerError, ProtocolError, RunNotFoundError
from blazen_trio.core.events import Event, InputRequestEvent, ProgressEvent
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.engine import RunInfo
from blazen_trio.run import WorkflowResult, result_of
from blazen_trio.session_refs import SessionRefRegistry
from blazen_trio.snapshot import WorkflowSnapshot
from blazen_trio.stream import EventTypes, checked_position, checked_types
from blazen_trio.websocket.client.answers import Seen, history_in, info_in, result_in
from blazen_trio.websocket.client.feeds import Feed
from blazen_trio.websocket.client.subscription import Reading, RemoteSubscription
from blazen_trio.websocket.protocol.messages import Get, History, Info, Result, Snapshot
from blazen_trio.workflow import Workflow

if TYPE_CHECKING:
    from blazen_trio.websocket.client.engine import RemoteEngine


class RemoteRun:
    """One run, from afar. Any number of tasks may use it, and any number of handles may be of one run.

    The properties tell what was heard last: each answer about the run says how it is, and the server tells by itself
    what changes while the client reads the run's stream. ``refresh`` asks now.
    """

    __slots__ = ("_engine", "_seen", "run_id")

    def __init__(self, engine: "RemoteEngine", seen: Seen) -> None:
        self.run_id: str = seen.view.run_id
        self._engine = engine
        self._seen = seen

    # --- What it is ---------------------------------------------------------------------------------------------------

    @property
    def workflow_name(self) -> str:
        """The name of the workflow it is a run of."""
        return self._seen.view.workflow

    @property
    def workflow(self) -> Workflow:
        """The workflow it is a run of.

        Raises:
            ValueError: it is not among the ``workflows=`` of this client; ``workflow_name`` is always known.
        """
        return self._engine.knowledge.workflow(self.workflow_name)

    @property
    def status(self) -> RunStatus:
        """Where the run is."""
        return self._seen.view.status

    @property
    def pending_inputs(self) -> tuple[InputRequestEvent, ...]:
        """The open questions, oldest first; empty after the end."""
        return self._seen.questions

    @property
    def usage_total(self) -> TokenUsage:
        """Tokens used so far; what a call used is taken back if it fails."""
        return self._seen.view.usage.usage()

    @property
    def cost_total_usd(self) -> float:
        """Cost so far, in US dollars."""
        return self._seen.view.cost()

    @property
    def history(self) -> tuple[HistoryEvent, ...]:
        """What happened until the last ``get``, ``result`` or ``refresh``, oldest first; empty unless collected."""
        return self._seen.history

    @property
    def progress(self) -> ProgressEvent | None:
        """The last progress that a step reported."""
        progress = self._seen.view.progress
        return None if progress is None else progress.progress()

    @property
    def session_refs(self) -> SessionRefRegistry:
        """None: the run's live objects stay where it runs."""
        return SessionRefRegistry()

    def statistics(self) -> dict[str, Any]:
        """The status, and how many calls run now, in all and of each step."""
        running = self._seen.view.running
        return {"status": self.status.value, "running": sum(running.values()), "running_steps": dict(running)}

    async def info(self) -> RunInfo:
        """What the store says of it; a checkpoint. Raises ``RunNotFoundError`` if it was deleted."""
        return info_in(await self._engine.link.ask(Info(id=self._engine.link.new_id(), run_id=self.run_id)))

    async def refresh(self) -> None:
        """Look at the run again, its history included; a checkpoint."""
        link = self._engine.link
        self._engine.note(await link.ask(Get(id=link.new_id(), run_id=self.run_id)))
        await self._ask_history()

    async def _ask_history(self) -> None:
        """Learn the entries of the history that are not known yet, if there are any."""
        known = self._seen.history
        if self._seen.view.history != (known[-1].sequence if known else 0):
            link = self._engine.link
            self._seen.history = history_in(await link.ask(History(id=link.new_id(), run_id=self.run_id)))

    async def look_back(self) -> None:
        """The same, but where something else was asked for: without the history if that cannot be had."""
        with suppress(PeerError, ProtocolError, RunNotFoundError):
            await self._ask_history()

    # --- The end ------------------------------------------------------------------------------------------------------

    async def result(self) -> WorkflowResult:
        """Wait for the end of the run and give its result; a checkpoint. Any number of tasks may wait.

        Raises:
            EventDecodeError: it is of a class that this client does not know; see ``workflows=``.
            WorkflowError: the error that ended the run; each waiter gets its own copy.
        """
        link = self._engine.link
        try:
            view = result_in(await link.ask(Result(id=link.new_id(), run_id=self.run_id)))
        except RUN_ENDS:
            await self.look_back()  # noqa: ASYNC120 - who is cancelled does not wait for the error, either
            raise
        self._engine.note_view(view.run)
        await self.look_back()
        event = self._engine.knowledge.read_result(view.event, view.run.workflow)
        return WorkflowResult(self.run_id, event, result_of(event), view.run.usage.usage(), view.run.cost())

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
        """Put an event into the run's queue; a checkpoint. Its class must be marked ``external=True``."""
        await self._engine.send(self.run_id, event, self.workflow_name)

    async def respond_to_input(self, request_id: str, response: object) -> None:
        """Answer a question; a checkpoint. See ``WorkflowRun.respond_to_input``."""
        await self._engine.respond(self.run_id, request_id, response, self.workflow_name)

    async def snapshot(self) -> WorkflowSnapshot:
        """The whole condition of the run at one instant; a checkpoint. See ``WorkflowRun.snapshot``."""
        link = self._engine.link
        plain = await link.ask(Snapshot(id=link.new_id(), run_id=self.run_id))
        return WorkflowSnapshot.from_json(to_json(plain))

    def stream_events(
        self, after: int = 0, types: EventTypes | None = None, *, lossless: bool = False
    ) -> RemoteSubscription:
        """Subscribe to what the run publishes; a receive channel to be used with ``async with``.

        It subscribes as soon as there is a connection; what the server says to that is raised by ``receive``.

        Args:
            after: begin behind the event with this number; what is no longer kept is told as a ``StreamGap``.
            types: an event class, or several: only these (and gaps) are delivered.
            lossless: not possible from afar.

        Raises:
            PeerError: there will be no connection any more.
            ValueError: ``lossless``, or ``after`` is negative.
        """
        if lossless:
            raise ValueError("lossless=True holds a run for its reader, and a reader from afar never holds a run")
        engine, checked = self._engine, checked_types(types)
        feed = Feed(
            engine.link.new_id(),
            self.run_id,
            engine.knowledge.type_names(checked, self.workflow_name),
            engine.window,
            checked_position(after),
            engine.link.desk.note_moved,
        )
        engine.link.desk.open(feed)
        return RemoteSubscription(engine.link.desk, feed, checked, Reading(engine.knowledge, self.workflow_name))

    def __repr__(self) -> str:
        return f"<RemoteRun {self.run_id} of {self.workflow_name!r}, {self.status.value}>"
