"""Stories about streams: numbers, positions, gaps, lossless readers, endings, and what a forgotten reader leaves."""

import gc
import time
from typing import cast

import attrs
import pytest
import trio
import trio.testing

from blazen_trio.core.events import Event, StreamGap
from blazen_trio.core.publication import StreamItem
from blazen_trio.stream import EventSubscription, EventTypes, Stream


class Tick(Event):
    number: int


class Loud(Tick):
    pass


class Other(Event):
    number: int


@attrs.frozen
class Record:
    """What a run publishes, as far as a stream is concerned."""

    seq: int
    event: Event

    def envelope(self) -> StreamItem:
        return StreamItem(self.seq, 1000.0 + self.seq, self.event, source_step="tick", call_id="0.1", attempt=1)


class Station:
    """A stream together with somebody who publishes on it and notes what it is told."""

    def __init__(self, capacity: int = 10, last_seq: int = 0) -> None:
        self.told: list[str] = []
        self.stream = Stream(capacity, last_seq=last_seq, on_observed=self.on_observed, on_held=self.on_held)

    def on_observed(self, observed: bool) -> None:
        self.told.append("observed" if observed else "alone")

    def on_held(self, held: bool) -> None:
        self.told.append("held" if held else "released")

    def publish(self, count: int, kind: type[Tick | Other] = Tick) -> None:
        for _ in range(count):
            seq = self.stream.last_seq + 1
            self.stream.append(Record(seq, kind(number=seq)))


def ticks(first: int, last: int) -> list[Event]:
    return [Tick(number=number) for number in range(first, last + 1)]


async def read(events: trio.abc.ReceiveChannel[Event], count: int) -> list[Event]:
    return [await events.receive() for _ in range(count)]


async def read_all(events: trio.abc.ReceiveChannel[Event]) -> list[Event]:
    return [event async for event in events]


# -- numbers and positions ---------------------------------------------------------------------------------------------


async def test_every_event_has_a_number_from_one_without_holes() -> None:
    station = Station()
    async with station.stream.subscribe().envelopes() as items:
        station.publish(5)
        station.stream.close()
        assert [item.seq async for item in items] == [1, 2, 3, 4, 5]


async def test_numbers_go_on_where_a_resumed_run_left_off() -> None:
    station = Station(last_seq=40)
    async with station.stream.subscribe(after=40).envelopes() as items:
        station.publish(2)
        assert [(await items.receive()).seq, (await items.receive()).seq] == [41, 42]


async def test_what_was_published_before_a_resume_is_declared_missed() -> None:
    station = Station(last_seq=40)
    station.publish(1)
    async with station.stream.subscribe() as events:
        assert await read(events, 2) == [StreamGap(missed=40), Tick(number=41)]


async def test_an_envelope_tells_number_time_and_origin() -> None:
    station = Station()
    station.publish(1)
    async with station.stream.subscribe().envelopes() as items:
        assert await items.receive() == StreamItem(1, 1001.0, Tick(number=1), "tick", "0.1", 1)


async def test_each_subscriber_has_its_own_position() -> None:
    station = Station()
    async with station.stream.subscribe() as quick, station.stream.subscribe() as slow:
        station.publish(4)
        assert await read(quick, 4) == ticks(1, 4)
        assert await read(slow, 1) == ticks(1, 1)
        station.publish(1)
        assert await read(quick, 1) == ticks(5, 5)
        assert await read(slow, 4) == ticks(2, 5)


async def test_envelopes_are_a_view_at_the_same_position() -> None:
    station = Station()
    station.publish(3)
    events = station.stream.subscribe()
    items = events.envelopes()
    assert (await items.receive()).seq == 1
    assert await events.receive() == Tick(number=2)
    assert items.receive_nowait().seq == 3
    assert items.statistics() == events.statistics()
    await items.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await events.receive()


async def test_a_late_subscriber_gets_what_is_kept() -> None:
    station = Station(capacity=10)
    station.publish(7)
    async with station.stream.subscribe() as events:
        assert await read(events, 7) == ticks(1, 7)


