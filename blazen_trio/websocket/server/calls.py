"""Runs for other servers, and the live objects that stay here with them.

A connection that is lost leaves the run of a call running, and so does a client that cancels its request: only an
``abort`` ends it.
"""

from collections.abc import Mapping
from typing import Final

from trio.lowlevel import checkpoint

from blazen_trio.core.errors import SessionRefNotFoundError
from blazen_trio.engine import EngineRun
from blazen_trio.engine.calls import begin_call, called_workflow, end_call
from blazen_trio.session_refs import RegistryKey, SessionRefRegistry
from blazen_trio.websocket.protocol import Request, messages
from blazen_trio.websocket.protocol.views import RefDataView, RefView, ResultView
from blazen_trio.websocket.server.authorizing import Caller
from blazen_trio.websocket.server.interfaces import ServerLike
from blazen_trio.websocket.server.shown import result_view
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


async def deref_session_ref(server: ServerLike, _caller: Caller, request: messages.DerefSessionRef) -> RefDataView:
    """The bytes of a live object. Raises ``SessionRefNotFoundError``."""
    await checkpoint()
    data = server.engine.kept_refs.deref(_key(request.key))
    return RefDataView(data.type_tag, data.data)


async def release_session_ref(server: ServerLike, _caller: Caller, request: messages.ReleaseSessionRef) -> bool:
    """Forget a live object; whether it was here."""
    await checkpoint()
    return server.engine.kept_refs.release(_key(request.key))


def _key(text: str) -> RegistryKey:
    try:
        return RegistryKey.from_text(text)
    except ValueError:
        raise SessionRefNotFoundError(text) from None


CALLS: Final[Mapping[type[Request], Verb]] = {
    messages.DerefSessionRef: deref_session_ref,
    messages.ReleaseSessionRef: release_session_ref,
}
"""What is asked of live objects; a ``Call`` has two halves, and so the session's own way."""
