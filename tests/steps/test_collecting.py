"""``ctx.collect_events(E, n)``: a counting join; one buffer per step and class in a run, each event in it once."""

import pytest
import trio

from blazen_trio import Context, StartEvent, StepFailedEvent, StopEvent, step

from .stories import TWICE, Done, Item, Other, failure_of, fan_out, result_of, work


async def test_the_call_that_fills_the_buffer_gets_the_events_and_all_others_none():
    answers = []

    @step
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 3)
        answers.append(found)
        return StopEvent([item.n for item in found]) if found else None

    assert await result_of(fan_out, work, collect, start=3) == [0, 1, 2]
    assert answers[:2] == [None, None]


async def test_the_buffer_starts_anew_when_it_was_full():
    batches = []

    @step
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 2)
        if found:
            batches.append([item.n for item in found])
        return StopEvent(batches) if len(batches) == 3 else None

    assert await result_of(fan_out, work, collect, start=7) == [[0, 1], [2, 3], [4, 5]]


async def test_a_buffer_is_in_the_order_in_which_events_were_collected():
    @step
    async def slow(event: Item) -> Done:
        await trio.sleep(10 - event.n)
        return Done(event.n)

    @step
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 3)
        return StopEvent([item.n for item in found]) if found else None

    assert await result_of(fan_out, slow, collect, start=5) == [4, 3, 2]


async def test_collecting_twice_in_one_call_adds_the_event_once():
    @step
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 3) or ctx.collect_events(Done, 3)
        return StopEvent([item.n for item in found]) if found else None

    assert await result_of(fan_out, work, collect, start=3) == [0, 1, 2]


async def test_each_step_has_a_buffer_of_its_own():
    counts = {"first": 0, "second": 0}

    def collector(name):
        async def collect(event: Done, ctx: Context) -> None:
            counts[name] += ctx.collect_events(Done, 2) is not None

        return step(name=name)(collect)

    @step
    async def end(items: list[Done]) -> StopEvent:
        return StopEvent(counts)

    await result_of(fan_out, work, collector("first"), collector("second"), end, start=4)
    assert counts == {"first": 2, "second": 2}


async def test_each_class_has_a_buffer_of_its_own():
    @step
    async def begin(event: StartEvent) -> list[Item | Other]:
        return [Item(1), Other(2), Item(3), Other(4)]

    @step
    async def collect(event: Item | Other, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(type(event), 2)
        if found:
            pairs.append([item.n for item in found])
        return StopEvent(sorted(pairs)) if len(pairs) == 2 else None

    pairs: list[list[int]] = []
    assert await result_of(begin, collect) == [[1, 3], [2, 4]]


async def test_each_run_has_a_buffer_of_its_own():
    @step
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 2)
        return StopEvent([item.n for item in found]) if found else None

    assert await result_of(fan_out, work, collect, start=3) == [0, 1]
    assert await result_of(fan_out, work, collect, start=3) == [0, 1]


async def test_a_retried_call_is_in_the_buffer_once():
    @step(retry=TWICE)
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 3)
        if ctx.attempt == 1 and event.n == 0:
            raise OSError
        return StopEvent(sorted(item.n for item in found)) if found else None

    assert await result_of(fan_out, work, collect, start=3) == [0, 1, 2]


async def test_a_call_that_got_the_events_and_failed_gets_them_again():
    @step(retry=TWICE)
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 3)
        if found and ctx.attempt == 1:
            raise OSError
        return StopEvent((ctx.attempt, [item.n for item in found])) if found else None

    assert await result_of(fan_out, work, collect, start=3) == (2, [0, 1, 2])


async def test_what_a_failed_call_had_taken_is_there_for_another_call_meanwhile():
    taken = []

    @step(retry=TWICE)
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 2)
        if event.n == 1 and ctx.attempt == 1:
            raise OSError
        if found:
            taken.append([item.n for item in found])
        await trio.sleep(2)
        return StopEvent(taken) if event.n == 1 else None

    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(n) for n in range(3)]

    assert await result_of(begin, work, collect) == [[0, 1]]


async def test_an_event_whose_call_failed_for_good_leaves_the_buffer():
    @step
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        await trio.sleep(event.n)
        found = ctx.collect_events(Done, 3)
        if event.n == 1:
            raise OSError
        return StopEvent([item.n for item in found]) if found else None

    @step
    async def drop(event: StepFailedEvent) -> None:
        pass

    assert await result_of(fan_out, work, collect, drop, start=5) == [0, 2, 3]


async def test_many_events_are_collected_in_constant_time_each():
    """A scan of the buffer at each event would take minutes here."""

    @step
    async def collect(event: Done, ctx: Context) -> StopEvent | None:
        found = ctx.collect_events(Done, 20_000)
        return StopEvent(len(found)) if found else None

    assert await result_of(fan_out, work, collect, start=20_000) == 20_000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Other, 2), TypeError, r"'collect' was called with a Done; collect_events\(Other, ...\) adds the call's own"),
        ((Done, 0), ValueError, "at least 1 event, not 0"),
        ((Done, True), ValueError, "at least 1 event, not True"),
        ((Done, 2.0), ValueError, "at least 1 event, not 2.0"),
        (("Done", 2), TypeError, "collect_events takes an event class, not 'Done'"),
    ],
)
async def test_wrong_arguments_are_told(arguments, error, message):
    @step
    async def collect(event: Done, ctx: Context) -> StopEvent:
        with pytest.raises(error, match=message):
            ctx.collect_events(*arguments)
        return StopEvent("told")

    assert await result_of(fan_out, work, collect, start=1) == "told"


async def test_a_join_cannot_collect_its_list():
    @step
    async def join(items: list[Done], ctx: Context) -> StopEvent:
        ctx.collect_events(Done, 2)
        return StopEvent()

    assert isinstance((await failure_of(fan_out, work, join, start=2)).__cause__, TypeError)


async def test_an_event_whose_call_failed_for_good_does_not_come_back_with_those_that_another_call_had_taken():
    answers = []

    @step
    async def collect(event: Item, ctx: Context) -> None:
        await trio.sleep(event.n / 2)
        found = ctx.collect_events(Item, 2)
        if event.n == 4:
            answers.append(found)
            return
        await trio.sleep(0.6)
        raise OSError

    @step
    async def recover(event: StepFailedEvent) -> Done | None:
        return None

    @step
    async def end(items: list[Done]) -> StopEvent:
        return StopEvent(answers)

    @step
    async def quicker(event: StartEvent) -> list[Item]:
        return [Item(0), Item(1), Item(4)]

    assert await result_of(quicker, collect, recover, end) == [None]
