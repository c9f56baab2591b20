"""What one call emits in a list is one fan-out; its join runs once, when nothing that descends from it is left."""

import pytest
import trio

from blazen_trio import Context, Event, RunStalledError, StartEvent, StopEvent, step

from .stories import Done, Item, Other, fan_out, gather, one_item, result_of, work


async def test_a_join_gets_all_items_in_the_order_of_the_fan_out_whoever_ends_first():
    @step
    async def slow(event: Item) -> Done:
        await trio.sleep(10 - event.n)
        return Done(event.n)

    assert await result_of(fan_out, slow, gather, start=10) == list(range(10))


async def test_a_join_runs_once():
    calls = []

    @step
    async def join(items: list[Done]) -> StopEvent:
        calls.append(items)
        return StopEvent()

    await result_of(fan_out, work, join, start=5)
    assert [len(items) for items in calls] == [5]


async def test_a_join_may_take_the_items_of_the_fan_out_themselves():
    @step
    async def join(items: list[Item]) -> StopEvent:
        return StopEvent([item.n for item in items])

    assert await result_of(fan_out, join, start=4) == [0, 1, 2, 3]


async def test_a_fan_out_of_one_is_a_fan_out():
    assert await result_of(fan_out, work, gather, start=1) == [0]


async def test_more_items_than_run_at_once_are_all_there_and_in_order():
    assert await result_of(fan_out, work, gather, start=1000) == list(range(1000))


async def test_branches_that_end_in_none_are_left_out():
    @step
    async def odd(event: Item) -> Done | None:
        return Done(event.n) if event.n % 2 else None

    assert await result_of(fan_out, odd, gather, start=6) == [1, 3, 5]


async def test_a_branch_that_ends_in_none_late_is_waited_for():
    @step
    async def odd(event: Item) -> Done | None:
        await trio.sleep(event.n)
        return Done(event.n) if event.n < 2 else None

    @step
    async def join(items: list[Done]) -> StopEvent:
        return StopEvent((trio.current_time(), len(items)))

    assert await result_of(fan_out, odd, join, start=5) == (4, 2)


async def test_a_single_event_stays_in_the_fan_out_of_the_event_that_caused_it():
    @step
    async def again(event: Item) -> Other:
        return Other(event.n)

    @step
    async def last(event: Other) -> Done:
        await trio.sleep(5 - event.n)
        return Done(event.n)

    assert await result_of(fan_out, again, last, gather, start=4) == [0, 1, 2, 3]


async def test_a_chain_that_goes_round_stays_in_its_fan_out():
    @step
    async def down(event: Item) -> Item | Done:
        return Item(event.n - 10) if event.n > 9 else Done(event.n)

    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(n) for n in (35, 4, 21)]

    assert await result_of(begin, down, gather) == [5, 4, 1]


async def test_a_union_join_gets_all_its_classes_in_one_order():
    @step
    async def split(event: Item) -> Done | Other:
        return Done(event.n) if event.n % 2 else Other(event.n)

    @step
    async def join(items: list[Done | Other]) -> StopEvent:
        return StopEvent([(type(item).__name__, item.n) for item in items])

    assert await result_of(fan_out, split, join, start=4) == [("Other", 0), ("Done", 1), ("Other", 2), ("Done", 3)]


async def test_items_of_several_classes_keep_their_places():
    @step
    async def begin(event: StartEvent) -> list[Item | Other | Done]:
        return [Item(0), Other(1), Done(2), Item(3), Done(4), Other(5)]

    @step
    async def other(event: Other) -> Done:
        await trio.sleep(1)
        return Done(event.n)

    assert await result_of(begin, work, other, gather) == [0, 1, 2, 3, 4, 5]


async def test_two_joins_of_one_fan_out_both_run():
    @step
    async def split(event: Item) -> Done | Other:
        return Done(event.n) if event.n % 2 else Other(event.n)

    class Part(Event):
        text: str

    @step
    async def odd(items: list[Done]) -> Part:
        return Part("odd")

    @step
    async def even(items: list[Other]) -> Part:
        return Part("even")

    @step
    async def end(event: Part, ctx: Context) -> StopEvent | None:
        parts = ctx.collect_events(Part, 2)
        return StopEvent(sorted(part.text for part in parts)) if parts else None

    assert await result_of(fan_out, split, odd, even, end, start=4) == ["even", "odd"]


