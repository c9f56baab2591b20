"""Runs that Blazen began and that go on here."""

import json
import pickle
from datetime import date
from typing import Any
from uuid import UUID

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from blazen_trio import (
    AnswerConflictError,
    Context,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    Live,
    RegistryKey,
    RunStalledError,
    RunStatus,
    SessionRefsNotSerializableError,
    SnapshotCorruptError,
    SnapshotMismatchError,
    SnapshotSignatureError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    step,
)
from tests.snapshots.blazen_runs import (
    ANSWERED,
    KEY,
    PENDING,
    QUESTION,
    Page,
    approval,
    begin,
    blazen,
    finished,
    pages,
    pending,
)

# --- Stories ----------------------------------------------------------------------------------------------------------


async def test_pending_events_are_worked_on_in_their_order() -> None:
    events = [pending("Page", {"url": url}, "begin") for url in "abc"]
    assert (await finished(pages(), blazen(pending_events=events)))["urls"] == ["a", "b", "c"]


async def test_a_recorded_run_with_pending_events_goes_on(autojump_clock: MockClock) -> None:
    snapshot = WorkflowSnapshot.from_json(PENDING)
    assert (snapshot.version, snapshot.workflow_name, snapshot.status) == (2, "pages", RunStatus.PAUSED)
    assert snapshot.run_id == "9f35ee37-b484-4c20-836e-5b3e09f35d9e"
    assert snapshot.timestamp == pytest.approx(1795170285.249155)
    async with pages().resume(snapshot) as run:
        result = (await run.result()).result
    assert run.run_id == snapshot.run_id
    assert result == {"seen": 3, "most": 2**64 - 1, "least": -(2**63), "raw": b"\0\xff", "urls": ["bb", "ccc", "x"]}


async def test_every_event_is_counted() -> None:
    async with pages().resume(WorkflowSnapshot.from_json(PENDING)) as run:
        await run.pause()
        before = run.statistics()
        await run.resume_in_place()
        await run.result()
        after = run.statistics()
    assert (before["emitted"], before["pending"], before["consumed"]) == (3, 3, 0)
    assert after["emitted"] == 5  # and one page of the second start, and the end


async def test_a_recorded_question_is_still_open_and_its_answer_ends_the_run() -> None:
    snapshot = WorkflowSnapshot.from_json(QUESTION)
    asked = InputRequestEvent("Go on?", "request-1", {"choices": ["yes", "no"]})
    assert snapshot.input_request() == asked
    assert snapshot.status is RunStatus.AWAITING_INPUT
    async with approval(allow_pickle=True).resume(snapshot) as run:
        assert run.pending_inputs == (asked,)
        await run.respond_to_input("request-1", "yes")
        event, state = (await run.result()).result
    assert event == InputResponseEvent("request-1", "yes")
    assert state["topic"] == "cats"
    assert state["numbers"] == [1, 2.5, None, True, "é", -(2**63), 2**53]
    assert state["raw"] == b"\0\x01\xff"


async def test_a_question_that_was_answered_is_not_asked_again() -> None:
    """Blazen leaves it in the metadata; that it was answered shows in the answer which a step got."""
    snapshot = WorkflowSnapshot.from_json(ANSWERED)
    assert snapshot.input_request() is None
    async with approval(allow_pickle=True).resume(snapshot) as run:
        assert run.pending_inputs == ()
        with pytest.raises(RunStalledError):  # Blazen has lost the call that was at work
            await run.result()


async def test_an_answer_to_nothing_leaves_the_question_open() -> None:
    """A Python step may send an event of that name with whatever it likes in it."""
    question = {"request_id": "q", "prompt": "Go on?", "metadata": None}
    collected = {"blazen::InputResponseEvent": [None, {"request_id": 5}, {"request_id": "other", "response": 1}]}
    text = blazen(metadata={"__input_request": question}, collected_events=collected)
    snapshot = WorkflowSnapshot.from_json(text)
    assert snapshot.input_request() == InputRequestEvent("Go on?", "q", {})


async def test_a_pending_answer_is_delivered_and_known() -> None:
    question = {"request_id": "q", "prompt": "Go on?", "metadata": None}
    answer = pending("blazen::InputResponseEvent", {"request_id": "q", "response": {"yes": 1}}, "__human_input")
    text = blazen(workflow_name="approval", metadata={"__input_request": question}, pending_events=[answer])
    async with approval().resume(WorkflowSnapshot.from_json(text)) as run:
        assert run.pending_inputs == ()
        await run.pause()
        await run.respond_to_input("q", {"yes": 1})  # the same again
        with pytest.raises(AnswerConflictError):
            await run.respond_to_input("q", "no")
        await run.resume_in_place()
        event, _ = (await run.result()).result
    assert event == InputResponseEvent("q", {"yes": 1})


