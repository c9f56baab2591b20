"""Workflows made of registered steps: their runs outlive the engine that made them, and go on where the steps are."""

from collections import Counter
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    PeerError,
    RunStatus,
    SnapshotMismatchError,
    StartEvent,
    StepRegistry,
    StopEvent,
    StoreError,
    UnknownStepError,
    Workflow,
    WorkflowAbortedError,
    open_engine,
    step,
)
from blazen_trio.engine.calls import abort_call, begin_call, called_workflow
from blazen_trio.stores import MemoryStore
from blazen_trio.testing import LocalPeer
from tests.engine.stories import sleeping
from tests.peers.stories import until
from tests.websocket.lines import exchange


@attrs.define
class Shop:
    """Registered steps, what they did, and the workflow that a caller has of them."""

    done: Counter[str] = attrs.Factory(Counter)
    registry: StepRegistry = attrs.Factory(StepRegistry)

    def __attrs_post_init__(self) -> None:
        @self.registry.register
        @step
        async def ask(event: StartEvent, ctx: Context) -> StopEvent:
            return StopEvent(await ctx.request_input("how many?"))

        @self.registry.register
        @step
        async def work(event: StartEvent, ctx: Context) -> StopEvent:
            await trio.sleep(event.data)
            self.done[ctx.run_id] += 1
            return StopEvent("done")

    def workflow(self, name: str) -> Workflow:
        """What the caller has."""
        return Workflow.from_registered_steps(name, [name], self.registry)

    async def begin(self, store: MemoryStore, name: str, *run_ids: str, seconds: float = 60) -> None:
        """Calls of a peer in a life of an engine that ends soon."""
        async with open_engine(store, [sleeping]) as engine:
            called_workflow(engine, name, [name], self.registry)
            for run_id in run_ids:
                await begin_call(engine, name, StartEvent(seconds), run_id)
            await trio.sleep(1)


async def status_of(store: MemoryStore, run_id: str) -> str:
    async with store:
        return (await store.info(run_id)).header.status


async def test_a_run_goes_on_at_the_next_engine_though_nobody_asks_for_it(autojump_clock: MockClock) -> None:
    shop, store = Shop(), MemoryStore()
    await shop.begin(store, "work", "x", "y")
    async with open_engine(store, [sleeping], registry=shop.registry):
        await until(lambda: shop.done.total() == 2)
        await trio.sleep(1)
    assert (shop.done, await status_of(store, "x")) == ({"x": 1, "y": 1}, "completed")


async def test_so_does_a_run_that_was_started_and_not_called(autojump_clock: MockClock) -> None:
    shop, store = Shop(), MemoryStore()
    async with open_engine(store, []) as engine:
        called_workflow(engine, "work", ["work"], shop.registry)
        await engine.start("work", 60, "x", metadata={"who": "me"})
    async with open_engine(store, [], registry=shop.registry) as engine:
        assert (await (await engine.get("x")).result()).result == "done"


async def test_a_server_that_was_started_again_goes_on_with_them(autojump_clock: MockClock) -> None:
    shop, store = Shop(), MemoryStore()
    await shop.begin(store, "work", "x")
    async with open_engine(store, []) as engine, exchange(registry=shop.registry) as there:
        await trio.sleep(100)
        assert shop.done == {}
        await there.open(engine)
        await until(lambda: shop.done["x"])


async def test_and_answers_and_aborts_are_taken_from_afar(autojump_clock: MockClock) -> None:
    shop, store = Shop(), MemoryStore()
    await shop.begin(store, "ask", "x", "y", "z")
    async with open_engine(store, [], recover=False) as engine, exchange(registry=shop.registry) as there:
        await there.open(engine)
        async with there.client([], [shop.workflow("ask")]) as remote:
            run = await remote.get("x")
            await remote.respond_to_input("x", run.pending_inputs[0].request_id, 7)
            assert (await run.result()).result == 7
    async with open_engine(store, [], recover=False) as engine, exchange(registry=shop.registry) as there:
        await there.open(engine)
        async with there.client([], [shop.workflow("ask")]) as remote:
            question = (await remote.runs(status="awaiting_input"))[0].pending_inputs[0]
            await remote.respond_to_input("z", question.request_id, 8)
            await remote.abort("y")
    assert [await status_of(store, each) for each in "xyz"] == ["completed", "aborted", "completed"]