async def test_two_joins_of_one_class_both_get_every_item():
    seen: list[object] = []

    @step
    async def log(items: list[Done]) -> None:
        seen.append([item.n for item in items])

    assert await result_of(fan_out, work, log, gather, start=3) == [0, 1, 2]
    assert seen == [[0, 1, 2]]


async def test_an_event_goes_to_a_step_and_to_a_join_of_its_class():
    @step
    async def also(event: Done) -> None:
        seen.append(event.n)

    seen: list[int] = []
    assert await result_of(fan_out, work, also, gather, start=3) == [0, 1, 2]
    assert sorted(seen) == [0, 1, 2]


async def test_two_steps_that_take_each_item_give_two_results_for_each_in_order_of_registration():
    @step
    async def first(event: Item) -> Done:
        await trio.sleep(1)
        return Done(event.n * 10)

    @step
    async def second(event: Item) -> Done:
        return Done(event.n * 10 + 1)

    assert await result_of(fan_out, first, second, gather, start=3) == [0, 1, 10, 11, 20, 21]


async def test_each_fan_out_has_a_join_of_its_own():
    """A single start that leads to two fan-outs one after the other."""

    @step
    async def join(items: list[Done]) -> StartAgain | StopEvent:
        return StartAgain(len(items)) if len(items) > 2 else StopEvent([item.n for item in items])

    @step
    async def again(event: StartAgain) -> list[Item]:
        return [Item(100 + n) for n in range(event.n - 1)]

    assert await result_of(fan_out, work, join, again, start=4) == [100, 101]


class StartAgain(Event):
    n: int


async def test_a_join_that_returns_a_list_opens_a_fan_out():
    @step
    async def halve(items: list[Done]) -> list[Item] | StopEvent:
        if len(items) == 1:
            return StopEvent(items[0].n)
        return [Item(one.n + other.n) for one, other in zip(items[::2], items[1::2], strict=True)]

    assert await result_of(fan_out, work, halve, start=8) == sum(range(8))


async def test_a_stop_among_the_items_ends_the_run_and_drops_the_others():
    seen: list[object] = []

    @step
    async def begin(event: StartEvent) -> list[Item | StopEvent]:
        return [Item(1), StopEvent("first"), Item(2), StopEvent("second")]

    @step
    async def note(event: Item) -> None:
        seen.append(event)

    assert await result_of(begin, note) == "first"
    assert seen == []


async def test_a_stop_from_inside_a_fan_out_does_not_wait_for_the_join():
    @step
    async def hurry(event: Item) -> Done | StopEvent:
        await trio.sleep(event.n)
        return StopEvent((event.n, trio.current_time())) if event.n == 1 else Done(event.n)

    assert await result_of(fan_out, hurry, gather, start=50) == (1, 1)


async def test_a_join_item_outside_of_any_fan_out_stalls_the_run_and_the_error_names_the_join():
    @step
    async def maybe(event: StartEvent) -> list[Done] | Done:
        return Done(1)

    with pytest.raises(RunStalledError) as caught:
        await result_of(maybe, gather)
    assert caught.value.open_joins == ("gather",)


async def test_a_join_is_given_a_list_of_its_own():
    @step
    async def eat(items: list[Done]) -> None:
        items.clear()

    assert await result_of(fan_out, work, eat, gather, start=3) == [0, 1, 2]


async def test_a_join_waits_for_an_open_question_of_its_fan_out():
    @step
    async def ask(event: Item, ctx: Context) -> Done:
        return Done(await ctx.request_input("how many?") if event.n else 7)

    async def answer(question) -> int:
        await trio.sleep(3)
        return 40

    assert await result_of(fan_out, ask, gather, start=2, input_handler=answer) == [7, 40]


async def test_what_is_outside_of_a_fan_out_does_not_hold_its_join():
    """The step beside the fan-out runs for ever; the join does not wait for it."""

    @step
    async def beside(event: StartEvent) -> None:
        await trio.sleep_forever()

    assert await result_of(fan_out, beside, work, gather, start=2) == [0, 1]


async def test_a_single_item_needs_no_join():
    @step
    async def end(event: Done) -> StopEvent:
        return StopEvent(event.n)

    assert await result_of(one_item, work, end, start=3) == 3
