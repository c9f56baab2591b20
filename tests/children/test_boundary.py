"""What crosses the boundary between a run and those inside it: stream, usage, session refs; and what does not."""

from typing import Any

import pytest
import trio

from blazen_trio import (
    Context,
    LifecycleEvent,
    ProgressEvent,
    RefLifetime,
    RetryConfig,
    StartEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    step,
)
from blazen_trio.testing import drive
from tests.children.programs import doubling
from tests.children.stories import Answer, Crash, Mark, Query, ask_all, child_of, collect, emits_number, parent_of


async def write_and_report(event: StartEvent, ctx: Context) -> StopEvent:
    ctx.write_event_to_stream(Mark(ctx.workflow_name))
    ctx.report_progress(1, 4, "quarter")
    ctx.emit_usage(UsageEvent(total_tokens=2, cost_usd=0.25))
    await trio.sleep(1)
    return StopEvent({"number": 1})


reporting = child_of(write_and_report)


def twice_nested() -> Workflow:
    inner = parent_of(reporting, name="deep")
    outer = inner.as_step(
        accepts=Query, emits=Answer, name="outer", input=lambda _: 0, output=lambda result: Answer(result.result)
    )
    return Workflow("parent", [ask_all(1), outer, collect])


# --- The stream -------------------------------------------------------------------------------------------------------


async def test_what_is_written_inside_is_on_the_stream_with_the_path_of_its_call() -> None:
    async with twice_nested().start() as run:
        async with run.stream_events(types=(Mark, ProgressEvent, UsageEvent)) as events:
            items = [item async for item in events.envelopes()]
        result = await run.result()

    assert [type(item.event) for item in items] == [Mark, ProgressEvent, UsageEvent]
    assert {item.source_step for item in items} == {"outer/deep/write_and_report"}
    assert all(item.call_id is not None and item.call_id.count("/") == 2 for item in items)
    assert (items[1].event, run.progress) == (run.progress, ProgressEvent(1, 4, "quarter", items[0].source_step))
    assert result.usage_total.total_tokens == 2


async def test_the_numbers_have_no_holes_and_the_stop_event_is_the_last() -> None:
    async with parent_of(reporting, count=5).start() as run, run.stream_events() as events:
        items = [item async for item in events.envelopes()]

    assert [item.seq for item in items] == list(range(1, len(items) + 1))
    assert [type(item.event) for item in items].count(StopEvent) == 1
    assert items[-1].event == StopEvent(5)


async def test_calls_of_several_children_are_told_apart() -> None:
    async with parent_of(reporting, count=3).start() as run, run.stream_events(types=Mark) as events:
        ids = {item.call_id async for item in events.envelopes()}
    assert len(ids) == 3


async def test_lifecycle_events_name_both_steps_and_no_run_inside() -> None:
    async with parent_of(reporting).start() as run, run.stream_events(types=LifecycleEvent) as events:
        told = [(event.kind, event.step_name) async for event in events if isinstance(event, LifecycleEvent)]

    assert ("step_started", "inside/write_and_report") in told
    assert ("step_completed", "inside/write_and_report") in told
    assert [kind for kind, _ in told if kind.startswith("run_")] == ["run_completed"]


@pytest.mark.parametrize(("around", "inside"), [(False, True), (True, False)])
async def test_who_wants_no_lifecycle_events_gets_none_from_inside(*, around: bool, inside: bool) -> None:
    child = Workflow("child", reporting.steps, publish_lifecycle=inside)
    async with (
        parent_of(child, options={"publish_lifecycle": around}).start() as run,
        run.stream_events(types=LifecycleEvent) as events,
    ):
        steps = [event.step_name or "" async for event in events if isinstance(event, LifecycleEvent)]
    assert not any("/" in name for name in steps)


async def test_who_comes_late_hears_what_happens_inside_from_then_on() -> None:
    async with parent_of(reporting).start() as run:
        await trio.sleep(0.5)
        async with run.stream_events(types=LifecycleEvent) as events:
            told = [(event.kind, event.step_name) async for event in events if isinstance(event, LifecycleEvent)]
    assert told[0] == ("step_completed", "inside/write_and_report")


