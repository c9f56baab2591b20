"""``RemoteEngine``: the verbs of ``Engine``, each a request to a server."""

from collections.abc import Mapping
from typing import Any, cast

from blazen_trio.abc import is_id
from blazen_trio.codec import codec_of
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.description import WorkflowDescription
from blazen_trio.core.errors import EncodeError, RunExistsError
from blazen_trio.core.events import Event
from blazen_trio.core.status import RunStatus
from blazen_trio.engine import RunInfo
from blazen_trio.engine.infos import checked_limit
from blazen_trio.metadata import checked_metadata
from blazen_trio.peers import SessionRefData
from blazen_trio.run import WorkflowResult, result_of
from blazen_trio.session_refs import RegistryKey
from blazen_trio.sub_workflow import start_event
from blazen_trio.websocket.client import checks, controls
from blazen_trio.websocket.client.answers import (
    flag_in,
    infos_in,
    object_in,
    ref_data_in,
    refs_in,
    result_in,
    workflows_in,
)
from blazen_trio.websocket.client.client import Client
from blazen_trio.websocket.client.ledger import TooBigError
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.client.run import RemoteRun
from blazen_trio.websocket.protocol.fields import PAGE_MAX, EventData
from blazen_trio.websocket.protocol.messages import (
    Call,
    Delete,
    DerefSessionRef,
    ReleaseSessionRef,
    Runs,
    Start,
    Statistics,
    Workflows,
)


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
    """

    def __init__(self, client: Client) -> None:
        self.url: str = client.url
        self._client = client

    @property
    def name(self) -> str:
        """What errors call the server: its URL."""
        return self.url

    @property
    def node_id(self) -> str:
        """Which server it is: another one each time one is opened."""
        return self._client.link.node_id

    @property
    def protocol_version(self) -> str:
        """What is spoken with the server: of the versions that this library knows, the one that it chose."""
        return self._client.link.version

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
        client, name, given = self._client, checks.workflow_name(name), checked_metadata(metadata)
        request = Start(
            id=client.link.new_id(),
            workflow=name,
            event=client.knowledge.write(start_event(input), name),
            run_id=checks.new_or_given(run_id),
            metadata={
                checks.metadata_key(key): client.plain(each, f"metadata[{key!r}]", name) for key, each in given.items()
            },
            require=checks.labels(require),
        )
        asked = Asked(request, is_repeatable=run_id is None)
        try:
            return RemoteRun(client, client.note(await client.link.answer(asked)))
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
        seen = await self._client.look(checks.known(run_id))
        await self._client.look_back(seen)
        return RemoteRun(self._client, seen)

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
            answer = await self._client.ask(Runs, status=wanted, workflow=workflow, limit=size, after=last)
            page = infos_in(answer)
            found += page
            if len(page) < size:
                break
        return found

    async def delete(self, run_id: str) -> None:
        """Forget a run with all that is of it; abort it first if it is not over. See ``Engine.delete``."""
        await self._client.ask(Delete, run_id=checks.known(run_id))

    # --- Controls -----------------------------------------------------------------------------------------------------

    async def respond_to_input(self, run_id: str, request_id: str, response: object) -> None:
        """Answer a question of a run; raises as ``WorkflowRun.respond_to_input`` does.

        A ``PeerError`` may leave it open whether the answer was taken: the run has ended, and a connection was lost.
        """
        await controls.respond_to_input(self._client, run_id, request_id, response, None)

    async def send_event(self, run_id: str, event: Event) -> None:
        """Put an event into a run, of a class marked ``external=True``; raises as ``WorkflowRun.send_event`` does."""
        await controls.send_event(self._client, run_id, event, None)

    async def pause(self, run_id: str, *, interrupt: bool = False) -> None:
        """Stop dispatching a run, and wait until no call of it runs; it stays paused until ``resume``."""
        await controls.pause(self._client, run_id, interrupt=interrupt)

    async def resume(self, run_id: str) -> None:
        """Go on with a run that was paused, or that stopped because its store failed."""
        await controls.resume(self._client, run_id)

    async def abort(self, run_id: str, reason: str | None = None) -> None:
        """End a run now; harmless after its end."""
        await controls.abort(self._client, run_id, reason)

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
            id=self._client.link.new_id(),
            call_id=call_id,
            workflow=workflow.name,
            steps=[each.name for each in workflow.steps],
            event=EventData(plain["event_type"], plain["data"]),
            metadata={key: codec.to_plain(value, f"metadata[{key!r}]") for key, value in (metadata or {}).items()},
        )
        try:
            view = result_in(await self._client.link.ask(request))
        except TooBigError as error:
            raise EncodeError(type(event).__name__, "the call with its event and metadata", error.problem) from error
        end = codec.event_from_plain(view.event.plain())
        usage = view.run.usage.usage()
        return WorkflowResult(call_id, end, result_of(end), usage, view.run.cost(), refs_in(view.refs))

    async def deref_session_ref(self, key: RegistryKey) -> SessionRefData:
        """The bytes of a live object that stayed there: see ``Peer.deref_session_ref``."""
        return ref_data_in(await self._client.ask(DerefSessionRef, key=str(key)))

    async def release_session_ref(self, key: RegistryKey) -> bool:
        """Let go of a live object there; whether it was there."""
        return flag_in(await self._client.ask(ReleaseSessionRef, key=str(key)))

    # --- The server ---------------------------------------------------------------------------------------------------

    async def workflows(self) -> list[WorkflowDescription]:
        """The workflows that runs can be started of, as graphs."""
        return workflows_in(await self._client.ask(Workflows))

    async def server_statistics(self) -> dict[str, Any]:
        """Counters of the ``engine``, those of ``Engine.statistics``, and of the ``server``."""
        return object_in(await self._client.ask(Statistics))

    def statistics(self) -> dict[str, Any]:
        """This client's own counters: connections, messages, bytes, what is under way."""
        return self._client.link.statistics()

    def __repr__(self) -> str:
        return f"<RemoteEngine {self.url}>"
