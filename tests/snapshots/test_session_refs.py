"""Session refs in snapshots: what each policy keeps, what comes back, and what needs permission."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    RefLifetime,
    RegistryKey,
    SessionRefCapacityError,
    SessionRefsNotSerializableError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    WorkflowValidationError,
    step,
)
from tests.snapshots.live_objects import (
    AFAR,
    BOTH_WAYS,
    DROP,
    ERROR,
    SERIALIZE,
    UNPICKLED,
    Connection,
    Evil,
    Model,
    inserting,
    serializing,
    taken,
)


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