async def test_a_caller_who_is_cancelled_after_the_restart_still_aborts_his_run(autojump_clock: MockClock) -> None:
    shop, store = Shop(), MemoryStore()
    await shop.begin(store, "work", "x")
    async with open_engine(store, [], registry=shop.registry, recover=False) as engine:
        await abort_call(engine, "x", "enough")
        with pytest.raises(WorkflowAbortedError, match="enough"):
            await shop.workflow("work").run_remote(60, LocalPeer(engine, registry=shop.registry), call_id="x")
    assert shop.done == {}


async def test_a_run_whose_steps_are_not_registered_is_left_to_an_engine_that_has_them(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shop, store, other = Shop(), MemoryStore(), StepRegistry()
    other.register(shop.registry.get("ask"))
    await shop.begin(store, "work", "x")
    for registry, error, problem in (
        (other, UnknownStepError, "'work'; known are 'ask'"),
        (None, ValueError, "no workflow 'work'"),
    ):
        async with open_engine(store, [], registry=registry) as engine:
            for ask in (engine.get, engine.abort, engine.resume, engine.pause, engine.told):
                with pytest.raises(error, match=problem):
                    await ask("x")
            await trio.sleep(100)
            assert (await engine.runs())[0].status is RunStatus.RUNNING
            assert engine.statistics()["held"] == 0
    said = [each.getMessage() for each in caplog.records if "'work'" in each.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("run x is left to others: no step is registered as 'work'; known are 'ask'")
    async with open_engine(store, [], registry=shop.registry) as engine:
        assert (await (await engine.get("x")).result()).result == "done"


async def test_steps_may_be_registered_while_the_engine_is_open(autojump_clock: MockClock) -> None:
    shop, store, late = Shop(), MemoryStore(), StepRegistry()
    await shop.begin(store, "work", "x")
    async with open_engine(store, [], registry=late):
        await trio.sleep(100)
        late.register(shop.registry.get("work"))
        await until(lambda: shop.done["x"])


async def test_a_run_of_other_steps_under_the_name_is_stopped_and_kept(autojump_clock: MockClock) -> None:
    shop, store = Shop(), MemoryStore()
    await shop.begin(store, "work", "x")
    async with open_engine(store, []) as engine:
        called_workflow(engine, "work", ["work", "ask"], shop.registry)
        for ask in (engine.resume, engine.get):
            with pytest.raises(SnapshotMismatchError, match=r"steps \['work'\]"):
                await ask("x")
    async with open_engine(store, [], registry=shop.registry) as engine:
        assert (await (await engine.get("x")).result()).result == "done"


async def test_they_are_found_among_any_number_of_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blazen_trio.engine.made.LOOKED_AT_ONCE", 3)
    monkeypatch.setattr("blazen_trio.engine.made.READ_AT_ONCE", 1)
    monkeypatch.setattr("blazen_trio.engine.made.LOOKS_AT_OPENING", 2)
    shop, store = Shop(), MemoryStore()
    await shop.begin(store, "work", "first", seconds=5)
    async with open_engine(store, [Workflow("strange", sleeping.steps)]) as engine:
        for number in range(10):
            await engine.start("strange", 1_000, f"strange-{number}")
    await shop.begin(store, "work", "last")
    async with open_engine(store, [], registry=shop.registry):
        await until(lambda: shop.done.total() == 2, 1_000)


async def test_what_cannot_be_read_keeps_nobody_from_looking_on(autojump_clock: MockClock) -> None:
    shop, store = Shop(), MemoryStore()
    await shop.begin(store, "work", "good")
    await shop.begin(store, "work", "bad")
    damaged: Any = store._runs["bad"]
    damaged.snapshot = b"\xc1"
    async with open_engine(store, [], registry=shop.registry) as engine:
        await until(lambda: shop.done["good"])
        with pytest.raises(StoreError):
            await (await engine.get("bad")).result()


async def test_no_more_are_made_than_fit(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, store = Shop(), MemoryStore()
    await shop.begin(store, "work", "x")
    monkeypatch.setattr("blazen_trio.engine.made.MADE_MAX", 1)
    async with open_engine(store, [sleeping], registry=shop.registry) as engine:
        with pytest.raises(PeerError, match="makes no more"):
            await engine.get("x")
