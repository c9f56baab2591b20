"""Programs with live objects: in fields of events and in the registry of the run."""

from collections.abc import Callable

import trio

from blazen_trio import Context, Event, Live, RegistryKey, SessionPausePolicy, StartEvent, StopEvent, Workflow, step
from tests.snapshots.live_objects import Connection, Model
from tests.snapshots.programs import QUICK, Done, Program, gather


class Part(Event):
    number: int
    wire: Live[Connection]


class Weighed(Event):
    wire: Live[Connection]


class Keyed(Event):
    number: int
    key: RegistryKey


def live_fields() -> Program:
    """Objects in events that wait for a slot, for an attempt, for their join."""

    @step
    async def begin(event: StartEvent) -> list[Part]:
        return [Part(number, Connection(str(number))) for number in range(5)]

    @step(max_concurrency=2, retry=QUICK)
    async def work(event: Part, ctx: Context) -> Weighed:
        await trio.sleep(0.75)
        if ctx.attempt == 1 and event.number % 2:
            raise OSError
        return Weighed(event.wire)

    @step
    async def collect(weighed: list[Weighed]) -> StopEvent:
        await trio.sleep(1)
        return StopEvent([each.wire.address for each in weighed])

    return Program(Workflow("live fields", [begin, work, collect], allow_pickle=True))


@step
async def weigh(event: Keyed, ctx: Context) -> Done:
    await trio.sleep(event.number % 2)
    model = ctx.session_refs.get(event.key, Model)
    assert model is not None
    return Done(len(model.weights))


def pickled_session_refs() -> Program:
    """One object for all calls, whose key is in their events."""

    @step
    async def begin(event: StartEvent, ctx: Context) -> list[Keyed]:
        key = ctx.session_refs.insert(Model(b"12345"))
        ctx.state["has a key"] = True
        await trio.sleep(1)
        return [Keyed(number, key) for number in range(4)]

    return Program(Workflow("pickled", [begin, weigh, gather], allow_pickle=True))


def serialized_session_refs() -> Program:
    """Objects that give their own bytes and are rebuilt by a deserializer."""

    @step
    async def begin(event: StartEvent, ctx: Context) -> list[Keyed]:
        refs = ctx.session_refs
        return [Keyed(number, refs.insert_serializable(Model(b"w" * number))) for number in range(4)]

    policy = SessionPausePolicy.PICKLE_OR_SERIALIZE
    workflow = Workflow(
        "serialized", [begin, weigh.with_options(max_concurrency=1), gather], session_pause_policy=policy
    )
    return Program(workflow, deserializers={"model": Model})


LIVE_PROGRAMS: tuple[Callable[[], Program], ...] = (live_fields, pickled_session_refs, serialized_session_refs)
