"""What `run` and `result` give: one `WorkflowResult`, or one error of one's own for everybody who waits."""

import traceback

import attrs
import pytest
import trio
import trio.testing

from blazen_trio import Context, Event, StartEvent, StepFailedError, StopEvent, UsageEvent, Workflow, step
from tests.runs.stories import Crash, solo


async def test_run_gives_the_result_the_event_the_id_and_the_usage():
    async def answer(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(prompt_tokens=3, total_tokens=3, cost_usd=0.5))
        return StopEvent(event.data * 2)

    result = await solo(answer).run(21)

    assert (result.result, result.event) == (42, StopEvent(42))
    assert (result.usage_total.prompt_tokens, result.cost_total_usd) == (3, 0.5)
    assert isinstance(result.run_id, str)
    assert result.run_id


async def test_a_run_without_input_gets_none():
    async def answer(event: StartEvent) -> StopEvent:
        return StopEvent(event)

    assert (await solo(answer).run()).result == StartEvent(None)


@pytest.mark.parametrize("given", [0, "", [], {}, {"data": 1}, (StartEvent(1),), StartEvent], ids=repr)
async def test_whatever_is_no_event_is_wrapped(given):
    async def answer(event: StartEvent) -> StopEvent:
        return StopEvent(event)

    assert (await solo(answer).run(given)).result.data is given


async def test_an_event_is_the_first_event_itself():
    class Begin(StartEvent):
        city: str

    async def answer(event: Begin) -> StopEvent:
        return StopEvent(event)

    begin = Begin(city="Rome")
    assert (await solo(answer).run(begin)).result is begin


async def test_the_result_of_a_stop_subclass_is_the_event():
    class Report(StopEvent):
        pages: int

    async def answer(event: StartEvent) -> Report:
        return Report(pages=7)

    result = await solo(answer).run()

    assert result.result is result.event
    assert result.result == Report(pages=7)


async def test_each_run_has_an_id_of_its_own():
    async def answer(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(ctx.run_id)

    workflow = solo(answer)
    one, other = await workflow.run(), await workflow.run()

    assert one.result == one.run_id != other.run_id == other.result


async def test_metadata_of_the_caller_is_a_copy():
    given = {"user": "ann"}

    async def answer(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.metadata["user"] = "bob"
        return StopEvent(ctx.metadata)

    assert (await solo(answer).run(metadata=given)).result == {"user": "bob"}
    assert given == {"user": "ann"}


async def test_a_result_is_read_only():
    async def answer(event: StartEvent) -> StopEvent:
        return StopEvent(1)

    result = await solo(answer).run()

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(result, "result", 2)  # noqa: B010 - a type checker refuses it already


async def test_runs_of_one_workflow_do_not_meet():
    async def count(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["count"] = ctx.state.get("count", 0) + event.data
        await trio.lowlevel.checkpoint()
        return StopEvent(ctx.state["count"])

    workflow, results = solo(count), []

    async def run(number: int) -> None:
        results.append((await workflow.run(number)).result)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(run, number)

    assert sorted(results) == list(range(50))


async def test_result_may_be_asked_for_again_and_after_the_block():
    async def answer(event: StartEvent) -> StopEvent:
        return StopEvent(1)

    async with solo(answer).start() as run:
        first = await run.result()
        assert await run.result() == first
    assert await run.result() == first


async def test_a_thousand_tasks_wait_and_half_of_them_are_cancelled():
    release, results = trio.Event(), []

    async def answer(event: StartEvent) -> StopEvent:
        await release.wait()
        return StopEvent("done")

    async with solo(answer).start() as run, trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(1_000)]

        async def wait(scope: trio.CancelScope) -> None:
            with scope:
                results.append((await run.result()).result)

        for scope in scopes:
            nursery.start_soon(wait, scope)
        await trio.testing.wait_all_tasks_blocked()
        for scope in scopes[::2]:
            scope.cancel()
        release.set()

    assert results == ["done"] * 500


async def test_each_waiter_gets_an_error_of_its_own_with_the_cause_and_a_short_traceback():
    release, errors = trio.Event(), []

    async def fail(event: StartEvent) -> StopEvent:
        await release.wait()
        raise Crash("no such page")

    async with solo(fail).start() as run, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(StepFailedError) as caught:
                await run.result()
            errors.append(caught.value)

        for _ in range(1_000):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        release.set()

    assert len({id(error) for error in errors}) == 1_000
    assert len({id(error.__cause__) for error in errors}) == 1
    assert isinstance(errors[0].__cause__, Crash)
    assert max(len(traceback.extract_tb(error.__traceback__)) for error in errors) <= 5
    assert len(traceback.extract_tb(errors[0].__cause__.__traceback__)) < 10


async def test_an_error_that_was_taken_can_be_taken_again_and_does_not_grow():
    async def fail(event: StartEvent) -> StopEvent:
        raise Crash

    async with solo(fail).start() as run:
        lengths = set()
        for _ in range(3):
            with pytest.raises(StepFailedError) as caught:
                await run.result()
            lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))

    assert len(lengths) == 1


async def test_a_waiter_that_changes_its_error_does_not_change_that_of_others():
    async def fail(event: StartEvent) -> StopEvent:
        raise Crash

    async with solo(fail).start() as run:
        with pytest.raises(StepFailedError) as one:
            await run.result()
        one.value.add_note("seen by one")
        one.value.step_name = "changed"
        with pytest.raises(StepFailedError) as other:
            await run.result()

    assert other.value.step_name == "fail"
    assert not hasattr(other.value, "__notes__")


async def test_a_wait_for_the_result_that_timed_out_leaves_the_run_alone(autojump_clock):
    async def answer(event: StartEvent) -> StopEvent:
        await trio.sleep(10)
        return StopEvent("late")

    async with solo(answer).start() as run:
        with trio.move_on_after(3) as scope:
            await run.result()
        assert scope.cancelled_caught
        assert (await run.result()).result == "late"


async def test_result_returns_at_the_stop_event_while_other_calls_still_clean_up(autojump_clock):
    class Slow(Event):
        pass

    @step
    async def begin(event: StartEvent, ctx: Context) -> list[Slow] | StopEvent:
        ctx.send_event(Slow())
        await trio.sleep(1)
        return StopEvent("first")

    @step
    async def slow(event: Slow) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(4)

    started = trio.current_time()
    async with Workflow("two", [begin, slow]).start() as run:
        assert (await run.result()).result == "first"
        assert trio.current_time() - started == pytest.approx(1)
    assert trio.current_time() - started == pytest.approx(5)