async def test_a_subscriber_may_start_after_a_number() -> None:
    station = Station()
    station.publish(7)
    async with station.stream.subscribe(after=5) as events:
        assert await read(events, 2) == ticks(6, 7)


async def test_a_start_beyond_the_end_waits_until_the_stream_gets_there() -> None:
    station = Station()
    async with station.stream.subscribe(after=3) as events, trio.open_nursery() as nursery:
        nursery.start_soon(station_publishes_one_by_one, station, 5)
        assert await read(events, 2) == ticks(4, 5)


async def station_publishes_one_by_one(station: Station, count: int) -> None:
    for _ in range(count):
        await trio.testing.wait_all_tasks_blocked()
        station.publish(1)


@pytest.mark.parametrize("after", ["3", 1.0, None, True])
async def test_a_start_that_is_no_number_is_a_type_error(after: object) -> None:
    with pytest.raises(TypeError, match="number of an event"):
        Station().stream.subscribe(after=cast("int", after))


async def test_a_negative_start_is_a_value_error() -> None:
    station = Station()
    with pytest.raises(ValueError, match="cannot be negative: -1"):
        station.stream.subscribe(after=-1)
    assert station.told == []


def test_a_buffer_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one event"):
        Station(capacity=0)


# -- gaps --------------------------------------------------------------------------------------------------------------


async def test_a_subscriber_that_keeps_reading_misses_nothing() -> None:
    station = Station(capacity=10)
    seen: list[Event] = []
    async with station.stream.subscribe() as events:
        for _ in range(100):
            station.publish(9)
            seen += await read(events, 9)
    assert seen == ticks(1, 900)


async def test_who_falls_behind_gets_one_gap_for_exactly_what_is_lost_and_goes_on() -> None:
    station = Station(capacity=10)
    async with station.stream.subscribe() as events:
        station.publish(5)
        assert await read(events, 2) == ticks(1, 2)
        station.publish(95)
        assert await read(events, 11) == [StreamGap(missed=88), *ticks(91, 100)]
        assert events.statistics().missed == 88


@pytest.mark.parametrize(("more", "missed"), [(1, 0), (2, 0), (3, 1), (4, 2)])
async def test_being_behind_is_exact_to_the_event(more: int, missed: int) -> None:
    station = Station(capacity=4)
    async with station.stream.subscribe() as events:
        station.publish(3)
        assert await events.receive() == Tick(number=1)
        station.publish(more)
        gap: list[Event] = [StreamGap(missed=missed)] if missed else []
        expected = [*gap, *ticks(2 + missed, 3 + more)]
        assert await read(events, len(expected)) == expected


async def test_a_gap_bears_the_number_of_the_last_event_missed() -> None:
    station = Station(capacity=3)
    async with station.stream.subscribe().envelopes() as items:
        station.publish(8)
        gap, following = await items.receive(), await items.receive()
    assert (gap.seq, gap.event, gap.source_step) == (5, StreamGap(missed=5), None)
    assert gap.timestamp == pytest.approx(time.time(), abs=60)
    assert following.seq == 6


async def test_a_buffer_of_one_keeps_the_last_event() -> None:
    station = Station(capacity=1)
    station.publish(3)
    async with station.stream.subscribe() as events:
        assert await read(events, 2) == [StreamGap(missed=2), Tick(number=3)]


async def test_nobody_slows_the_run_and_little_more_than_the_buffer_is_kept() -> None:
    station = Station(capacity=80)
    async with station.stream.subscribe():
        for _ in range(50):
            station.publish(20)
            assert len(station.stream.read(station.stream.dropped, 1000)) <= 80
            assert len(station.stream._records) <= 80 + 11
    assert station.told == ["observed", "alone"]


# -- types -------------------------------------------------------------------------------------------------------------