async def test_a_pending_question_is_asked_once() -> None:
    question = {"request_id": "q", "prompt": "Go on?", "metadata": None}
    events = [pending("blazen::InputRequestEvent", question)]
    text = blazen(workflow_name="approval", metadata={"__input_request": question}, pending_events=events)
    async with approval().resume(WorkflowSnapshot.from_json(text)) as run:
        await trio.testing.wait_all_tasks_blocked()
        assert run.pending_inputs == (InputRequestEvent("Go on?", "q", {}),)
        await run.respond_to_input("q", "yes")
        await run.result()


async def test_events_and_the_question_beside_them_go_on_together() -> None:
    question = {"request_id": "q", "prompt": "Go on?", "metadata": {"a": [1]}}
    events = [pending("Opened", {"blob": {"__blazen_session_ref__": KEY}})] * 2
    text = blazen(workflow_name="approval", metadata={"__input_request": question}, pending_events=events)
    snapshot = WorkflowSnapshot.from_json(text)
    assert snapshot.status is RunStatus.PAUSED
    async with approval().resume(snapshot) as run:
        await run.respond_to_input("q", 5)
        assert (await run.result()).result[0].response == 5


async def test_a_stop_event_that_was_pending_ends_the_run() -> None:
    events = [pending("blazen::StopEvent", {"result": {"a": [1, None]}}, "last")]
    assert await finished(pages(), blazen(pending_events=events)) == {"a": [1, None]}


async def test_an_event_without_data_may_be_null() -> None:
    class Tick(Event, event_type="clock::Tick"):
        pass

    @step
    async def tick(event: StartEvent) -> Tick:
        return Tick()

    @step
    async def end(event: Tick) -> StopEvent:
        return StopEvent("ticked")

    text = blazen(pending_events=[pending("clock::Tick", None)])
    assert await finished(Workflow("pages", [tick, end]), text) == "ticked"


async def test_what_blazen_says_of_a_run_is_in_the_metadata() -> None:
    """What it repeats is not; what its ``collect_events`` had kept is."""
    snapshots: list[WorkflowSnapshot] = []

    @step
    async def look(event: Page, ctx: Context) -> StopEvent:
        return StopEvent(dict(ctx.metadata))

    async with Workflow("pages", [begin, look]).resume(WorkflowSnapshot.from_json(PENDING)) as run:
        snapshots.append(await run.snapshot())
        metadata = (await run.result()).result
    assert metadata == {
        "tenant": {"id": 7},
        "__blazen_collected_events": {
            "Page": [{"url": "a"}],
            "blazen::StartEvent": [{"data": {"urls": ["a", "bb", "ccc"]}}],
        },
    }
    assert WorkflowSnapshot.from_json(snapshots[0].to_json()) == snapshots[0]


async def test_metadata_that_only_has_the_name_of_what_blazen_repeats_is_kept() -> None:
    metadata = {"run_id": "another", "workflow_name": "pages"}
    assert WorkflowSnapshot.from_json(blazen(metadata=metadata)).metadata["user"] == {"run_id": "another"}


async def test_events_from_outside_come_after_those_that_were_pending() -> None:
    """Each call has an id of its own, or the second snapshot could not be read."""

    @step
    async def key(event: Page, ctx: Context) -> StopEvent | None:
        ctx.state[event.url] = ctx.idempotency_key
        return StopEvent(dict(ctx.state)) if event.url == "last" else None

    workflow = Workflow("pages", [begin, key])
    events = [pending("Page", {"url": "first"}), pending("Page", {"url": "second"})]
    async with workflow.resume(WorkflowSnapshot.from_json(blazen(pending_events=events))) as run:
        await run.pause()
        await run.send_event(Page(url="third"))
        await run.send_event(Page(url="last"))
        text = (await run.snapshot()).to_json()
    keys = await finished(workflow, text)
    assert list(keys) == ["first", "second", "third", "last"]
    assert len(set(keys.values())) == 4


