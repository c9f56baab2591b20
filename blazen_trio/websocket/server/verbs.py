"""What clients ask for, a function each: from the request to the value of its answer.

Rules of this file:

* That it is allowed was asked before; only a list has to be looked through run by run.
* What clients send into a run is read by the codec of its workflow, and only what may come from outside.
* Errors of the engine are the client's answer as they are; ``ProtocolError`` says what the client did wrong.
* What may wait for long does so in the scope that it is given, which its client may cancel: all that it does is done
  before anything in there is waited for.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import msgspec
import trio
from trio.lowlevel import checkpoint

from blazen_trio.codec import Codec, DecodeError
from blazen_trio.core.errors import RUN_ENDS, ProtocolError, WorkflowError
from blazen_trio.core.events import Event, StartEvent, is_external
from blazen_trio.engine import RunInfo, info_of
from blazen_trio.engine.calls import abort_call
from blazen_trio.websocket.protocol import Request, messages
from blazen_trio.websocket.protocol.fields import EventData, PlainData
from blazen_trio.websocket.protocol.views import HistoryView, InfoView, ResultView, RunView, WorkflowView
from blazen_trio.websocket.server.authorizing import Caller
from blazen_trio.websocket.server.interfaces import ServerLike
from blazen_trio.websocket.server.shown import (
    event_class,
    history_view,
    info_view,
    read_event,
    result_view,
    run_view,
)
from blazen_trio.workflow import Workflow

RUNS_LOOKED_AT_MAX: Final = 10_000
"""Runs that one list looks at for those that its reader may see."""

Verb: TypeAlias = Callable[[ServerLike, Caller, Any], Awaitable[object]]

LongVerb: TypeAlias = Callable[[ServerLike, Any, trio.CancelScope], Awaitable[object]]
"""A verb whose waiting ends when the scope is cancelled; what it gives then is not used."""


@attrs.frozen
class Later:
    """An answer that may be big: ``make`` makes it, when it is its turn to be sent."""

    make: Callable[[], Awaitable[object]]


@attrs.frozen
class Failure:
    """An answer that is the error which ended a run, with the run as it is since."""

    error: WorkflowError
    run: RunView


# --- Runs -------------------------------------------------------------------------------------------------------------


async def start(server: ServerLike, _caller: Caller, request: messages.Start) -> RunView:
    """Start a run."""
    workflow = server.engine.workflow(request.workflow)
    event, metadata = read_start(workflow, request.event), read_metadata(workflow, request.metadata)
    run = await server.engine.start(workflow.name, event, request.run_id, metadata=metadata, require=request.require)
    return run_view(run)


def read_start(workflow: Workflow, sent: EventData) -> Event:
    """What a run shall begin with.

    Raises:
        EventDecodeError: it does not fit its class.
        ProtocolError: it may not come from outside, or the workflow has no such class.
    """
    cls = event_class(workflow, sent.event_type)
    if not issubclass(cls, StartEvent) and not is_external(cls):
        raise ProtocolError(f"{sent.event_type} starts no run from outside: it is neither a StartEvent nor external")
    return read_event(workflow, sent)


def read_metadata(workflow: Workflow, sent: Mapping[str, PlainData]) -> dict[str, Any]:
    """What steps shall find in ``ctx.metadata``. Raises ``ProtocolError`` if it cannot be read."""
    return {key: _value(workflow.codec, each, f"metadata[{key!r:.100}]") for key, each in sent.items()}


async def get(server: ServerLike, _caller: Caller, request: messages.Get) -> RunView:
    """Look at a run."""
    return await _view(server, request.run_id)


async def runs(server: ServerLike, caller: Caller, request: messages.Runs) -> list[InfoView]:
    """A page of runs: of those that may be seen; of very many that may not, an early end."""
    if request.after is not None:
        await caller.check_visible(request.after)
    shown, after, looked_at = list[RunInfo](), request.after, 0
    while len(shown) < request.limit and looked_at < RUNS_LOOKED_AT_MAX:
        page = await server.engine.runs(
            status=request.status, workflow=request.workflow, limit=request.limit, after=after
        )
        shown += [each for each in page if await caller.allows("get", each.run_id, each.workflow_name)]
        if caller.may_do_all or len(page) < request.limit:
            break
        looked_at += len(page)
        after = page[-1].run_id
    return list(map(info_view, shown[: request.limit]))


async def info(server: ServerLike, _caller: Caller, request: messages.Info) -> InfoView:
    """What the store says of a run."""
    return info_view(info_of(await server.engine.store.info(request.run_id)))


async def result(server: ServerLike, request: messages.Result, wait: trio.CancelScope) -> Later | Failure:
    """Wait for the end of a run."""
    with wait:
        run = await server.engine.get(request.run_id)
        try:
            await run.result()
        except RUN_ENDS as error:
            return Failure(error, run_view(run))
    return Later(partial(_result, server, request.run_id))


async def _result(server: ServerLike, run_id: str) -> ResultView:
    """The result of a run that is over: another handle, since each has its own copy."""
    run = await server.engine.get(run_id)
    return result_view(run, await run.result())


async def snapshot(server: ServerLike, _caller: Caller, request: messages.Snapshot) -> msgspec.Raw:
    """The whole condition of a run."""
    run = await server.engine.get(request.run_id)
    return msgspec.Raw((await run.snapshot()).to_json().encode())


async def history(server: ServerLike, _caller: Caller, request: messages.History) -> list[HistoryView]:
    """What happened in a run."""
    return history_view(await server.engine.get(request.run_id))


# --- Controls ---------------------------------------------------------------------------------------------------------


async def respond_to_input(server: ServerLike, _caller: Caller, request: messages.RespondToInput) -> RunView:
    """Answer a question."""
    workflow = await _workflow_of(server, request.run_id)
    response = _value(workflow.codec, request.response, "response")
    await server.engine.respond_to_input(request.run_id, request.request_id, response)
    return await _view(server, request.run_id)


async def send_event(server: ServerLike, _caller: Caller, request: messages.SendEvent) -> RunView:
    """Put an event into a run."""
    workflow = await _workflow_of(server, request.run_id)
    if not is_external(event_class(workflow, request.event.event_type)):
        raise ProtocolError(f"{request.event.event_type} may not be sent from outside: its class is not external=True")
    await server.engine.send_event(request.run_id, read_event(workflow, request.event))
    return await _view(server, request.run_id)


async def pause(server: ServerLike, request: messages.Pause, wait: trio.CancelScope) -> RunView:
    """Pause a run: it is stopped at once, whatever becomes of the waiting; of another engine that is only asked."""
    async with server.engine.using(request.run_id, "pause") as run:
        if run is None:
            await server.engine.pause(request.run_id, interrupt=request.interrupt)
        else:
            with wait:
                await run.pause(interrupt=request.interrupt)
    return await _view(server, request.run_id)


async def resume(server: ServerLike, _caller: Caller, request: messages.Resume) -> RunView:
    """Go on with a run that is paused."""
    await server.engine.resume(request.run_id)
    return await _view(server, request.run_id)


async def abort(server: ServerLike, _caller: Caller, request: messages.Abort) -> RunView:
    """End a run now; if it is that of a call which is still on its way, it never begins."""
    await abort_call(server.engine, request.run_id, request.reason)
    return await _view(server, request.run_id)


async def delete(server: ServerLike, _caller: Caller, request: messages.Delete) -> None:
    """Forget a run that is over."""
    await server.engine.delete(request.run_id)


# --- The server -------------------------------------------------------------------------------------------------------


async def statistics(server: ServerLike, _caller: Caller, _request: messages.Statistics) -> PlainData:
    """What engine and server hold."""
    await checkpoint()
    held = {"engine": server.engine.statistics(), "server": server.statistics()}
    return msgspec.to_builtins(held, str_keys=True, enc_hook=repr)


async def workflows(server: ServerLike, _caller: Caller, _request: messages.Workflows) -> list[WorkflowView]:
    """The workflows that there are."""
    await checkpoint()
    return [WorkflowView.of(each.describe()) for each in server.engine.workflows.values()]


# --- Parts ------------------------------------------------------------------------------------------------------------


async def _view(server: ServerLike, run_id: str) -> RunView:
    return run_view(await server.engine.get(run_id))


async def _workflow_of(server: ServerLike, run_id: str) -> Workflow:
    return await server.engine.workflow_of(run_id)


def _value(codec: Codec, plain: PlainData, where: str) -> Any:
    try:
        return codec.from_plain(plain)
    except DecodeError as error:
        raise ProtocolError(f"{where}{error.path}: {error.problem}") from None


VERBS: Final[Mapping[type[Request], Verb]] = {
    messages.Start: start,
    messages.Get: get,
    messages.Runs: runs,
    messages.Info: info,
    messages.RespondToInput: respond_to_input,
    messages.SendEvent: send_event,
    messages.Resume: resume,
    messages.Abort: abort,
    messages.Delete: delete,
    messages.Snapshot: snapshot,
    messages.History: history,
    messages.Statistics: statistics,
    messages.Workflows: workflows,
}
"""All that is asked of the engine and soon answered; subscriptions are the session's own."""

LONG_VERBS: Final[Mapping[type[Request], LongVerb]] = {messages.Pause: pause, messages.Result: result}
"""What may wait for long; a ``Call`` has two halves, and so the session's own way."""
