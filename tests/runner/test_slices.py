"""Fairness: engines give everybody else a turn after each slice, and runs that are busy at once all go on."""

import itertools
from collections import Counter
from collections.abc import Iterator

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Context, Event, StartEvent, StopEvent, Workflow, step
from blazen_trio.slices import SLICE_CALLS, SLICE_S, Slice, _lots
from tests.runner.seeds import shuffled_by


class Item(Event):
    number: int


@attrs.define
class Ticks(trio.abc.Clock):
    """A clock that goes on by one microsecond with each look at it, as if each took that long."""

    now: Iterator[float] = attrs.Factory(lambda: itertools.count(0.0, 1e-6))

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return next(self.now)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return max(0.0, deadline - self.current_time())


@attrs.define
class Beat:
    """A task that counts its turns, and how many calls there were between two of them."""

    calls: int = 0
    gaps: list[int] = attrs.Factory(list)

    async def go_on(self) -> None:
        while True:
            before = self.calls
            await trio.lowlevel.checkpoint()
            self.gaps.append(self.calls - before)


async def gaps_beside_runs(count: int, length: int) -> list[int]:
    """Chains that never suspend, on some runs at once: the calls between any two turns of another task."""
    beat = Beat()

    @step
    async def begin(event: StartEvent) -> Item:
        return Item(0)

    @step
    async def go_on(event: Item) -> Item | StopEvent:
        beat.calls += 1
        return Item(event.number + 1) if event.number < length else StopEvent()

    workflow = Workflow("chain", [begin, go_on])
    async with trio.open_nursery() as outer:
        outer.start_soon(beat.go_on)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(workflow.run)
        outer.cancel_scope.cancel()
    return beat.gaps


@pytest.mark.parametrize("count", [1, 10, 100])
def test_chains_that_never_suspend_let_others_have_a_turn_after_each_slice(count: int) -> None:
    length = 20_000 // count
    gaps = trio.run(gaps_beside_runs, count, length, clock=Ticks())
    assert sum(gaps) >= count * length
    # A call looks at the clock once: no slice holds more calls than microseconds. Beside it each run has one call. Trio
    # goes through its tasks forwards or backwards, by chance: between two turns of one there may be two of another.
    most = 2 * (SLICE_S * 1e6 + 2 * count)
    assert max(gaps) <= most
    assert len(gaps) >= count * length / most


@pytest.mark.parametrize("count", [1, 10])
def test_a_clock_that_stands_still_starves_nobody(count: int) -> None:
    gaps = trio.run(gaps_beside_runs, count, 10_000 // count, clock=MockClock())
    assert max(gaps) <= 2 * count * SLICE_CALLS  # last in one of Trio's passes, first in the next


def test_a_slice_whose_owner_ended_is_free_after_one_turn_of_everybody() -> None:
    shared, first, second = Slice(), object(), object()
    shared.begin_turn(first, 1.0)
    shared.forget(first)
    shared.begin_turn(second, 1.0 + SLICE_S)
    assert shared.owner is None  # it may be the same pass in which the first one had its turn
    shared.begin_turn(second, 1.0 + SLICE_S)
    assert shared.owner is second
    assert shared.end == pytest.approx(1.0 + 2 * SLICE_S)


def test_runs_that_are_busy_at_once_all_go_on() -> None:
    counts = [0] * 4

    @step
    async def begin(event: StartEvent) -> Item:
        return Item(0)

    @step
    async def go_on(event: Item, ctx: Context) -> Item | StopEvent:
        counts[ctx.metadata["place"]] += 1
        return Item(event.number + 1) if event.number < 20_000 else StopEvent()

    workflow = Workflow("chain", [begin, go_on])

    async def main() -> list[int]:
        async with trio.open_nursery() as nursery:

            async def run_one(place: int) -> None:
                await workflow.run(metadata={"place": place})
                nursery.cancel_scope.cancel()

            for place in range(len(counts)):
                nursery.start_soon(run_one, place)
        return counts

    with shuffled_by(1):
        _lots.seed(1)
        assert min(trio.run(main, clock=Ticks())) > 5_000


async def test_a_stop_event_is_heeded_while_a_chain_never_suspends(autojump_clock: MockClock) -> None:
    @step
    async def go_on(event: StartEvent | Item) -> Item:
        return Item(0)

    @step
    async def end(event: Item) -> StopEvent | None:
        return None

    with trio.move_on_after(0) as scope:
        await Workflow("endless", [go_on, end]).run()
    assert scope.cancelled_caught


@step
async def begin(event: StartEvent) -> Item:
    return Item(0)


@step
async def go_on(event: Item) -> Item | StopEvent:
    return Item(event.number + 1)


endless = Workflow("endless", [begin, go_on])


async def test_an_endless_chain_can_be_aborted_and_cancelled(autojump_clock: MockClock) -> None:
    async with endless.start() as run:
        await trio.lowlevel.checkpoint()
        await run.abort("enough")
    async with endless.start() as run:
        await run.pause()
        assert run.statistics()["pending"] == 1
    with trio.CancelScope() as scope:
        async with endless.start():
            scope.cancel()
            await trio.sleep_forever()


async def test_threads_have_their_turn_beside_a_run_that_never_awaits() -> None:
    """Without a rest for them now and then a round trip takes seconds; with it, 5 ms."""
    async with endless.start() as run:
        with trio.fail_after(10):
            for _ in range(20):
                await trio.to_thread.run_sync(int)
        await run.abort()


# --- The slice itself ------------------------------------------------------------------------------------------------


def test_the_first_worker_owns_the_slice_and_has_it_anew_at_each_turn_while_it_is_alone() -> None:
    shared = Slice()
    shared.begin_turn("a", 1.0)
    assert (shared.owner, shared.end) == ("a", 1.0 + SLICE_S)
    shared.begin_turn("a", 2.0)
    assert (shared.owner, shared.end) == ("a", 2.0 + SLICE_S)


def test_one_of_the_other_workers_inherits_the_slice_when_its_owner_had_its_turn() -> None:
    _lots.seed(1)
    heirs: Counter[object] = Counter()
    for _ in range(3_000):
        shared = Slice()
        shared.begin_turn("a", 1.0)
        for other in ("b", "c", "d"):
            shared.begin_turn(other, 1.0 + SLICE_S)
            assert (shared.owner, shared.end) == ("a", 1.0 + SLICE_S)
        shared.begin_turn("a", 1.0 + SLICE_S)
        heir = shared.owner
        assert shared.end == 1.0 + SLICE_S  # it begins with the heir's turn
        shared.begin_turn("a", 1.0 + SLICE_S)
        shared.begin_turn(heir, 1.0 + SLICE_S)
        assert (shared.owner, shared.end) == (heir, 1.0 + SLICE_S + SLICE_S)
        heirs[heir] += 1
    assert set(heirs) == {"b", "c", "d"}
    assert min(heirs.values()) > 900


def test_an_owner_that_does_not_come_back_loses_the_slice() -> None:
    shared = Slice()
    owners: list[object] = []
    for worker, now in (("a", 1.0), ("b", 1.0 + 1.5 * SLICE_S), ("b", 1.0 + 2 * SLICE_S)):
        shared.begin_turn(worker, now)
        owners.append(shared.owner)
    assert owners == ["a", "a", "b"]


def test_a_worker_that_ended_is_forgotten() -> None:
    shared = Slice()
    shared.begin_turn("a", 1.0)
    shared.begin_turn("b", 1.0)
    shared.forget("b")
    shared.forget("a")
    assert (shared.owner, shared.heir) == (None, None)
