"""A join runs with an empty list when its fan-out produced nothing for it: every loop over no items comes to an end."""

from collections.abc import AsyncIterator

import pytest

from blazen_trio import Context, Event, RunStalledError, StartEvent, StopEvent, step

from .stories import Done, Item, Other, fan_out, gather, result_of, work


async def test_an_empty_list_runs_the_join():
    assert await result_of(fan_out, work, gather, start=0) == []


async def test_an_empty_tuple_runs_the_join():
    @step
    async def begin(event: StartEvent) -> tuple[Item, ...]:
        return ()

    assert await result_of(begin, work, gather) == []


async def test_a_generator_that_yields_nothing_runs_the_join():
    @step
    async def begin(event: StartEvent) -> AsyncIterator[Item]:
        for n in range(event.data):
            yield Item(n)

    assert await result_of(begin, work, gather, start=0) == []


async def test_branches_that_all_end_in_none_run_the_join():
    @step
    async def nothing(event: Item) -> Done | None:
        return None

    assert await result_of(fan_out, nothing, gather, start=3) == []


async def test_a_step_that_declares_what_it_sends_and_sends_nothing_runs_the_join():
    @step(sends=[Item])
    async def begin(event: StartEvent, ctx: Context) -> None:
        pass

    assert await result_of(begin, work, gather) == []


async def test_none_instead_of_a_list_is_no_fan_out():
    @step
    async def begin(event: StartEvent) -> list[Item] | None:
        return None

    with pytest.raises(RunStalledError):
        await result_of(begin, work, gather)


async def test_only_the_joins_that_the_fan_out_can_reach_run():
    class Far(Event):
        n: int

    @step
    async def far(event: Other) -> list[Far]:
        return [Far(1)]

    @step
    async def other_join(items: list[Far]) -> StopEvent:
        return StopEvent("wrong")

    @step
    async def beside(items: list[Item]) -> Other | StopEvent:
        return StopEvent([item.n for item in items])

    @step
    async def begin(event: StartEvent) -> list[Item]:
        return []

    assert await result_of(begin, beside, far, other_join) == []


async def test_a_join_behind_a_chain_is_reached():
    @step
    async def again(event: Item) -> Other:
        return Other(event.n)

    @step
    async def last(event: Other) -> Done:
        return Done(event.n)

    assert await result_of(fan_out, again, last, gather, start=0) == []


async def test_the_outer_join_of_an_empty_outer_list_runs_and_the_inner_ones_do_not():
    inner = []

    @step
    async def split(event: Item) -> list[Other]:
        return [Other(event.n)]

    @step
    async def small(items: list[Other]) -> Done:
        inner.append(items)
        return Done(len(items))

    assert await result_of(fan_out, split, small, gather, start=0) == []
    assert inner == []


async def test_a_join_that_only_inner_fan_outs_reach_still_runs_for_an_empty_outer_one():
    """Nothing joins at the outer depth, so the join of the next depth stands for it: the run must not stall."""

    @step
    async def split(event: Item) -> list[Done]:
        return [Done(event.n)]

    assert await result_of(fan_out, split, gather, start=0) == []


async def test_a_join_that_ran_inside_does_not_run_again_with_nothing():
    @step
    async def split(event: Item) -> list[Done]:
        return [Done(event.n), Done(event.n + 1)]

    @step
    async def join(items: list[Done]) -> None:
        seen.append([item.n for item in items])

    @step
    async def end(event: Item, ctx: Context) -> StopEvent | None:
        return None

    seen: list[list[int]] = []
    with pytest.raises(RunStalledError):
        await result_of(fan_out, split, join, end, start=2)
    assert sorted(seen) == [[0, 1], [1, 2]]


async def test_one_branch_with_items_and_one_without_give_an_inner_join_each():
    @step
    async def split(event: Item) -> list[Other]:
        return [Other(n) for n in range(event.n)]

    @step
    async def small(items: list[Other]) -> Done:
        return Done(len(items))

    assert await result_of(fan_out, split, small, gather, start=3) == [0, 1, 2]


async def test_of_two_joins_of_one_depth_the_one_without_items_runs_with_an_empty_list():
    @step
    async def odd_only(event: Item) -> Done | Other:
        return Done(event.n)

    @step
    async def none(items: list[Other], ctx: Context) -> None:
        ctx.state["others"] = len(items)

    @step
    async def all_of_them(items: list[Done], ctx: Context) -> Late:
        return Late(len(items))

    @step
    async def end(event: Late, ctx: Context) -> StopEvent:
        return StopEvent((event.n, ctx.state["others"]))

    assert await result_of(fan_out, odd_only, none, all_of_them, end, start=2) == (2, 0)


class Late(Event):
    n: int


async def test_a_union_join_runs_once_for_nothing():
    seen: list[object] = []

    @step
    async def split(event: Item) -> Done | Other | None:
        return None

    @step
    async def join(items: list[Done | Other]) -> StopEvent:
        seen.append(items)
        return StopEvent()

    await result_of(fan_out, split, join, start=3)
    assert seen == [[]]


async def test_an_undeclared_event_sent_by_hand_that_comes_to_nothing_runs_its_join():
    """The engine learns from the event itself what its fan-out leads to."""

    @step
    async def begin(event: StartEvent, ctx: Context) -> None:
        ctx.send_event(Item(1))

    @step
    async def nothing(event: Item) -> Done | None:
        return None

    @step
    async def never(event: Other) -> list[Item]:
        return []

    assert await result_of(begin, nothing, gather, never, events=[Item, Other]) == []


@pytest.mark.parametrize("way", ["sent", "returned"])
async def test_a_join_that_feeds_itself_is_not_called_with_nothing_for_ever(way: str):
    seen: list[int] = []

    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(1), Item(2)]

    @step(sends=[Item])
    async def by_hand(items: list[Item]) -> StopEvent | None:
        seen.append(len(items))
        return None

    @step
    async def by_list(items: list[Item]) -> list[Item] | StopEvent:
        seen.append(len(items))
        return []

    with pytest.raises(RunStalledError):
        await result_of(begin, by_hand if way == "sent" else by_list)
    assert seen == [2]


async def test_a_join_may_feed_itself_until_it_has_one_item_left():
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(each) for each in range(5)]

    @step
    async def in_pairs(items: list[Item]) -> list[Item] | StopEvent:
        if len(items) == 1:
            return StopEvent(items[0].n)
        return [Item(sum(each.n for each in items[place : place + 2])) for place in range(0, len(items), 2)]

    assert await result_of(begin, in_pairs) == 10
