"""Building a workflow finds every problem at once, and says the fix of each."""

import math

import attrs
import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    RetryConfig,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowError,
    WorkflowValidationError,
    step,
)

from .stories import Done, Item, Other, fan_out, gather, one_item, problems_of, result_of, stop, work


@step
async def end(event: StartEvent) -> StopEvent:
    return StopEvent()


def test_a_workflow_needs_steps():
    assert problems_of() == (
        "there are no steps; give at least one that accepts StartEvent and one that returns StopEvent",
    )


def test_a_workflow_needs_a_name():
    assert problems_of(end, name="") == ("the workflow's name is ''; give a non-empty str",)


def test_steps_have_names_of_their_own():
    again = end.with_options(timeout=3)
    assert problems_of(end, again, again) == (
        "3 steps are named 'end'; rename with @step(name=...) or with_options(name=...)",
    )


def test_a_function_must_be_made_a_step():
    async def plain(event: StartEvent) -> StopEvent:
        raise NotImplementedError

    (problem,) = problems_of(end, plain)  # type: ignore[arg-type]  # the mistake
    assert problem.startswith("item 1 of steps is <function")
    assert problem.endswith("decorate the function with @step")


def test_event_classes_have_names_of_their_own():
    class Twin(Event, event_type="Item"):
        pass

    @step
    async def twin(event: Item) -> Twin:
        raise NotImplementedError

    @step
    async def last(event: Twin) -> StopEvent:
        raise NotImplementedError

    (problem,) = problems_of(one_item, twin, last)
    assert "two event classes are named 'Item' (tests.steps.stories.Item and" in problem
    assert "give one of them class X(Event, event_type=...)" in problem


def test_an_event_class_may_not_have_the_name_of_a_built_in_one():
    class Impostor(Event, event_type="StopEvent"):
        pass

    (problem,) = problems_of(end, events=[Impostor])
    assert "two event classes are named 'StopEvent'" in problem


def test_what_is_returned_must_be_accepted():
    (problem,) = problems_of(one_item, end)
    assert problem == (
        "step 'one_item' returns Item, which no step accepts; add a step for it, or declare it with events=[Item] "
        "if a call waits for it"
    )


def test_what_is_sent_must_be_accepted():
    @step(sends=[Other])
    async def send(event: StartEvent) -> StopEvent:
        raise NotImplementedError

    (problem,) = problems_of(send)
    assert "step 'send' returns Other, which no step accepts" in problem


@pytest.mark.parametrize("base", [Item, Done])
def test_only_the_exact_class_is_accepted(base):
    class Special(base):  # type: ignore[misc,valid-type]  # a parameter as base
        pass

    async def special(event: StartEvent) -> StopEvent:
        raise NotImplementedError

    special.__annotations__["return"] = Special | StopEvent
    assert "returns Special, which no step accepts" in problems_of(step(special), one_item, work, stop)[0]


def test_what_is_accepted_must_be_sent_by_somebody():
    (problem,) = problems_of(end, work, stop)
    assert problem == (
        "step 'work' accepts Item, which nobody can send; return it from a step, declare @step(sends=[Item]) where "
        "ctx.send_event sends it, or Workflow(..., events=[Item]) if it comes from outside"
    )


@pytest.mark.parametrize("way", ["sends", "events", "any event"])
async def test_there_are_three_ways_to_say_where_an_event_comes_from(way):
    async def begin(event: StartEvent, ctx: Context) -> Event | None:
        ctx.send_event(Item(3))
        return None

    sends = [Item] if way == "sends" else []
    events = [Item] if way == "events" else []
    begin.__annotations__["return"] = Event if way == "any event" else None
    assert await result_of(step(sends=sends)(begin), work, stop, events=events) == 3


def test_there_must_be_a_way_in():
    @step
    async def loop(event: Item) -> Item | StopEvent:
        raise NotImplementedError

    assert problems_of(loop) == (
        "no step accepts StartEvent (or a subclass of it, or a class of events=), so no run can begin",
    )


def test_there_must_be_a_way_to_a_stop():
    @step
    async def loop(event: Item) -> Item:
        raise NotImplementedError

    assert problems_of(one_item, loop) == (
        "no way from the start leads to a StopEvent; let a step on the way return one",
    )


