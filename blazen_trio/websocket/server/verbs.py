"""What clients ask for, a function each: from the request to the value of its answer.

Rules of this file:

* That it is allowed was asked before. What is of a run is done to its ``target``: the run that was asked about.
* What clients send into a run is read by the codec of its workflow, and only what may come from outside.
* Errors of the engine are the client's answer as they are; ``ProtocolError`` says what the client did wrong.
* What may wait for long does so in the scope that it is given, which its client may cancel: all that it does is done
  before anything in there is waited for.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import msgspec
import trio
from trio.lowlevel import checkpoint

from blazen_trio.codec import Codec, DecodeError
from blazen_trio.core.errors import RUN_ENDS, ProtocolError, RunClosedError, WorkflowError
from blazen_trio.core.events import Event, StartEvent, is_external
from blazen_trio.websocket.protocol import Request, messages
from blazen_trio.websocket.protocol.fields import EventData, PlainData
from blazen_trio.websocket.protocol.views import HistoryView, InfoView, ResultView, RunView
from blazen_trio.websocket.server.interfaces import ServerLike
from blazen_trio.websocket.server.shown import (
    event_class,
    history_view,
    info_view,
    read_event,
    result_view,
    run_view,
)
from blazen_trio.websocket.server.targets import Target
from blazen_trio.workflow import Workflow

Verb: TypeAlias = Callable[[ServerLike, Target, Any], Awaitable[object]]

LongVerb: TypeAlias = Callable[[ServerLike, Target, Any, trio.CancelScope], Awaitable[object]]
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


async def start(server: ServerLike, _target: Target, request: messages.Start) -> RunView:
    """Start a run; a checkpoint."""
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


async def get(_server: ServerLike, target: Target, _request: messages.Get) -> RunView:
    """Look at a run; a checkpoint."""
    return run_view(await target.run())


async def info(_server: ServerLike, target: Target, _request: messages.Info) -> InfoView:
    """What the store says of a run; a checkpoint."""
    return info_view(await target.info())


async def result(
    _server: ServerLike, target: Target, _request: messages.Result, wait: trio.CancelScope
) -> Later | Failure:
    """Wait for the end of a run; a checkpoint."""
    with wait:
        run = await target.run()
        try:
            await run.result()
        except RUN_ENDS as error:
            return Failure(error, run_view(run))
    return Later(partial(_result, target))


async def _result(target: Target) -> ResultView:
    """The result of a run that is over: another handle, since each has its own copy."""
    run = await target.run()
    return result_view(run, await run.result())


async def snapshot(_server: ServerLike, target: Target, _request: messages.Snapshot) -> msgspec.Raw:
    """The whole condition of a run; a checkpoint."""
    run = await target.run()
    return msgspec.Raw((await run.snapshot()).to_json().encode())


async def history(_server: ServerLike, target: Target, _request: messages.History) -> list[HistoryView]:
    """What happened in a run; a checkpoint."""
    return history_view(await target.run())


# --- Controls ---------------------------------------------------------------------------------------------------------


async def respond_to_input(server: ServerLike, target: Target, request: messages.RespondToInput) -> RunView | None:
    """Answer a question; a checkpoint."""
    response = _value((await target.workflow()).codec, request.response, "response")
    async with target.using("respond_to_input") as run:
        if run is None:
            await server.engine.respond_to_input(request.run_id, request.request_id, response)
        else:
            await run.respond_to_input(request.request_id, response)
    return await _view(target)


async def send_event(server: ServerLike, target: Target, request: messages.SendEvent) -> RunView | None:
    """Put an event into a run; a checkpoint."""
    workflow = await target.workflow()
    if not is_external(event_class(workflow, request.event.event_type)):
        raise ProtocolError(f"{request.event.event_type} may not be sent from outside: its class is not external=True")
    event = read_event(workflow, request.event)
    async with target.using("send_event") as run:
        if run is None:
            await server.engine.send_event(request.run_id, event)
        else:
            await run.send_event(event)
    return await _view(target)


async def pause(server: ServerLike, target: Target, request: messages.Pause, wait: trio.CancelScope) -> RunView | None:
    """Pause a run: it is stopped at once, whatever becomes of the waiting; a checkpoint."""
    async with target.using("pause") as run:
        if run is None:
            await server.engine.pause(request.run_id, interrupt=request.interrupt)
        else:
            with wait:
                await run.pause(interrupt=request.interrupt)
    return await _view(target)


async def resume(server: ServerLike, target: Target, request: messages.Resume) -> RunView | None:
    """Go on with a run that is paused; a checkpoint."""
    async with target.using("resume") as run:
        if run is None:
            await server.engine.resume(request.run_id)
        else:
            await run.resume_in_place()
    return await _view(target)


async def abort(server: ServerLike, target: Target, request: messages.Abort) -> RunView | None:
    """End a run now; if it is that of a call which is still on its way, it never begins; a checkpoint."""
    with server.engine.aborted_calls.aborting(request.run_id), suppress(RunClosedError):
        target = await target.again()  # its call may have begun while it was asked whether this is allowed
        async with target.using("abort") as run:
            if run is None:
                await server.engine.abort(request.run_id, request.reason)
            else:
                await run.abort(request.reason)
    return await _view(target)


async def delete(_server: ServerLike, target: Target, _request: messages.Delete) -> None:
    """Forget a run that is over; a checkpoint."""
    await target.delete()


async def statistics(server: ServerLike, _target: Target, _request: messages.Statistics) -> PlainData:
    """What engine and server hold; a checkpoint."""
    await checkpoint()
    held = {"engine": server.engine.statistics(), "server": server.statistics()}
    return msgspec.to_builtins(held, str_keys=True, enc_hook=repr)


# --- Parts ------------------------------------------------------------------------------------------------------------


async def _view(target: Target) -> RunView | None:
    """How the run is now; ``None`` if that cannot be told: what was asked for is done all the same."""
    try:
        return run_view(await target.run())
    except (WorkflowError, ValueError):
        return None


def _value(codec: Codec, plain: PlainData, where: str) -> Any:
    try:
        return codec.from_plain(plain)
    except DecodeError as error:
        raise ProtocolError(f"{where}{error.path}: {error.problem}") from None


VERBS: Final[Mapping[type[Request], Verb]] = {
    messages.Start: start,
    messages.Get: get,
    messages.Info: info,
    messages.RespondToInput: respond_to_input,
    messages.SendEvent: send_event,
    messages.Resume: resume,
    messages.Abort: abort,
    messages.Delete: delete,
    messages.Snapshot: snapshot,
    messages.History: history,
    messages.Statistics: statistics,
}
"""All that is asked of the engine and soon answered, but lists; subscriptions are the session's own."""

LONG_VERBS: Final[Mapping[type[Request], LongVerb]] = {messages.Pause: pause, messages.Result: result}
"""What may wait for long; a ``Call`` has two halves, and so the session's own way."""