async def publish_a_mixture(station: Station) -> None:
    station.publish(1, Other)
    station.publish(1, Tick)
    station.publish(1, Loud)
    station.stream.close()


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (Other, [Other(number=1)]),
        (Loud, [Loud(number=3)]),
        (Tick, [Tick(number=2), Loud(number=3)]),
        ([Other, Loud], [Other(number=1), Loud(number=3)]),
        (iter([Other]), [Other(number=1)]),
        ((), []),
        (Event, [Other(number=1), Tick(number=2), Loud(number=3)]),
    ],
)
async def test_types_let_instances_and_those_of_subclasses_through(types: EventTypes, expected: list[Event]) -> None:
    station = Station()
    async with station.stream.subscribe(types=types) as events:
        await publish_a_mixture(station)
        assert await read_all(events) == expected


async def test_types_always_let_a_gap_through() -> None:
    station = Station(capacity=2)
    async with station.stream.subscribe(types=Other) as events:
        station.publish(5)
        station.publish(1, Other)
        assert await read(events, 2) == [StreamGap(missed=4), Other(number=6)]


async def test_types_let_a_gap_through_that_was_itself_published() -> None:
    station = Station()
    async with station.stream.subscribe(types=Other) as events:
        station.stream.append(Record(1, StreamGap(missed=7)))
        assert await read(events, 1) == [StreamGap(missed=7)]


async def test_what_is_filtered_out_counts_as_read() -> None:
    station = Station(capacity=4)
    async with station.stream.subscribe(types=Other, lossless=True) as events:
        station.publish(3)
        assert station.told == ["observed", "held"]
        with pytest.raises(trio.WouldBlock):
            events.receive_nowait()
        assert station.told == ["observed", "held", "released"]
        assert events.statistics().position == 3


async def test_a_long_way_to_the_next_wanted_event_is_one_receive() -> None:
    station = Station(capacity=5_000)
    station.publish(3_000)
    station.publish(1, Other)
    async with station.stream.subscribe(types=Other) as events:
        assert await events.receive() == Other(number=3_001)


@pytest.mark.parametrize("types", [int, "Tick", [Tick, 3], Tick(number=1)])
async def test_types_that_are_no_event_classes_are_a_type_error(types: object) -> None:
    with pytest.raises(TypeError):
        Station().stream.subscribe(types=cast("EventTypes", types))


# -- lossless readers --------------------------------------------------------------------------------------------------


async def test_a_lossless_reader_holds_the_run_while_more_than_half_a_buffer_behind() -> None:
    station = Station(capacity=10)
    async with station.stream.subscribe(lossless=True) as events:
        station.publish(5)
        assert station.told == ["observed"]
        station.publish(1)
        assert station.told == ["observed", "held"]
        await events.receive()
        assert station.told == ["observed", "held", "released"]
        station.publish(1)
        assert station.told == ["observed", "held", "released", "held"]


async def test_a_lossless_reader_misses_nothing_even_if_the_run_goes_on() -> None:
    station = Station(capacity=10)
    async with station.stream.subscribe(lossless=True) as events:
        station.publish(100)
        assert (station.stream.backlog, station.stream.statistics().kept) == (90, 100)
        assert await read(events, 100) == ticks(1, 100)
        assert (station.stream.backlog, station.stream.dropped) == (0, 90)
    assert station.told == ["observed", "held", "released", "alone"]


async def test_a_late_lossless_reader_is_told_once_what_is_already_lost() -> None:
    station = Station(capacity=10)
    station.publish(15)
    async with station.stream.subscribe(lossless=True) as events:
        assert station.told == ["observed", "held"]
        station.publish(15)
        assert await read(events, 26) == [StreamGap(missed=5), *ticks(6, 30)]


async def test_the_slowest_lossless_reader_decides() -> None:
    station = Station(capacity=4)
    async with station.stream.subscribe(lossless=True) as first, station.stream.subscribe(lossless=True) as second:
        station.publish(3)
        await read(first, 3)
        assert station.told == ["observed", "held"]
        await read(second, 1)
        assert station.told == ["observed", "held", "released"]


