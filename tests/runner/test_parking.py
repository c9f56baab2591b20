"""One value, handed over before or after the task begins to wait, and never lost."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio.parking import Parking


async def test_a_value_that_was_handed_over_before_is_there_after_others_had_a_turn() -> None:
    parking = Parking()
    parking.set("early")
    had_a_turn = trio.Event()

    async def other() -> None:
        had_a_turn.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        assert await parking.wait() == "early"
        await parking.wait()  # Trio may have given this task its turn first, but not twice
        assert had_a_turn.is_set()


async def test_a_task_that_waits_gets_the_value() -> None:
    parking = Parking()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert await parking.wait() == "late"

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        parking.set("late")


async def test_only_the_first_value_counts() -> None:
    parking = Parking()
    parking.set(None)
    parking.set("second")
    assert await parking.wait() is None


async def test_a_wait_can_be_cancelled_and_a_value_that_comes_later_harms_nobody(autojump_clock: MockClock) -> None:
    parking = Parking()
    with trio.move_on_after(1) as scope:
        await parking.wait()
    assert scope.cancelled_caught
    parking.set("kept")
    assert await parking.wait() == "kept"


async def test_a_value_that_came_before_the_cancellation_is_not_lost() -> None:
    parking = Parking()
    got: list[object] = []
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            got.append(await parking.wait())
            with pytest.raises(trio.Cancelled):
                await trio.lowlevel.checkpoint()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        parking.set("in time")
        nursery.cancel_scope.cancel()
    assert got == ["in time"]


async def test_a_value_that_was_handed_over_is_given_even_in_a_cancelled_scope() -> None:
    parking = Parking()
    parking.set("there")
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await parking.wait() == "there"