async def test_a_lossless_subscriber_holds_the_runs_inside_too() -> None:
    @step
    async def write(event: StartEvent, ctx: Context) -> Query:
        for number in range(10):
            ctx.write_event_to_stream(Mark(str(number)))
        return Query()

    @step
    async def end(event: Query) -> StopEvent:
        ended.append(trio.current_time())
        return StopEvent({"number": 1})

    ended: list[float] = []
    workflow = parent_of(Workflow("child", [write, end]), options={"stream_buffer": 4, "publish_lifecycle": False})
    async with workflow.start() as run, run.stream_events(lossless=True) as events:
        await trio.sleep(10)
        assert ended == []
        assert len([event async for event in events if isinstance(event, Mark)]) == 10
    assert ended == [10]


# --- Session refs -----------------------------------------------------------------------------------------------------


async def test_session_refs_of_a_child_are_those_of_the_run_around() -> None:
    keys: dict[RefLifetime, Any] = {}

    async def insert(event: StartEvent, ctx: Context) -> StopEvent:
        for lifetime in RefLifetime:
            keys[lifetime] = ctx.session_refs.insert(object(), lifetime=lifetime)
        return StopEvent({"number": 1})

    @step
    async def look(event: Answer, ctx: Context) -> StopEvent:
        assert all(ctx.session_refs.get(key) is not None for key in keys.values())
        await trio.sleep(1)
        return StopEvent()

    inside = child_of(insert).as_step(accepts=Query, emits=Answer)
    workflow = Workflow("parent", [ask_all(1), inside, look])
    async with workflow.start() as run:
        refs = (await run.result()).session_refs
        assert refs is run.session_refs
        left = set(refs.keys())
    assert left == set(keys.values()) - {keys[RefLifetime.UNTIL_PARENT_FINISH]}
    assert set(refs.keys()) == {keys[RefLifetime.UNTIL_EXPLICIT_DROP]}


# --- What stays inside ------------------------------------------------------------------------------------------------


async def test_state_session_and_events_stay_inside() -> None:
    async def look(event: StartEvent, ctx: Context) -> StopEvent:
        assert dict(ctx.state) == {}
        assert ctx.session == {}
        ctx.state["x"] = ctx.session["x"] = 1
        ctx.send_event(Query(5))
        return StopEvent({"number": 1})

    @step
    async def begin(event: StartEvent, ctx: Context) -> list[Query]:
        ctx.state["y"] = ctx.session["y"] = 2
        return [Query(1), Query(2)]

    @step
    async def end(answers: list[Answer], ctx: Context) -> StopEvent:
        assert ctx.session == {"y": 2}
        return StopEvent((dict(ctx.state), len(answers)))

    child = Workflow("child", [step(look)], events=[Query])
    inside = child.as_step(accepts=Query, emits=Answer)
    assert (await Workflow("parent", [begin, inside, end]).run()).result == ({"y": 2}, 2)


