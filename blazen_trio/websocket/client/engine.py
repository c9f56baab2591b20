"""``RemoteEngine``: the verbs of ``Engine``, each a request to a server."""

from collections.abc import Mapping
from typing import Any, Final, cast
from weakref import WeakValueDictionary

from blazen_trio.abc import is_id
from blazen_trio.codec import codec_of
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.description import WorkflowDescription
from blazen_trio.core.errors import (
    EncodeError,
    PeerError,
    RunClosedError,
    RunExistsError,
    RunNotFoundError,
    UnknownInputRequestError,
)
from blazen_trio.core.events import Event, require_event
from blazen_trio.core.status import RunStatus
from blazen_trio.engine import RunInfo
from blazen_trio.engine.infos import checked_limit
from blazen_trio.metadata import checked_metadata
from blazen_trio.peers import SessionRefData
from blazen_trio.run import WorkflowResult, result_of
from blazen_trio.session_refs import RegistryKey
from blazen_trio.sub_workflow import start_event
from blazen_trio.websocket.client import checks
from blazen_trio.websocket.client.answers import (
    Seen,
    flag_in,
    infos_in,
    look_in,
    object_in,
    questions_in,
    ref_data_in,
    refs_in,
    result_in,
    run_in,
    workflows_in,
)
from blazen_trio.websocket.client.knowledge import Knowledge
from blazen_trio.websocket.client.ledger import TooBigError
from blazen_trio.websocket.client.link import Link
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.client.run import RemoteRun
from blazen_trio.websocket.protocol.fields import PAGE_MAX, EventData
from blazen_trio.websocket.protocol.messages import (
    Abort,
    Call,
    Delete,
    DerefSessionRef,
    Get,
    Pause,
    ReleaseSessionRef,
    RespondToInput,
    Resume,
    Runs,
    SendEvent,
    Start,
    Statistics,
    Workflows,
)
from blazen_trio.websocket.protocol.views import RunView

ENDED_SINCE: Final = "the run has ended since the connection was lost; it is not known whether this answer was taken"


