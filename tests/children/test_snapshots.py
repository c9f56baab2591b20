"""A run inside a run is saved where it is; what is wrong with it in a snapshot is found before anything runs."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from blazen_trio import (
    Context,
    InputRequestEvent,
    RefLifetime,
    RetryConfig,
    RunStatus,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotMismatchError,
    StartEvent,
    StepFailedError,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    step,
)
from tests.children.stories import (
    Answer,
    Crash,
    Query,
    approve,
    ask_all,
    child_of,
    collect,
    emits_number,
    parent_of,
    question_of,
)

asking = child_of(approve)
workflow = parent_of(asking)


async def saved(of: Workflow = workflow) -> WorkflowSnapshot:
    """A run whose child asks."""
    async with of.start() as run:
        await question_of(run)
        return await run.snapshot()


def run_inside(snapshot: WorkflowSnapshot) -> Any:
    """The only run inside, as plain data."""
    inside: Any
    (inside,) = snapshot.children.values()
    return inside


async def resumed(snapshot: WorkflowSnapshot, *, by: Workflow = workflow, answer: int = 7) -> Any:
    async with by.resume(WorkflowSnapshot.from_json(snapshot.to_json())) as run:
        await run.respond_to_input(await question_of(run), answer)
        return (await run.result()).result


async def test_the_run_inside_goes_on_where_it_was() -> None:
    snapshot = await saved()

    inside = run_inside(snapshot)
    assert inside["workflow_name"] == "child"
    assert inside["timestamp"] == snapshot.timestamp
    assert await resumed(snapshot) == 7


async def test_it_does_not_begin_anew() -> None:
    begun: list[str] = []

    @step
    async def first(event: StartEvent, ctx: Context) -> Query:
        begun.append(ctx.run_id)
        return Query(4)

    @step
    async def second(event: Query, ctx: Context) -> StopEvent:
        await trio.sleep(5)
        return StopEvent({"number": event.number})

    workflow = parent_of(Workflow("child", [first, second]), input=lambda event: begun.append("input"))
    async with workflow.start() as run:
        await trio.sleep(1)
        snapshot = await run.snapshot()
    async with workflow.resume(snapshot) as run:
        assert (await run.result()).result == 4
    assert len(begun) == 2


async def test_the_running_time_inside_goes_on() -> None:
    child = child_of(emits_number(1, seconds=10).function, timeout=25)
    workflow = parent_of(child)
    snapshot = None
    for _ in range(2):
        async with workflow.start() if snapshot is None else workflow.resume(snapshot) as run:
            await trio.sleep(9)
            snapshot = await run.snapshot()
    assert snapshot is not None
    async with workflow.resume(snapshot) as run:
        with pytest.raises(StepFailedError, match="timed out after 25 s"):
            await run.result()
    assert trio.current_time() == 25


async def test_a_run_inside_that_is_over_is_not_run_again() -> None:
    ran: list[int] = []

    async def give(event: StartEvent) -> StopEvent:
        ran.append(1)
        return StopEvent({"number": 3})

    async def slow(result: Any) -> Answer:
        await trio.sleep(10)
        return Answer(result.result["number"])

    workflow = parent_of(child_of(give), output=slow)
    async with workflow.start() as run:
        await trio.sleep(5)
        snapshot = await run.snapshot()
    async with workflow.resume(snapshot) as run:
        assert (await run.result()).result == 3
    assert ran == [1]


async def test_answers_stand_in_the_outermost_run_and_serve_a_repeated_step() -> None:
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        number = await ctx.request_input("how many?")
        await trio.sleep(5)
        if not tries:
            tries.append(number)
            raise Crash
        return StopEvent({"number": number})

    tries: list[int] = []
    workflow = parent_of(child_of(ask), retry=RetryConfig(max_retries=1, jitter=False))
    async with workflow.start() as run:
        await run.respond_to_input(await question_of(run), 7)
        await trio.sleep(1)
        snapshot = await run.snapshot()
    assert list(json.loads(snapshot.to_json())["input_requests"]["answered"].values()) == [7]
    inside = run_inside(snapshot)
    assert inside["input_requests"] == {"open": [], "answered": {}}
    async with workflow.resume(snapshot) as run:
        assert (await run.result()).result == 7
    assert tries == [7]


async def test_an_answer_of_a_handler_serves_a_repeated_step_after_a_resume() -> None:
    asked: list[str] = []

    async def handler(event: InputRequestEvent) -> int:
        asked.append(event.prompt)
        return 7

    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        number = await ctx.request_input("how many?")
        await trio.sleep(5)
        if trio.current_time() < 12:
            raise Crash
        return StopEvent({"number": number})

    retry = RetryConfig(max_retries=3, initial_delay_ms=1_000, jitter=False)
    workflow = parent_of(child_of(ask), retry=retry, options={"input_handler": handler})
    async with workflow.start() as run:
        await trio.sleep(3)
        snapshot = await run.snapshot()
    async with workflow.resume(snapshot) as run:
        assert (await run.result()).result == 7
    assert asked == ["how many?"]


async def test_session_refs_of_a_child_are_saved_once_with_the_outermost_run() -> None:
    async def insert(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.session_refs.insert(["live"], lifetime=RefLifetime.UNTIL_PARENT_FINISH)
        await trio.sleep(5)
        return StopEvent({"number": len(ctx.session_refs)})

    workflow = parent_of(child_of(insert), options={"allow_pickle": True})
    async with workflow.start() as run:
        await trio.sleep(1)
        snapshot = await run.snapshot()
    assert snapshot.session_refs
    inside = run_inside(snapshot)
    assert inside["session_refs"] == {}
    async with workflow.resume(WorkflowSnapshot.from_json(snapshot.to_json())) as run:
        assert (await run.result()).result == 2  # that of before, and that of the repeated call


async def test_twenty_deep() -> None:
    deep = asking
    for number in range(20):
        pass_on = deep.as_step(
            accepts=StartEvent,
            emits=StopEvent,
            name=f"level{number}",
            input=lambda event: event,
            output=lambda result: StopEvent(result.result),
        )
        deep = Workflow(f"workflow{number}", [pass_on])
    snapshot = await saved(deep)
    assert await resumed(snapshot, by=deep, answer=20) == {"number": 20}


# --- Other workflows --------------------------------------------------------------------------------------------------


@step
async def approve_otherwise(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent({"number": await ctx.request_input("how many?")})


@step
async def inside_without_a_run(event: Query) -> Answer:
    return Answer()


CHANGED: dict[str, tuple[Workflow, str]] = {
    "its workflow has another name": (
        parent_of(Workflow("other", asking.steps)),
        "a run of workflow 'child', not of 'other'",
    ),
    "its step is gone": (parent_of(Workflow("child", [approve_otherwise])), "no step 'approve'"),
    "the step around is gone": (parent_of(asking, name="elsewhere"), "no step 'inside'"),
    "the step around runs no workflow": (
        Workflow("parent", [ask_all(1), inside_without_a_run.with_options(name="inside"), collect]),
        "step 'inside' ran a workflow and does not here",
    ),
}


@pytest.mark.parametrize("change", CHANGED)
async def test_a_workflow_that_changed_inside_is_a_mismatch(change: str) -> None:
    other, message = CHANGED[change]
    snapshot = await saved()
    with pytest.raises(SnapshotMismatchError, match=message):
        other.resume(snapshot)


# --- Tampering --------------------------------------------------------------------------------------------------------


def child_in(data: Any) -> Any:
    (inside,) = data["children"].values()
    return inside


def move_to_another_call(data: Any) -> None:
    data["children"] = {"0" * 31 + "1": child_in(data)}


def let_the_call_wait_for_its_next_attempt(data: Any) -> None:
    (call,) = data["pending_events"]["steps"].pop("inside")
    data["pending_events"]["retrying"] = [{"step": "inside", **call}]
    data["timers"] = {call["id"]: 1.0}


def double_the_question(data: Any) -> None:
    child_in(data)["input_requests"]["open"] *= 2


def answer_the_open_question(data: Any) -> None:
    request_id = child_in(data)["input_requests"]["open"][0]["event"]["data"]["request_id"]
    data["input_requests"]["answered"][request_id] = 5


def nest_deeply(data: Any) -> None:
    inside = child_in(data)
    for _ in range(50):
        inside["children"] = {"0" * 32: dict(inside)}


def setter(*path: str, value: Any) -> Callable[[Any], None]:
    def tamper(data: Any) -> None:
        place = child_in(data)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return tamper


TAMPERINGS: dict[str, Callable[[Any], None]] = {
    "a child of a call that is not there": move_to_another_call,
    "a child of a call that runs nothing": lambda data: data["children"].update(
        {data["pending_events"]["steps"].get("ask", [{"id": "0" * 32}])[0]["id"]: child_in(data)}
    ),
    "a child of a call between two attempts": let_the_call_wait_for_its_next_attempt,
    "a child that is no snapshot": lambda data: data["children"].update(dict.fromkeys(data["children"], 5)),
    "the children are no object": lambda data: data.update(children=[1]),
    "another run": setter("run_id", value="other"),
    "another version": setter("version", value=99),
    "no version": lambda data: child_in(data).pop("version"),
    "another field": setter("more", value=1),
    "session refs inside": setter("session_refs", value={"x": {}}),
    "answers inside": setter("input_requests", "answered", value={"x": 1}),
    "a history inside": setter("history", value=[]),
    "metadata inside": setter("metadata", "user", value={"x": 1}),
    "a channel inside": setter("metadata", "engine", "senders", value=1),
    "pending events that are not there": setter("metadata", "engine", "pending", value=5),
    "over without an outcome": setter("status", value="completed"),
    "the question twice": double_the_question,
    "a question that is answered": answer_the_open_question,
    "deep nesting": nest_deeply,
    "no elapsed time": setter("elapsed", value="x"),
}


@pytest.mark.parametrize("what", TAMPERINGS)
async def test_what_was_tampered_with_is_refused(what: str) -> None:
    data = json.loads((await saved()).to_json())
    TAMPERINGS[what](data)
    with pytest.raises(SnapshotError) as caught:
        workflow.resume(WorkflowSnapshot.from_json(json.dumps(data)))
    assert type(caught.value) is SnapshotCorruptError
    assert str(caught.value)


async def test_a_child_that_lost_its_work_ends_and_does_not_hang() -> None:
    data = json.loads((await saved()).to_json())
    inside = child_in(data)
    inside["pending_events"]["steps"] = {}
    inside["input_requests"]["open"] = []
    inside["metadata"]["engine"]["pending"] = 0
    async with workflow.resume(WorkflowSnapshot.from_json(json.dumps(data))) as run:
        with pytest.raises(StepFailedError, match="RunStalledError"):
            await run.result()
        assert run.status is RunStatus.FAILED