async def test_history_is_kept_with_numbers_of_its_own() -> None:
    def entry(**kind: Any) -> dict[str, Any]:
        return {"timestamp": "2026-11-20T10:24:45Z", "sequence": 0, "kind": kind}

    history = [
        entry(type="WorkflowStarted", input={"__blazen_set__": []}),
        entry(type="EventReceived", event_type="Page", source_step=None),
        entry(type="StepFailed", step_name="count", error="ValueError", duration_ms=12),
        entry(type="WorkflowResumed"),
    ]
    events = [pending("blazen::StopEvent", {"result": 1})]
    async with pages(collect_history=True).resume(
        WorkflowSnapshot.from_json(blazen(history=history, pending_events=events))
    ) as run:
        await run.result()
    first, second, third, *rest = run.history
    assert (first.sequence, first.timestamp, first.kind) == (1, 1795170285.0, "workflow_started")
    assert first.data == {"input": {"__blazen_set__": []}}
    assert (second.kind, second.event_type, second.data) == ("event_received", "Page", {"source_step": None})
    assert (third.kind, third.step_name, third.error, third.duration_ms) == ("step_failed", "count", "ValueError", 12)
    assert [each.sequence for each in rest] == list(range(4, 4 + len(rest)))


async def test_what_was_read_is_a_snapshot_of_our_own_from_then_on() -> None:
    for text in (QUESTION, ANSWERED, PENDING):
        snapshot = WorkflowSnapshot.from_json(text)
        assert WorkflowSnapshot.from_json(text) == snapshot
        assert WorkflowSnapshot.from_json(snapshot.to_json()) == snapshot
        assert WorkflowSnapshot.from_msgpack(snapshot.to_msgpack()) == snapshot


# --- Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        "é\0\u2028",
        10**400,
        -(2**63) - 1,
        -0.0,
        1e300,
        [],
        {},
        {"": {"": [[{}]]}},
        {"__blazen_bytes__": "AA=="},
        {"__blazen_dict__": [["a", 1]]},
        {"__blazen_session_ref__": "no key"},
        {"__blazen_session_ref__": KEY, "more": 1},
        [{"__blazen_other__": {"__blazen_other__": [1, {"a": 10**30}]}}],
    ],
    ids=repr,
)
async def test_json_is_data_wherever_it_stands(value: Any) -> None:
    class Seen(Event):
        value: Any

    @step
    async def start(event: StartEvent) -> Seen:
        return Seen(event.data)

    @step
    async def see(event: Seen, ctx: Context) -> StopEvent:
        return StopEvent([ctx.state["key"], ctx.metadata["key"], event.value])

    text = blazen(
        context_state={"key": {"Json": value}},
        metadata={"key": value},
        pending_events=[pending("Seen", {"value": value})],
    )
    seen = await finished(Workflow("pages", [start, see]), text)
    assert list(map(repr, seen)) == [repr(value)] * 3  # of the same types, too


async def test_a_field_has_the_type_that_its_class_says() -> None:
    @attrs.frozen
    class Point:
        x: float

    class Rich(Event):
        point: Point
        day: date
        counts: dict[str, int]
        key: UUID

    @step
    async def start(event: StartEvent) -> Rich | None:
        return None

    @step
    async def end(event: Rich) -> StopEvent:
        return StopEvent([event.point == Point(2.5), event.day, event.counts, event.key])

    data = {"point": {"x": 2.5}, "day": "2024-05-01", "counts": {"__blazen_a": 10**30}, "key": KEY}
    workflow = Workflow("pages", [start, end])
    result = await finished(workflow, blazen(pending_events=[pending("Rich", data)]))
    assert result == [True, date(2024, 5, 1), {"__blazen_a": 10**30}, UUID(KEY)]
    with pytest.raises(SnapshotMismatchError, match="counts"):
        await finished(workflow, blazen(pending_events=[pending("Rich", {**data, "counts": {"a": "1"}})]))


def test_values_can_be_as_deep_as_in_our_own_state() -> None:
    deep = json.loads("[" * 64 + "]" * 64)
    assert WorkflowSnapshot.from_json(blazen(context_state={"k": {"Json": deep}})).context_state == {"k": deep}


# --- Live objects -----------------------------------------------------------------------------------------------------

EXPLODED: list[str] = []


def explode() -> str:
    EXPLODED.append("boom")
    return "boom"


class Bomb:
    def __reduce__(self) -> Any:
        return explode, ()


@pytest.fixture(autouse=True)
def _nothing_exploded() -> None:
    EXPLODED.clear()


def native(value: object) -> dict[str, Any]:
    return {"Native": list(pickle.dumps(value))}