def test_a_stop_that_the_start_does_not_lead_to_is_no_way():
    @step
    async def loop(event: Item) -> Item:
        raise NotImplementedError

    @step
    async def island(event: Other) -> Other | StopEvent:
        raise NotImplementedError

    assert "no way from the start leads to a StopEvent; let a step on the way return one" in problems_of(
        one_item, loop, island
    )


def test_a_join_needs_a_fan_out():
    assert (
        "join 'gather' collects Done, but no fan-out leads to it; let a step before it return a list, or accept the "
        "event without list[...]"
    ) in problems_of(one_item, work, gather)


def test_a_join_outside_of_the_fan_out_is_refused():
    """The fan-out was joined before; what comes after it is single again."""

    @step
    async def first_join(items: list[Item]) -> Done:
        raise NotImplementedError

    assert any(
        "join 'gather' collects Done, but no fan-out" in text for text in problems_of(fan_out, first_join, gather)
    )


@pytest.mark.parametrize("opener", ["list", "tuple", "generator", "sends", "any event"])
def test_every_way_to_open_a_fan_out_leads_to_a_join(opener):
    async def begin(event: StartEvent): ...

    async def produce(event: StartEvent):
        yield Item(1)

    made = {
        "list": list[Item],
        "tuple": tuple[Item, ...],
        "sends": None,
        "any event": Event,
    }
    begin.__annotations__["return"] = made.get(opener)
    if opener == "any event":
        begin.__annotations__.pop("return")
    first = step(produce) if opener == "generator" else step(sends=[Item] if opener == "sends" else [])(begin)
    Workflow("story", [first, work, gather])


def test_a_join_inside_a_fan_out_may_be_fed_by_single_events():
    @step
    async def again(event: Item) -> Other:
        raise NotImplementedError

    @step
    async def last(event: Other) -> Done:
        raise NotImplementedError

    Workflow("story", [fan_out, again, last, gather])


def test_a_stop_is_for_no_step():
    @step
    async def after(event: StopEvent) -> None: ...

    assert problems_of(end, after) == (
        "step 'after' accepts a StopEvent, which ends the run before any step; take another event",
    )


def test_routing_by_the_base_class_is_refused():
    @step
    async def anything(event: Event) -> StopEvent:
        raise NotImplementedError

    assert any(
        "'anything' accepts Event itself; routing is by exact class" in text for text in problems_of(end, anything)
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_concurrency": 0}, "max_concurrency=0: give an int of at least 1, or math.inf"),
        ({"max_concurrency": -1}, "max_concurrency=-1: give an int"),
        ({"max_concurrency": 1.5}, "max_concurrency=1.5: give an int"),
        ({"max_concurrency": True}, "max_concurrency=True: give an int"),
        ({"timeout": 0}, "timeout=0: give a number of seconds greater than 0"),
        ({"timeout": -1}, "timeout=-1: give a number of seconds greater than 0"),
        ({"timeout": math.nan}, "timeout=nan: give a number of seconds greater than 0"),
        ({"timeout": "3"}, "timeout='3': give a number of seconds"),
        ({"timeout": True}, "timeout=True: give a number of seconds"),
        ({"retry": 3}, "retry=3: give a RetryConfig"),
        ({"limiter": 3}, "limiter=3: give a trio.CapacityLimiter"),
        ({"max_recoveries": -1}, "max_recoveries=-1: give an int of at least 0"),
        ({"sends": ["Item"]}, "sends= has 'Item': list event classes"),
        ({"recovers": ["end"]}, "recovers= is for a step that accepts StepFailedEvent"),
        ({"name": ""}, "its name is ''; give a non-empty str"),
    ],
)
def test_the_options_of_steps_are_checked(options, problem):
    (found,) = problems_of(end.with_options(**options))
    assert found.startswith(f"step {options.get('name', 'end')!r}: {problem}")


@attrs.frozen
class NeedsACity:
    city: str
    days: int = 3


