"""Engines open, close, crash and take turns; runs go on."""

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    EncodeError,
    EngineRun,
    Event,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    RunStatus,
    SnapshotError,
    StartEvent,
    StepFailedError,
    StopEvent,
    StoreError,
    Workflow,
    WorkflowAbortedError,
    open_engine,
    step,
)
from blazen_trio.abc import Command, RunRecord
from blazen_trio.stores import MemoryStore
from tests.engine.stories import Item, Note, asked, asking, parked, sleeping, started


class Crash(Exception):
    """Of a program around an engine."""


# --- Starting and finding ---------------------------------------------------------------------------------------------


async def test_a_run_id_is_taken_once(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [sleeping]) as engine:
        run = await engine.start("sleeping", run_id="mine")
        with pytest.raises(RunExistsError):
            await engine.start("sleeping", run_id="mine")
        await run.result()
        with pytest.raises(RunExistsError):
            await engine.start("sleeping", run_id="mine")


async def test_any_number_of_tasks_wait_for_one_result(autojump_clock: MockClock) -> None:
    results: list[object] = []
    async with open_engine(MemoryStore(), [sleeping]) as engine:
        run = await engine.start("sleeping")

        async def wait(handle: EngineRun) -> None:
            results.append((await handle.result()).result)

        async with trio.open_nursery() as nursery:
            for handle in (run, run, await engine.get(run.run_id)):
                nursery.start_soon(wait, handle)
    assert results == [1, 1, 1]


async def test_an_error_leaves_the_block_with_its_cause(autojump_clock: MockClock) -> None:
    @step
    async def crash(event: StartEvent) -> StopEvent:
        raise Crash("why")

    with pytest.raises(StepFailedError) as caught:
        async with open_engine(MemoryStore(), [Workflow("crash", [crash])]) as engine:
            await (await engine.start("crash")).result()
    assert isinstance(caught.value.__cause__, Crash)


async def test_what_cannot_be_started_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping]) as engine:
        for name, data, run_id in (("unknown", 1, None), ("sleeping", 1, "")):
            with pytest.raises(ValueError, match=r"unknown|run_id"):
                await engine.start(name, data, run_id)
        with pytest.raises(EncodeError):
            await engine.start("sleeping", object())
        assert await engine.runs() == []
        with pytest.raises(RunNotFoundError):
            await engine.get("nobody")
    with pytest.raises(StoreError):
        await engine.start("sleeping")


async def test_runs_are_listed_page_by_page(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [sleeping, asking]) as engine:
        ids = [(await engine.start(["sleeping", "asking"][number % 2])).run_id for number in range(6)]
        await trio.sleep(10)
        first = await engine.runs(limit=4)
        rest = await engine.runs(limit=4, after=first[-1].run_id)
        assert [each.run_id for each in (*first, *rest)] == ids[::-1]
        waiting = await engine.runs(status="awaiting_input")
        assert [each.run_id for each in waiting] == ids[5::-2]
        assert [each.prompt for run in waiting for each in run.pending_inputs] == ["first?"] * 3
        assert await engine.runs(workflow="sleeping") == await engine.runs(status=RunStatus.COMPLETED)
        with pytest.raises(RunNotFoundError):
            await engine.runs(after="nobody")
        await engine.delete(ids[0])
        with pytest.raises(RunNotFoundError):
            await engine.get(ids[0])
        with pytest.raises(RunLockedError):
            await engine.delete(ids[1])


async def test_a_run_that_is_over_is_found_with_its_end(autojump_clock: MockClock) -> None:
    @step
    async def fail(event: StartEvent) -> StopEvent:
        raise LookupError("no such page")

    store, failing = MemoryStore(), Workflow("failing", [fail])
    for _ in range(2):
        async with open_engine(store, [sleeping, failing, asking]) as engine:
            if not await engine.runs():
                await engine.start("sleeping", run_id="good")
                await engine.start("failing", run_id="bad")
                await engine.start("asking", run_id="aborted")
                await trio.sleep(5)
                await engine.abort("aborted", "enough")
            good, bad, aborted = [await engine.get(each) for each in ("good", "bad", "aborted")]
            assert (await good.result()).result == 1
            with pytest.raises(StepFailedError, match="no such page"):
                await bad.result()
            with pytest.raises(WorkflowAbortedError, match="enough"):
                await aborted.result()
            assert [each.status.value for each in (good, bad, aborted)] == ["completed", "failed", "aborted"]
            assert (await engine.runs(status="failed"))[0].error is not None
            async with aborted.stream_events() as events:
                assert Note("begun") in [event async for event in events]


