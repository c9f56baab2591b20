"""Several workflows on one event at once: all of their events, or the first."""

from typing import Any

import pytest
import trio

from blazen_trio import StartEvent, StepFailedError, StopEvent, Workflow, WorkflowValidationError, parallel_step, step
from tests.children.stories import Answer, Mark, Query, ask_all, child_of, collect, emits_number


def after(seconds: float, **options: Any) -> Any:
    """A child that gives its seconds, after them."""
    child = child_of(emits_number(int(seconds), seconds=seconds).function)
    return child.as_step(**{"accepts": Query, "emits": Answer, "name": f"after{seconds}", **options})


def around(parallel: Any) -> Workflow:
    return Workflow("parent", [ask_all(1), parallel, collect_all])


@step
async def collect_all(answers: list[Answer]) -> StopEvent:
    return StopEvent([answer.number for answer in answers])


async def test_all_events_come_in_the_order_of_the_steps() -> None:
    parallel = parallel_step("all", [after(3), after(1), after(2)])
    assert (await around(parallel).run()).result == [3, 1, 2]
    assert trio.current_time() == 3


async def test_the_first_event_cancels_the_others() -> None:
    parallel = parallel_step("first", [after(3), after(1), after(2)], join="first")
    workflow = Workflow("parent", [ask_all(1), parallel, collect_all.with_options(name="end")])
    async with workflow.start() as run:
        assert (await run.result()).result == [1]
        assert trio.current_time() == 1


async def test_who_gives_nothing_does_not_win() -> None:
    nothing = after(1, output=lambda result: None)
    assert (await around(parallel_step("first", [after(3), nothing, after(2)], join="first")).run()).result == [2]


@pytest.mark.parametrize("join", ["all", "first"])
async def test_nothing_from_anybody_is_nothing(join: Any) -> None:
    @step
    async def several(event: StartEvent) -> list[Query]:
        return [Query(), Query()]

    nothing = [after(number, output=lambda result: None) for number in range(2)]
    workflow = Workflow("parent", [several, parallel_step("none", nothing, join=join), collect])
    assert (await workflow.run()).result == 0


async def test_nothing_from_all_is_a_fan_out_of_nothing() -> None:
    nothing = [after(number, accepts=StartEvent, output=lambda result: None) for number in range(2)]
    assert (await Workflow("parent", [parallel_step("none", nothing), collect]).run()).result == 0


async def test_what_a_child_may_not_give_is_its_own_mistake() -> None:
    wrong = after(1, output=lambda result: Mark("not announced"))
    with pytest.raises(StepFailedError, match="step 'after1' returned a Mark; expected Answer or None"):
        await around(parallel_step("all", [wrong, after(2)])).run()


async def test_the_first_may_be_several_events() -> None:
    race = parallel_step("race", [after(9), parallel_step("both", [after(1), after(2)])], join="first")
    assert (await around(race).run()).result == [1, 2]
    assert trio.current_time() == 2


async def test_one_step_is_enough() -> None:
    assert (await around(parallel_step("one", [after(1)])).run()).result == [1]


@pytest.mark.parametrize("result", [StopEvent(["a", "list"]), StopEvent(5)])
async def test_the_first_may_end_the_run(result: StopEvent) -> None:
    enders = [
        after(number, accepts=StartEvent, emits=StopEvent, input=lambda event: None, output=lambda _: result)
        for number in (2, 1)
    ]
    workflow = Workflow("parent", [parallel_step("race", enders, join="first")])
    assert (await workflow.run()).event == result
    assert trio.current_time() == 1


async def test_parallel_steps_may_stand_in_parallel_steps() -> None:
    inner = parallel_step("inner", [after(1), after(2)])
    race = parallel_step("race", [after(4), after(3)], join="first")
    parallel = parallel_step("outer", [inner, race, after(5)])
    assert (await around(parallel).run()).result == [1, 2, 3, 5]


async def test_options_of_the_children_and_of_the_whole_hold() -> None:
    parallel = parallel_step("all", [after(3, timeout=9), after(9)]).with_options(timeout=5, name="other")
    with pytest.raises(StepFailedError, match=r"step 'other' in run .* did not end within 5 s"):
        await around(parallel).run()


def test_what_cannot_be_parallel_is_told_at_once() -> None:
    @step
    async def plain(event: Query) -> Answer:
        return Answer()

    wrong: list[tuple[type[Exception], str, Any, Any]] = [
        (ValueError, "has no steps", [], "all"),
        (ValueError, "neither", [after(1)], "any"),
        (TypeError, r"made by Workflow\.as_step", [plain], "all"),
        (TypeError, "accept different events", [after(1), after(2, accepts=Mark)], "all"),
        (TypeError, "cannot collect", [after(1, emits=StopEvent)], "all"),
        (WorkflowValidationError, "2 steps are named 'same'", [after(1, name="same"), after(2, name="same")], "all"),
        (WorkflowValidationError, "2 steps are named 'parallel_begin'", [after(1, name="parallel_begin")], "all"),
    ]
    for error, message, steps, join in wrong:
        with pytest.raises(error, match=message):
            parallel_step("parallel", steps, join=join)


async def test_children_may_accept_several_classes() -> None:
    @step
    async def begin(event: StartEvent) -> list[Query | Mark]:
        return [Query(), Mark("x")]

    children = [
        after(seconds, accepts=classes, input=lambda event: None)
        for seconds, classes in ((1, [Query, Mark]), (2, [Mark, Query]))
    ]

    @step
    async def end(answers: list[Answer]) -> StopEvent | None:
        total.append([answer.number for answer in answers])
        return StopEvent(total) if len(total) == 2 else None

    total: list[list[int]] = []
    workflow = Workflow("parent", [begin, parallel_step("both", children), end])
    assert (await workflow.run()).result == [[1, 2], [1, 2]]
