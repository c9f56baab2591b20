"""What a step may not give back: the error names step, what came, what was expected; never retried, never recovered."""

from typing import Any

import pytest

from blazen_trio import (
    Context,
    Event,
    RetryConfig,
    StartEvent,
    StepFailedError,
    StepFailedEvent,
    StepResultError,
    StopEvent,
    Workflow,
    step,
)
from tests.runs.stories import Item, Unknown, solo


async def later() -> None: ...


BAD: dict[str, tuple[Any, str]] = {
    "an int": (lambda: 5, "int"),
    "a str": (lambda: "StopEvent", "str"),
    "a dict": (dict, "dict"),
    "True": (lambda: True, "bool"),
    "a class": (lambda: StopEvent, "EventMeta"),
    "a coroutine": (later, "await"),
    "a set": (lambda: {1}, "set"),
    "a generator": (lambda: (StopEvent() for _ in range(2)), "generator"),
    "a base event": (Event, "Event"),
    "a list with None": (lambda: [StopEvent(), None], "item 1"),
    "a list with a coroutine": (lambda: [later()], "item 0"),
    "a list with a base event": (lambda: [Event()], "item 0"),
    "a list of lists": (lambda: [[StopEvent()]], "item 0"),
    "a tuple with an int": (lambda: (StopEvent(), 3), "item 1"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("is_annotated", [True, False], ids=["annotated", "bare"])
async def test_what_is_no_event_fails_the_run(name, is_annotated):
    make, word = BAD[name]

    @step(retry=RetryConfig())
    async def give(event: StartEvent) -> StopEvent | list[StopEvent]:
        result: StopEvent = make()
        return result

    @step(retry=RetryConfig())
    async def give_bare(event: StartEvent):
        return make()

    with pytest.raises(StepFailedError) as caught:
        await Workflow("bad", [give if is_annotated else give_bare]).run()

    assert caught.value.attempts == 1
    assert isinstance(caught.value.__cause__, StepResultError)
    assert isinstance(caught.value.__cause__, TypeError)
    for text in (caught.value.step_name, word, "expected", str(caught.value.run_id)):
        assert text in str(caught.value)


async def test_a_class_that_the_annotation_does_not_list():
    async def give(event: StartEvent) -> StopEvent:
        return Item()  # type: ignore[return-value]  # the subject of this story

    with pytest.raises(StepFailedError, match="returned a Item; expected StopEvent"):
        await solo(give).run()


async def test_a_list_where_one_event_is_annotated_and_the_reverse():
    async def give_list(event: StartEvent) -> StopEvent:
        return [StopEvent()]  # type: ignore[return-value]  # the subject of this story

    async def give_one(event: StartEvent) -> list[StopEvent]:
        return StopEvent()  # type: ignore[return-value]  # the subject of this story

    async def give_empty(event: StartEvent) -> StopEvent:
        return []  # type: ignore[return-value]  # the subject of this story

    for function in (give_list, give_one, give_empty):
        with pytest.raises(StepFailedError) as caught:
            await solo(function).run()
        assert isinstance(caught.value.__cause__, StepResultError)


async def test_a_bad_result_is_not_recovered():
    @step
    async def give(event: StartEvent) -> StopEvent:
        return 5  # type: ignore[return-value]  # the subject of this story

    @step
    async def recover(event: StepFailedEvent) -> StopEvent:
        return StopEvent("recovered")

    with pytest.raises(StepFailedError, match="give"):
        await Workflow("violation", [give, recover]).run()


async def test_bad_items_of_a_generator():
    async def give(event: StartEvent):
        yield None

    async def give_undeclared(event: StartEvent):
        yield Event()

    for function in (give, give_undeclared):
        with pytest.raises(StepFailedError, match="yielded"):
            await solo(function).run()


async def test_a_thread_step_that_returns_a_coroutine():
    def give(event: StartEvent) -> StopEvent:
        return later()  # type: ignore[return-value]  # the subject of this story

    with pytest.raises(StepFailedError, match="asynchronous"):
        await solo(give).run()


@pytest.mark.parametrize("value", [None, 5, Item, Event(), [Item()]], ids=repr)
@pytest.mark.parametrize("verb", ["send_event", "write_event_to_stream"])
async def test_what_a_call_sends_must_be_an_event(verb, value):
    async def send(event: StartEvent, ctx: Context) -> StopEvent:
        getattr(ctx, verb)(value)
        return StopEvent()

    with pytest.raises(StepFailedError) as caught:
        await solo(send).run()
    assert isinstance(caught.value.__cause__, TypeError)
    assert f"{verb} takes" in str(caught.value)
    assert repr(value) in str(caught.value)


async def test_events_that_cannot_be_compared_printed_or_hashed_run_like_others(autojump_clock):
    class Strange:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not comparable")

        def __repr__(self) -> str:
            raise RuntimeError("not printable")

        def __bool__(self) -> bool:
            raise RuntimeError("neither true nor false")

        __hash__ = None  # type: ignore[assignment]  # as Python itself does for a class with only __eq__

    class Odd(Event):
        value: object

    @step(retry=RetryConfig())
    async def begin(event: StartEvent, ctx: Context) -> list[Odd]:
        ctx.write_event_to_stream(Odd(Strange()))
        ctx.send_event(Odd(Strange()))
        if ctx.attempt == 1:
            raise Unsaid
        return [Odd(Strange())]

    @step
    async def work(event: Odd) -> None:
        pass

    @step
    async def join(items: list[Odd]) -> StopEvent:
        return StopEvent(Strange())

    workflow = Workflow("odd", [begin, work, join], collect_history=True)
    async with workflow.start() as run, run.stream_events() as events:
        seen = [event async for event in events]
        assert isinstance((await run.result()).result, Strange)
    assert isinstance(seen[-1], StopEvent)


class Unsaid(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __repr__(self) -> str:
        raise RuntimeError("no words")


async def test_an_event_class_declared_but_made_by_nobody_else_is_named_in_the_error():
    async def give(event: StartEvent) -> StopEvent:
        return Unknown()  # type: ignore[return-value]  # the subject of this story

    with pytest.raises(StepFailedError, match="Unknown"):
        await solo(give).run()