# --- Closing ----------------------------------------------------------------------------------------------------------


async def test_a_call_that_ends_in_time_is_not_repeated(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping]) as engine:
        run = await started(engine, "sleeping", 3)
    async with open_engine(store, [sleeping]) as engine:
        again = await engine.get(run.run_id)
        assert (await again.result()).result == 1
        assert trio.current_time() < 4


async def test_a_call_that_takes_longer_is_put_back_and_what_it_wrote_is_undone(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping]) as engine:
        run = await started(engine, "sleeping", 100)
    assert trio.current_time() == pytest.approx(5, abs=1)
    async with open_engine(store, [sleeping]) as engine:
        again = await engine.get(run.run_id)
        assert again.status is RunStatus.RUNNING
        assert (await again.result()).result == 1
        assert (await again.snapshot()).context_state == {"begun": 1}


async def test_who_waits_for_a_result_learns_that_the_engine_closes(autojump_clock: MockClock) -> None:
    outcomes = list[StoreError]()

    async def wait() -> None:
        with pytest.raises(StoreError, match="closed") as caught:
            await run.result()
        outcomes.append(caught.value)

    async with trio.open_nursery() as nursery, open_engine(MemoryStore(), [asking, sleeping]) as engine:
        for name in ("asking", "sleeping"):
            run = await engine.start(name, 1000)
            nursery.start_soon(wait)
            await trio.sleep(0.5)
        await asked(await engine.get((await engine.runs(workflow="asking"))[0].run_id))
    assert len(outcomes) == 2


