"""Calls of peers: runs that another server asks for, under an id of its own.

The rules of this file:

* The call's id is the run's id. Its run says in ``metadata`` that it is a call, and of which input: so a call is told
  from a run that somebody here started, and a repeated one from another one, in whichever process and how much later.
* Whoever calls again under the same id attaches to the run. One that has stopped here (its store failed, or a peer of
  its own is lost) is no answer yet: that is a ``PeerError``, and calling again lets it try again.
* The run is nobody's child: a caller who is lost leaves it running.
* A call that was aborted begins no run, even if it arrives behind its abort: it ends as if it had been aborted then.
* What is refused is a ``PeerError``; no call is ever answered with the result of another one.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

import attrs
import msgspec
import trio

from blazen_trio.core.errors import (
    PeerError,
    RunExistsError,
    RunNotFoundError,
    WorkflowAbortedError,
    WorkflowError,
)
from blazen_trio.core.events import Event
from blazen_trio.engine.engine import Engine
from blazen_trio.engine.handle import EngineRun
from blazen_trio.engine.holding import HeldRun
from blazen_trio.engine.infos import require_same
from blazen_trio.metadata import CALL, checked_metadata
from blazen_trio.peers import ABORT_S
from blazen_trio.run import WorkflowResult
from blazen_trio.snapshot.format import USER
from blazen_trio.step_registry import StepRegistry
from blazen_trio.workflow import Workflow

UNBEGUN: Final = "it was aborted before it began"


async def begin_call(
    engine: Engine, workflow_name: str, event: Event, call_id: str, metadata: Mapping[str, Any] | None = None
) -> EngineRun:
    """The run of a call: a new one, which is in the store when this returns, or that of before; a checkpoint.

    Raises:
        EncodeError: the event or the metadata cannot be saved.
        PeerError: no such workflow here, or the id is that of another call or run.
        StoreError: the store fails, or the engine is closed.
        TypeError, ValueError: the metadata is no mapping of texts, or has reserved keys.
        WorkflowAbortedError: ``abort_call`` came before the call.
    """
    if workflow_name not in engine.workflows:
        raise _refusal(engine, _unknown(engine, workflow_name), call_id)
    workflow, known = engine.workflow(workflow_name), checked_metadata(metadata)
    mark = _mark(workflow, event)
    if call_id in engine.aborted_calls:
        return await _begun_before(engine, workflow_name, call_id, mark)
    try:
        run = await engine.start_marked(workflow_name, event, call_id, {**known, CALL: mark}, {})
    except RunExistsError:
        return await _attached(engine, workflow_name, call_id, mark)
    if call_id in engine.aborted_calls:  # meanwhile, and that abort may have found nothing
        with trio.move_on_after(ABORT_S, shield=True):
            await engine.abort(call_id, UNBEGUN)
    return run


async def _begun_before(engine: Engine, workflow_name: str, call_id: str, mark: str) -> EngineRun:
    """The run of a call that shall not begin any more, if it has; raises ``WorkflowAbortedError`` if not."""
    try:
        return await _attached(engine, workflow_name, call_id, mark)
    except RunNotFoundError:
        raise WorkflowAbortedError(UNBEGUN, call_id) from None


async def abort_call(engine: Engine, call_id: str, reason: str | None = None) -> None:
    """End the run of a call now, as ``Engine.abort`` ends any run; a checkpoint.

    Raises:
        RunNotFoundError: there is none, and a call with this id begins none any more, for an hour.
    """
    with engine.aborted_calls.aborting(call_id):
        await engine.abort(call_id, reason)


async def end_call(engine: Engine, run: EngineRun) -> WorkflowResult:
    """Wait for the end of a call's run and give its result; a checkpoint.

    The ``session_refs`` of the result are remote ones; the objects are in ``engine.kept_refs``, if they still are.
    A caller who is cancelled leaves the run running.

    Raises:
        PeerError: the run is not over but stopped here, and goes on when the call is made again.
        WorkflowError: what the run ended with.
    """
    try:
        result = await run.result()
    except WorkflowError as error:
        held = engine.held.get(run.run_id)
        if held is not None and held.error is not None:
            raise _refusal(engine, f"its run has stopped: {error}", run.run_id) from error
        raise
    return attrs.evolve(result, session_refs=engine.kept_refs.describe(run.run_id))


def _mark(workflow: Workflow, event: Event) -> str:
    """What a call is known by: the same for equal events, whatever the order of their dicts and sets."""
    plain = workflow.codec.event_to_plain(event)
    return sha256(msgspec.msgpack.encode(plain, order="sorted")).hexdigest()


async def _attached(engine: Engine, workflow_name: str, call_id: str, mark: str) -> EngineRun:
    stored = await engine.store.read(call_id)
    if stored.workflow_name != workflow_name:
        raise _refusal(engine, "the id is that of a run of another workflow", call_id)
    snapshot = await engine.told(call_id)
    user = snapshot.metadata.get(USER)
    known = user.get(CALL) if isinstance(user, dict) else None
    if known != mark:
        what = "a run that was not called" if known is None else "a call with another input"
        raise _refusal(engine, f"the id is that of {what}; give each call an id of its own", call_id)
    await _try_again(engine.held.get(call_id))
    return require_same(await engine.get(call_id), stored.created)


async def _try_again(held: HeldRun | None) -> None:
    """Have a run that has stopped here go on: whoever enters it brings it into memory, and there it goes on by itself.

    Nothing else is wanted of it, so whoever entered leaves at once. Raises why it cannot go on.
    """
    if held is not None and held.error is not None and await held.enter() is not None:
        held.exit()


def called_workflow(engine: Engine, name: str, steps: Iterable[str], registry: StepRegistry | None = None) -> Workflow:
    """The engine's workflow of this name with these steps: what a call names. With a registry it may be made now.

    Raises:
        PeerError: there is none and no registry, it has other steps, or too many were made.
        UnknownStepError: steps that are not registered.
        WorkflowValidationError: the steps do not fit together.
    """
    names = tuple(steps)
    workflow = engine.workflows.get(name)
    if workflow is None:
        if registry is None:
            raise _refusal(engine, _unknown(engine, name), None)
        return engine.made.make(name, names, registry)
    if names != tuple(each.name for each in workflow.steps):
        own = ", ".join(each.name for each in workflow.steps)
        raise _refusal(engine, f"its workflow {name!r} has other steps: {own}", None)
    return workflow


def _unknown(engine: Engine, name: str) -> str:
    return f"it has no workflow {name!r:.60}; it has {', '.join(map(repr, engine.workflows))}"


def _refusal(engine: Engine, problem: str, call_id: str | None) -> PeerError:
    return PeerError(engine.node_id, problem, call_id)
