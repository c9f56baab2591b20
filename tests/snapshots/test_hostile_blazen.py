"""Texts that look like snapshots of Blazen, but that it never wrote, or of another workflow."""

import contextlib
import copy
import json
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio import (
    RunStalledError,
    SessionRefError,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotMismatchError,
    WorkflowSnapshot,
)
from tests.budget import soon
from tests.snapshots.blazen_runs import ANSWERED, KEY, PENDING, QUESTION, approval, blazen, finished, pages, pending


@pytest.mark.parametrize("name", ["Unknown", "blazen::Page", "blazen::UsageEvent", "os.system", ""])
async def test_an_event_class_that_the_workflow_has_not_is_a_mismatch(name: str) -> None:
    snapshot = WorkflowSnapshot.from_json(blazen(pending_events=[pending(name, {})]))
    with pytest.raises(SnapshotMismatchError, match=f"no event class '{name}'"):
        pages().resume(snapshot)


@pytest.mark.parametrize("data", [{}, {"url": 1}, {"url": "a", "more": 1}, None])
async def test_fields_that_the_class_has_not_are_a_mismatch(data: Any) -> None:
    snapshot = WorkflowSnapshot.from_json(blazen(pending_events=[pending("Page", data)]))
    with pytest.raises(SnapshotMismatchError, match="Page"):
        pages().resume(snapshot)


@pytest.mark.parametrize("changed", [{"prompt": 5}, {"metadata": []}, {"more": 1}])
async def test_a_question_that_is_none_is_a_mismatch(changed: dict[str, Any]) -> None:
    question = {"request_id": "q", "prompt": "Go on?", "metadata": None, **changed}
    snapshot = WorkflowSnapshot.from_json(blazen(metadata={"__input_request": question}))
    with pytest.raises(SnapshotMismatchError, match=f"InputRequestEvent.*{next(iter(changed))}"):
        pages().resume(snapshot)


async def test_another_workflow_is_a_mismatch() -> None:
    with pytest.raises(SnapshotMismatchError, match="'approval', not of 'pages'"):
        pages().resume(WorkflowSnapshot.from_json(QUESTION))


async def test_a_snapshot_with_nothing_to_do_stalls_at_once() -> None:
    with pytest.raises(RunStalledError):
        await finished(pages(), blazen())


NO_TIMES: list[Any] = [None, 5, "", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "2026-W01-1T00:00:00Z"]
NO_BYTES: list[Any] = [None, "abc", {}, [256], [-1], [True], [1.0], ["1"], [[]]]
NO_OBJECTS: list[Any] = [5, "text", [], True]
NO_QUESTIONS: list[Any] = [5, [], {}, {"request_id": 5}]
TOO_DEEP: Any = json.loads("[" * 80 + "]" * 80)
REF = {"type_tag": "t", "data": [1]}
SAVED = "__blazen_serialized_session_refs"

WRONG: list[tuple[str, dict[str, Any]]] = [
    *[(f"'{name}' is missing (at snapshot)", {name: ...}) for name in json.loads(blazen()) if name != "version"],
    ("unknown keys", {"more": 1}),
    ("unknown keys", {"elapsed": 0.0}),
    ("version", {"version": 0}),
    ("version", {"version": True}),
    ("version", {"version": 1.0}),
    ("version", {"version": "1"}),
    ("workflow_name", {"workflow_name": None}),
    ("run_id", {"run_id": 5}),
    *[("timestamp", {"timestamp": each}) for each in NO_TIMES],
    ("context_state", {"context_state": []}),
    *[
        ("context_state['k']", {"context_state": {"k": each}})
        for each in (5, None, {}, [], {"Json": 1, "Bytes": []}, {"Text": 1}, {"json": 1}, ["Json", 1])
    ],
    *[("context_state['k']", {"context_state": {"k": {"Bytes": each}}}) for each in NO_BYTES],
    *[("context_state['k']", {"context_state": {"k": {"Native": each}}}) for each in NO_BYTES],
    ("context_state['k'][0][0]", {"context_state": {"k": {"Json": TOO_DEEP}}}),
    ("collected_events", {"collected_events": []}),
    ("collected_events['A']", {"collected_events": {"A": {}}}),
    ("pending_events", {"pending_events": {}}),
    ("pending_events[1]", {"pending_events": [pending("A", {}), 1]}),
    ("pending_events[0]", {"pending_events": [{"data": {}, "source_step": None}]}),
    ("pending_events[0]", {"pending_events": [{"event_type": "A", "source_step": None}]}),
    ("pending_events[0]", {"pending_events": [{**pending("A", {}), "id": 1}]}),
    ("pending_events[0].event_type", {"pending_events": [pending(5, {})]}),
    ("pending_events[0].source_step", {"pending_events": [pending("A", {}, 5)]}),
    *[("pending_events[0].data", {"pending_events": [pending("A", each)]}) for each in NO_OBJECTS],
    ("pending_events[0].data['k'][0][0]", {"pending_events": [pending("A", {"k": TOO_DEEP})]}),
    ("metadata", {"metadata": []}),
    ("metadata", {"metadata": {"__blazen_collected_events": {}}, "collected_events": {"A": []}}),
    ("metadata['k'][0][0]", {"metadata": {"k": TOO_DEEP}}),
    *[("metadata.__input_request", {"metadata": {"__input_request": each}}) for each in NO_QUESTIONS],
    (SAVED, {"metadata": {SAVED: []}}),
    ("session refs", {"metadata": {SAVED: {"no key": REF}}}),
    (f"{SAVED}['{KEY}']", {"metadata": {SAVED: {KEY: 5}}}),
    (f"{SAVED}['{KEY}']", {"metadata": {SAVED: {KEY: {"data": []}}}}),
    (f"{SAVED}['{KEY}']", {"metadata": {SAVED: {KEY: {**REF, "more": 1}}}}),
    (f"{SAVED}['{KEY}'].type_tag", {"metadata": {SAVED: {KEY: {**REF, "type_tag": 5}}}}),
    *[(f"{SAVED}['{KEY}'].data", {"metadata": {SAVED: {KEY: {**REF, "data": each}}}}) for each in NO_BYTES],
    ("__blazen_dropped_session_refs", {"metadata": {"__blazen_dropped_session_refs": {}}}),
    ("__blazen_dropped_session_refs", {"metadata": {"__blazen_dropped_session_refs": [5]}}),
    ("session refs", {"metadata": {"__blazen_dropped_session_refs": ["no key"]}}),
    ("history", {"history": {}}),
    ("history[0]", {"history": [5]}),
    ("history[0]", {"history": [{"timestamp": "2026-11-20T10:24:45Z", "kind": {"type": "A"}}]}),
    ("history[0].timestamp", {"history": [{"timestamp": 5, "sequence": 0, "kind": {"type": "A"}}]}),
    *[
        ("history", {"history": [{"timestamp": "2026-11-20T10:24:45Z", "sequence": 0, "kind": each}]})
        for each in (5, {}, {"type": 5}, {"type": "A", "step_name": 5}, {"type": "A", "duration_ms": "5"})
    ],
]