async def test_a_gap_is_not_seen_for_what_a_lossless_reader_keeps_though_it_arrives_meanwhile() -> None:
    station = Station(capacity=2)
    async with station.stream.subscribe() as other, station.stream.subscribe(lossless=True):
        station.publish(4)
        assert await read(other, 2) == ticks(1, 2)
        station.publish(5)
        assert await read(other, 7) == ticks(3, 9)


async def test_others_profit_from_what_is_kept_for_a_lossless_reader() -> None:
    station = Station(capacity=2)
    async with station.stream.subscribe() as other, station.stream.subscribe(lossless=True):
        station.publish(9)
        assert await read(other, 9) == ticks(1, 9)


async def test_closing_a_lossless_reader_releases_the_run_and_its_backlog() -> None:
    station = Station(capacity=2)
    other = station.stream.subscribe()
    lossless = station.stream.subscribe(lossless=True)
    station.publish(9)
    assert station.stream.statistics().lossless_subscribers == 1
    await lossless.aclose()
    assert station.told == ["observed", "held", "released"]
    assert (station.stream.backlog, station.stream.dropped) == (0, 7)
    assert len(station.stream._records) == 2
    assert await read(other, 3) == [StreamGap(missed=7), *ticks(8, 9)]
    other.close()


# -- who is there ------------------------------------------------------------------------------------------------------


async def test_the_run_is_told_of_the_first_subscriber_and_of_the_last_one_leaving() -> None:
    station = Station()
    first = station.stream.subscribe()
    second = station.stream.subscribe()
    first.close()
    assert station.told == ["observed"]
    second.close()
    assert station.told == ["observed", "alone"]
    station.stream.subscribe().close()
    assert station.told == ["observed", "alone", "observed", "alone"]


async def test_a_forgotten_subscription_neither_observes_nor_holds_the_run() -> None:
    station = Station(capacity=4)
    forgotten = station.stream.subscribe(lossless=True)
    station.publish(8)
    assert station.told == ["observed", "held"]
    del forgotten
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
    assert station.told == ["observed", "held", "released", "alone"]
    assert station.stream.statistics().subscribers == 0
    assert station.stream.backlog == 0


async def test_a_subscription_may_be_forgotten_in_another_thread() -> None:
    station = Station()
    pocket = [station.stream.subscribe()]
    await trio.to_thread.run_sync(pocket.clear)
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
    assert station.told == ["observed", "alone"]


def test_a_subscription_may_be_forgotten_after_trio_has_ended() -> None:
    async def subscribe() -> EventSubscription:
        return station.stream.subscribe()

    station = Station()
    events = trio.run(subscribe)
    del events
    gc.collect()
    assert station.told == ["observed"]


# -- waiting, endings and misuse ---------------------------------------------------------------------------------------


async def test_readers_sleep_until_something_is_published() -> None:
    station = Station()
    seen: list[Event] = []

    async def reader() -> None:
        async with station.stream.subscribe() as events:
            seen.append(await events.receive())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        station.publish(1)
    assert seen == ticks(1, 1) * 3


async def test_the_stream_ends_after_its_last_event() -> None:
    station = Station()
    station.publish(2)
    events = station.stream.subscribe()
    station.stream.close()
    station.stream.close()
    assert await read(events, 2) == ticks(1, 2)
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await events.receive()
    with pytest.raises(trio.EndOfChannel):
        events.receive_nowait()
    assert station.stream.statistics().closed
    await events.aclose()


async def test_the_end_wakes_a_reader() -> None:
    station = Station()
    async with station.stream.subscribe() as events, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _end() -> None:
            await trio.testing.wait_all_tasks_blocked()
            station.stream.close()

        assert await read_all(events) == []


async def test_a_subscriber_of_an_ended_stream_gets_what_is_kept() -> None:
    station = Station(capacity=2)
    station.publish(3)
    station.stream.close()
    async with station.stream.subscribe() as events:
        assert await read_all(events) == [StreamGap(missed=1), *ticks(2, 3)]


