"""An event goes by its exact class, in order of registration, to every step that accepts it."""

import pytest
import trio

from blazen_trio import (
    Context,
    DynamicEvent,
    Event,
    NoHandlerError,
    RunStalledError,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)

from .stories import Done, Item, Other, one_item, result_of, running, stop, work


class Special(Item):
    pass


async def test_every_step_that_accepts_an_event_gets_the_same_one_in_order_of_registration():
    seen: list[tuple[str, Item]] = []

    def listener(name):
        async def listen(event: Item) -> None:
            seen.append((name, event))

        return step(name=name)(listen)

    @step
    async def end(event: Item) -> StopEvent:
        await trio.sleep(1)
        return StopEvent()

    await result_of(one_item, listener("b"), listener("a"), listener("c"), end)
    assert [name for name, _ in seen] == ["b", "a", "c"]
    assert len({id(event) for _, event in seen}) == 1


async def test_a_subclass_is_another_class():
    @step
    async def begin(event: StartEvent) -> list[Item | Special]:
        return [Item(1), Special(2)]

    @step
    async def special(event: Special) -> Done:
        return Done(-event.n)

    @step
    async def join(items: list[Done]) -> StopEvent:
        return StopEvent([item.n for item in items])

    assert await result_of(begin, work, special, join) == [1, -2]


async def test_what_is_no_event_is_wrapped_into_a_start_event():
    @step
    async def end(event: StartEvent) -> StopEvent:
        return StopEvent(event.data)

    assert await result_of(end, start={"a": 1}) == {"a": 1}
    assert await result_of(end, start=StartEvent("own")) == "own"
    assert await result_of(end) is None


async def test_a_run_may_start_with_a_subclass_of_start_event():
    class Order(StartEvent):
        number: int

    @step
    async def end(event: Order) -> StopEvent:
        return StopEvent((event.number, event.data))

    assert await result_of(end, start=Order(5, data="x")) == (5, "x")


async def test_the_result_of_a_run_that_ends_in_a_subclass_of_stop_event_is_the_event():
    class Report(StopEvent):
        pages: int

    @step
    async def end(event: StartEvent) -> Report:
        return Report(7)

    outcome = await Workflow("story", [end]).run()
    assert outcome.result == outcome.event == Report(7)


async def test_a_start_that_no_step_accepts_names_the_event():
    with pytest.raises(NoHandlerError) as caught:
        await result_of(one_item, work, stop, start=Other(1))
    assert caught.value.event_type == "Other"


async def test_an_event_that_no_step_accepts_fails_the_run_and_names_its_source():
    @step
    async def anything(event: StartEvent) -> Event:
        return Other(1)

    with pytest.raises(NoHandlerError) as caught:
        await result_of(anything)
    assert (caught.value.event_type, caught.value.source_step) == ("Other", "anything")


async def test_an_event_sent_to_nobody_fails_the_run_and_names_its_sender():
    @step
    async def careless(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.send_event(Other(1))
        await trio.sleep(1)
        return StopEvent()

    with pytest.raises(NoHandlerError) as caught:
        await result_of(careless)
    assert (caught.value.event_type, caught.value.source_step) == ("Other", "careless")


async def test_a_declared_event_that_nobody_wants_is_no_error():
    @step
    async def begin(event: StartEvent) -> list[Other | StopEvent | Item]:
        return [Other(1), Item(1)]

    assert await result_of(begin, work, stop, events=[Other]) == 1


async def test_a_dynamic_event_goes_to_those_who_accept_dynamic_events():
    @step
    async def begin(event: StartEvent) -> DynamicEvent:
        return DynamicEvent("far.away", {"n": 1})

    @step
    async def end(event: DynamicEvent) -> StopEvent:
        return StopEvent((event.event_type, event.data))

    assert await result_of(begin, end) == ("far.away", {"n": 1})


async def test_the_first_stop_wins_and_cancels_the_rest():
    ended = []

    @step
    async def racer(event: Item) -> StopEvent:
        try:
            await trio.sleep(10 - event.n)
        finally:
            ended.append(event.n)
        return StopEvent(event.n)

    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(n) for n in range(5)]

    assert await result_of(begin, racer) == 4
    assert sorted(ended) == [0, 1, 2, 3, 4]


async def test_a_run_that_has_nothing_left_to_do_stalls_at_once():
    @step
    async def quiet(event: Item) -> StopEvent | None:
        return None

    with pytest.raises(RunStalledError) as caught:
        await result_of(one_item, quiet, timeout=100)
    assert trio.current_time() == 0
    assert (caught.value.last_step, caught.value.open_joins) == ("quiet", ())


async def test_an_event_from_outside_that_no_step_accepts_came_from_no_step():
    @step
    async def wait(event: Item, ctx: Context) -> StopEvent:
        await trio.sleep(1)
        return StopEvent()

    with pytest.raises(NoHandlerError) as caught:
        async with running(one_item, wait) as run:
            await run.send_event(Other(1))
            await run.result()
    assert (caught.value.event_type, caught.value.source_step) == ("Other", None)


async def test_a_long_loop_with_a_listener_costs_the_same_at_every_turn():
    sizes = set()

    @step
    async def turn(event: Item, ctx: Context) -> Item | StopEvent:
        sizes.add(len(ctx.call.order))
        return Item(event.n - 1) if event.n else StopEvent(max(sizes))

    @step
    async def listen(event: Item) -> None:
        pass

    assert await result_of(one_item, turn, listen, start=100) <= 1