async def answer(question: InputRequestEvent) -> object:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout": 0}, "timeout=0: give a number of seconds greater than 0"),
        ({"retry": 3}, "retry=3: give a RetryConfig"),
        ({"max_pending_events": 0}, "max_pending_events=0: give an int of at least 1"),
        ({"stream_buffer": -5}, "stream_buffer=-5: give an int of at least 1"),
        ({"max_session_refs": 1.5}, "max_session_refs=1.5: give an int of at least 1"),
        ({"input_handler": print}, "input_handler=<built-in function print>: give an async function"),
        ({"input_handler": lambda question: question.prompt}, "input_handler=<function"),
        ({"state_type": dict}, "state_type=<class 'dict'>: give an attrs class"),
        ({"state_type": NeedsACity}, "state_type NeedsACity has no default for city; give every field one"),
        ({"events": ["Item"]}, "events= has 'Item'; list event classes"),
    ],
)
def test_the_options_of_the_workflow_are_checked(options, problem):
    (found,) = problems_of(end, **options)
    assert found.startswith(problem)


def test_good_options_are_no_problem():
    limited = end.with_options(
        max_concurrency=math.inf,
        timeout=math.inf,
        retry=RetryConfig(),
        max_recoveries=0,
    )
    Workflow("story", [limited], timeout=math.inf, input_handler=answer)


async def test_a_limiter_is_no_problem():
    assert await result_of(end.with_options(limiter=trio.CapacityLimiter(1))) is None


def test_a_question_needs_nobody_but_its_answer_needs_a_question():
    @step
    async def ask(event: StartEvent) -> InputRequestEvent:
        raise NotImplementedError

    @step
    async def answered(event: InputResponseEvent) -> StopEvent:
        raise NotImplementedError

    Workflow("story", [ask, answered])
    assert any(
        "step 'answered' accepts InputResponseEvent, which nobody can send" in text
        for text in problems_of(end, answered)
    )


def test_a_name_in_an_annotation_that_is_never_defined_is_a_problem():
    @step
    async def lost(event: "Nowhere") -> StopEvent:  # type: ignore[name-defined]  # noqa: F821 - the mistake
        raise NotImplementedError

    (problem,) = problems_of(end, lost)
    assert problem.startswith("step 'lost': name 'Nowhere' is not defined; define or import that class before")


def test_a_recovery_is_reached_by_failures_alone():
    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        raise NotImplementedError

    @step
    async def always_fails(event: StartEvent) -> None: ...

    Workflow("story", [always_fails, rescue])


def test_everything_is_told_at_once():
    @step(max_concurrency=0, timeout=-1)
    async def begin(event: StartEvent) -> Item:
        raise NotImplementedError

    @step
    async def lonely(event: Other) -> None: ...

    with pytest.raises(WorkflowValidationError) as caught:
        Workflow("broken", [begin, lonely, lonely], timeout=0, stream_buffer=0)
    error = caught.value
    assert isinstance(error, WorkflowError)
    assert error.workflow_name == "broken"
    for part in (
        "2 steps are named 'lonely'",
        "timeout=0",
        "stream_buffer=0",
        "step 'begin': max_concurrency=0",
        "step 'begin': timeout=-1",
        "step 'begin' returns Item, which no step accepts",
        "step 'lonely' accepts Other, which nobody can send",
        "no way from the start leads to a StopEvent",
    ):
        assert sum(part in problem for problem in error.problems) >= 1, part
    assert str(error).startswith(f"workflow 'broken' cannot be built, {len(error.problems)} problems to fix:\n  1. ")


def test_no_problem_is_told_twice():
    for steps in ([one_item, end], [end, work, stop], [one_item, work, gather], []):
        problems = problems_of(*steps)
        assert len(set(problems)) == len(problems)


def test_an_unknown_option_of_the_workflow_is_a_type_error():
    with pytest.raises(TypeError, match="colour"):
        Workflow("story", [end], colour="red")  # type: ignore[call-arg]  # the mistake


async def test_a_workflow_is_built_once_and_run_often():
    workflow = Workflow("story", [fan_out, work, gather])
    assert [(await workflow.run(n)).result for n in range(3)] == [[], [0], [0, 1]]


def test_a_method_needs_its_object():
    class Flow:
        @step
        async def begin(self, event: StartEvent) -> StopEvent:
            return StopEvent()

    (problem,) = problems_of(Flow.begin)
    assert problem == "step 'begin': it is a method without its object; take the step from an instance: instance.method"
    assert Workflow("bound", [Flow().begin]).steps[0].name == "begin"