async def test_a_pickled_value_is_a_session_ref_if_unpickling_is_allowed() -> None:
    async with approval(allow_pickle=True).resume(WorkflowSnapshot.from_json(QUESTION)) as run:
        await run.respond_to_input("request-1", "yes")
        result = await run.result()
        state = result.result[1]
        assert run.session_refs.get(state["day"]) == date(2024, 5, 1)
        assert run.session_refs.get(state["seen"]) == {7}


def test_nothing_is_unpickled_without_permission() -> None:
    async def resume() -> None:
        snapshot = WorkflowSnapshot.from_json(blazen(context_state={"bomb": native(Bomb())}))
        pickled: Any = snapshot.session_refs["pickled"]
        [key] = pickled
        assert snapshot.context_state == {"bomb": {"__blazen_session_ref__": key}}
        with pytest.raises(SessionRefsNotSerializableError, match="allow_pickle") as refused:
            pages().resume(snapshot)
        assert refused.value.keys == (key,)
        assert EXPLODED == []
        pages(allow_pickle=True).resume(snapshot)
        assert EXPLODED == ["boom"]

    trio.run(resume)


def test_a_pickle_that_is_none_is_refused_when_it_is_read() -> None:
    async def resume() -> None:
        snapshot = WorkflowSnapshot.from_json(blazen(context_state={"k": {"Native": [1, 2, 3]}}))
        with pytest.raises(SessionRefsNotSerializableError):
            pages(allow_pickle=True).resume(snapshot)

    trio.run(resume)


def test_a_pickle_that_is_too_big_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blazen_trio.session_refs.pickles.SAVED_BYTES_MAX", 10_000)
    WorkflowSnapshot.from_json(blazen(context_state={"k": native("a" * 1_000)}))
    with pytest.raises(SnapshotCorruptError, match="bytes"):
        WorkflowSnapshot.from_json(blazen(context_state={"k": native("a" * 10_000)}))


async def test_an_object_that_gave_its_bytes_is_rebuilt_from_them() -> None:
    """Blazen's Python package puts the name of the class in front of the bytes; the deserializer gets the bytes."""
    snapshot = WorkflowSnapshot.from_json(QUESTION)
    deserializers = {"shop.Blob": lambda data: ["blob", data]}
    async with approval(allow_pickle=True).resume(snapshot, deserializers) as run:
        assert run.session_refs.get(RegistryKey(KEY)) == ["blob", (7).to_bytes(4, "big")]
    async with approval(allow_pickle=True).resume(snapshot) as run:
        assert run.session_refs.get(RegistryKey(KEY)) is None  # it sleeps on
        assert KEY in (await run.snapshot()).to_json()


async def test_keys_in_events_find_their_objects() -> None:
    class Got(Event):
        blob: Live[list[Any]]

    @step
    async def start(event: StartEvent) -> Got | None:
        return None

    @step
    async def end(event: Got, ctx: Context) -> StopEvent:
        return StopEvent([event.blob, ctx.state["key"]])

    text = blazen(
        context_state={"key": {"Json": {"__blazen_session_ref__": KEY}}},
        pending_events=[pending("Got", {"blob": {"__blazen_session_ref__": KEY}})],
        metadata={"__blazen_serialized_session_refs": {KEY: {"type_tag": "bytes", "data": [1, 2]}}},
    )
    result = await finished(Workflow("pages", [start, end]), text, deserializers={"bytes": list})
    assert result == [[1, 2], RegistryKey(KEY)]


async def test_keys_that_blazen_dropped_are_told() -> None:
    snapshot = WorkflowSnapshot.from_json(blazen(metadata={"__blazen_dropped_session_refs": [KEY]}))
    assert snapshot.session_refs == {"dropped": [KEY]}
    assert snapshot.metadata["user"] == {}


def test_a_signature_is_of_the_snapshot_that_it_became() -> None:
    text = blazen(context_state={"bomb": native(Bomb())}, pending_events=[pending("blazen::StopEvent", {"result": 1})])
    with pytest.raises(SnapshotSignatureError, match="not signed"):
        WorkflowSnapshot.from_json(text, verify_key=b"key")
    signed = WorkflowSnapshot.from_json(text).sign(b"key").to_json()
    assert EXPLODED == []
    assert trio.run(lambda: finished_verified(signed)) == 1
    assert EXPLODED == ["boom"]


async def finished_verified(text: str) -> Any:
    async with pages().resume(WorkflowSnapshot.from_json(text, verify_key=b"key")) as run:
        return (await run.result()).result