async def test_a_body_that_raises_closes_the_engine_as_any_other(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    with pytest.raises(Crash):
        async with open_engine(store, [sleeping]) as engine:
            run = await started(engine, "sleeping", 100)
            raise Crash
    assert (await stored(store, run.run_id)).owner is None
    async with open_engine(store, [sleeping]) as engine:
        assert (await (await engine.get(run.run_id)).result()).result == 1


async def test_a_body_that_is_cancelled_does_not_wait_and_lets_go(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    with trio.move_on_after(1):
        async with open_engine(store, [sleeping, asking]) as engine:
            run, other = await started(engine, "sleeping", 100), await engine.start("asking")
            await trio.sleep_forever()
    assert trio.current_time() < 2
    assert {(await stored(store, each.run_id)).owner for each in (run, other)} == {None}
    async with open_engine(store, [sleeping, asking]) as engine:
        await asked(await engine.get(other.run_id))
        assert (await (await engine.get(run.run_id)).result()).result == 1


async def stored(store: MemoryStore, run_id: str) -> RunRecord:
    """A run's record."""
    async with store:
        return await store.info(run_id)


def test_an_interrupt_in_a_step_ends_the_program_and_not_the_run() -> None:
    strikes = iter([True, False])

    @step
    async def interrupted(event: StartEvent) -> StopEvent:
        if next(strikes):
            raise KeyboardInterrupt
        return StopEvent("done")

    inner = Workflow("inner", [interrupted])
    outer = Workflow("outer", [inner.as_step(StartEvent, StopEvent, output=lambda result: StopEvent(result.result))])
    for workflow in (inner, outer):
        strikes, store = iter([True, False]), MemoryStore()

        async def main(workflow: Workflow = workflow, store: MemoryStore = store) -> object:
            async with open_engine(store, [workflow]) as engine:
                run = (
                    await engine.get("run") if await engine.runs() else await engine.start(workflow.name, run_id="run")
                )
                return (await run.result()).result

        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
        assert trio.run(main) == "done"


# --- Pauses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_clean", [True, False])
async def test_a_run_that_a_user_paused_stays_paused(is_clean: bool, autojump_clock: MockClock) -> None:
    store = MemoryStore()
    with trio.CancelScope() as scope:
        async with open_engine(store, [sleeping]) as engine:
            run = await started(engine, "sleeping", 1)
            await run.pause()
            if not is_clean:
                scope.cancel()
    for _ in range(2):
        async with open_engine(store, [sleeping]) as engine:
            await trio.sleep(20)
            again = await engine.get(run.run_id)
            assert again.status is RunStatus.PAUSED
    async with open_engine(store, [sleeping]) as engine:
        again = await engine.get(run.run_id)
        await again.send_event(Item(5))  # which brings it into memory, and not to life
        await trio.sleep(20)
        assert again.status is RunStatus.PAUSED
        await again.resume_in_place()
        assert (await again.result()).result in (1, 5)


async def test_a_paused_run_leaves_memory_and_comes_back(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [sleeping]) as engine:
        run = await started(engine, "sleeping", 1)
        await run.pause()
        await parked(engine)
        assert (run.status, run.run_id in engine.held) == (RunStatus.PAUSED, True)
        await trio.sleep(100)
        assert run.status is RunStatus.PAUSED
        await run.resume_in_place()
        assert (await run.result()).result == 1


async def test_a_paused_run_stays_in_memory_while_a_call_of_it_runs(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [sleeping]) as engine:
        run = await started(engine, "sleeping", 50)
        with trio.move_on_after(1):
            await run.pause()
        await trio.sleep(10)
        assert engine.in_memory == 1
        await parked(engine)
        assert trio.current_time() > 50
        await run.resume_in_place()
        assert (await run.result()).result == 1


async def test_a_pause_in_a_parked_run_holds_its_answers_back(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking]) as engine:
        run = await engine.start("asking")
        first = await asked(run)
        await parked(engine)
        await run.pause()
        await run.respond_to_input(first, 1)
        await trio.sleep(10)
        assert run.status is RunStatus.PAUSED
    async with open_engine(store, [asking]) as engine:
        run = await engine.get(run.run_id)
        await run.resume_in_place()
        await run.respond_to_input(await asked(run, "second?"), 2)
        assert (await run.result()).result == [1, 2]


async def test_a_pause_that_another_engine_asks_for_does_not_keep_others_waiting(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping, asking]) as one, open_engine(store, [asking, sleeping]) as other:
        long, run = await started(one, "sleeping", 1000), await one.start("asking")
        first = await asked(run)
        await other.pause(long.run_id)
        await trio.sleep(2)
        await other.respond_to_input(run.run_id, first, 1)
        with trio.fail_after(10):
            await asked(run, "second?")
        assert long.status is RunStatus.PAUSED


# --- Turns and places -------------------------------------------------------------------------------------------------


async def test_no_more_runs_than_allowed_are_busy_and_all_come_in_turn(autojump_clock: MockClock) -> None:
    most, busy, order = 0, 0, list[int]()

    @step
    async def work(event: StartEvent) -> StopEvent:
        nonlocal most, busy
        busy += 1
        most = max(most, busy)
        await trio.sleep(1)
        busy -= 1
        order.append(event.data)
        return StopEvent()

    async with open_engine(MemoryStore(), [Workflow("work", [work])], max_runs=2) as engine:
        runs = [await engine.start("work", number) for number in range(7)]
        assert engine.statistics()["queued"] == 5
        for run in runs:
            await run.result()
    assert (most, sorted(order)) == (2, list(range(7)))
    assert trio.current_time() == pytest.approx(4, abs=0.1)


async def test_a_run_that_waits_for_a_person_takes_nobodys_turn(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking, sleeping], max_runs=1) as engine:
        run = await engine.start("asking")
        async with run.stream_events() as events:
            await events.receive()
            await asked(run)
            assert (await (await engine.start("sleeping", 3)).result()).result == 1
            assert engine.in_memory == 1


async def test_a_run_that_cannot_be_loaded_gives_its_turn_to_the_next(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping], max_runs=1) as engine:
        runs = [await engine.start("sleeping", 100) for _ in range(3)]
    bad, *good = [each.run_id for each in runs]
    store._runs[bad].entries.append(b"what is this?")
    async with open_engine(store, [sleeping], max_runs=1) as engine:
        for each in good:
            assert (await (await engine.get(each)).result()).result == 1
        with pytest.raises(StoreError):
            await engine.held[bad].wait_over()


