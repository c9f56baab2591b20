"""A run inside that fails, fails its step: one exception, its cause kept; what it did does not count."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    NoHandlerError,
    RetryConfig,
    RunStalledError,
    StartEvent,
    StepFailedError,
    StepFailedEvent,
    StepResultError,
    StepTimeoutError,
    StopEvent,
    SubWorkflowError,
    UsageEvent,
    Workflow,
    WorkflowAbortedError,
    WorkflowTimeoutError,
    parallel_step,
    step,
)
from tests.children.stories import Answer, Crash, Mark, Query, ask_all, child_of, collect, emits_number, parent_of

TWICE_MORE = RetryConfig(max_retries=2, initial_delay_ms=1_000, jitter=False)


async def crash(event: StartEvent) -> StopEvent:
    raise Crash("no such page")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


async def failure_of(workflow: Workflow) -> list[BaseException]:
    """The error of a run and what caused it, one after the other; each can be pickled."""
    with pytest.raises(StepFailedError) as caught:
        await workflow.run()
    chain = list(causes(caught.value))
    for error in chain:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
    return chain


def kinds(chain: list[BaseException]) -> list[type[BaseException]]:
    return [type(error) for error in chain]


async def test_the_error_of_the_step_leads_to_what_the_user_raised() -> None:
    chain = await failure_of(parent_of(child_of(crash)))

    assert kinds(chain) == [StepFailedError, SubWorkflowError, StepFailedError, Crash]
    assert "inside" in str(chain[0])
    assert "no such page" in str(chain[0])


async def test_through_three_workflows() -> None:
    middle = parent_of(child_of(crash))
    outer = Workflow("outer", [middle.as_step(accepts=StartEvent, emits=StopEvent, input=lambda event: event.data)])

    chain = await failure_of(outer)
    assert kinds(chain) == [*([StepFailedError, SubWorkflowError] * 2), StepFailedError, Crash]


async def test_a_parallel_step_fails_as_its_child_does() -> None:
    def bad(name: str) -> Any:
        return child_of(crash).as_step(accepts=Query, emits=Answer, name=name)

    slow = child_of(emits_number(1, seconds=9)).as_step(accepts=Query, emits=Answer, name="slow")
    inner = parallel_step("inner", [slow, bad("deep")], join="first")
    for children in ([slow, bad("one")], [slow, inner]):
        chain = await failure_of(Workflow("parent", [ask_all(1), parallel_step("all", children), collect]))
        assert kinds(chain) == [StepFailedError, SubWorkflowError, StepFailedError, Crash]


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        (child_of(emits_number(1, seconds=9).function, timeout=3), WorkflowTimeoutError),
        (child_of(emits_number(1).function), StepFailedError),
    ],
    ids=["timeout", "bad input"],
)
async def test_whatever_ends_the_child_is_the_cause(child: Workflow, expected: type[Exception]) -> None:
    mark: Any = {} if expected is WorkflowTimeoutError else {"input": lambda event: Mark("nobody takes it")}
    chain = await failure_of(parent_of(child, **mark))
    assert type(chain[2]) is (expected if not mark else NoHandlerError)


async def test_a_child_that_stalls_says_so() -> None:
    async def nothing(event: StartEvent) -> StopEvent | None:
        return None

    assert kinds(await failure_of(parent_of(child_of(nothing)))) == [StepFailedError, SubWorkflowError, RunStalledError]


async def test_a_child_that_waits_for_an_event_that_nobody_can_send_stalls() -> None:
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent({"number": await ctx.wait_for_event(Mark)})

    workflow = parent_of(child_of(wait))
    assert type((await failure_of(workflow))[-1]) is RunStalledError
    async with workflow.start() as run:
        with pytest.raises(StepFailedError, match="waits for a Mark, which nobody can give to a run inside"):
            await run.result()


async def test_the_timeout_of_the_step_ends_the_run_inside() -> None:
    ended = []

    async def slow(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep(100)
        finally:
            ended.append(trio.current_time())
        return StopEvent()

    began = trio.current_time()
    chain = await failure_of(parent_of(child_of(slow), timeout=5))
    assert kinds(chain) == [StepFailedError, StepTimeoutError]
    assert ended == [began + 5]


async def test_the_timeout_of_the_run_around_ends_the_run_inside() -> None:
    workflow = parent_of(child_of(emits_number(1, seconds=100).function), options={"timeout": 5})
    with pytest.raises(WorkflowTimeoutError) as caught:
        await workflow.run()
    assert caught.value.__cause__ is None


# --- Mappers and results ----------------------------------------------------------------------------------------------


def crash_at(given: object) -> Any:
    raise Crash("mapper")


@pytest.mark.parametrize("mapper", ["input", "output"])
async def test_a_mapper_that_raises_fails_the_step(mapper: str) -> None:
    options: dict[str, Any] = {mapper: crash_at}
    chain = await failure_of(parent_of(child_of(emits_number(1).function), **options))
    assert kinds(chain) == [StepFailedError, Crash]


@pytest.mark.parametrize("result", [5, {"nmber": 1}, {}, {1: 2}, None, Mark("a result")])
async def test_a_result_that_does_not_fit_is_told_and_not_retried(result: object) -> None:
    class Strict(Event):
        must: int

    async def give(event: StartEvent) -> StopEvent:
        return StopEvent(result)

    inside = child_of(give).as_step(accepts=Query, emits=Strict, retry=TWICE_MORE)

    @step
    async def end(event: Strict) -> StopEvent:
        return StopEvent()

    with pytest.raises(StepFailedError, match=r"after 1 attempt.*fields of Strict") as caught:
        await Workflow("parent", [ask_all(1), inside, end]).run()
    assert isinstance(caught.value.__cause__, StepResultError)


async def test_what_output_gives_is_checked() -> None:
    for wrong in (StopEvent(1), [Answer(1)], "text"):

        def give(result: object, wrong: object = wrong) -> object:
            return wrong

        chain = await failure_of(parent_of(child_of(emits_number(1).function), output=give))
        assert kinds(chain) == [StepFailedError, StepResultError]


# --- Retries and recoveries -------------------------------------------------------------------------------------------


async def test_a_repeated_step_has_a_new_run_under_the_same_ids() -> None:
    seen: list[tuple[str, str, object]] = []

    @step
    async def note(event: StartEvent, ctx: Context) -> Query:
        seen.append((ctx.run_id, ctx.idempotency_key, ctx.state.get("seen")))
        ctx.state["seen"] = True
        ctx.emit_usage(UsageEvent(total_tokens=1, cost_usd=0.5))
        return Query(len(seen))

    @step
    async def fail_twice(event: Query, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(total_tokens=10))
        if event.number < 3:
            raise Crash
        return StopEvent({"number": event.number})

    result = await parent_of(Workflow("child", [note, fail_twice]), retry=TWICE_MORE).run()
    assert result.result == 3
    assert seen == [seen[0]] * 3  # the state is new each time: nothing was seen
    assert (result.usage_total.total_tokens, result.cost_total_usd) == (11, 0.5)


async def test_usage_is_counted_while_the_child_runs_and_taken_back_when_it_fails() -> None:
    @step
    async def use(event: StartEvent, ctx: Context) -> Query:
        ctx.emit_usage(UsageEvent(total_tokens=3, cost_usd=1.0))
        return Query(1)

    @step
    async def fail(event: Query, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(total_tokens=4))
        await trio.sleep(2)
        raise Crash

    workflow = parent_of(Workflow("child", [use, fail]), retry=TWICE_MORE)
    async with workflow.start() as run:
        await trio.sleep(1)
        assert (run.usage_total.total_tokens, run.cost_total_usd) == (7, 1.0)
        await trio.sleep(1.5)
        assert (run.usage_total.total_tokens, run.cost_total_usd) == (0, 0.0)


async def test_another_step_may_take_the_failed_ones_place() -> None:
    @step
    async def recover(event: StepFailedEvent) -> Answer:
        assert (event.step_name, event.error_type) == ("inside", "SubWorkflowError")
        return Answer(100)

    workflow = parent_of(child_of(crash), count=3)
    assert (await Workflow("parent", [*workflow.steps, recover]).run()).result == 300


async def test_a_workflow_may_be_the_recovery() -> None:
    async def give(event: StartEvent) -> StopEvent:
        return StopEvent({"number": len(event.data["step_name"])})

    workflow = parent_of(child_of(crash), count=2)
    recover = child_of(give).as_step(accepts=StepFailedEvent, emits=Answer, name="recover")
    assert (await Workflow("parent", [*workflow.steps, recover]).run()).result == 2 * len("inside")


# --- What ends more than the child ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_the_end_of_the_program_passes_through(error: type[BaseException]) -> None:
    async def end(event: StartEvent) -> StopEvent:
        raise error

    for workflow in (parent_of(child_of(end), count=3), parent_of(child_of(end), retry=TWICE_MORE)):
        with pytest.raises(error) as caught:
            await workflow.run()
        assert type(caught.value) is error
        with pytest.raises(error):
            async with workflow.start():
                await trio.sleep_forever()


async def test_a_handler_that_fails_in_a_child_fails_its_step() -> None:
    async def handler(event: InputRequestEvent) -> object:
        raise Crash("busy")

    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent({"number": await ctx.request_input("?")})

    chain = await failure_of(parent_of(child_of(ask), options={"input_handler": handler}))
    assert kinds(chain)[-1] is Crash


async def test_an_error_while_a_child_is_cancelled_is_no_second_error() -> None:
    async def rude(event: StartEvent) -> StopEvent:
        try:
            await trio.sleep_forever()
        finally:
            raise Crash("while cancelled")

    workflow = parent_of(child_of(rude), count=5)
    async with workflow.start() as run:
        await trio.sleep(1)
        await run.abort("enough")
        with pytest.raises(WorkflowAbortedError, match="enough"):
            await run.result()
    with trio.move_on_after(1) as scope:
        await workflow.run()
    assert scope.cancelled_caught
