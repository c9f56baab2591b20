"""Durable before visible: what is not on disk was not seen by anybody."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio import (
    Context,
    RunLockedError,
    RunStatus,
    StartEvent,
    StopEvent,
    StoreError,
    Workflow,
    open_engine,
    step,
)
from blazen_trio.abc import ANY, Owner
from blazen_trio.durable import Durability
from blazen_trio.journal import replay
from blazen_trio.stores import MemoryStore
from blazen_trio.testing import FlakyStore
from tests.engine.stories import GatedStore, Item, Note, asked, asking, sleeping, started


def two_steps(begun: list[str]) -> Workflow:
    @step
    async def first(event: StartEvent, ctx: Context) -> Item:
        begun.append("first")
        ctx.write_event_to_stream(Note("first"))
        return Item(1)

    @step
    async def second(event: Item) -> StopEvent:
        begun.append("second")
        return StopEvent("end")

    return Workflow("two", [first, second], events=[Note])


@pytest.mark.parametrize(("durability", "ahead"), [("step", []), ("group", ["first", "second"])])
async def test_calls_start_when_it_is_saved_that_led_to_them(
    durability: Durability, ahead: list[str], autojump_clock: MockClock
) -> None:
    begun: list[str] = []
    store = GatedStore(MemoryStore())
    async with open_engine(store, [two_steps(begun)], durability=durability) as engine:
        store.hold()
        run = await engine.start("two")
        await trio.sleep(1)
        assert begun == ahead
        assert run.status is RunStatus.RUNNING
        store.let_go()
        assert (await run.result()).result == "end"
        assert begun == ["first", "second"]


@pytest.mark.parametrize("durability", ["step", "group"])
async def test_nobody_sees_what_is_written_and_not_yet_there(durability: Durability, autojump_clock: MockClock) -> None:
    store = GatedStore(MemoryStore())
    seen: list[Any] = []

    async def read() -> None:
        async with run.stream_events() as events:
            seen.extend([event async for event in events])

    async def wait() -> None:
        seen.append((await run.result()).result)

    async with open_engine(store, [two_steps([])], durability=durability) as engine, trio.open_nursery() as nursery:
        store.hold(is_after=True)
        run = await engine.start("two")
        nursery.start_soon(read)
        nursery.start_soon(wait)
        await trio.sleep(1)
        assert (seen, run.status) == ([], RunStatus.RUNNING)
        with trio.move_on_after(1) as scope:
            await run.snapshot()
        assert scope.cancelled_caught
        store.let_go()
    assert StopEvent("end") in seen
    assert "end" in seen


async def test_a_question_is_shown_when_it_is_saved(autojump_clock: MockClock) -> None:
    store = GatedStore(MemoryStore())
    async with open_engine(store, [asking], durability="group") as engine:
        store.hold()
        run = await started(engine, "asking")
        assert (run.status, run.pending_inputs) == (RunStatus.RUNNING, ())
        store.let_go()
        await asked(run)


async def test_a_refusal_that_tells_of_the_end_waits_for_it(autojump_clock: MockClock) -> None:
    store = GatedStore(MemoryStore())
    async with open_engine(store, [two_steps([])], durability="group") as engine:
        store.hold()
        run = await engine.start("two")
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await run.send_event(Item(3))
        assert scope.cancelled_caught
        store.let_go()
        await run.result()


async def test_a_store_that_hangs_does_not_hang_the_program(autojump_clock: MockClock) -> None:
    store, outcomes = GatedStore(MemoryStore()), list[StoreError]()

    async def answer() -> None:
        with pytest.raises(StoreError) as caught:
            await run.respond_to_input(request_id, 1)
        outcomes.append(caught.value)

    async with trio.open_nursery() as nursery, open_engine(store, [asking]) as engine:
        run = await engine.start("asking")
        request_id = await asked(run)
        store.hold()
        nursery.start_soon(answer)
        await wait_all_tasks_blocked()
    assert trio.current_time() < 60
    assert len(outcomes) == 1


async def test_a_run_whose_store_fails_stops_and_the_others_go_on(autojump_clock: MockClock) -> None:
    class Picky(StoreError):
        """For one run."""

    inside = MemoryStore()
    async with open_engine(inside, [sleeping]) as engine:
        bad, good = await started(engine, "sleeping"), await started(engine, "sleeping")
        engine.held[bad.run_id].lose(Picky("disk"))
        with pytest.raises(Picky):
            await bad.result()
        assert (await good.result()).result == 1
        with pytest.raises(Picky):
            await bad.result()
        assert engine.statistics()["stopped"] == 1
        await engine.resume(bad.run_id)
        assert (await bad.result()).result == 1


async def test_a_failed_write_stops_the_run_and_a_new_engine_goes_on(autojump_clock: MockClock) -> None:
    inside = MemoryStore()
    probe = FlakyStore(inside, ())
    async with open_engine(probe, [two_steps([])]) as engine:
        await (await engine.start("two")).result()
        calls = probe.calls
    for fails in range(3, calls + 1):
        inside, begun = MemoryStore(), list[str]()
        async with open_engine(FlakyStore(inside, {fails}), [two_steps(begun)]) as engine:
            try:
                await (await engine.start("two", run_id="run")).result()
            except StoreError:
                assert engine.statistics()["finished"] == 0
            except BaseException:
                raise
        async with open_engine(inside, [two_steps([])]) as engine:
            if not await engine.runs():
                continue
            assert (await (await engine.get("run")).result()).result == "end"


async def test_an_engine_that_lost_its_lease_does_no_harm(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping]) as engine:
        run = await started(engine, "sleeping")
        await store.release(engine.owner)  # as if its lease had run out
        other = Owner.here("other")
        taken = await store.claim(other, now=1e12, lease_s=10, limit=1, wanted=ANY)
        assert [each.run_id for each in taken] == [run.run_id]
        with pytest.raises(RunLockedError):
            await run.result()
        stored = await store.read(run.run_id)
        assert (stored.header.status, stored.owner) == ("running", other)
        assert run.run_id not in engine.held
        await store.release(other)
    async with open_engine(store, [sleeping]) as engine:
        assert (await (await engine.get(run.run_id)).result()).result == 1


async def test_an_engine_learns_at_the_next_renewal_that_a_run_is_not_its_own(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking], lease=10) as engine:
        run = await engine.start("asking")
        await asked(run)
        other = Owner.here("other")
        store._leases[engine.owner.engine_id].until = 0  # its process slept
        await store.claim(other, now=1.0, lease_s=1e12, limit=1)
        await trio.sleep(5)
        assert engine.held == {}


async def test_a_huge_state_is_not_written_again_at_the_end(autojump_clock: MockClock) -> None:
    @step
    async def fill(event: StartEvent, ctx: Context) -> Item:
        for number in range(50):
            ctx.state[f"key {number}"] = "x" * 10_000
        return Item(1)

    @step
    async def pause(event: Item) -> Item | StopEvent:
        await trio.sleep(1)
        return Item(event.number + 1) if event.number < 5 else StopEvent(event.number)

    store = MemoryStore()
    async with open_engine(store, [Workflow("huge", [fill, pause])]) as engine:
        run = await engine.start("huge")
        await trio.sleep(3.5)
        middle = (await store.read(run.run_id)).snapshot
        await run.result()
        stored = await store.read(run.run_id)
        assert stored.snapshot is middle
        assert len(middle or b"") > 500_000
        assert (await (await engine.get(run.run_id)).result()).result == 5


async def test_what_is_done_once_is_in_the_store_before_the_step_goes_on(autojump_clock: MockClock) -> None:
    deeds: list[int] = []
    is_done = trio.Event()

    def do() -> int:
        deeds.append(1)
        return len(deeds)

    @step
    async def act(event: StartEvent, ctx: Context) -> StopEvent:
        number = await ctx.once("deed", do)
        if not is_done.is_set():
            is_done.set()
            await trio.sleep_forever()
        return StopEvent(number)

    acting, store = Workflow("acting", [act]), MemoryStore()
    async with open_engine(store, [acting]) as engine:
        run = await engine.start("acting")
        await is_done.wait()
        stored = await store.read(run.run_id)
        await run.abort()
    left_by_a_crash = replay(acting, stored.snapshot or b"", stored.entries)
    async with acting.resume(left_by_a_crash) as again:
        assert (await again.result()).result == 1
    assert deeds == [1]
