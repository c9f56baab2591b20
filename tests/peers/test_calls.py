"""Calls as the server sees them: one run for each id, whoever asks again and whenever; refs stay until released."""

from collections.abc import Awaitable, Callable
from typing import Any, final

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    Engine,
    Event,
    PeerError,
    RefLifetime,
    RegistryKey,
    RunNotFoundError,
    RunStatus,
    SessionRefNotFoundError,
    SessionRefRegistry,
    SessionRefsNotSerializableError,
    StartEvent,
    StepFailedError,
    StepRegistry,
    StopEvent,
    StoreError,
    UnknownStepError,
    Workflow,
    WorkflowAbortedError,
    WorkflowResult,
    open_engine,
    step,
)
from blazen_trio.engine.aborted_calls import ABORTED_S, AbortedCalls
from blazen_trio.engine.calls import abort_call, begin_call, called_workflow, end_call
from blazen_trio.engine.kept_refs import KEPT_S, KeptRefs
from blazen_trio.peers import ABORT_S
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.stores import _Around
from tests.engine.stories import sleeping
from tests.peers.stories import Model, Work, crashing, doubling, until

INPUT = StartEvent({"number": 4})


async def run_call(engine: Engine, name: str, event: Event, call_id: str, metadata: Any = None) -> WorkflowResult:
    """A call from its beginning to its end, as a server does it for a caller who stays."""
    return await end_call(engine, await begin_call(engine, name, event, call_id, metadata))


@final
class BreakingStore(_Around):
    """A store that cannot be asked for a while."""

    is_broken = False

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.is_broken:
            raise StoreError("it cannot be asked")
        return await call()


@final
class StuckStore(_Around):
    """A store that is late with a new run, and takes 1,000 seconds for whatever comes then."""

    created_at = 0.0

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        is_new_run = "create" in getattr(call, "__qualname__", "")
        await trio.sleep(1 if is_new_run else 1_000 if self.created_at else 0)
        self.created_at = trio.current_time() if is_new_run else self.created_at
        return await call()


async def test_a_call_is_a_run_under_its_id(autojump_clock: MockClock) -> None:
    work = Work()
    async with open_engine(MemoryStore(), [doubling(work)]) as engine:
        result = await run_call(engine, "doubling", INPUT, "call-1", {"who": "me"})
        assert (result.run_id, result.result, result.cost_total_usd) == ("call-1", {"number": 8}, 0.5)
        assert (await engine.get("call-1")).status is RunStatus.COMPLETED


