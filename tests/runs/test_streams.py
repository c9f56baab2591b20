"""What a run publishes: numbered without holes, the `StopEvent` last, never slowed by a reader that does not read."""

import itertools
from typing import Any

import pytest
import trio
import trio.testing

from blazen_trio import (
    Context,
    LifecycleEvent,
    ProgressEvent,
    RetryConfig,
    RunStatus,
    StartEvent,
    StepFailedError,
    StopEvent,
    StreamGap,
    UsageEvent,
    Workflow,
    step,
)
from tests.runs.stories import Crash, Item, Tick, solo


def writing(count: int, **options) -> Workflow:
    async def write(event: StartEvent, ctx: Context) -> StopEvent:
        for number in range(count):
            ctx.write_event_to_stream(Item(number))
        return StopEvent(count)

    return solo(write, **options)


async def all_of(events) -> list[Any]:
    return [event async for event in events]


async def numbers_of(events) -> list[int]:
    return [event.number async for event in events if isinstance(event, Item)]


async def test_everything_comes_in_order_with_the_stop_event_last():
    async with writing(5).start() as run, run.stream_events() as events:
        seen = await all_of(events)

    assert [event for event in seen if isinstance(event, Item)] == [Item(number) for number in range(5)]
    assert seen[-1] == StopEvent(5)
    assert seen[-2].kind == "run_completed"


async def test_numbers_begin_at_one_and_have_no_holes():
    async with writing(5).start() as run, run.stream_events() as events:
        items = await all_of(events.envelopes())

    assert [item.seq for item in items] == list(range(1, len(items) + 1))
    assert run.statistics()["published"] == len(items)
    assert all(one.timestamp <= other.timestamp for one, other in itertools.pairwise(items))


async def test_an_envelope_names_step_call_and_attempt(autojump_clock):
    keys = []

    async def write(event: StartEvent, ctx: Context) -> StopEvent:
        keys.append(ctx.idempotency_key)
        ctx.write_event_to_stream(Item(ctx.attempt))
        if ctx.attempt == 1:
            raise Crash
        return StopEvent()

    async with solo(write, retry=RetryConfig()).start() as run, run.stream_events(types=Item) as events:
        items = await all_of(events.envelopes())

    assert [(item.event.number, item.source_step, item.attempt) for item in items] == [(1, "write", 1), (2, "write", 2)]
    assert {f"{run.run_id}:{item.call_id}" for item in items} == set(keys)


async def test_what_does_not_come_from_a_step_names_none():
    async with writing(0).start() as run, run.stream_events(types=StopEvent) as events:
        item = await events.envelopes().receive()
    assert (item.source_step, item.call_id, item.attempt) == (None, None, None)


async def test_a_late_reader_gets_what_is_kept_and_one_after_a_number_the_rest():
    async with writing(10).start() as run:
        await run.result()
        async with run.stream_events() as all_of_them, run.stream_events(after=7) as rest:
            assert await numbers_of(all_of_them) == list(range(10))
            assert await numbers_of(rest) == [7, 8, 9]


async def test_what_is_no_longer_kept_is_one_gap_of_exactly_that_many():
    async with writing(100, stream_buffer=10).start() as run:
        await run.result()
        async with run.stream_events(types=Tick) as events:
            items = await all_of(events.envelopes())
        async with run.stream_events() as events:
            rest = [event async for event in events]

    assert [(item.event, item.seq) for item in items] == [(StreamGap(91), 91)]
    assert rest == [StreamGap(91), *(Item(number) for number in range(91, 100)), StopEvent(100)]


async def test_a_run_that_failed_without_publishing_anything_ends_its_stream_for_late_readers():
    async def crash(event: StartEvent) -> StopEvent:
        raise Crash

    async with solo(crash).start() as run:
        with pytest.raises(StepFailedError):
            await run.result()
        with trio.fail_after(5):
            async with run.stream_events() as events:
                assert [event async for event in events] == []
            async with run.stream_events(lossless=True) as events:
                with pytest.raises(trio.EndOfChannel):
                    await events.receive()


