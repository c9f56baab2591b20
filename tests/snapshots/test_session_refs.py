"""Runs with live objects: what of them is in a snapshot, what comes back, and what is refused before anything runs."""

import contextlib
import json
import logging
import threading
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from blazen_trio import (
    Context,
    Event,
    Live,
    RefLifetime,
    RegistryKey,
    RemoteRefDescriptor,
    RetryConfig,
    SessionPausePolicy,
    SessionRefCapacityError,
    SessionRefError,
    SessionRefsNotSerializableError,
    SnapshotCorruptError,
    SnapshotError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    WorkflowValidationError,
    step,
)
from tests.snapshots.test_hostile_input import JUNK, at, places

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


# --- Each policy ------------------------------------------------------------------------------------------------------


@BOTH_WAYS
async def test_pickled_refs_are_found_under_their_keys_with_their_lifetimes(
    through: Callable[[WorkflowSnapshot], WorkflowSnapshot], autojump_clock: MockClock
) -> None:
    workflow = inserting(Connection("there"), allow_pickle=True)
    async with workflow.resume(through(await taken(workflow))) as run:
        key = (await run.result()).result
    assert run.session_refs.get(key).address == "there"
    assert run.session_refs.lifetime_of(key) is RefLifetime.UNTIL_EXPLICIT_DROP


async def test_what_cannot_be_pickled_is_named_and_the_run_goes_on_with_all_its_refs(autojump_clock: MockClock) -> None:
    workflow = inserting(threading.Lock())
    async with workflow.start() as run:
        await trio.sleep(0.5)
        fleeting = run.session_refs.insert("fleeting", RefLifetime.UNTIL_SNAPSHOT)
        with pytest.raises(SessionRefsNotSerializableError) as raised:
            await run.snapshot()
        assert fleeting in run.session_refs
        key = (await run.result()).result
        assert raised.value.keys == (str(key),)
        assert key in run.session_refs