async def test_metadata_is_the_callers_everywhere() -> None:
    async def look(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent({"number": ctx.metadata["user"]})

    assert (await parent_of(child_of(look)).run(metadata={"user": 42})).result == 42


async def test_the_history_is_that_of_the_run_around() -> None:
    child = Workflow("child", reporting.steps, collect_history=True)
    async with parent_of(child, options={"collect_history": True}).start() as run:
        await run.result()
        names = {entry.step_name for entry in run.history}
    assert names == {None, "ask", "inside", "collect"}


async def test_retry_of_the_workflow_is_for_its_own_steps() -> None:
    tries: list[int] = []

    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        tries.append(ctx.attempt)
        if len(tries) < 3:
            raise Crash
        return StopEvent({"number": 1})

    retry = RetryConfig(max_retries=2, initial_delay_ms=1, jitter=False)
    await parent_of(child_of(fail), options={"retry": retry}).run()
    assert tries == [1, 1, 1]
    tries.clear()
    await parent_of(child_of(fail, retry=retry)).run()
    assert tries == [1, 2, 3]


# --- Forms ------------------------------------------------------------------------------------------------------------


async def test_the_input_is_the_fields_of_the_event_unless_said_otherwise() -> None:
    async def give(event: StartEvent) -> StopEvent:
        return StopEvent({"number": -1 if event.data is None else event.data["number"]})

    async def later(event: Query) -> dict[str, int]:
        await trio.sleep(1)
        return {"number": event.number + 10}

    child = child_of(give)
    assert (await parent_of(child).run(3)).result == 3
    assert (await parent_of(child, input=later).run(3)).result == 13
    assert (await parent_of(child, input=lambda event: None).run(3)).result == -1
    assert (await parent_of(child, input=lambda event: StartEvent({"number": 8})).run(3)).result == 8
    assert (await parent_of(child, input=lambda event: StopEvent({"number": 9})).run(3)).result == 9


async def test_the_output_may_be_async_or_nothing() -> None:
    async def later(result: Any) -> Answer:
        await trio.sleep(1)
        return Answer(result.result["number"] + 1)

    child = child_of(emits_number(5).function)
    assert (await parent_of(child, output=later).run()).result == 6
    assert (await parent_of(child, output=lambda result: None).run()).result == 0


async def test_an_event_that_is_the_result_is_emitted_as_it_is_or_gives_its_fields() -> None:
    for event in (Answer(5), Query(5)):

        async def give(_start: StartEvent, event: Any = event) -> StopEvent:
            return StopEvent(event)

        assert (await parent_of(child_of(give)).run()).result == 5


async def test_a_step_may_begin_and_end_the_run() -> None:
    only = doubling.as_step(
        accepts=StartEvent,
        emits=StopEvent,
        input=lambda event: event,
        output=lambda result: StopEvent(result.result["number"]),
    )
    assert (await Workflow("around", [only]).run({"number": 4})).result == 12


async def test_it_may_accept_several_classes_and_stand_in_a_class_body() -> None:
    class Other(Query, event_type="Other"):
        pass

    class Steps:
        inside = doubling.as_step(accepts=[Query, Other, Query], emits=Answer)

        @step
        async def begin(self, event: StartEvent) -> list[Query | Other]:
            return [Query(2), Other(3)]

    steps = Steps()
    assert steps.inside.accepts == (Query, Other)
    assert (await Workflow("around", [steps.begin, steps.inside, collect]).run()).result == 2 + 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accepts": 5}, r"accepts=\.\.\.\) takes an event class or several, not 5"),
        ({"accepts": ()}, "not none"),
        ({"emits": (Answer, int)}, r"emits=.*not <class 'int'>"),
        ({"emits": (Answer, Query)}, "more than one class in emits=, give output="),
        ({"bogus": 1}, "no option bogus"),
    ],
)
def test_what_is_no_step_is_told_at_once(options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        doubling.as_step(**{"accepts": Query, "emits": Answer, **options})


# --- Seen from outside ------------------------------------------------------------------------------------------------


def test_a_transcript_has_each_event_of_a_run_inside_once() -> None:
    lines = [line.split(maxsplit=1)[1] for line in drive(parent_of(reporting, count=2)).text.splitlines()]
    assert [line for line in lines if "Mark" in line] == [
        "inside/write_and_report#1: Mark(text='child')",
        "inside/write_and_report#2: Mark(text='child')",
    ]
    assert lines.count("step_started inside/write_and_report#2 (StartEvent)") == 1


def test_the_graph_shows_which_steps_run_workflows() -> None:
    workflow = parent_of(reporting)
    kinds = {node.name: node.kind for node in workflow.describe().nodes}
    assert (kinds["inside"], kinds["ask"], kinds["collect"]) == ("workflow", "step", "join")
    assert '[/"inside"' in workflow.to_mermaid()
