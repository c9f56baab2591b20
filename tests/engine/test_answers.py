"""An answer arrives: in every condition that a run can be in."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio import (
    AnswerConflictError,
    EncodeError,
    RunClosedError,
    RunNotFoundError,
    RunStatus,
    StoreError,
    UnknownInputRequestError,
    open_engine,
)
from blazen_trio.abc import Command
from blazen_trio.stores import MemoryStore
from tests.engine.programs import runs_inside
from tests.engine.stories import GatedStore, Item, asked, asking, parked, waiting


async def test_of_a_run_in_memory(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine:
        run = await engine.start("asking")
        await run.respond_to_input(await asked(run), 1)
        await engine.respond_to_input(run.run_id, await asked(run, "second?"), 2)
        assert (await run.result()).result == [1, 2]
        assert run.status is RunStatus.COMPLETED


async def test_of_a_parked_run_which_then_comes_back(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine:
        run = await engine.start("asking")
        await asked(run)
        await parked(engine)
        assert (run.status, len(run.pending_inputs)) == (RunStatus.AWAITING_INPUT, 1)
        await run.respond_to_input(run.pending_inputs[0].request_id, 1)
        assert engine.in_memory == 1
        await asked(run, "second?")


async def test_of_a_run_that_the_engine_let_go_of(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking], idle_after=5) as engine:
        run = await engine.start("asking")
        request_id = await asked(run)
        await trio.sleep(10)
        assert (await store.info(run.run_id)).owner is None
        await run.respond_to_input(request_id, 1)
        await run.respond_to_input(await asked(run, "second?"), 2)
        assert (await run.result()).result == [1, 2]


@pytest.mark.parametrize("idle_after", [None, 1.0])
async def test_of_a_run_that_is_just_being_parked(idle_after: float | None, autojump_clock: MockClock) -> None:
    store = GatedStore(MemoryStore())
    async with open_engine(store, [asking], idle_after=idle_after) as engine:
        run = await engine.start("asking")
        request_id = await asked(run)
        store.hold()
        while not store.waiting:  # noqa: ASYNC110 - on a clock that jumps
            await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.respond_to_input, request_id, 1)
            await wait_all_tasks_blocked()
            store.let_go()
        await run.respond_to_input(await asked(run, "second?"), 2)
        assert (await run.result()).result == [1, 2]


async def test_of_a_run_that_another_engine_holds(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking]) as one, open_engine(store, [asking]) as other:
        run = await one.start("asking")
        await asked(run)
        await parked(one)
        seen = await other.get(run.run_id)
        await seen.respond_to_input(seen.pending_inputs[0].request_id, 1)
        await seen.refresh()
        await run.respond_to_input(await asked(run, "second?"), 2)
        assert (await seen.result()).result == [1, 2]


async def test_the_same_one_again_is_accepted_and_another_one_is_not(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking]) as one, open_engine(store, [asking]) as other:
        run = await one.start("asking")
        request_id = await asked(run)
        await run.respond_to_input(request_id, 1)
        await asked(run, "second?")
        for engine in (one, other):
            await engine.respond_to_input(run.run_id, request_id, 1)
            with pytest.raises(AnswerConflictError):
                await engine.respond_to_input(run.run_id, request_id, 2)


async def test_to_a_question_that_nobody_asked(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking]) as one, open_engine(store, [asking]) as other:
        run = await one.start("asking")
        await asked(run)
        for engine in (one, other):
            with pytest.raises(UnknownInputRequestError):
                await engine.respond_to_input(run.run_id, "what?", 1)
            with pytest.raises(RunNotFoundError):
                await engine.respond_to_input("nobody", "what?", 1)


async def test_to_a_run_that_is_over(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking]) as one, open_engine(store, [asking]) as other:
        run = await one.start("asking")
        request_id = await asked(run)
        await run.abort()
        for engine in (one, other):
            with pytest.raises(RunClosedError):
                await engine.respond_to_input(run.run_id, request_id, 1)


async def test_that_cannot_be_saved_is_refused_and_the_run_goes_on(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine:
        run = await engine.start("asking")
        request_id = await asked(run)
        with pytest.raises(EncodeError):
            await run.respond_to_input(request_id, object())
        await run.respond_to_input(request_id, 1)


async def test_whose_caller_is_cancelled_is_given_or_not(autojump_clock: MockClock) -> None:
    store = GatedStore(MemoryStore())
    async with open_engine(store, [asking]) as engine:
        run = await engine.start("asking")
        request_id = await asked(run)
        store.hold(is_after=True)
        with trio.move_on_after(0.1) as scope:
            await run.respond_to_input(request_id, 1)
        store.let_go()
        assert scope.cancelled_caught
        await run.respond_to_input(request_id, 1)
        await asked(run, "second?")


async def test_is_not_promised_by_an_engine_that_closes_before_it_is_saved(autojump_clock: MockClock) -> None:
    inside = MemoryStore()
    store = GatedStore(inside)
    outcome: list[object] = []

    async def answer() -> None:
        try:
            await run.respond_to_input(request_id, 1)
            outcome.append("taken")
        except StoreError as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_engine(store, [asking]) as engine:
                run = await engine.start("asking")
                request_id = await asked(run)
                store.hold()
                nursery.start_soon(answer)
                await wait_all_tasks_blocked()
                nursery.start_soon(let_go_later, store)
                scope.cancel()
    async with open_engine(inside, [asking]) as engine:
        again = await engine.get(run.run_id)
        is_open = request_id in [each.request_id for each in again.pending_inputs]
        assert len(outcome) == 1
        assert not (outcome == ["taken"] and is_open)


async def let_go_later(store: GatedStore) -> None:
    await trio.sleep(1)
    store.let_go()


async def test_events_are_taken_in_the_same_ways(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [waiting]) as one, open_engine(store, [waiting]) as other:
        run = await one.start("waiting")
        await one.send_event(run.run_id, Item(1))
        await other.send_event(run.run_id, Item(2))
        assert (await run.result()).result == [1, 2]
        for engine in (one, other):
            with pytest.raises(RunClosedError):
                await engine.send_event(run.run_id, Item(3))


async def test_what_another_engine_asks_is_kept_while_the_run_is_stopped(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking]) as one, open_engine(store, [asking]) as other:
        run = await one.start("asking")
        request_id = await asked(run)
        one.held[run.run_id].lose(StoreError("for a test"))
        await trio.sleep(1)
        await other.respond_to_input(run.run_id, request_id, 1)
        await trio.sleep(5)
        assert [each.kind for each in await store.commands(one.owner)] == ["respond_to_input"]
    async with open_engine(store, [asking]) as engine:
        again = await engine.get(run.run_id)
        await again.respond_to_input(await asked(again, "second?"), 2)
        assert (await again.result()).result == [1, 2]


async def test_a_command_that_makes_no_sense_is_forgotten(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_engine(store, [asking]) as engine:
        run = await engine.start("asking")
        await asked(run)
        for number, payload in enumerate([b"", b"\x91\x01", b"\xff", b"\x90"]):
            for kind in ("respond_to_input", "send_event", "pause", "resume", "abort", "dance"):
                if kind != "resume" and (kind, payload) != ("abort", b"\x91\x01"):
                    await store.send(attrs.evolve(Command(run.run_id, f"{kind}{number}", kind), payload=payload))
        await trio.sleep(2)
        assert await store.commands(engine.owner) == []
        assert run.status is RunStatus.AWAITING_INPUT


async def test_to_a_run_inside_a_paused_one_survives_a_crash(autojump_clock: MockClock) -> None:
    program, store = runs_inside(), MemoryStore()
    with trio.CancelScope() as scope:
        async with open_engine(store, [program.workflow]) as engine:
            run = await engine.start("outer")
            request_id = await asked(run, "0")
            await run.pause(interrupt=True)
            await run.respond_to_input(request_id, 7)
            scope.cancel()
    async with open_engine(store, [program.workflow]) as engine:
        again = await engine.get(run.run_id)
        assert again.status is RunStatus.PAUSED
        assert request_id not in [each.request_id for each in again.pending_inputs]
        await again.resume_in_place()
        with trio.move_on_after(1000):
            await program.drive(again)  # type: ignore[arg-type]  # it has the same methods
        assert (await again.result()).result[0] == 8
