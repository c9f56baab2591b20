"""``collect_history=True``: what happened, numbered, in order."""

import pytest
import trio

from blazen_trio import (
    Context,
    HistoryEvent,
    InputRequestEvent,
    InputResponseEvent,
    RunStalledError,
    StartEvent,
    StepFailedError,
    StopEvent,
    Workflow,
    WorkflowTimeoutError,
    step,
)

from .stories import TWICE, Done, Item, fan_out, gather, one_item, stop, work


async def history_of(*steps, start=None, error=None, **options) -> tuple[HistoryEvent, ...]:
    async with Workflow("story", steps, collect_history=True, **options).start(start) as run:
        if error is None:
            await run.result()
        else:
            with pytest.raises(error):
                await run.result()
    return run.history


def told(history) -> list[tuple[str, str | None, str | None]]:
    return [(entry.kind, entry.step_name, entry.event_type) for entry in history]


async def test_the_whole_way_of_a_run_is_told_in_order():
    history = await history_of(one_item, work, stop)
    assert told(history) == [
        ("workflow_started", None, None),
        ("event_received", None, "StartEvent"),
        ("step_dispatched", "one_item", "StartEvent"),
        ("step_completed", "one_item", "StartEvent"),
        ("event_received", None, "Item"),
        ("step_dispatched", "work", "Item"),
        ("step_completed", "work", "Item"),
        ("event_received", None, "Done"),
        ("step_dispatched", "stop", "Done"),
        ("step_completed", "stop", "Done"),
        ("event_received", None, "StopEvent"),
        ("workflow_completed", None, "StopEvent"),
    ]
    assert [entry.sequence for entry in history] == list(range(1, 13))


async def test_a_fan_out_is_told_item_by_item():
    kinds = [kind for kind, _, event in told(await history_of(fan_out, work, gather, start=3)) if event == "Item"]
    assert sorted(kinds) == ["event_received"] * 3 + ["step_completed"] * 3 + ["step_dispatched"] * 3


async def test_failures_and_retries_are_told_with_attempts_errors_and_durations():
    @step(retry=TWICE)
    async def fetch(event: StartEvent, ctx: Context) -> StopEvent:
        await trio.sleep(2)
        raise ValueError("bad")

    history = await history_of(fetch, error=StepFailedError)
    attempts = [entry for entry in history if entry.step_name == "fetch"]
    assert [(entry.kind, entry.data["attempt"]) for entry in attempts] == [
        ("step_dispatched", 1),
        ("step_failed", 1),
        ("step_retried", 2),
        ("step_dispatched", 2),
        ("step_failed", 2),
    ]
    assert attempts[1].error == "ValueError: bad"
    assert attempts[1].duration_ms == pytest.approx(2000)
    assert history[-1].kind == "workflow_failed"
    assert "step 'fetch'" in (history[-1].error or "")
    assert [entry.timestamp - history[0].timestamp for entry in attempts] == pytest.approx([0, 2, 2, 3, 5])


async def test_questions_pauses_and_answers_are_told():
    @step
    async def ask(event: StartEvent) -> InputRequestEvent:
        return InputRequestEvent("yes?", "my-id")

    @step
    async def answered(event: InputResponseEvent) -> StopEvent:
        return StopEvent(event.response)

    async with Workflow("story", [ask, answered], collect_history=True).start() as run:
        await trio.sleep(1)
        await run.pause()
        await run.resume_in_place()
        await run.respond_to_input("my-id", 1)
        await run.result()
    kinds = [(entry.kind, entry.data.get("request_id")) for entry in run.history]
    wanted = ["input_requested", "workflow_paused", "workflow_resumed", "input_received"]
    assert [pair for pair in kinds if pair[0] in wanted] == [
        ("input_requested", "my-id"),
        ("workflow_paused", None),
        ("workflow_resumed", None),
        ("input_received", "my-id"),
    ]


async def test_the_end_is_told_by_its_kind():
    @step
    async def long(event: StartEvent) -> StopEvent | None:
        await trio.sleep(event.data)
        return None

    stalled = await history_of(long, start=0, error=RunStalledError)
    late = await history_of(long, start=100, timeout=10, error=WorkflowTimeoutError)
    async with Workflow("story", [long], collect_history=True).start(100) as run:
        await run.abort("enough")
    ends = [history[-1].kind for history in (stalled, late, run.history)]
    assert ends == ["workflow_failed", "workflow_timed_out", "workflow_aborted"]


async def test_without_the_option_there_is_no_history():
    async with Workflow("story", [one_item, work, stop]).start() as run:
        await run.result()
    assert run.history == ()


async def test_an_entry_about_a_join_names_the_class_of_its_items():
    history = await history_of(fan_out, work, gather, start=2)
    assert ("step_completed", "gather", "Done") in told(history)
    assert isinstance(history[0].data, dict)
    assert all(isinstance(item, HistoryEvent) for item in history)
    assert Done.event_type == "Done"
    assert Item.event_type == "Item"