async def test_a_run_goes_where_its_labels_are(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping], labels={"gpu": "no"}) as one:
        run = await one.start("sleeping", 1, require={"gpu": "yes"})
        await trio.sleep(5)
        assert run.status is RunStatus.RUNNING
        await one.pause(run.run_id)
        async with open_engine(store, [sleeping], labels={"gpu": "yes", "disk": "big"}) as other:
            await trio.sleep(5)
            assert run.run_id in other.held
            await one.resume(run.run_id)
            assert (await run.result()).result == 1


async def test_another_engine_takes_over_what_one_let_go_of(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping]) as other:
        async with open_engine(store, [sleeping]) as one:
            run = await started(one, "sleeping", 100)
        assert (await (await other.get(run.run_id)).result()).result == 1


async def test_an_engine_that_shall_not_recover_takes_only_what_it_is_asked_for(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with store, open_engine(store, [sleeping]) as one:
        run = await started(one, "sleeping", 100)
    async with store:
        await store.send(Command(run.run_id, "word", "resume", b"\x90"))  # nobody holds the run, and word waits for it
        async with open_engine(store, [sleeping], recover=False) as engine:
            await trio.sleep(1000)
            assert engine.statistics()["held"] == 0
            await engine.resume(run.run_id)
            assert (await (await engine.get(run.run_id)).result()).result == 1


async def test_word_can_be_left_by_an_engine_that_does_not_know_the_workflow(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping]) as one, open_engine(store, [asking]) as other:
        run = await started(one, "sleeping", 100)
        await other.abort(run.run_id, "said from afar")
        with pytest.raises(WorkflowAbortedError, match="said from afar"):
            await run.result()
        with pytest.raises(ValueError, match="no workflow 'sleeping'"):
            await other.get(run.run_id)


# --- Workflows that changed -------------------------------------------------------------------------------------------


async def test_a_run_of_a_workflow_that_was_changed_is_refused_and_the_others_go_on(autojump_clock: MockClock) -> None:
    class Other(Event):
        number: int

    @step
    async def sleep_longer(event: StartEvent, ctx: Context) -> Other:
        return Other(1)

    @step
    async def end(event: Other) -> StopEvent:
        return StopEvent(7)

    store, changed = MemoryStore(), Workflow("sleeping", [sleep_longer, end])
    async with open_engine(store, [sleeping, asking]) as engine:
        old, good = await started(engine, "sleeping", 100), await engine.start("asking")
        await asked(good)
    async with open_engine(store, [changed, asking]) as engine:
        with pytest.raises((SnapshotError, StoreError)):
            await (await engine.get(old.run_id)).result()
        await asked(await engine.get(good.run_id))
        new = await engine.start("sleeping")
        assert (await new.result()).result == 7
        assert engine.statistics()["stopped"] == 1
        await engine.delete(old.run_id)
        with pytest.raises(RunNotFoundError):
            await engine.get(old.run_id)


async def test_rows_of_a_changed_workflow_are_a_mismatch_or_damage_and_harm_nobody(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [sleeping]) as engine:
        run = await started(engine, "sleeping", 100)
        whole = store._runs[run.run_id]
        entries = list(whole.entries)
    assert entries
    for rows in (entries * 2, entries[::-1], [b""], [entries[0][:-3]], [b"\x93\xa5Dance\x90\x01"]):
        whole.snapshot, whole.entries = whole.new.snapshot, [*entries, *rows]
        async with open_engine(store, [sleeping]) as engine:
            other = await engine.start("sleeping", 1)
            assert (await other.result()).result == 1


async def test_figures_add_up(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking, sleeping]) as engine:
        await engine.start("asking")
        await engine.start("sleeping")
        run = await engine.start("asking")
        for _ in range(30):
            figures = engine.statistics()
            ended = figures["finished"]
            assert figures["emitted"] - figures["consumed"] - figures["pending"] in (0, ended)
            await trio.sleep(0.25)
        await parked(engine)
        await run.respond_to_input(await asked(run), 1)
        await asked(run, "second?")
        figures = engine.statistics()
        assert (figures["emitted"], figures["pending"], figures["consumed"]) == (2 + 3, 2, 2)
