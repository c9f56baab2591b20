"""Whatever is read: a documented error that says what is wrong, soon, and nothing has run."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio import (
    Event,
    RunStatus,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotMismatchError,
    SnapshotSignatureError,
    SnapshotVersionError,
    StartEvent,
    Workflow,
    WorkflowSnapshot,
    step,
)
from tests.budget import soon
from tests.snapshots.interrupting import live, run_on_mock_clock
from tests.snapshots.programs import (
    PROGRAMS,
    Done,
    Item,
    Program,
    double,
    fan_out,
    gather,
    mixed_fan_out,
    nested_joins,
    spread,
)


def taken_of(program: Program) -> list[WorkflowSnapshot]:
    """A snapshot of a run at each point."""
    taken: list[WorkflowSnapshot] = run_on_mock_clock(live, program)[1]
    return taken


def richest(program: Program) -> WorkflowSnapshot:
    """The snapshot that holds most of a run."""
    return max(taken_of(program), key=lambda snapshot: len(snapshot.to_json()))


SAVED: list[tuple[Workflow, WorkflowSnapshot]] = [(p.workflow, richest(p)) for p in (make() for make in PROGRAMS)]
WORKFLOW, SNAPSHOT = next(each for each in SAVED if each[0].name == "nested")


def read_and_resume(workflow: Workflow, text: str | bytes) -> None:
    """As far as possible without running anything."""

    async def resume() -> None:
        workflow.resume(WorkflowSnapshot.from_json(text))

    trio.run(resume)


def refuse(workflow: Workflow, text: str | bytes, error: type[SnapshotError] = SnapshotError) -> SnapshotError:
    with soon(), pytest.raises(error) as caught:
        read_and_resume(workflow, text)
    return caught.value


def changed(snapshot: WorkflowSnapshot, **fields: Any) -> str:
    return json.dumps({**json.loads(snapshot.to_json()), **fields})


# --- Damaged text -----------------------------------------------------------------------------------------------------


def test_a_text_that_is_cut_off_anywhere_is_refused() -> None:
    text = SNAPSHOT.to_json()
    for length in range(len(text)):
        with pytest.raises(SnapshotCorruptError):
            WorkflowSnapshot.from_json(text[:length])


def test_messagepack_that_is_cut_off_anywhere_is_refused() -> None:
    data = SNAPSHOT.to_msgpack()
    for length in range(len(data)):
        with pytest.raises(SnapshotCorruptError):
            WorkflowSnapshot.from_msgpack(data[:length])


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "1", '"text"', '{"version":null}', '{"version":true}', "\ud800"]
)
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(SnapshotCorruptError):
        WorkflowSnapshot.from_json(text)


@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    text = SNAPSHOT.to_json().replace('"context_state":{}', '"context_state":{"k":' + "[" * depth + "]" * depth + "}")
    if depth == 65:
        text = text.replace("[" * depth, "[" * 200).replace("]" * depth, "]" * 200)  # a little more is still read
    refuse(WORKFLOW, text, SnapshotCorruptError)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 4301, "-1", "true", "null", '"1"', "[]", "{}"]
)
@pytest.mark.parametrize("field", ["elapsed", "stream_position"])
def test_a_number_that_is_none_is_refused(field: str, number: str) -> None:
    data = json.loads(SNAPSHOT.to_json())
    text = SNAPSHOT.to_json().replace(f'"{field}":{json.dumps(data[field])}', f'"{field}":{number}')
    assert text != SNAPSHOT.to_json()
    refuse(WORKFLOW, text, SnapshotCorruptError)


def test_doubled_and_unknown_keys_are_refused() -> None:
    text = SNAPSHOT.to_json()
    refuse(WORKFLOW, text[:-1] + ',"run_id":"other"}', SnapshotCorruptError)
    refuse(WORKFLOW, text[:-1] + ',"more":1}', SnapshotCorruptError)


def test_a_lone_surrogate_is_refused() -> None:
    refuse(WORKFLOW, SNAPSHOT.to_json().replace('"nested"', '"\\ud800"'), SnapshotCorruptError)


# --- Another format, another workflow ---------------------------------------------------------------------------------


def test_a_newer_format_is_refused_by_its_number() -> None:
    error = refuse(WORKFLOW, '{"version":3,"everything":"else may be different"}', SnapshotVersionError)
    assert isinstance(error, SnapshotVersionError)
    assert (error.found, error.supported) == (3, 2)


async def test_a_snapshot_object_in_the_format_of_blazen_itself_is_refused_by_its_name() -> None:
    with pytest.raises(SnapshotVersionError, match="Blazen"):
        WORKFLOW.resume(attrs.evolve(SNAPSHOT, version=1))


def test_another_workflow_is_refused_by_name() -> None:
    other = Workflow("other", [spread, double, gather])
    assert "'nested', not of 'other'" in str(refuse(other, SNAPSHOT.to_json(), SnapshotMismatchError))


def test_a_renamed_step_is_refused_by_name() -> None:
    program = fan_out()
    saved = richest(program)
    steps = [spread, double.with_options(name="twice"), gather]
    error = refuse(Workflow("fan-out", steps), saved.to_json(), SnapshotMismatchError)
    assert "'double'" in str(error)


def test_a_renamed_event_class_is_refused_by_name() -> None:
    class Other(Event):
        number: int

    @step
    async def other_spread(event: StartEvent) -> list[Other]:
        return []

    @step
    async def other_double(event: Other) -> Done:
        return Done(0)

    steps = [other_spread.with_options(name="spread"), other_double.with_options(name="double"), gather]
    error = refuse(Workflow("fan-out", steps), richest(fan_out()).to_json(), SnapshotMismatchError)
    assert "'Item'" in str(error)


def test_a_step_that_is_gone_is_refused_by_name() -> None:
    saved = richest(mixed_fan_out())
    assert '"triple":' in saved.to_json()
    begin, twice, _, heed, join = mixed_fan_out().workflow.steps
    error = refuse(Workflow("mixed", [begin, twice, heed, join]), saved.to_json(), SnapshotMismatchError)
    assert "'triple'" in str(error)


def test_an_event_class_that_is_gone_is_refused_by_name() -> None:
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return []

    @step
    async def heed(event: Item) -> Done:
        return Done(event.number)

    saved = next(each for each in taken_of(mixed_fan_out()) if "Signal" in each.to_json())
    steps = [each for each in mixed_fan_out().workflow.steps if each.name not in {"begin", "heed"}]
    error = refuse(Workflow("mixed", [begin, heed, *steps]), saved.to_json(), SnapshotMismatchError)
    assert "no event class 'Signal'" in str(error)


def test_an_event_class_with_a_new_field_is_refused_by_its_field() -> None:
    class Page(Event, event_type="Item"):
        number: int
        url: str

    @step
    async def other_spread(event: StartEvent) -> list[Page]:
        return []

    @step
    async def other_double(event: Page) -> Done:
        return Done(0)

    steps = [other_spread.with_options(name="spread"), other_double.with_options(name="double"), gather]
    error = refuse(Workflow("fan-out", steps), richest(fan_out()).to_json(), SnapshotMismatchError)
    assert "'Item'" in str(error)
    assert "url" in str(error)


def test_a_value_that_does_not_fit_the_state_type_is_refused_by_its_key() -> None:
    @attrs.define
    class Trip:
        city: str = ""

    workflow = Workflow("fan-out", [spread, double, gather], state_type=Trip)
    text = changed(richest(fan_out()), context_state={"city": 5})
    assert "city" in str(refuse(workflow, text, SnapshotCorruptError))


# --- Changed by hand --------------------------------------------------------------------------------------------------


def test_an_event_that_was_doubled_by_hand_is_refused() -> None:
    for workflow, snapshot in SAVED:
        data = json.loads(snapshot.to_json())
        for works in data["pending_events"]["steps"].values():
            works.append(works[0])
            assert "twice" in str(refuse(workflow, json.dumps(data), SnapshotCorruptError))
            works.pop()


def test_an_event_that_was_doubled_under_a_new_id_is_refused() -> None:
    for workflow, snapshot in SAVED:
        data = json.loads(snapshot.to_json())
        works: list[Any] = next(iter(data["pending_events"]["steps"].values()), [])
        if works and "id" in works[0] and "fan_out" not in works[0].get("record", {}):
            works.append({**works[0], "id": "0" * 32})
            assert "pending" in str(refuse(workflow, json.dumps(data), SnapshotCorruptError))


def test_an_event_that_was_taken_out_is_refused() -> None:
    for workflow, snapshot in SAVED:
        data = json.loads(snapshot.to_json())
        for works in data["pending_events"]["steps"].values():
            work = works.pop()
            refuse(workflow, json.dumps(data), SnapshotCorruptError)
            works.append(work)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value in a tree."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in entries:
        yield from places(each, (*path, key))


def at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.sampled_from(["id", "event", "__blazen_int__", "x"]), st.integers(), max_size=2),
)


@given(data=st.data())
def test_a_value_changed_anywhere_is_harmless_or_a_documented_error(data: st.DataObject) -> None:
    workflow, snapshot = data.draw(st.sampled_from(SAVED))
    tree = json.loads(snapshot.to_json())
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(places(tree))[1:]))
        kind = data.draw(st.sampled_from(["set", "drop", "copy", "rename"]))
        around = at(tree, path[:-1])
        if kind == "set":
            around[path[-1]] = data.draw(JUNK)
        elif kind == "drop":
            del around[path[-1]]
        elif kind == "copy":
            other = data.draw(st.sampled_from(list(places(tree))[1:]))
            around[path[-1]] = json.loads(json.dumps(at(tree, other)))
        elif isinstance(around, dict):
            around[data.draw(st.text(max_size=3))] = around.pop(path[-1])
        tree = json.loads(json.dumps(tree))
    with soon(), contextlib.suppress(SnapshotError):
        read_and_resume(workflow, json.dumps(tree))


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(WorkflowSnapshot) if field.init])
@pytest.mark.parametrize("junk", [None, 5, [], {"a": 1}, object()], ids=repr)
def test_a_snapshot_made_by_hand_is_checked_too(field: str, junk: Any) -> None:
    snapshot = attrs.evolve(SNAPSHOT, **{field: junk})

    async def resume() -> None:
        WORKFLOW.resume(snapshot)

    try:
        trio.run(resume)
    except SnapshotError:
        return
    assert field in {"timestamp", "history", "signature", "stream_position", "context_state", "elapsed"}


# --- Signatures -------------------------------------------------------------------------------------------------------


def test_a_signed_text_is_read_with_its_key_and_no_other() -> None:
    signed = SNAPSHOT.sign(b"secret")
    text, data = signed.to_json(), signed.to_msgpack()

    assert WorkflowSnapshot.from_json(text, verify_key="secret").is_verified
    assert WorkflowSnapshot.from_msgpack(data, verify_key=b"secret").is_verified
    assert not WorkflowSnapshot.from_json(text).is_verified
    assert SNAPSHOT.signature is None
    for key in (b"other", "secret "):
        with pytest.raises(SnapshotSignatureError):
            WorkflowSnapshot.from_json(text, verify_key=key)
    with pytest.raises(ValueError, match="empty key"):
        SNAPSHOT.sign("")


def test_an_unsigned_text_is_refused_where_a_signature_is_wanted() -> None:
    with pytest.raises(SnapshotSignatureError, match="not signed"):
        WorkflowSnapshot.from_json(SNAPSHOT.to_json(), verify_key="secret")


@pytest.mark.parametrize("is_json", [True, False])
def test_a_signed_snapshot_with_any_bit_flipped_is_refused(is_json: bool) -> None:
    signed = richest(fan_out()).sign("secret")
    data = signed.to_json().encode() if is_json else signed.to_msgpack()
    read = WorkflowSnapshot.from_json if is_json else WorkflowSnapshot.from_msgpack
    for place in range(len(data)):
        for bit in range(8):
            flipped = data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
            with pytest.raises(SnapshotError):
                read(flipped, verify_key="secret")


def test_a_run_that_was_over_has_an_outcome_and_no_other_has() -> None:
    finished = nested_joins()
    _, taken = run_on_mock_clock(live, finished)
    assert taken[-1].status is RunStatus.COMPLETED
    refuse(finished.workflow, changed(taken[-1], status="running"), SnapshotCorruptError)
    refuse(finished.workflow, changed(taken[-1], status="failed"), SnapshotCorruptError)
    refuse(finished.workflow, changed(taken[0], status="completed"), SnapshotCorruptError)
