"""A step that does not end when it is cancelled is named in a warning after the grace period; one that does is not."""

import logging

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Event, StartEvent, StepFailedError, StopEvent, Workflow, step
from blazen_trio.runner import GRACE_S
from tests.runner.seeds import run_shuffled


class Item(Event):
    number: int


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(3)]


def stubborn_for(seconds: float) -> Workflow:
    @step(timeout=40)
    async def stubborn(event: Item) -> StopEvent:
        with trio.CancelScope(shield=True):
            await trio.sleep(1 + seconds)
        await trio.sleep_forever()
        return StopEvent()

    @step
    async def quick(event: Item) -> StopEvent | None:
        await trio.sleep(1)
        return StopEvent() if event.number == 1 else None

    return Workflow("grace", [spread, stubborn, quick])


@pytest.mark.parametrize(("seconds", "warnings"), [(GRACE_S - 0.5, 0), (GRACE_S + 0.5, 3), (100, 3)])
async def test_each_step_that_outlives_its_cancellation_is_named_once(
    seconds: float, warnings: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with stubborn_for(seconds).start() as run:
        await run.result()
        assert trio.current_time() == 1
    assert trio.current_time() == 1 + seconds
    assert [record.name for record in caplog.records] == ["blazen_trio"] * warnings
    assert all("'stubborn' did not end within 5 s" in record.getMessage() for record in caplog.records)
    assert run.statistics()["late"] == 0  # it was cancelled after all, so it gave no late result


async def test_a_result_that_comes_after_the_end_is_late(autojump_clock: MockClock) -> None:
    @step
    async def late(event: Item) -> StopEvent | None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1 + event.number)
        return StopEvent(event.number)

    async with Workflow("late", [spread, late]).start() as run:
        assert (await run.result()).result == 0
    assert (trio.current_time(), run.statistics()["late"]) == (3, 2)


def test_a_call_that_is_cancelled_at_the_very_end_of_the_grace_period_of_others_is_not_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The time-out of the repeated attempt falls on the moment in which the grace period of the interrupt is over."""

    @step(timeout=GRACE_S)
    async def work(event: Item) -> StopEvent | None:
        await trio.sleep_forever()
        return StopEvent()

    @step
    async def stubborn(event: Item) -> StopEvent | None:
        with trio.CancelScope(shield=True):
            await trio.sleep(20)
        return None

    async def program() -> None:
        async with Workflow("grace", [spread, work, stubborn]).start() as run:
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0):
                await run.pause(interrupt=True)
            await run.resume_in_place()
            with pytest.raises(StepFailedError):
                await run.result()

    for seed in range(20):
        run_shuffled(program, seed)
    assert {record.getMessage().split("'")[1] for record in caplog.records} == {"stubborn"}


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="blazen_trio")
