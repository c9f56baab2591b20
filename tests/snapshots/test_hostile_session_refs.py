"""Session refs that nobody wrote: a documented error, soon, and nothing has run."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from blazen_trio import (
    RegistryKey,
    SessionRefError,
    SessionRefsNotSerializableError,
    SnapshotCorruptError,
    SnapshotError,
    Workflow,
    WorkflowSnapshot,
)
from tests.budget import soon
from tests.snapshots.live_objects import (
    AFAR,
    KEY,
    SERIALIZE,
    Connection,
    Model,
    inserting,
    passing,
    rich,
    saved,
    serializing,
    taken,
)
from tests.snapshots.test_hostile_input import JUNK, at, places

RECORDED = Path(__file__).with_name("recorded")
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
        with soon(), pytest.raises(error):
            workflow.resume(WorkflowSnapshot.from_json(text))

    trio.run(resume)


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


@pytest.mark.parametrize("name", ["session-refs", "pickled-refs"])
def test_recorded_refs_of_this_format_are_read_for_ever(name: str) -> None:
    text = (RECORDED / f"version-2-{name}.json").read_text().strip()
    workflow = rich()[0] if name == "session-refs" else inserting(["a", "b"], allow_pickle=True)

    async def go_on() -> list[object]:
        async with workflow.resume(WorkflowSnapshot.from_json(text), {"model": Model}) as run:
            refs = run.session_refs
            return [getattr(refs.get(key), "weights", refs.get(key) or refs.get_remote(key)) for key in refs]

    assert trio.run(go_on) == ([b"w", AFAR] if name == "session-refs" else [["a", "b"]])