@pytest.mark.parametrize("is_aborted", [False, True])
async def test_a_stream_ends_when_the_run_fails_or_is_aborted(is_aborted):
    release = trio.Event()

    async def crash(event: StartEvent) -> StopEvent:
        await release.wait()
        raise Crash

    async with solo(crash).start() as run, run.stream_events(types=LifecycleEvent) as events:
        await trio.testing.wait_all_tasks_blocked()
        if is_aborted:
            await run.abort()
        release.set()
        kinds = [event.kind for event in await all_of(events)]
        with pytest.raises(Exception, match="aborted" if is_aborted else "Crash"):
            await run.result()
    assert kinds[-1] == "run_failed"


async def test_lifecycle_events_are_made_only_while_somebody_reads():
    gate = trio.Event()

    @step
    async def begin(event: StartEvent) -> Item:
        await gate.wait()
        return Item()

    @step
    async def work(event: Item) -> StopEvent:
        return StopEvent()

    async with Workflow("unseen", [begin, work]).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        assert run.statistics()["published"] == 0
        async with run.stream_events() as events:
            gate.set()
            seen = [(event.kind, event.step_name) async for event in events if isinstance(event, LifecycleEvent)]
    assert seen == [
        ("step_completed", "begin"),
        ("event_routed", None),
        ("step_started", "work"),
        ("step_completed", "work"),
        ("event_routed", None),
        ("run_completed", None),
    ]


async def test_after_the_last_reader_left_no_lifecycle_events_are_made():
    async with writing(3).start() as run:
        async with run.stream_events():
            pass
        await run.result()
    assert run.statistics()["published"] == 3 + 1


async def test_publish_lifecycle_may_be_switched_off():
    async with writing(1, publish_lifecycle=False).start() as run, run.stream_events() as events:
        assert [event async for event in events] == [Item(0), StopEvent(1)]


async def test_pauses_retries_and_failures_are_on_the_stream(autojump_clock):
    async def fail_once(event: StartEvent, ctx: Context) -> StopEvent:
        if ctx.attempt == 1:
            raise Crash("first")
        return StopEvent()

    async with (
        solo(fail_once, retry=RetryConfig(initial_delay_ms=5_000, jitter=False)).start() as run,
        run.stream_events(types=LifecycleEvent) as events,
    ):
        await trio.sleep(1)
        await run.pause()
        await run.resume_in_place()
        seen = await all_of(events)
    assert [event.kind for event in seen] == [
        "step_failed",
        "step_retrying",
        "run_paused",
        "run_resumed",
        "step_started",
        "step_completed",
        "event_routed",
        "run_completed",
    ]
    failed = next(event for event in seen if event.kind == "step_failed")
    assert (failed.step_name, failed.attempt, failed.event_type) == ("fail_once", 1, "StartEvent")
    assert "first" in failed.error


async def test_a_reader_that_stops_reading_does_not_slow_the_run_and_gets_one_gap():
    async with writing(50_000, stream_buffer=100).start() as run, run.stream_events() as lazy:
        with trio.fail_after(10):
            assert (await run.result()).result == 50_000
        first, *rest = [event async for event in lazy]
    assert isinstance(first, StreamGap)
    assert first.missed + len(rest) == run.statistics()["published"]
    assert not any(isinstance(event, StreamGap) for event in rest)


def chain_of(count: int, **options) -> Workflow:
    """Each call writes one item and causes the next."""

    @step
    async def begin(event: StartEvent) -> Tick:
        return Tick(0)

    @step
    async def work(event: Tick, ctx: Context) -> Tick | StopEvent:
        ctx.write_event_to_stream(Item(event.number))
        return Tick(event.number + 1) if event.number + 1 < count else StopEvent()

    return Workflow("chain", [begin, work], publish_lifecycle=False, **options)


async def test_a_lossless_reader_holds_the_run_and_misses_nothing():
    async with (
        chain_of(1_000, stream_buffer=20).start() as run,
        run.stream_events(lossless=True) as careful,
    ):
        await trio.testing.wait_all_tasks_blocked()
        held_at = run.statistics()["published"]
        assert 10 <= held_at <= 12
        assert not run.status.is_end
        assert await numbers_of(careful) == list(range(1_000))
    assert run.status is RunStatus.COMPLETED