@pytest.mark.parametrize(("place", "fields"), WRONG, ids=lambda each: json.dumps(each, default=repr)[:70])
def test_what_blazen_never_wrote_is_corrupt_and_its_place_is_named(place: str, fields: dict[str, Any]) -> None:
    with soon(), pytest.raises(SnapshotCorruptError) as refused:
        WorkflowSnapshot.from_json(blazen(**fields))
    assert place in str(refused.value)


@pytest.mark.parametrize("depth", [500, 1_000, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for text in (blazen(context_state={"k": {"Json": "DEEP"}}), blazen(pending_events=[pending("A", {"k": "DEEP"})])):
        with pytest.raises(SnapshotCorruptError):
            WorkflowSnapshot.from_json(text.replace('"DEEP"', deep))


def test_messagepack_of_blazen_is_refused() -> None:
    data = msgspec.msgpack.encode({**json.loads(blazen()), "run_id": bytes(16)})
    with pytest.raises(SnapshotCorruptError):
        WorkflowSnapshot.from_msgpack(data)


def test_doubled_keys_are_refused() -> None:
    with pytest.raises(SnapshotCorruptError, match="twice"):
        WorkflowSnapshot.from_json(blazen()[:-1] + ', "metadata": {}}')
    with pytest.raises(SnapshotCorruptError, match="twice"):
        WorkflowSnapshot.from_json(blazen().replace('"metadata": {}', '"metadata": {"a": 1, "a": 2}'))


@pytest.mark.parametrize("text", [QUESTION, PENDING], ids=["compact", "pretty"])
def test_a_text_that_is_cut_off_anywhere_is_refused(text: str) -> None:
    data = text.strip().encode()
    for length in range(len(data)):
        with pytest.raises(SnapshotCorruptError):
            WorkflowSnapshot.from_json(data[:length])


def paths(tree: Any) -> list[list[Any]]:
    """The way to each place in a tree."""
    found: list[list[Any]] = []
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, below in members:
        found += [[key], *[[key, *path] for path in paths(below)]]
    return found


TREES: list[Any] = [json.loads(text) for text in (QUESTION, ANSWERED, PENDING)]
JUNK = st.one_of(st.none(), st.booleans(), st.integers(-5, 300), st.floats(), st.text(max_size=3)) | st.sampled_from(
    [
        [],
        {},
        [[]],
        {"Json": 1},
        {"__blazen_session_ref__": KEY},
        {"event_type": "Page", "data": {}},
        KEY,
        "Page",
        10**400,
    ]
)


@given(st.data())
def test_whatever_is_changed_the_error_is_a_documented_one(data: st.DataObject) -> None:
    tree = copy.deepcopy(data.draw(st.sampled_from(TREES)))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(paths(tree)))
        around = tree
        for key in way:
            around = around[key]
        if data.draw(st.booleans()):
            around[last] = data.draw(JUNK)
        else:
            del around[last]

    async def resume() -> None:
        with contextlib.suppress(SnapshotError, SessionRefError):
            snapshot = WorkflowSnapshot.from_json(json.dumps(tree))
            snapshot.input_request()
            for workflow in (pages(), approval()):
                workflow.resume(snapshot, {"shop.Blob": bytes})

    trio.run(resume)