async def test_nothing_can_be_published_after_the_end() -> None:
    station = Station()
    station.stream.close()
    with pytest.raises(RuntimeError, match="after the end"):
        station.publish(1)


async def test_a_closed_subscription_cannot_be_read() -> None:
    station = Station()
    events = station.stream.subscribe()
    station.publish(3)
    await events.receive()
    await events.aclose()
    await events.aclose()
    events.close()
    with pytest.raises(trio.ClosedResourceError):
        await events.receive()
    with pytest.raises(trio.ClosedResourceError):
        await anext(events)
    with pytest.raises(trio.ClosedResourceError):
        events.receive_nowait()
    assert events.statistics().closed


async def test_closing_wakes_the_task_that_waits_and_nobody_else() -> None:
    station = Station()
    events, other = station.stream.subscribe(), station.stream.subscribe()
    seen: list[Event] = []

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await events.receive()

    async def stay() -> None:
        seen.append(await other.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(stay)
        await trio.testing.wait_all_tasks_blocked()
        events.close()
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        station.publish(1)
    assert seen == ticks(1, 1)


async def test_two_tasks_cannot_read_one_subscription() -> None:
    station = Station()
    async with station.stream.subscribe() as events, trio.open_nursery() as nursery:
        nursery.start_soon(events.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await events.receive()
        with pytest.raises(trio.BusyResourceError):
            events.receive_nowait()
        station.publish(1)


async def test_reading_at_once_takes_what_is_there_or_would_block() -> None:
    station = Station()
    async with station.stream.subscribe() as events:
        with pytest.raises(trio.WouldBlock):
            events.receive_nowait()
        station.publish(2)
        assert [events.receive_nowait(), events.receive_nowait()] == ticks(1, 2)


async def test_a_cancelled_receive_takes_nothing() -> None:
    station = Station()
    async with station.stream.subscribe() as events:
        station.publish(3)
        assert await events.receive() == Tick(number=1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await events.receive()
        assert scope.cancelled_caught
        assert await events.receive() == Tick(number=2)


async def test_cancelling_inside_a_loop_ends_it_before_the_next_event() -> None:
    station = Station()
    station.publish(5)
    seen: list[Event] = []
    async with station.stream.subscribe() as events:
        with trio.CancelScope() as scope:
            async for event in events:
                seen.append(event)
                if len(seen) == 2:
                    scope.cancel()
        assert seen == ticks(1, 2)
        assert await events.receive() == Tick(number=3)


async def test_a_cancelled_wait_leaves_the_subscription_usable() -> None:
    station = Station()
    async with station.stream.subscribe() as events:
        with trio.move_on_after(0):
            await events.receive()
        station.publish(1)
        assert await events.receive() == Tick(number=1)


async def test_the_first_receive_lets_others_run() -> None:
    station = Station()
    station.publish(1)
    async with station.stream.subscribe() as events:
        with trio.testing.assert_checkpoints():
            await events.receive()
        with trio.testing.assert_checkpoints():
            await events.aclose()


async def test_the_reader_of_a_full_buffer_does_not_starve_the_others() -> None:
    station = Station(capacity=60_000)
    station.publish(60_000)
    station.stream.close()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery, station.stream.subscribe() as events:
        nursery.start_soon(other)
        assert len(await read_all(events)) == 60_000
        nursery.cancel_scope.cancel()
    assert turns >= 3


async def test_statistics_tell_positions_and_counts() -> None:
    station = Station(capacity=10)
    async with station.stream.subscribe() as events:
        station.publish(12)
        await events.receive()
        mine, whole = events.statistics(), station.stream.statistics()
    assert (mine.position, mine.behind, mine.missed, mine.lossless, mine.closed) == (2, 10, 2, False, False)
    assert (whole.capacity, whole.published, whole.kept, whole.backlog) == (10, 12, 10, 0)
    assert (whole.subscribers, whole.lossless_subscribers, whole.held, whole.closed) == (1, 0, False, False)
