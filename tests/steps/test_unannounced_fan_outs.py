"""A step that announces nothing may emit anything; which joins its fan-out leads to is seen from what it emits."""

import pytest

from blazen_trio import Context, Event, RunStalledError, StartEvent, StopEvent, step

from .stories import Done, Item, Other, fan_out, gather, result_of, work


class Leaf(Event):
    n: int


class Middle(Event):
    n: int


@step
async def elsewhere(event: Other) -> list[Leaf]:
    """Another fan-out of the same workflow, which no story here comes to."""
    return [Leaf(1)]


@step
async def join_elsewhere(items: list[Leaf]) -> StopEvent:
    return StopEvent("the wrong join")


OTHERS = (elsewhere, join_elsewhere)


async def test_only_the_joins_of_what_was_returned_run():
    @step
    async def begin(event: StartEvent):
        return [Item(1), Item(2)]

    assert await result_of(begin, *OTHERS, work, gather) == [1, 2]


async def test_only_the_joins_of_what_was_yielded_run():
    @step
    async def begin(event: StartEvent):
        yield Item(1)
        yield Item(2)

    assert await result_of(begin, *OTHERS, work, gather) == [1, 2]


async def test_only_the_joins_of_what_was_sent_run():
    @step
    async def begin(event: StartEvent, ctx: Context):
        ctx.send_event(Item(1))

    assert await result_of(begin, *OTHERS, work, gather) == [1]


async def test_what_was_returned_and_comes_to_nothing_runs_its_own_join():
    @step
    async def begin(event: StartEvent):
        return [Item(1)]

    @step
    async def nothing(event: Item) -> Done | None:
        return None

    assert await result_of(begin, *OTHERS, nothing, gather) == []


async def test_an_empty_list_of_anything_runs_the_join():
    @step
    async def begin(event: StartEvent):
        return []

    assert await result_of(begin, work, gather) == []


async def test_a_generator_of_anything_that_yields_nothing_runs_the_join():
    @step
    async def begin(event: StartEvent):
        for n in range(event.data or 0):
            yield Item(n)

    assert await result_of(begin, work, gather) == []


async def test_none_of_a_step_that_announces_nothing_is_no_fan_out():
    @step
    async def begin(event: StartEvent):
        return None

    with pytest.raises(RunStalledError):
        await result_of(begin, work, gather)


async def test_a_step_without_annotation_inside_a_fan_out_does_not_run_the_outer_join_early():
    @step
    async def split(event: Item) -> list[Other]:
        return [Other(event.n), Other(event.n)]

    @step
    async def double(event: Other):
        return Middle(event.n * 2)

    @step
    async def sum_up(items: list[Middle]) -> Done:
        return Done(sum(item.n for item in items))

    assert await result_of(fan_out, split, double, sum_up, gather, start=3) == [0, 4, 8]