async def test_a_lossless_reader_that_leaves_lets_the_run_go_on():
    async with chain_of(100, stream_buffer=10).start() as run:
        async with run.stream_events(lossless=True):
            await trio.testing.wait_all_tasks_blocked()
            assert not run.status.is_end
        with trio.fail_after(5):
            await run.result()


async def test_a_lossless_reader_that_comes_late_reads_on_and_lets_the_run_go_on():
    gate = trio.Event()

    @step
    async def begin(event: StartEvent, ctx: Context) -> Tick:
        for number in range(9):
            ctx.write_event_to_stream(Item(number))
        await gate.wait()
        return Tick()

    @step
    async def work(event: Tick) -> StopEvent:
        return StopEvent()

    async with Workflow("late", [begin, work], stream_buffer=10, publish_lifecycle=False).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        async with run.stream_events(lossless=True) as careful:
            for number in range(9):
                assert await careful.receive() == Item(number)
            gate.set()
            with trio.fail_after(5):
                await run.result()


async def test_a_late_lossless_reader_holds_dispatch_at_once():
    gate, worked = trio.Event(), []

    @step
    async def begin(event: StartEvent, ctx: Context) -> list[Tick]:
        for number in range(9):
            ctx.write_event_to_stream(Item(number))
        await gate.wait()
        return [Tick(1), Tick(2)]

    @step
    async def work(event: Tick) -> StopEvent | None:
        worked.append(event.number)
        return StopEvent() if event.number == 2 else None

    async with Workflow("late", [begin, work], stream_buffer=10, publish_lifecycle=False).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        async with run.stream_events(lossless=True) as careful:
            gate.set()
            await trio.testing.wait_all_tasks_blocked()
            assert worked == []
            assert await numbers_of(careful) == list(range(9))
            assert worked == [1, 2]


async def test_hold_and_pause_do_not_lift_each_other():
    async with chain_of(100, stream_buffer=10).start() as run:
        async with run.stream_events(lossless=True) as careful:
            await trio.testing.wait_all_tasks_blocked()
            held_at = run.statistics()["published"]
            await run.pause()
            await run.resume_in_place()
            await trio.testing.wait_all_tasks_blocked()
            assert run.statistics()["published"] == held_at
            await run.pause()
            for _ in range(held_at):
                await careful.receive()
            await trio.testing.wait_all_tasks_blocked()
            assert run.statistics()["published"] <= held_at + 1
            await run.resume_in_place()
            assert (await numbers_of(careful))[-1] == 99
        with trio.fail_after(5):
            await run.result()


async def test_filters_take_classes_and_always_let_gaps_through():
    async def write(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.write_event_to_stream(Item(1))
        ctx.emit_usage(UsageEvent(total_tokens=1))
        ctx.report_progress(1, 2)
        return StopEvent()

    async with solo(write).start() as run, run.stream_events(types=(UsageEvent, ProgressEvent)) as events:
        assert [type(event) async for event in events] == [UsageEvent, ProgressEvent]
    types: Any
    after: Any
    for types in ("Item", 5, [Item, "x"]):
        with pytest.raises(TypeError, match="types="):
            run.stream_events(types=types)
    for after in (-1, "3", 1.5):
        with pytest.raises((TypeError, ValueError), match="after="):
            run.stream_events(after=after)


async def test_a_repeated_call_publishes_nothing_twice(autojump_clock):
    async def write(event: StartEvent, ctx: Context) -> StopEvent:
        for number in range(ctx.attempt + 1):
            ctx.write_event_to_stream(Item(number))
        if ctx.attempt < 3:
            raise Crash
        return StopEvent()

    async with solo(write, retry=RetryConfig()).start() as run, run.stream_events() as events:
        assert await numbers_of(events) == [0, 1, 2, 3]


async def test_a_thousand_readers_see_the_same():
    async with chain_of(50).start() as run, trio.open_nursery() as nursery:
        seen = []

        async def read() -> None:
            async with run.stream_events() as events:
                seen.append(await numbers_of(events))

        for _ in range(1_000):
            nursery.start_soon(read)
    assert seen == [list(range(50))] * 1_000


async def test_two_tasks_on_one_subscription_are_told():
    async with writing(0, events=[]).start() as run, run.stream_events(types=Tick) as events:
        await run.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(events.receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await events.receive()
            nursery.cancel_scope.cancel()