class RemoteEngine:
    """The engine of a server, from afar: the same methods and errors as ``Engine``. Made by ``open_websocket_client``.

    ``statistics`` alone is another one: it tells what this client holds. What the engine there holds, with the keys of
    ``Engine.statistics``, is the ``"engine"`` of ``server_statistics``.

    All other methods are checkpoints and also raise

    * ``PeerError``: there was no connection for longer than the client's ``patience``; the connection was lost when
      nobody knows whether the request was done; or the client was closed;
    * ``ProtocolError``: the server said what no server of this library says, or refuses what was asked.

    Attributes:
        url: of the server.
        knowledge: the workflows that are known here.
        link: the connections.
        window: events of one subscription that wait here at most.
    """

    def __init__(self, url: str, link: Link, knowledge: Knowledge, window: int) -> None:
        self.url: str = url
        self.link: Link = link
        self.knowledge: Knowledge = knowledge
        self.window: int = window
        self._seen: WeakValueDictionary[str, Seen] = WeakValueDictionary()

    @property
    def name(self) -> str:
        """What errors call the server: its URL."""
        return self.url

    @property
    def node_id(self) -> str:
        """Which server it is: another one each time one is opened."""
        return self.link.node_id

    @property
    def protocol_version(self) -> str:
        """What is spoken with the server: of the versions that this library knows, the one that it chose."""
        return self.link.version

    # --- Runs ---------------------------------------------------------------------------------------------------------

    async def start(
        self,
        name: str,
        input: object = None,
        run_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        require: Mapping[str, str] | None = None,
    ) -> RemoteRun:
        """Start a run of the workflow of this name; it is in the store when this returns. See ``Engine.start``.

        Without a ``run_id`` a lost connection does no harm: the run is started once. With one of yours, a
        ``PeerError`` may leave it open whether it was; ``get`` tells.
        """
        name, given = checks.workflow_name(name), checked_metadata(metadata)
        request = Start(
            id=self.link.new_id(),
            workflow=name,
            event=self.knowledge.write(start_event(input), name),
            run_id=checks.new_or_given(run_id),
            metadata={
                checks.metadata_key(key): self._plain(value, f"metadata[{key!r}]", name) for key, value in given.items()
            },
            require=checks.labels(require),
        )
        asked = Asked(request, is_repeatable=run_id is None)
        try:
            return RemoteRun(self, self.note(await self.link.answer(asked)))
        except RunExistsError:
            if run_id is not None or asked.times_sent == 1:
                raise
        return await self.get(cast("str", request.run_id))  # nobody else has that id: the first one arrived

    async def get(self, run_id: str) -> RemoteRun:
        """A run by its id.

        Raises:
            RunNotFoundError: there is none.
            ValueError: its workflow is not one of that engine's.
        """
        value = await self.link.ask(Get(id=self.link.new_id(), run_id=checks.known(run_id)))
        run = RemoteRun(self, self.note(value))
        await run.look_back()
        return run

    async def runs(
        self,
        *,
        status: RunStatus | str | None = None,
        workflow: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[RunInfo]:
        """A page of the runs in the store, newest first; see ``Engine.runs``. A long one is asked for in pieces."""
        wanted = None if status is None else RunStatus(status)
        after = None if after is None else checks.known(after)
        limit = checked_limit(limit)
        if workflow is not None and not is_id(workflow):
            limit = 0  # no engine has one of that name
        found: list[RunInfo] = []
        while len(found) < limit:
            size = min(limit - len(found), PAGE_MAX)
            last = found[-1].run_id if found else after
            page = await self._page(
                Runs(id=self.link.new_id(), status=wanted, workflow=workflow, limit=size, after=last)
            )
            found += page
            if len(page) < size:
                break
        return found

    async def _page(self, request: Runs) -> list[RunInfo]:
        return infos_in(await self.link.ask(request))

    async def delete(self, run_id: str) -> None:
        """Forget a run with all that is of it; abort it first if it is not over. See ``Engine.delete``."""
        await self.link.ask(Delete(id=self.link.new_id(), run_id=checks.known(run_id)))

    # --- Controls -----------------------------------------------------------------------------------------------------

    async def respond_to_input(self, run_id: str, request_id: str, response: object) -> None:
        """Answer a question of a run; raises as ``WorkflowRun.respond_to_input`` does.

        A ``PeerError`` may leave it open whether the answer was taken: the run has ended, and a connection was lost.
        """
        await self.respond(run_id, request_id, response, None)

    async def respond(self, run_id: str, request_id: str, response: object, workflow_name: str | None) -> None:
        """Answer a question of a run of that workflow."""
        if not isinstance(request_id, str) or not checks.is_writable(request_id):
            raise UnknownInputRequestError(request_id, run_id)
        plain = self._plain(response, "the answer", self._name_of(run_id, workflow_name))
        request = RespondToInput(
            id=self.link.new_id(), run_id=checks.known(run_id), request_id=request_id, response=plain
        )
        asked = Asked(request, is_repeatable=True)
        try:
            self._note_look(await self.link.answer(asked))
        except (RunClosedError, RunNotFoundError):
            if asked.times_sent == 1:
                raise
            raise PeerError(self.url, ENDED_SINCE, run_id) from None

    async def send_event(self, run_id: str, event: Event) -> None:
        """Put an event into a run, of a class marked ``external=True``; raises as ``WorkflowRun.send_event`` does."""
        await self.send(run_id, event, None)

    async def send(self, run_id: str, event: Event, workflow_name: str | None) -> None:
        """Put an event into a run of that workflow."""
        require_event(event, "send_event")
        data = self.knowledge.write(event, self._name_of(run_id, workflow_name))
        self._note_look(await self.link.ask(SendEvent(id=self.link.new_id(), run_id=checks.known(run_id), event=data)))

    async def pause(self, run_id: str, *, interrupt: bool = False) -> None:
        """Stop dispatching a run, and wait until no call of it runs; it stays paused until ``resume``."""
        self._note_look(
            await self.link.ask(Pause(id=self.link.new_id(), run_id=checks.known(run_id), interrupt=interrupt))
        )

    async def resume(self, run_id: str) -> None:
        """Go on with a run that was paused, or that stopped because its store failed."""
        self._note_look(await self.link.ask(Resume(id=self.link.new_id(), run_id=checks.known(run_id))))

    async def abort(self, run_id: str, reason: str | None = None) -> None:
        """End a run now; harmless after its end."""
        self._note_look(
            await self.link.ask(Abort(id=self.link.new_id(), run_id=checks.known(run_id), reason=checks.shown(reason)))
        )

    # --- As a peer ----------------------------------------------------------------------------------------------------

    async def call(
        self,
        workflow: WorkflowDefinition,
        event: Event,
        *,
        call_id: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> WorkflowResult:
        """Run a workflow there, to its end: see ``Peer.call``; made by ``workflow.run_remote`` and remote steps."""
        codec = codec_of(workflow)
        plain: dict[str, Any] = codec.event_to_plain(event)
        request = Call(
            id=self.link.new_id(),
            call_id=call_id,
            workflow=workflow.name,
            steps=[each.name for each in workflow.steps],
            event=EventData(plain["event_type"], plain["data"]),
            metadata={key: codec.to_plain(value, f"metadata[{key!r}]") for key, value in (metadata or {}).items()},
        )
        try:
            view = result_in(await self.link.ask(request))
        except TooBigError as error:
            raise EncodeError(type(event).__name__, "the call with its event and metadata", error.problem) from error
        end = codec.event_from_plain(view.event.plain())
        usage = view.run.usage.usage()
        return WorkflowResult(call_id, end, result_of(end), usage, view.run.cost(), refs_in(view.refs))

    async def deref_session_ref(self, key: RegistryKey) -> SessionRefData:
        """The bytes of a live object that stayed there: see ``Peer.deref_session_ref``."""
        return ref_data_in(await self.link.ask(DerefSessionRef(id=self.link.new_id(), key=str(key))))

    async def release_session_ref(self, key: RegistryKey) -> bool:
        """Let go of a live object there; whether it was there."""
        return flag_in(await self.link.ask(ReleaseSessionRef(id=self.link.new_id(), key=str(key))))

    # --- The server ---------------------------------------------------------------------------------------------------

    async def workflows(self) -> list[WorkflowDescription]:
        """The workflows that runs can be started of, as graphs."""
        return workflows_in(await self.link.ask(Workflows(id=self.link.new_id())))

    async def server_statistics(self) -> dict[str, Any]:
        """Counters of the ``engine``, those of ``Engine.statistics``, and of the ``server``."""
        return object_in(await self.link.ask(Statistics(id=self.link.new_id())))

    def statistics(self) -> dict[str, Any]:
        """This client's own counters: connections, messages, bytes, what is under way."""
        return self.link.statistics()

    # --- What was heard -----------------------------------------------------------------------------------------------

    def note(self, value: object) -> Seen:
        """An answer says how a run is; raises ``ProtocolError`` if it does not."""
        return self.note_view(run_in(value))

    def _note_look(self, value: object) -> None:
        view = look_in(value)
        if view is not None:
            self.note_view(view)

    def note_view(self, view: RunView) -> Seen:
        """A run is so now."""
        questions = questions_in(view.questions)
        seen = self._seen.get(view.run_id)
        if seen is None:
            seen = self._seen[view.run_id] = Seen(view, questions)
        seen.view, seen.questions = view, questions
        return seen

    def _name_of(self, run_id: str, workflow_name: str | None) -> str | None:
        seen = self._seen.get(run_id)
        return workflow_name if seen is None else seen.view.workflow

    def _plain(self, value: object, where: str, workflow_name: str | None) -> Any:
        return self.knowledge.codec(workflow_name or "").to_plain(value, where)

    def __repr__(self) -> str:
        return f"<RemoteEngine {self.url}>"
