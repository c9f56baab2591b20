"""One durable run without an engine: ``workflow.run(..., store=)``."""

import contextlib

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    RunLockedError,
    StartEvent,
    StepFailedError,
    StopEvent,
    StoreError,
    Workflow,
    open_engine,
    step,
)
from blazen_trio.stores import MemoryStore
from blazen_trio.testing import CrashingStore
from tests.engine.stories import Item, finish, sleeping, started


async def test_it_gives_its_result_again_and_does_nothing_twice(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    for _ in range(2):
        result = await sleeping.run(3, store=store, run_id="run")
        assert (result.run_id, result.result) == ("run", 1)
    assert trio.current_time() == pytest.approx(3)


async def test_it_goes_on_after_a_crash_at_any_call(autojump_clock: MockClock) -> None:
    begun = 0

    @step
    async def first(event: StartEvent, ctx: Context) -> Item:
        nonlocal begun
        begun += 1
        ctx.state["first"] = await ctx.once("paid", lambda: "paid")
        await trio.sleep(1)
        return Item(1)

    workflow = Workflow("paying", [first, finish])
    probe = CrashingStore(MemoryStore(), 1_000)
    await workflow.run(store=probe, run_id="run")
    for call in range(1, probe.calls + 1):
        for happens in (False, True):
            inside, begun = MemoryStore(), 0
            with contextlib.suppress(StoreError):  # of the last call, which lets go of the run, nobody needs to know
                await workflow.run(store=CrashingStore(inside, call, happens=happens), run_id="run")
            for lease in list(inside._leases.values()):
                lease.until = 0.0  # it has run out
            assert (await workflow.run(store=inside, run_id="run")).result == 1
            assert begun <= 2


async def test_a_failure_is_raised_again(autojump_clock: MockClock) -> None:
    @step
    async def fail(event: StartEvent) -> StopEvent:
        raise LookupError("no such page")

    store = MemoryStore()
    for _ in range(2):
        with pytest.raises(StepFailedError, match="no such page"):
            await Workflow("failing", [fail]).run(store=store, run_id="run")


async def test_a_caller_who_is_cancelled_can_go_on_later(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    with trio.move_on_after(1) as scope:
        await sleeping.run(3, store=store, run_id="run")
    assert scope.cancelled_caught
    assert (await sleeping.run(3, store=store, run_id="run")).result == 1


async def test_a_run_of_an_engine_is_locked_and_later_free(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping]) as engine:
        run = await started(engine, "sleeping", 100)
        with pytest.raises(RunLockedError):
            await sleeping.run(store=store, run_id=run.run_id)
    assert (await sleeping.run(store=store, run_id=run.run_id)).result == 1


def test_an_interrupt_ends_the_program_and_not_the_run() -> None:
    strikes = iter([True, False])

    @step
    async def interrupted(event: StartEvent) -> StopEvent:
        if next(strikes):
            raise KeyboardInterrupt
        return StopEvent("done")

    workflow, store = Workflow("interrupted", [interrupted]), MemoryStore()

    async def main() -> object:
        return (await workflow.run(store=store, run_id="run")).result

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert trio.run(main) == "done"
