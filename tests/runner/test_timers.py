"""The timers of a run: in the order of their times, exactly at them, and none after they were cancelled or closed."""

from collections.abc import Callable
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from blazen_trio.timers import Timers


def timers_of(nursery: trio.Nursery) -> Timers:
    """Timers whose task runs in a nursery."""

    def start(task: Callable[[], Any]) -> None:
        nursery.start_soon(task)

    return Timers(start)


def nothing() -> None:
    """What a timer does that is none of the story."""


async def times_of(use: Callable[[Timers, Callable[[str], Callable[[], None]]], Any], seconds: float) -> Any:
    """What fires, and when, within some seconds of using timers."""
    fired: list[tuple[str, float]] = []

    def noting(name: str) -> Callable[[], None]:
        return lambda: fired.append((name, trio.current_time()))

    async with trio.open_nursery() as nursery:
        timers = timers_of(nursery)
        use(timers, noting)
        await trio.sleep(seconds)
        timers.close()
    return fired


async def test_timers_fire_in_the_order_of_their_times_at_their_times(autojump_clock: MockClock) -> None:
    def use(timers: Timers, noting: Any) -> None:
        for name, at in (("c", 3.5), ("a", 1), ("b", 2)):
            timers.set(at, noting(name))

    assert await times_of(use, 10) == [("a", 1), ("b", 2), ("c", 3.5)]


async def test_timers_of_one_time_fire_in_the_order_in_which_they_were_set(autojump_clock: MockClock) -> None:
    def use(timers: Timers, noting: Any) -> None:
        for name in "abcdef":
            timers.set(1, noting(name))

    assert await times_of(use, 10) == [(name, 1) for name in "abcdef"]


async def test_an_earlier_timer_that_is_set_later_fires_first(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        timers = timers_of(nursery)
        fired: list[float] = []
        timers.set(10, lambda: fired.append(trio.current_time()))
        await trio.sleep(3)
        timers.set(5, lambda: fired.append(trio.current_time()))
        await trio.sleep(20)
        timers.close()
    assert fired == [5, 10]


async def test_a_timer_whose_time_has_passed_fires_soon(autojump_clock: MockClock) -> None:
    def use(timers: Timers, noting: Any) -> None:
        timers.set(-5, noting("late"))

    assert await times_of(use, 1) == [("late", 0)]


async def test_a_cancelled_timer_does_not_fire_and_is_not_counted(autojump_clock: MockClock) -> None:
    def use(timers: Timers, noting: Any) -> None:
        kept, cancelled = timers.set(1, noting("kept")), timers.set(1, noting("cancelled"))
        timers.cancel(cancelled)
        timers.cancel(cancelled)
        assert len(timers) == 1
        assert not kept.is_cancelled

    assert await times_of(use, 10) == [("kept", 1)]


async def test_a_timer_may_be_set_cancelled_and_closed_by_one_that_fires(autojump_clock: MockClock) -> None:
    def use(timers: Timers, noting: Any) -> None:
        def go_on() -> None:
            noting("first")()
            timers.set(trio.current_time(), noting("at once"))
            timers.set(trio.current_time() + 1, noting("a second later"))
            timers.cancel(doomed)
            timers.set(trio.current_time() + 2, timers.close)

        timers.set(1, go_on)
        doomed = timers.set(1, noting("doomed"))
        timers.set(5, noting("after the end"))

    assert await times_of(use, 10) == [("first", 1), ("at once", 1), ("a second later", 2)]


async def test_closing_before_the_task_began_ends_it(autojump_clock: MockClock) -> None:
    def use(timers: Timers, noting: Any) -> None:
        timers.set(1, noting("never"))
        timers.close()
        timers.close()
        assert len(timers) == 0

    assert await times_of(use, 5) == []


async def test_no_task_is_started_before_the_first_timer(autojump_clock: MockClock) -> None:
    started: list[object] = []
    timers = Timers(started.append)
    timers.close()
    assert started == []


async def test_timers_that_are_set_and_cancelled_for_ever_use_no_more_memory() -> None:
    async with trio.open_nursery() as nursery:
        timers = timers_of(nursery)
        kept = [timers.set(1e9, nothing) for _ in range(10)]
        for _ in range(10_000):
            timers.cancel(timers.set(2e9, nothing))
        assert len(timers) == len(kept)
        assert len(timers._heap) < 100
        timers.close()


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=200))
def test_any_timers_fire_once_in_order_unless_cancelled(plan: list[tuple[int, bool]]) -> None:
    def use(timers: Timers, noting: Any) -> None:
        made = [(timers.set(at, noting(str(number))), is_cancelled) for number, (at, is_cancelled) in enumerate(plan)]
        for timer, is_cancelled in made:
            if is_cancelled:
                timers.cancel(timer)

    expected = [(str(number), at) for number, (at, is_cancelled) in enumerate(plan) if not is_cancelled]
    fired = trio.run(times_of, use, 30, clock=MockClock(autojump_threshold=0))
    assert fired == sorted(expected, key=lambda each: each[1])