async def test_a_repeated_call_gives_the_first_ones_result_and_its_refs(autojump_clock: MockClock) -> None:
    work = Work()
    async with open_engine(MemoryStore(), [doubling(work, seconds=5)]) as engine:
        results = []

        async def call() -> None:
            results.append(await run_call(engine, "doubling", INPUT, "call"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
        await call()
        assert work.begun == {"call": 1}
        assert {each.result["number"] for each in results} == {8}
        assert len({each.session_refs.keys() for each in results}) == 1
        assert len(engine.kept_refs) == 1


async def test_a_repeated_call_attaches_in_another_life_but_refs_are_gone(autojump_clock: MockClock) -> None:
    work, store = Work(), MemoryStore()
    async with open_engine(store, [doubling(work)]) as engine:
        first = await run_call(engine, "doubling", INPUT, "call")
    async with open_engine(store, [doubling(work)]) as engine:
        second = await run_call(engine, "doubling", INPUT, "call")
    assert (first.result, len(first.session_refs)) == (second.result, 1)
    assert (len(second.session_refs), work.begun["call"]) == (0, 1)


async def test_a_run_that_was_interrupted_by_the_servers_end_goes_on(autojump_clock: MockClock) -> None:
    work, store = Work(), MemoryStore()
    async with open_engine(store, [doubling(work, seconds=60)]) as engine:
        await begin_call(engine, "doubling", INPUT, "call")
        await until(lambda: work.begun["call"])
    async with open_engine(store, [doubling(work, seconds=60)]) as engine:
        result = await run_call(engine, "doubling", INPUT, "call")
        assert (result.result, len(result.session_refs), len(engine.kept_refs)) == ({"number": 8}, 1, 1)
    assert work.ended["call"] == 1


async def test_equal_inputs_are_one_call_whatever_their_order(autojump_clock: MockClock) -> None:
    work = Work()
    async with open_engine(MemoryStore(), [doubling(work)]) as engine:
        await run_call(engine, "doubling", StartEvent({"number": 1, "tags": {"a", "b", "c"}}), "call")
        await run_call(engine, "doubling", StartEvent({"tags": {"c", "b", "a"}, "number": 1}), "call")
    assert work.begun["call"] == 1


async def test_no_call_is_answered_with_the_result_of_another_one(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [doubling(Work()), sleeping]) as engine:
        await run_call(engine, "doubling", INPUT, "call")
        await (await engine.start("doubling", {"number": 4}, "mine")).result()
        for name, event, call_id, problem in (
            ("doubling", StartEvent({"number": 5}), "call", "another input"),
            ("doubling", StartEvent({"number": 4.0}), "call", "another input"),
            ("sleeping", INPUT, "call", "of another workflow"),
            ("doubling", INPUT, "mine", "not called"),
            ("unknown", INPUT, "new", "no workflow 'unknown'"),
        ):
            with pytest.raises(PeerError, match=problem) as caught:
                await run_call(engine, name, event, call_id)
            assert (caught.value.peer, caught.value.run_id) == (engine.node_id, call_id)


async def test_a_caller_who_goes_away_leaves_the_run_running(autojump_clock: MockClock) -> None:
    work = Work()
    async with open_engine(MemoryStore(), [doubling(work, seconds=10)]) as engine:
        with trio.move_on_after(1):
            await run_call(engine, "doubling", INPUT, "call")
        assert (await run_call(engine, "doubling", INPUT, "call")).result == {"number": 8}
    assert work.begun["call"] == 1
    assert trio.current_time() == pytest.approx(10, abs=0.5)


async def test_a_call_that_failed_fails_again(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [crashing()]) as engine:
        for _ in range(2):
            with pytest.raises(StepFailedError, match="no such page"):
                await run_call(engine, "crashing", INPUT, "call")
        assert engine.statistics()["finished"] == 1


async def test_a_closed_engine_takes_no_calls(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [doubling(Work())]) as engine:
        pass
    with pytest.raises(StoreError):
        await run_call(engine, "doubling", INPUT, "call")


# --- Aborts -----------------------------------------------------------------------------------------------------------


async def test_a_call_that_was_aborted_before_it_came_begins_nothing(autojump_clock: MockClock) -> None:
    work = Work()
    async with open_engine(MemoryStore(), [doubling(work), sleeping]) as engine:
        for _ in range(2):
            with pytest.raises(RunNotFoundError):
                await abort_call(engine, "call", "enough")
        for _ in range(2):
            with pytest.raises(WorkflowAbortedError, match="before it began") as caught:
                await run_call(engine, "doubling", INPUT, "call")
            assert caught.value.run_id == "call"
        assert engine.statistics()["aborted_calls"] == 1
        assert (work.begun, await engine.runs()) == ({}, [])
        assert (await run_call(engine, "doubling", INPUT, "other")).result == {"number": 8}


async def test_an_abort_that_found_its_run_is_in_the_run_and_nowhere_else(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    for life in range(2):
        async with open_engine(store, [doubling(Work(), seconds=5)]) as engine:
            if not life:
                await begin_call(engine, "doubling", INPUT, "call")
                await abort_call(engine, "call", "enough")
            with pytest.raises(WorkflowAbortedError, match="enough"):
                await run_call(engine, "doubling", INPUT, "call")
            assert engine.statistics()["aborted_calls"] == 0


async def test_a_call_that_is_aborted_while_it_begins_is_answered_though_its_store_is_stuck(
    autojump_clock: MockClock,
) -> None:
    store = StuckStore(MemoryStore())
    async with open_engine(store, [sleeping]) as engine, trio.open_nursery() as nursery:
        begun_at: list[float] = []

        async def begin() -> None:
            await begin_call(engine, "sleeping", StartEvent(10_000), "call")
            begun_at.append(trio.current_time())

        nursery.start_soon(begin)
        await trio.sleep(0.5)
        with pytest.raises(RunNotFoundError):
            await abort_call(engine, "call", "enough")
        await until(lambda: begun_at, 2_000)
        assert begun_at[0] - store.created_at == pytest.approx(ABORT_S)


async def test_an_abort_concerns_calls_and_no_other_runs(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [doubling(Work())]) as engine:
        with pytest.raises(RunNotFoundError):
            await abort_call(engine, "mine")
        run = await engine.start("doubling", {"number": 4}, "mine")
        assert (await run.result()).result == {"number": 8}
        with pytest.raises(PeerError, match="not called"):  # it is there, and tells for itself
            await run_call(engine, "doubling", INPUT, "mine")


async def test_an_abort_that_was_cancelled_or_failed_is_none(autojump_clock: MockClock) -> None:
    work, store = Work(), BreakingStore(MemoryStore())
    async with open_engine(store, [doubling(work)]) as engine:
        store.is_broken = True
        with pytest.raises(StoreError):
            await abort_call(engine, "call")
        store.is_broken = False
        with trio.CancelScope() as scope:
            scope.cancel()
            await abort_call(engine, "call")
        assert scope.cancelled_caught
        assert (await run_call(engine, "doubling", INPUT, "call")).result == {"number": 8}


async def test_an_aborts_memory_is_bounded_in_number_and_time() -> None:
    now = 0.0
    aborted = AbortedCalls(capacity=3, clock=lambda: now)

    def abort(call_id: str) -> None:
        with pytest.raises(RunNotFoundError), aborted.aborting(call_id):
            raise RunNotFoundError(call_id)

    for call_id in "abca":
        abort(call_id)
    assert [each in aborted for each in "abc"] == [True] * 3
    abort("d")
    assert [each in aborted for each in "abcd"] == [True, False, True, True]  # "a" was told again
    now = ABORTED_S - 1
    abort("e")
    assert len(aborted) == 3
    now = ABORTED_S + 1
    assert [each in aborted for each in "abcde"] == [False] * 4 + [True]
    assert len(aborted) == 1


async def test_an_abort_counts_from_before_it_looks() -> None:
    aborted = AbortedCalls(clock=lambda: 0.0)
    with aborted.aborting("a"):
        with aborted.aborting("a"):
            assert "a" in aborted
        assert "a" in aborted
    assert "a" not in aborted
    assert len(aborted) == 0


# --- Refs -------------------------------------------------------------------------------------------------------------


async def test_refs_stay_until_they_are_released(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [doubling(Work(model=Model(b"abc")))]) as engine:
        result = await run_call(engine, "doubling", INPUT, "call")
        (key,) = result.session_refs.keys()
        descriptor = result.session_refs.get_remote(key)
        assert descriptor is not None
        assert (descriptor.origin_node_id, descriptor.type_tag) == (engine.node_id, "model")

        data = engine.kept_refs.deref(key)
        assert (data.type_tag, data.data) == ("model", b"abc")
        assert engine.statistics()["kept_refs"] == 1
        assert engine.kept_refs.release(key) is True
        assert engine.kept_refs.release(key) is False
        with pytest.raises(SessionRefNotFoundError):
            engine.kept_refs.deref(key)
        assert len((await run_call(engine, "doubling", INPUT, "call")).session_refs) == 0


async def test_what_is_kept_lives_and_what_was_no_call_does_not(autojump_clock: MockClock) -> None:
    @step
    async def register(event: StartEvent, ctx: Context) -> StopEvent:
        refs = ctx.session_refs
        refs.insert(object(), RefLifetime.UNTIL_PARENT_FINISH)
        return StopEvent([refs.insert({"live"}), refs.insert_serializable(Model(), RefLifetime.UNTIL_EXPLICIT_DROP)])

    async with open_engine(MemoryStore(), [Workflow("w", [register])]) as engine:
        await (await engine.start("w")).result()
        assert len(engine.kept_refs) == 0
        result = await run_call(engine, "w", INPUT, "call")
        live, serializable = result.result
        assert set(result.session_refs.keys()) == {live, serializable}
        descriptor = result.session_refs.get_remote(live)
        assert descriptor is not None
        assert descriptor.type_tag == "builtins.set"
        with pytest.raises(SessionRefsNotSerializableError):
            engine.kept_refs.deref(live)
        await engine.delete("call")
        assert len(engine.kept_refs) == 0


async def test_a_failed_call_leaves_no_refs(autojump_clock: MockClock) -> None:
    @step
    async def register(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.session_refs.insert(object(), RefLifetime.UNTIL_EXPLICIT_DROP)
        raise ValueError("after that")

    async with open_engine(MemoryStore(), [Workflow("w", [register])]) as engine:
        with pytest.raises(StepFailedError):
            await run_call(engine, "w", INPUT, "call")
        assert len(engine.kept_refs) == 0


def kept_with(count: int, *, capacity: int = 10) -> tuple[KeptRefs, list[RegistryKey], list[float]]:
    """Refs of as many calls, one each, kept a second after each other; and the clock."""
    now = [0.0]
    kept, keys = KeptRefs("node", capacity, lambda: now[0]), []
    for number in range(count):
        now[0] += 1
        registry = SessionRefRegistry()
        keys.append(registry.insert_serializable(Model(bytes([number]))))
        kept.keep(f"call-{number}", registry)
    return kept, keys, now


def test_the_oldest_refs_make_room() -> None:
    kept, keys, _ = kept_with(13)
    assert [key in kept for key in keys] == [False] * 3 + [True] * 10
    assert len(kept.describe("call-0")) == 0
    assert len(kept.describe("call-12")) == 1


def test_refs_that_nobody_releases_expire() -> None:
    kept, keys, now = kept_with(3)
    now[0] = KEPT_S + 2
    with pytest.raises(SessionRefNotFoundError):
        kept.deref(keys[1])
    assert kept.deref(keys[2]).data == b"\x02"
    assert [kept.release(key) for key in keys] == [False, False, True]
    assert len(kept) == 0


def test_a_run_may_leave_as_many_as_fit() -> None:
    kept, _, _ = kept_with(0, capacity=5)
    registry = SessionRefRegistry()
    keys = [registry.insert(number) for number in range(8)]
    kept.keep("call", registry)
    assert kept.describe("call").keys() == tuple(keys[3:])


def test_what_lives_until_the_run_is_over_is_not_kept() -> None:
    kept, _, _ = kept_with(0)
    registry = SessionRefRegistry()
    keys = [registry.insert(each, each) for each in RefLifetime]
    kept.keep("call", registry)
    assert set(keys) - set(kept.describe("call").keys()) == {keys[-1]}
    assert registry.lifetime_of(keys[-1]) is RefLifetime.UNTIL_PARENT_FINISH


async def test_refs_go_with_their_engine(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [doubling(Work())]) as engine:
        await run_call(engine, "doubling", INPUT, "call")
        assert len(engine.kept_refs) == 1
    assert len(engine.kept_refs) == 0


def test_an_object_whose_tag_cannot_be_had_is_told_by_its_class() -> None:
    class Shy:
        is_shy = False

        @property
        def blazen_type_tag(self) -> str:
            if self.is_shy:
                raise RuntimeError("not now")
            return "shy"

        def blazen_serialize(self) -> bytes:
            return b""

    kept, _, _ = kept_with(0)
    registry, shy = SessionRefRegistry(), Shy()
    key = registry.insert_serializable(shy)
    kept.keep("call", registry)
    shy.is_shy = True
    descriptor = kept.describe("call").get_remote(key)
    assert descriptor is not None
    assert descriptor.type_tag.endswith("Shy")
    with pytest.raises(SessionRefsNotSerializableError, match="not now"):
        kept.deref(key)


# --- Workflows by the names of steps ----------------------------------------------------------------------------------


class Page(Event):
    text: str


def registered() -> StepRegistry:
    registry = StepRegistry()

    @registry.register
    @step
    async def fetch(event: StartEvent) -> Page:
        return Page("one two")

    @registry.register
    @step
    async def count(event: Page) -> StopEvent:
        return StopEvent(len(event.text.split()))

    return registry


async def test_a_workflow_is_made_of_the_steps_that_a_call_names(autojump_clock: MockClock) -> None:
    registry = registered()
    async with open_engine(MemoryStore(), [sleeping]) as engine:
        workflow = called_workflow(engine, "words", ["fetch", "count"], registry)
        assert called_workflow(engine, "words", ["fetch", "count"], registry) is workflow
        assert (await run_call(engine, "words", StartEvent(), "call")).result == 2
        assert called_workflow(engine, "sleeping", [each.name for each in sleeping.steps], registry) is sleeping
        with pytest.raises(PeerError, match="other steps: fetch, count"):
            called_workflow(engine, "words", ["count", "fetch"], registry)
        with pytest.raises(UnknownStepError, match="'eval'"):
            called_workflow(engine, "evil", ["fetch", "eval"], registry)
        assert "evil" not in engine.workflows


async def test_no_more_workflows_are_made_than_fit(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blazen_trio.engine.made.MADE_MAX", 2)
    registry = registered()
    async with open_engine(MemoryStore(), [sleeping]) as engine:
        called_workflow(engine, "words", ["fetch", "count"], registry)
        with pytest.raises(PeerError, match="makes no more"):
            called_workflow(engine, "more", ["fetch", "count"], registry)


async def test_beginning_and_ending_are_two_things(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [doubling(Work(), seconds=3)]) as engine:
        run = await begin_call(engine, "doubling", INPUT, "call")
        assert (await engine.runs())[0].run_id == "call"
        assert (await end_call(engine, run)).result == {"number": 8}
