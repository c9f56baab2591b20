"""``RemoteRun``: one run of an engine that is somewhere else. The methods are those of ``EngineRun``."""

from typing import Any

from blazen_trio.codec import to_json
from blazen_trio.core.errors import RUN_ENDS
from blazen_trio.core.events import Event, InputRequestEvent, ProgressEvent
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.engine import RunInfo
from blazen_trio.run import WorkflowResult, result_of
from blazen_trio.session_refs import SessionRefRegistry
from blazen_trio.snapshot import WorkflowSnapshot
from blazen_trio.stream import EventTypes, checked_position, checked_types
from blazen_trio.websocket.client import controls
from blazen_trio.websocket.client.answers import Seen, info_in, result_in
from blazen_trio.websocket.client.client import Client
from blazen_trio.websocket.client.feeds import Feed
from blazen_trio.websocket.client.subscription import Reading, RemoteSubscription
from blazen_trio.websocket.protocol.messages import Info, Result, Snapshot
from blazen_trio.workflow import Workflow


class RemoteRun:
    """One run, from afar. Any number of tasks may use it, and any number of handles may be of one run.

    The properties tell what was heard last: each answer about the run says how it is, and the server tells by itself
    what changes while the client reads the run's stream. ``refresh`` asks now.
    """

    __slots__ = ("_client", "_created", "_seen", "run_id")

    def __init__(self, client: Client, seen: Seen) -> None:
        self.run_id: str = seen.view.run_id
        self._client = client
        self._created = seen.view.created
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
        return self._client.knowledge.workflow(self.workflow_name)

    @property
    def created(self) -> float:
        """When it was created, in seconds since the epoch."""
        return self._created

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
        return info_in(await self._client.ask(Info, run_id=self.run_id))

    async def refresh(self) -> None:
        """Look at the run again, its history included; a checkpoint."""
        await self._client.look(self.run_id)
        await self._client.learn_history(self._seen)

    # --- The end ------------------------------------------------------------------------------------------------------

    async def result(self) -> WorkflowResult:
        """Wait for the end of the run and give its result; a checkpoint. Any number of tasks may wait.

        Raises:
            EventDecodeError: it is of a class that this client does not know; see ``workflows=``.
            WorkflowError: the error that ended the run; each waiter gets its own copy.
        """
        client = self._client
        try:
            view = result_in(await client.ask(Result, run_id=self.run_id))
        except RUN_ENDS:
            await client.look_back(self._seen)  # noqa: ASYNC120 - who is cancelled does not wait for the error, either
            raise
        client.note_view(view.run)
        await client.look_back(self._seen)
        event = client.knowledge.read_result(view.event, view.run.workflow)
        return WorkflowResult(self.run_id, event, result_of(event), view.run.usage.usage(), view.run.cost())

    async def abort(self, reason: str | None = None) -> None:
        """End the run now; harmless after the end; a checkpoint."""
        await controls.abort(self._client, self.run_id, reason)

    # --- Controls -----------------------------------------------------------------------------------------------------

    async def pause(self, *, interrupt: bool = False) -> None:
        """Stop dispatching at once, and wait until no call runs; a checkpoint. See ``WorkflowRun.pause``."""
        await controls.pause(self._client, self.run_id, interrupt=interrupt)

    async def resume_in_place(self) -> None:
        """Go on after ``pause``; a checkpoint."""
        await controls.resume(self._client, self.run_id)

    async def send_event(self, event: Event) -> None:
        """Put an event into the run's queue; a checkpoint. Its class must be marked ``external=True``."""
        await controls.send_event(self._client, self.run_id, event, self.workflow_name)

    async def respond_to_input(self, request_id: str, response: object) -> None:
        """Answer a question; a checkpoint. See ``WorkflowRun.respond_to_input``."""
        await controls.respond_to_input(self._client, self.run_id, request_id, response, self.workflow_name)

    async def snapshot(self) -> WorkflowSnapshot:
        """The whole condition of the run at one instant; a checkpoint. See ``WorkflowRun.snapshot``."""
        plain = await self._client.ask(Snapshot, run_id=self.run_id)
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
        client, checked = self._client, checked_types(types)
        feed = Feed(
            client.link.new_id(),
            self.run_id,
            self.created or None,
            client.knowledge.type_names(checked, self.workflow_name),
            client.window,
            checked_position(after),
            client.link.desk.note_moved,
        )
        client.link.desk.open(feed)
        return RemoteSubscription(client.link.desk, feed, checked, Reading(client.knowledge, self.workflow_name))

    def __repr__(self) -> str:
        return f"<RemoteRun {self.run_id} of {self.workflow_name!r}, {self.status.value}>"