@BOTH_WAYS
async def test_serializable_refs_are_rebuilt_by_their_tags(
    through: Callable[[WorkflowSnapshot], WorkflowSnapshot],
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    workflow = serializing(Model(b"w"), session_pause_policy=SERIALIZE)
    async with workflow.start() as run:
        await trio.sleep(0.5)
        lock = run.session_refs.insert(threading.Lock())
        with caplog.at_level(logging.WARNING, "blazen_trio"):
            snapshot = through(await run.snapshot())
    assert str(lock) in caplog.text
    assert snapshot.session_refs["dropped"] == [str(lock)]
    async with workflow.resume(snapshot, deserializers={"model": Model}) as run:
        key = (await run.result()).result
        assert run.session_refs.get_serializable(key) is run.session_refs.get(key, Model)
        assert run.session_refs.get(key).weights == b"w"
        assert lock not in run.session_refs


async def test_serialized_refs_wait_as_bytes_for_a_resume_that_has_deserializers(autojump_clock: MockClock) -> None:
    workflow = serializing(Model(b"w"), session_pause_policy=SERIALIZE)
    first = await taken(workflow)
    async with workflow.resume(first) as run:
        assert [run.session_refs.get(key) for key in run.session_refs] == [None]
        second = await run.snapshot()
    assert second.session_refs == first.session_refs
    async with workflow.resume(second, {"model": Model}) as run:
        assert [run.session_refs.get(key).weights for key in run.session_refs] == [b"w"]


async def test_warn_drop_lists_what_it_drops_in_the_snapshot(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    workflow = inserting(threading.Lock(), session_pause_policy=DROP)
    with caplog.at_level(logging.WARNING, "blazen_trio"):
        snapshot = WorkflowSnapshot.from_json((await taken(workflow)).to_json())
    async with workflow.resume(snapshot) as run:
        key = (await run.result()).result
        assert run.session_refs.get(key) is None
    assert snapshot.session_refs == {"dropped": [str(key)]}
    assert str(key) in caplog.text


async def test_hard_error_refuses_any_live_ref_and_no_remote_one(autojump_clock: MockClock) -> None:
    workflow = inserting("text", session_pause_policy=ERROR)
    async with workflow.start() as run:
        await trio.sleep(0.5)
        with pytest.raises(SessionRefsNotSerializableError, match="HARD_ERROR"):
            await run.snapshot()
        run.session_refs.drain()
        run.session_refs.insert_remote(afar := RegistryKey(), AFAR)
        snapshot = await run.snapshot()
        await run.result()
    async with workflow.resume(snapshot) as run:
        assert run.session_refs.get_remote(afar) == AFAR


async def test_a_snapshot_purges_what_lives_until_then(autojump_clock: MockClock) -> None:
    workflow = inserting(threading.Lock(), RefLifetime.UNTIL_SNAPSHOT)
    async with workflow.start() as run:
        await trio.sleep(0.5)
        assert len(run.session_refs) == 1
        assert (await run.snapshot()).session_refs == {}
        assert len(run.session_refs) == 0
        await run.result()


@pytest.mark.parametrize("model", [Model(LookupError("boom")), Model("text"), Model(None), Model(b"", 7)])
async def test_a_serializer_that_raises_or_gives_no_bytes_is_one_error(model: Model, autojump_clock: MockClock) -> None:
    async with serializing(model, session_pause_policy=SERIALIZE).start() as run:
        await trio.sleep(0.5)
        with pytest.raises(SessionRefsNotSerializableError) as raised:
            await run.snapshot()
        assert raised.value.keys == (str((await run.result()).result),)


async def test_a_snapshot_of_a_run_without_refs_has_none_and_makes_no_registry(autojump_clock: MockClock) -> None:
    @step
    async def work(event: StartEvent) -> StopEvent:
        await trio.sleep(1)
        return StopEvent()

    workflow = Workflow("none", [work], session_pause_policy=ERROR)
    async with workflow.start() as run:
        snapshot = await run.snapshot()
        assert run._runner._session_refs is None  # pyright: ignore[reportPrivateUsage]
    assert snapshot.session_refs == {}
    async with workflow.resume(snapshot) as run:
        assert run._runner._session_refs is None  # pyright: ignore[reportPrivateUsage]


def test_options_that_are_none_are_problems_of_the_workflow() -> None:
    with pytest.raises(WorkflowValidationError) as raised:
        inserting(1, session_pause_policy="warn_drop", allow_pickle=1)
    assert len(raised.value.problems) == 2


# --- Permission -------------------------------------------------------------------------------------------------------


async def test_nothing_is_unpickled_without_permission(autojump_clock: MockClock) -> None:
    workflow = inserting(Evil())
    snapshot = await taken(workflow)
    UNPICKLED.clear()
    for unsigned in (snapshot, WorkflowSnapshot.from_json(snapshot.sign(b"key").to_json())):
        with pytest.raises(SessionRefsNotSerializableError, match="allow_pickle=True"):
            workflow.resume(unsigned)
    assert UNPICKLED == []


@pytest.mark.parametrize("is_json", [True, False])
async def test_a_verified_signature_is_a_permission(is_json: bool, autojump_clock: MockClock) -> None:
    workflow = inserting(Evil())
    signed = (await taken(workflow)).sign(b"key")
    UNPICKLED.clear()
    if is_json:
        snapshot = WorkflowSnapshot.from_json(signed.to_json(), verify_key=b"key")
    else:
        snapshot = WorkflowSnapshot.from_msgpack(signed.to_msgpack(), verify_key=b"key")
    workflow.resume(snapshot)
    assert UNPICKLED == ["ran"]
    with pytest.raises(SessionRefsNotSerializableError):  # a changed copy is not what was verified
        workflow.resume(attrs.evolve(snapshot, elapsed=0.0))


@pytest.mark.parametrize("deserializers", [{"other": Model}, {"model": lambda data: 1 / 0}], ids=["missing", "failing"])
async def test_a_missing_or_failing_deserializer_is_named_by_key_and_tag(
    deserializers: dict[str, Any], autojump_clock: MockClock
) -> None:
    workflow = serializing(Model(b"w"), session_pause_policy=SERIALIZE)
    snapshot = await taken(workflow)
    with pytest.raises(SessionRefsNotSerializableError) as raised:
        workflow.resume(snapshot, deserializers)
    assert len(raised.value.keys) == 1
    assert raised.value.type_tag == "model"


async def test_nothing_is_rebuilt_if_there_is_more_than_the_workflow_takes(autojump_clock: MockClock) -> None:
    async with inserting(Evil()).start() as run:
        await trio.sleep(0.5)
        run.session_refs.insert(Evil())
        run.session_refs.insert(Evil())
        snapshot = await run.snapshot()
    UNPICKLED.clear()
    with pytest.raises(SessionRefCapacityError):
        inserting(1, allow_pickle=True, max_session_refs=2).resume(snapshot)
    assert UNPICKLED == []


async def test_runs_of_one_snapshot_have_registries_and_objects_of_their_own(autojump_clock: MockClock) -> None:
    workflow = inserting(Connection(), allow_pickle=True)
    snapshot = await taken(workflow)
    async with workflow.resume(snapshot) as one, workflow.resume(snapshot) as other:
        (key,) = one.session_refs
        assert one.session_refs.get(key, Connection) is not other.session_refs.get(key, Connection)
        one.session_refs.drain()
        assert other.session_refs.keys() == (key,)


async def test_a_resumed_run_owns_its_refs_and_drops_them_with_its_block(autojump_clock: MockClock) -> None:
    workflow = inserting(Connection(), RefLifetime.UNTIL_CONTEXT_DROP, allow_pickle=True)
    async with workflow.resume(await taken(workflow)) as run:
        assert len(run.session_refs) == 1
    assert len(run.session_refs) == 0


# --- Live fields ------------------------------------------------------------------------------------------------------


@BOTH_WAYS
async def test_objects_of_events_come_back_and_what_they_share_they_share_again(
    through: Callable[[WorkflowSnapshot], WorkflowSnapshot], autojump_clock: MockClock
) -> None:
    wire = Connection("far")
    workflow = passing(wire, wire, allow_pickle=True)
    snapshot = through(await taken(workflow))
    [(first, second)], refs = await wires_after(workflow, snapshot)
    assert first is second
    assert (first.address, first is wire, refs) == ("far", False, 0)


async def test_objects_of_events_do_not_pile_up_from_resume_to_resume(autojump_clock: MockClock) -> None:
    workflow = passing(Connection("far"), allow_pickle=True, max_session_refs=1)
    snapshot = await taken(workflow)
    for _ in range(3):
        async with workflow.resume(snapshot) as run:
            snapshot = WorkflowSnapshot.from_json((await run.snapshot()).to_json())
            assert len(run.session_refs) == 0
    [(wire, _)], _ = await wires_after(workflow, snapshot)
    assert wire.address == "far"


async def test_an_object_with_a_ref_and_in_an_event_is_one_object_again(autojump_clock: MockClock) -> None:
    @step
    async def begin(event: StartEvent, ctx: Context) -> Opened:
        wire = Connection()
        return Opened(wire, key=ctx.session_refs.insert(wire))

    @step
    async def work(event: Opened, ctx: Context) -> StopEvent:
        await trio.sleep(1)
        return StopEvent(ctx.session_refs.get(event.key) is event.wire)

    workflow = Workflow("both", [begin, work], allow_pickle=True)
    snapshot = await taken(workflow)
    async with workflow.resume(snapshot) as run:
        assert len(run.session_refs) == 1
        assert (await run.result()).result is True


async def test_objects_come_back_wherever_their_events_wait(autojump_clock: MockClock) -> None:
    """Collected for a join, being worked on, waiting for a slot, waiting for the next attempt."""

    class Part(Event):
        wire: Live[Connection]

    class Whole(Event):
        wire: Live[Connection]

    @step
    async def begin(event: StartEvent) -> list[Part]:
        return [Part(Connection(str(number))) for number in range(4)]

    @step(max_concurrency=1, retry=RetryConfig(max_retries=1, initial_delay_ms=2_000, jitter=False))
    async def work(event: Part, ctx: Context) -> Whole:
        await trio.sleep(1)
        if event.wire.address == "1" and ctx.attempt == 1:
            raise OSError
        return Whole(event.wire)

    @step
    async def gather(parts: list[Whole]) -> StopEvent:
        return StopEvent([part.wire.address for part in parts])

    workflow = Workflow("everywhere", [begin, work, gather], allow_pickle=True)
    async with workflow.start() as run:
        await trio.sleep(2.5)
        text = (await run.snapshot()).to_json()
    pending = json.loads(text)["pending_events"]
    assert (len(pending["retrying"]), len(pending["steps"]["work"])) == (1, 2)
    async with workflow.resume(WorkflowSnapshot.from_json(text)) as run:
        assert (await run.result()).result == ["0", "1", "2", "3"]


async def test_an_object_in_the_result_of_a_run_that_was_over_comes_back(autojump_clock: MockClock) -> None:
    class Finished(StopEvent):
        wire: Live[Connection | None] = None

    @step
    async def finish(event: StartEvent) -> Finished:
        return Finished(wire=Connection("end"))

    workflow = Workflow("over", [finish], allow_pickle=True)
    async with workflow.start() as run:
        await run.result()
        snapshot = await run.snapshot()
    async with workflow.resume(snapshot) as run:
        assert (await run.result()).result.wire.address == "end"


async def test_an_object_of_an_event_that_cannot_be_saved_is_an_error_and_the_run_goes_on(
    autojump_clock: MockClock,
) -> None:
    lock = threading.Lock()
    async with passing(lock).start() as run:
        await trio.sleep(0.5)
        with pytest.raises(SessionRefsNotSerializableError, match="pickle"):
            await run.snapshot()
        assert (await run.result()).result[0].wire is lock


async def test_dropped_objects_of_events_are_none(autojump_clock: MockClock) -> None:
    workflow = passing(threading.Lock(), session_pause_policy=DROP)
    assert await wires_after(workflow, await taken(workflow)) == ([(None, None)], 0)


async def test_objects_of_events_that_know_their_bytes_are_rebuilt_or_missed(autojump_clock: MockClock) -> None:
    workflow = passing(Model(b"w"), session_pause_policy=SERIALIZE)
    snapshot = await taken(workflow)
    [(model, _)], refs = await wires_after(workflow, snapshot, deserializers={"model": Model})
    assert (model.weights, refs) == (b"w", 0)
    with pytest.raises(SessionRefsNotSerializableError, match="Live field") as raised:
        workflow.resume(snapshot)
    assert raised.value.type_tag == "model"


async def test_too_many_objects_in_events_are_an_error_and_the_run_goes_on(autojump_clock: MockClock) -> None:
    async with passing(Connection(), Connection(), max_session_refs=1).start() as run:
        await trio.sleep(0.5)
        with pytest.raises(SessionRefCapacityError):
            await run.snapshot()
        await run.result()


# --- Hostile data -----------------------------------------------------------------------------------------------------

KEPT = {KEY: {"__blazen_enum__": ["RefLifetime", "UNTIL_CONTEXT_DROP"]}}
WRONG: list[Any] = [
    {"unknown": 1},
    {"pickled": []},
    {"pickled": {KEY: "forever"}},
    {"pickled": {KEY.replace("-", ""): KEPT[KEY]}},
    {"pickled": {"x": KEPT[KEY]}},
    {"pickle": "no base64"},
    {"pickle": 1},
    {"serializable": [1]},
    {"serializable": ["x"]},
    {"serialized": [1]},
    {"serialized": [{"keys": KEPT, "type_tag": 1, "data": {"__blazen_bytes__": ""}}]},
    {"serialized": [{"keys": KEPT, "type_tag": "a", "data": "no base64"}]},
    {"serialized": [{"keys": KEPT, "type_tag": "a"}]},
    {"remote": [{"keys": KEPT, "descriptor": {"origin_node_id": "a", "type_tag": "b", "created_at_epoch_ms": "c"}}]},
    {"remote": [{"keys": KEPT, "descriptor": None}]},
    {"pickled": KEPT, "serialized": [{"keys": KEPT, "type_tag": "a", "data": {"__blazen_bytes__": ""}}]},
    {"dropped": {"a": 1}},
    {"dropped": [None]},
    {"in_events": "text"},
    {"in_events": ["x"]},
    {"__blazen_object__": ["SavedRefs", {"dropped": ["x"]}]},
    {"__blazen_object__": ["os", {}]},
    {"__blazen_object__": []},
    {"remote": [{"__blazen_object__": []}]},
    {"remote": [{"__blazen_object__": ["RemoteRef"]}]},
    {"remote": [{"__blazen_object__": ["RemoteRef", {}, {}]}]},
    {"dropped": [[[[[[[[]]]]]]]]},
]


def refuse(workflow: Workflow, plain: dict[str, Any], error: type[Exception]) -> None:
    """Resuming with such data is this error, soon."""

    async def resume() -> None:
        text = json.dumps(plain)
        begun = perf_counter()
        with pytest.raises(error):
            workflow.resume(WorkflowSnapshot.from_json(text))
        assert perf_counter() - begun < 0.5

    trio.run(resume)


def saved(workflow: Workflow) -> dict[str, Any]:
    """A snapshot as JSON gives it."""
    plain: dict[str, Any] = json.loads(trio.run(taken, workflow, clock=MockClock(autojump_threshold=0)).to_json())
    return plain


@pytest.mark.parametrize("refs", WRONG, ids=lambda refs: json.dumps(refs)[:60])
def test_data_that_was_never_written_is_corrupt(refs: dict[str, Any]) -> None:
    workflow = inserting(Connection(), allow_pickle=True)
    refuse(workflow, {**saved(workflow), "session_refs": refs}, SnapshotCorruptError)


@pytest.mark.parametrize("data", ["", "gARLAS4=", "gAV9lC4=", "AAAA"], ids=["none", "int", "empty", "junk"])
def test_pickles_of_something_else_are_refused(data: str) -> None:
    workflow = inserting(Connection(), allow_pickle=True)
    refs = {"pickled": KEPT, "pickle": {"__blazen_bytes__": data}}
    refuse(workflow, {**saved(workflow), "session_refs": refs}, SessionRefsNotSerializableError)


@pytest.mark.parametrize("refs", [{}, {"remote": []}, {"pickled": {}}, {"dropped": [KEY]}])
def test_an_event_with_a_key_that_nothing_belongs_to_is_refused(refs: dict[str, Any]) -> None:
    workflow = passing(Connection())
    refuse(workflow, {**saved(workflow), "session_refs": refs}, SnapshotCorruptError)


@pytest.mark.parametrize("key", [1, None, "x", KEY, [], {"__blazen_session_ref__": KEY}])
def test_an_event_with_a_changed_key_is_refused(key: object) -> None:
    workflow = passing(Connection(), allow_pickle=True)
    plain = saved(workflow)
    plain["pending_events"]["steps"]["work"][0]["event"]["data"]["wire"] = {"__blazen_session_ref__": key}
    refuse(workflow, plain, SnapshotError)


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


@given(data=st.data())
def test_refs_changed_anywhere_are_harmless_or_a_documented_error(data: st.DataObject) -> None:
    workflow, plain = rich()
    assert set(plain["session_refs"]) == {"serialized", "remote", "dropped", "in_events"}
    tree = json.loads(json.dumps(plain))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([each for each in places(tree["session_refs"]) if each]))
        around = at(tree["session_refs"], path[:-1])
        if data.draw(st.booleans()):
            around[path[-1]] = data.draw(JUNK)
        else:
            del around[path[-1]]

    async def resume() -> None:
        with contextlib.suppress(SnapshotError, SessionRefError):
            workflow.resume(WorkflowSnapshot.from_json(json.dumps(tree)), {"model": Model})

    trio.run(resume)


def test_more_refs_than_fit_are_refused_soon() -> None:
    workflow = inserting(Connection(), allow_pickle=True, max_session_refs=100)
    many = {str(RegistryKey()): KEPT[KEY] for _ in range(20_000)}
    refuse(workflow, {**saved(workflow), "session_refs": {"pickled": many}}, SessionRefError)


async def test_a_tag_with_any_characters_comes_back(autojump_clock: MockClock) -> None:
    workflow = serializing(Model(b"w", "\ud800\0"), session_pause_policy=SERIALIZE)
    snapshot = WorkflowSnapshot.from_json((await taken(workflow)).to_json())
    async with workflow.resume(snapshot, {"\ud800\0": Model}) as run:
        assert [run.session_refs.get(key).weights for key in run.session_refs] == [b"w"]
