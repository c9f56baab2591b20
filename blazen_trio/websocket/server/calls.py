"""Runs for other servers, and the live objects that stay here with them.

A connection that is lost leaves the run of a call running, and so does a client that cancels its request: only an
``abort`` ends it.
"""

from collections.abc import Mapping
from typing import Final

import trio
from trio.lowlevel import checkpoint

from blazen_trio.core.errors import SessionRefNotFoundError
from blazen_trio.engine import EngineRun
from blazen_trio.engine.calls import begin_call, called_workflow, end_call
from blazen_trio.session_refs import RegistryKey, SessionRefRegistry
from blazen_trio.websocket.protocol import Request, messages
from blazen_trio.websocket.protocol.views import RefDataView, RefView, ResultView
from blazen_trio.websocket.server.interfaces import ServerLike
from blazen_trio.websocket.server.shown import result_view
from blazen_trio.websocket.server.targets import Target, ref_key
from blazen_trio.websocket.server.verbs import Verb, read_metadata, read_start


async def begin(server: ServerLike, request: messages.Call) -> EngineRun:
    """The run of a call: a new one, or that of before; a checkpoint.

    Raises:
        EventDecodeError, ProtocolError: what the caller sent cannot begin one.
        PeerError: there is no such workflow, or the id is that of another call, or of a run that was none.
        UnknownStepError, WorkflowValidationError: none can be made of these steps.
    """
    workflow = called_workflow(server.engine, request.workflow, request.steps, server.registry)
    event, metadata = read_start(workflow, request.event), read_metadata(workflow, request.metadata)
    return await begin_call(server.engine, workflow.name, event, request.call_id, metadata)


async def end(server: ServerLike, run: EngineRun) -> ResultView:
    """Wait for the end of a call's run; a checkpoint. Raises what the run ends with."""
    result = await end_call(server.engine, run)
    view = result_view(run, result)
    view.refs = [_ref_view(key, result.session_refs) for key in result.session_refs.keys()]  # noqa: SIM118 - no dict
    return view


def _ref_view(key: RegistryKey, refs: SessionRefRegistry) -> RefView:
    descriptor, lifetime = refs.get_remote(key), refs.lifetime_of(key)
    assert descriptor is not None
    assert lifetime is not None
    return RefView(
        str(key), descriptor.origin_node_id, descriptor.type_tag, descriptor.created_at_epoch_ms, lifetime.value
    )


async def deref_session_ref(server: ServerLike, target: Target, request: messages.DerefSessionRef) -> RefDataView:
    """The bytes of a live object; a checkpoint. Raises ``SessionRefNotFoundError``."""
    await checkpoint()
    key = _key_of(server, target, request.key)
    if key is None:
        raise SessionRefNotFoundError(request.key)
    data = server.engine.kept_refs.deref(key)
    return RefDataView(data.type_tag, data.data)


async def release_session_ref(server: ServerLike, target: Target, request: messages.ReleaseSessionRef) -> bool:
    """Forget a live object; whether it was here; a checkpoint."""
    await checkpoint()
    key = _key_of(server, target, request.key)
    return key is not None and server.engine.kept_refs.release(key)


def _key_of(server: ServerLike, target: Target, text: str) -> RegistryKey | None:
    """The key of an object that is still here, and of the run that was asked about."""
    key = None if target.is_absent else ref_key(text)
    return None if key is None or server.engine.kept_refs.run_of(key) != target.run_id else key


CALLS: Final[Mapping[type[Request], Verb]] = {
    messages.DerefSessionRef: deref_session_ref,
    messages.ReleaseSessionRef: release_session_ref,
}
"""What is asked of live objects; a ``Call`` has two halves, and so the session's own way."""


class Beginnings:
    """Calls whose run is not durable yet: what is asked of that run, right behind the call, waits until it is."""

    def __init__(self) -> None:
        self._begun: dict[int, tuple[str, trio.Event]] = {}

    def expect(self, request: messages.Call) -> None:
        """A call came."""
        self._begun[request.id] = request.call_id, trio.Event()

    def note(self, request_id: int) -> None:
        """Its run has begun, or never will; of other requests this is nothing."""
        if request_id in self._begun:
            self._begun.pop(request_id)[1].set()

    async def wait(self, run_id: str) -> None:
        """Wait for the calls with this id; a checkpoint if there are any."""
        for call_id, begun in list(self._begun.values()):
            if call_id == run_id:
                await begun.wait()
