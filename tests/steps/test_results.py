"""What a step may give back, and how a run says what it may not: step, what came, what was expected."""

import pytest

from blazen_trio import (
    Context,
    Event,
    RetryConfig,
    RunStalledError,
    StartEvent,
    StepFailedEvent,
    StepResultError,
    StopEvent,
    step,
)

from .stories import Done, Item, Other, failure_of, gather, problems_of, result_of, violation_of, work


@pytest.mark.parametrize("make", [list, tuple])
async def test_a_list_and_a_tuple_are_fan_outs(make):
    @step
    async def begin(event: StartEvent) -> list[Item]:
        items: list[Item] = make([Item(1), Item(2)])
        return items

    assert await result_of(begin, work, gather) == [1, 2]


@pytest.mark.parametrize("annotation", [tuple[Item, ...], tuple[Item, Item], list[Item] | None])
async def test_a_fan_out_may_be_annotated_as_list_or_tuple(annotation):
    async def begin(event: StartEvent):
        return [Item(1), Item(2)]

    begin.__annotations__["return"] = annotation
    assert await result_of(step(begin), work, gather) == [1, 2]


async def test_none_is_always_allowed():
    @step
    async def nothing(event: StartEvent) -> StopEvent:
        return None  # type: ignore[return-value]  # a step may end in nothing whatever it announces

    with pytest.raises(RunStalledError):
        await result_of(nothing)


async def test_without_an_annotation_any_event_is_allowed():
    @step
    async def anything(event: StartEvent):
        return [Item(1), Item(2)]

    assert await result_of(anything, work, gather) == [1, 2]


async def test_any_event_may_be_announced():
    @step
    async def anything(event: StartEvent) -> Event:
        return Item(5)

    @step
    async def end(event: Item) -> StopEvent:
        return StopEvent(event.n)

    assert await result_of(anything, end) == 5


async def test_an_announced_list_of_any_events_may_hold_several_classes():
    @step
    async def anything(event: StartEvent) -> list[Event]:
        return [Item(5), Done(6)]

    assert await result_of(anything, work, gather) == [5, 6]


async def returns_text(event: StartEvent) -> StopEvent:
    return "text"  # type: ignore[return-value]  # each of these is a mistake


async def returns_another_class(event: StartEvent) -> StopEvent | None:
    return Item(1)  # type: ignore[return-value]


async def returns_a_list_for_one(event: StartEvent) -> StopEvent:
    return [StopEvent()]  # type: ignore[return-value]


async def returns_one_for_a_list(event: StartEvent) -> list[StopEvent]:
    return StopEvent()  # type: ignore[return-value]


async def returns_an_empty_list_for_one(event: StartEvent) -> StopEvent:
    return []  # type: ignore[return-value]


async def returns_none_in_a_list(event: StartEvent) -> list[StopEvent]:
    return [StopEvent(), None]  # type: ignore[list-item]


async def returns_another_class_in_a_list(event: StartEvent) -> tuple[StopEvent, ...]:
    return (StopEvent(), Item(1))  # type: ignore[return-value]


async def returns_text_in_a_list(event: StartEvent) -> list[StopEvent]:
    return ["text"]  # type: ignore[list-item]


async def returns_an_event_class(event: StartEvent) -> StopEvent:
    return StopEvent  # type: ignore[return-value]


async def returns_a_dict(event: StartEvent):
    return {"n": 1}


async def returns_the_base_class(event: StartEvent):
    return Event()


async def returns_a_set(event: StartEvent) -> list[StopEvent]:
    return {StopEvent()}  # type: ignore[return-value]


async def yields_text(event: StartEvent):
    yield "text"


def returns_a_number_from_a_thread(event: StartEvent) -> StopEvent:
    return 3  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("function", "problem", "expected"),
    [
        (returns_text, "returned a str, which is no event", "StopEvent or None"),
        (returns_another_class, "returned a Item", "StopEvent or None"),
        (returns_a_list_for_one, "returned a list", "StopEvent or None"),
        (returns_one_for_a_list, "returned a StopEvent", "a list of StopEvent or None"),
        (returns_an_empty_list_for_one, "returned a list", "StopEvent or None"),
        (returns_none_in_a_list, "returned a list whose item 1 is None", "a list of StopEvent or None"),
        (returns_another_class_in_a_list, "returned a tuple whose item 1 is a Item", "a list of StopEvent or None"),
        (returns_text_in_a_list, "returned a list whose item 0 is a str, which is no event", "a list of StopEvent"),
        (returns_an_event_class, "which is no event", "StopEvent or None"),
        (returns_a_dict, "returned a dict, which is no event", "any event or a list of any events or None"),
        (returns_the_base_class, "returned a Event", "any event"),
        (returns_a_set, "returned a set, which is no event", "a list of StopEvent or None"),
        (returns_a_number_from_a_thread, "returned a int, which is no event", "StopEvent or None"),
    ],
)
async def test_what_a_step_may_not_return_fails_the_run_with_step_problem_and_expectation(function, problem, expected):
    violation = await violation_of(function)
    assert violation.step_name == function.__name__
    assert problem in violation.problem
    assert expected in violation.expected
    assert all(part in str(violation) for part in (function.__name__, violation.problem, violation.expected))


async def test_what_a_generator_may_not_yield_fails_the_run():
    violation = await violation_of(yields_text)
    assert violation.problem == "yielded a str, which is no event"


async def test_a_generator_may_not_yield_another_class():
    async def produce(event: StartEvent):
        yield Other(1)

    @step
    async def end(event: Item) -> StopEvent:
        return StopEvent()

    produce.__annotations__["return"] = __import__("collections.abc").abc.AsyncIterator[Item]
    failure = await failure_of(step(produce), end)
    assert isinstance(failure.__cause__, StepResultError)
    assert failure.__cause__.expected == "an async stream of Item or None"


async def test_a_subclass_of_what_is_announced_is_another_class():
    class Special(Item):
        pass

    async def begin(event: StartEvent) -> Item | StopEvent:
        return Special(1)

    failure = await failure_of(step(begin), work, gather_one)
    assert "returned a Special" in str(failure.__cause__)


@step
async def gather_one(event: Done) -> StopEvent:
    return StopEvent(event.n)


async def test_a_violation_is_neither_retried_nor_recovered():
    attempts = []

    @step(retry=RetryConfig(max_retries=5))
    async def wrong(event: StartEvent, ctx: Context) -> StopEvent:
        attempts.append(ctx.attempt)
        return Item(1)  # type: ignore[return-value]  # the mistake

    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        return StopEvent("rescued")

    failure = await failure_of(wrong, rescue)
    assert attempts == [1]
    assert (failure.step_name, failure.attempts) == ("wrong", 1)


async def test_a_violation_is_a_type_error_for_whoever_looks_at_the_cause():
    assert isinstance(await violation_of(returns_text), TypeError)


async def test_a_list_is_kept_as_it_was_when_the_step_returned_it():
    items = [Item(n) for n in range(300)]  # more than run at once, so that most of them wait

    @step
    async def begin(event: StartEvent) -> list[Item]:
        return items

    @step
    async def eat(event: Item) -> Done:
        items.clear()
        return Done(event.n)

    assert await result_of(begin, eat, gather) == list(range(300))


def test_what_a_step_announces_must_be_accepted_by_somebody():
    async def begin(event: StartEvent) -> Item | StopEvent:
        raise NotImplementedError

    (problem,) = problems_of(step(begin))
    assert problem == (
        "step 'begin' returns Item, which no step accepts; add a step for it, or declare it with events=[Item] "
        "if a call waits for it"
    )
