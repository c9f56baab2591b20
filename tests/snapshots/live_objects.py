"""Runs with live objects, for the tests of their snapshots."""

import json
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    Event,
    Live,
    RefLifetime,
    RegistryKey,
    RemoteRefDescriptor,
    SessionPausePolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    step,
)

PICKLE, SERIALIZE, DROP, ERROR = SessionPausePolicy
AFAR = RemoteRefDescriptor("node-1", "model", 1_700_000_000_000)
BOTH_WAYS = pytest.mark.parametrize(
    "through",
    [
        lambda snapshot: WorkflowSnapshot.from_json(snapshot.to_json()),
        lambda snapshot: WorkflowSnapshot.from_msgpack(snapshot.to_msgpack()),
    ],
    ids=["json", "messagepack"],
)
UNPICKLED: list[str] = []
KEY = "12345678-1234-5678-1234-567812345678"


@attrs.define(eq=False)
class Connection:
    """Something live that can be pickled."""

    address: str = "here"


@attrs.define(eq=False)
class Model:
    """Something live that knows its own bytes."""

    weights: Any = b"weights"
    blazen_type_tag: Any = "model"

    def blazen_serialize(self) -> Any:
        if isinstance(self.weights, Exception):
            raise self.weights
        return self.weights


def tell(what: str) -> str:
    """What evil data might call, did it have the permission."""
    UNPICKLED.append(what)
    return what


class Evil:
    """Tells when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        return tell, ("ran",)


class Opened(Event):
    wire: Live[Any]
    second: Live[Any] = None
    key: RegistryKey = RegistryKey(KEY)


class Keyed(Event):
    key: RegistryKey


@step
async def wait(event: Keyed, ctx: Context) -> StopEvent:
    await trio.sleep(1)
    return StopEvent(event.key)


def workflow_of(insert: Callable[[Context], RegistryKey], **options: Any) -> Workflow:
    """A run that inserts something and then works for a second."""

    @step
    async def begin(event: StartEvent, ctx: Context) -> Keyed:
        return Keyed(insert(ctx))

    return Workflow("refs", [begin, wait], **options)


def inserting(value: object, lifetime: RefLifetime = RefLifetime.UNTIL_EXPLICIT_DROP, **options: Any) -> Workflow:
    """A run that holds one live object."""
    return workflow_of(lambda ctx: ctx.session_refs.insert(value, lifetime), **options)


def serializing(value: Any, **options: Any) -> Workflow:
    """A run that holds one object that knows its bytes."""
    return workflow_of(
        lambda ctx: ctx.session_refs.insert_serializable(value, RefLifetime.UNTIL_EXPLICIT_DROP), **options
    )


def passing(*wires: Any, **options: Any) -> Workflow:
    """A run whose events hold live objects; its result are these objects."""

    @step
    async def begin(event: StartEvent) -> Opened:
        return Opened(*wires)

    @step
    async def work(event: Opened) -> StopEvent:
        await trio.sleep(1)
        return StopEvent([event])

    @step
    async def use(event: Opened, ctx: Context) -> None:
        await trio.sleep(0.7)
        seen = ctx.session.setdefault("seen", [])
        seen.append((event.wire, event.second))

    return Workflow("passing", [begin, work, use], **options)


async def taken(workflow: Workflow) -> WorkflowSnapshot:
    async with workflow.start() as run:
        await trio.sleep(0.5)
        return await run.snapshot()


async def wires_after(workflow: Workflow, snapshot: WorkflowSnapshot, **options: Any) -> tuple[Any, int]:
    """What the step of a resumed run finds in its event, and how many refs the run has."""
    async with workflow.resume(snapshot, **options) as run:
        await trio.sleep(0.8)
        session: Any = run._runner.session  # pyright: ignore[reportPrivateUsage]
        return session["seen"], len(run.session_refs)


def saved(workflow: Workflow) -> dict[str, Any]:
    """A snapshot as JSON gives it."""
    plain: dict[str, Any] = json.loads(trio.run(taken, workflow, clock=MockClock(autojump_threshold=0)).to_json())
    return plain


@cache
def rich() -> tuple[Workflow, dict[str, Any]]:
    """A run with refs of each kind that needs no permission."""

    @step
    async def begin(event: StartEvent, ctx: Context) -> Opened:
        model = Model(b"w")
        key = ctx.session_refs.insert_serializable(model)
        ctx.session_refs.insert(threading.Lock())
        ctx.session_refs.insert_remote(RegistryKey(), AFAR)
        return Opened(model, Model(b"other"), key)

    @step
    async def work(event: Opened) -> StopEvent:
        await trio.sleep(1)
        return StopEvent()

    workflow = Workflow("rich", [begin, work], session_pause_policy=SERIALIZE)
    return workflow, saved(workflow)
