"""A run that a lost peer has ended can go on: its event is still there, and the call is made again under its id."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    PeerError,
    RetryConfig,
    RunStatus,
    StartEvent,
    Step,
    StepFailedError,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    open_engine,
    step,
)
from blazen_trio.engine import Engine
from blazen_trio.stores import MemoryStore
from tests.peers.stories import Answer, Query, Work, ask_all, collect, crashing, doubling, parent_of, peer_of

AGAIN = RetryConfig(max_retries=2, initial_delay_ms=1_000, jitter=False)
MOMENTS = pytest.mark.parametrize("moment", ["before", "started", "answer"])


def through_json(snapshot: WorkflowSnapshot) -> WorkflowSnapshot:
    return WorkflowSnapshot.from_json(snapshot.to_json())


async def snapshot_of_outage(workflow: Workflow, start: object = None) -> WorkflowSnapshot:
    """What is left of a run that a lost peer ends."""
    async with workflow.start(start) as run:
        with pytest.raises(StepFailedError, match="PeerError"):
            await run.result()
        assert run.status is RunStatus.FAILED
        return through_json(await run.snapshot())


async def resumed(workflow: Workflow, snapshot: WorkflowSnapshot) -> Any:
    async with workflow.resume(snapshot) as run:
        return (await run.result()).result


@MOMENTS
async def test_the_event_is_pending_in_the_snapshot(autojump_clock: MockClock, moment: Any) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=2)) as peer:
        workflow = parent_of(doubling(Work()), peer)
        peer.lose(moment)
        snapshot = await snapshot_of_outage(workflow)
        assert snapshot.status is RunStatus.RUNNING
        assert await resumed(workflow, snapshot) == 2
        assert (len(peer.calls), len(set(peer.calls)), list(work.begun.values())) == (2, 1, [1])


async def test_after_all_retries_too(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=2)) as peer:
        workflow = parent_of(doubling(Work()), peer, retry=AGAIN)
        peer.lose("started", times=4)
        snapshot = await snapshot_of_outage(workflow)
        snapshot = await snapshot_of_resumed_outage(workflow, snapshot)
        assert await resumed(workflow, snapshot) == 2
        assert (len(peer.calls), list(work.begun.values())) == (5, [1])


async def snapshot_of_resumed_outage(workflow: Workflow, snapshot: WorkflowSnapshot) -> WorkflowSnapshot:
    async with workflow.resume(snapshot) as run:
        with pytest.raises(StepFailedError, match="PeerError"):
            await run.result()
        return through_json(await run.snapshot())


async def test_what_else_ran_or_was_done_is_neither_lost_nor_repeated(autojump_clock: MockClock) -> None:
    done: list[int] = []

    @step(max_concurrency=1)
    async def local(event: Query, ctx: Context) -> None:
        await trio.sleep(1)
        ctx.state["sum"] = ctx.state.get("sum", 0, type=int) + event.number
        done.append(event.number)

    @step
    async def add(answers: list[Answer], ctx: Context) -> StopEvent:
        return StopEvent((sum(each.number for each in answers), ctx.state["sum"]))

    work = Work()
    async with peer_of(doubling(work, seconds=2.5)) as peer:
        inside = doubling(Work()).as_step(accepts=Query, emits=Answer, peer=peer)
        workflow = Workflow("parent", [ask_all(4), inside, local, add])
        peer.lose("answer")
        snapshot = await snapshot_of_outage(workflow)
        assert (done, peer.aborted) == ([1, 2], [])
        assert await resumed(workflow, snapshot) == (20, 10)
        assert done == [1, 2, 3, 4]
        assert sorted(work.begun.values()) == [1, 1, 1, 1]


async def test_from_inside_a_run_inside(autojump_clock: MockClock) -> None:
    begun: list[int] = []

    @step
    async def begin(event: StartEvent) -> Query:
        begun.append(event.data["number"])
        return Query(event.data["number"])

    @step
    async def give(event: Answer) -> StopEvent:
        return StopEvent({"number": event.number})

    async with peer_of(doubling(Work())) as peer:
        far = doubling(Work()).as_step(accepts=Query, emits=Answer, peer=peer)
        middle = Workflow("middle", [begin, far, give])
        outer = Workflow("outer", [ask_all(2), middle.as_step(accepts=Query, emits=Answer), collect])
        peer.lose("answer")
        snapshot = await snapshot_of_outage(outer)
        assert await resumed(outer, snapshot) == 6
        assert sorted(begun) == [1, 2]
        assert len(set(peer.calls)) == 2


async def test_run_remote_inside_a_step_of_ones_own_too(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work())) as peer:

        @step
        async def ask(event: StartEvent, ctx: Context) -> StopEvent:
            result = await doubling(Work()).run_remote({"number": 4}, peer, call_id=ctx.idempotency_key)
            return StopEvent(result.result["number"])

        workflow = Workflow("own", [ask])
        peer.lose("answer")
        assert await resumed(workflow, await snapshot_of_outage(workflow)) == 8
        assert len(set(peer.calls)) == 1


async def test_any_other_failure_is_the_end(autojump_clock: MockClock) -> None:
    async with peer_of(crashing()) as peer:
        workflow = parent_of(crashing(), peer)
        async with workflow.start() as run:
            with pytest.raises(StepFailedError):
                await run.result()
            snapshot = through_json(await run.snapshot())
        assert snapshot.status is RunStatus.FAILED
        with pytest.raises(StepFailedError):
            await resumed(workflow, snapshot)
        assert len(peer.calls) == 1


async def test_a_run_that_cannot_be_saved_just_fails(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    @step
    async def hold(event: StartEvent, ctx: Context) -> Query:
        ctx.session_refs.insert(lambda: None)
        return Query(1)

    async with peer_of(doubling(Work())) as peer:
        far = doubling(Work()).as_step(accepts=Query, emits=StopEvent, peer=peer, output=lambda result: StopEvent())
        peer.lose("before")
        with caplog.at_level(logging.WARNING, "blazen_trio"):
            async with Workflow("w", [hold, far]).start() as run:
                with pytest.raises(StepFailedError, match="PeerError"):
                    await run.result()
        assert "cannot be kept" in caplog.text

        caplog.clear()
        peer.lose("before")
        with pytest.raises(StepFailedError, match="PeerError"):
            await Workflow("w", [hold, far]).run()  # nobody has a handle that could save it
        assert caplog.text == ""


# --- Durable runs -----------------------------------------------------------------------------------------------------


async def stopped(engine: Engine, run_id: str = "run") -> None:
    """The run has stopped: it is not over, and tells all who wait why."""
    run = await engine.get(run_id)
    for _ in range(2):
        with pytest.raises(StepFailedError, match="PeerError") as caught:
            await run.result()
        assert isinstance(caught.value.__cause__, PeerError)
    assert run.status is RunStatus.RUNNING
    assert engine.statistics()["stopped"] == 1


@MOMENTS
async def test_a_durable_run_stops_and_can_be_resumed(autojump_clock: MockClock, moment: Any) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=2)) as peer:
        peer.lose(moment)
        async with open_engine(MemoryStore(), [parent_of(doubling(Work()), peer)]) as engine:
            run = await engine.start("parent", run_id="run")
            await stopped(engine)
            await engine.resume("run")
            assert (await run.result()).result == 2
            assert statistics(engine) == {"stopped": 0, "finished": 1}
        assert (len(set(peer.calls)), list(work.begun.values())) == (1, [1])


def statistics(engine: Engine) -> dict[str, int]:
    return {name: engine.statistics()[name] for name in ("stopped", "finished")}


async def test_it_goes_on_by_itself_when_an_engine_is_opened(autojump_clock: MockClock) -> None:
    work, store = Work(), MemoryStore()
    async with peer_of(doubling(work, seconds=2)) as peer:
        peer.lose("started")
        workflow = parent_of(doubling(Work()), peer, count=2)
        async with open_engine(store, [workflow]) as engine:
            await engine.start("parent", run_id="run")
            await stopped(engine)
        peer.lose("before")
        async with open_engine(store, [workflow]) as engine:
            await stopped(engine)
        async with open_engine(store, [workflow]) as engine:
            assert (await (await engine.get("run")).result()).result == 6
        assert (sorted(work.begun.values()), peer.aborted) == ([1, 1], [])


async def test_from_inside_a_durable_run_inside(autojump_clock: MockClock) -> None:
    @step
    async def begin(event: StartEvent) -> Query:
        return Query(event.data["number"])

    @step
    async def give(event: Answer) -> StopEvent:
        return StopEvent({"number": event.number})

    async with peer_of(doubling(Work())) as peer:
        far = doubling(Work()).as_step(accepts=Query, emits=Answer, peer=peer)
        inside = Workflow("middle", [begin, far, give]).as_step(accepts=Query, emits=Answer)
        peer.lose("answer")
        async with open_engine(MemoryStore(), [Workflow("outer", [ask_all(2), inside, collect])]) as engine:
            run = await engine.start("outer", run_id="run")
            with pytest.raises(StepFailedError, match="PeerError"):
                await run.result()
            await engine.resume("run")
            assert (await run.result()).result == 6
            assert len(set(peer.calls)) == 2


async def test_a_single_durable_run_is_called_again(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with peer_of(doubling(Work())) as peer, store:
        workflow = parent_of(doubling(Work()), peer)
        peer.lose("answer")
        with pytest.raises(StepFailedError, match="PeerError"):
            await workflow.run(store=store, run_id="run")
        assert (await workflow.run(store=store, run_id="run")).result == 2
        assert len(set(peer.calls)) == 1


async def test_an_aborted_one_is_over(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work(), seconds=5)) as peer:
        peer.lose("started")
        async with open_engine(MemoryStore(), [parent_of(doubling(Work()), peer)]) as engine:
            await engine.start("parent", run_id="run")
            await stopped(engine)
            await engine.abort("run")
            assert (await engine.get("run")).status is RunStatus.ABORTED


async def test_a_chain_of_peers_is_mended_from_its_end(autojump_clock: MockClock) -> None:
    """A calls B, B calls C, and C is lost: B's run stops, A is told so, and A's next attempt lets B try again."""
    work = Work()
    async with peer_of(doubling(work), name="c") as c:
        middle = Workflow("middle", [ask_one, on(c), give_number])
        async with peer_of(middle, name="b") as b:
            c.lose("before", times=2)
            outer = parent_of(middle, b, retry=AGAIN)
            assert (await outer.run()).result == 2
            assert (len(b.calls), len(c.calls), list(work.begun.values())) == (3, 3, [1])


@step
async def ask_one(event: StartEvent) -> Query:
    return Query(event.data["number"])


@step
async def give_number(event: Answer) -> StopEvent:
    return StopEvent({"number": event.number})


def on(peer: Any) -> Step:
    return doubling(Work()).as_step(accepts=Query, emits=Answer, peer=peer)


async def test_several_that_are_lost_are_all_pending(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=3)) as peer:
        workflow = parent_of(doubling(Work()), peer, count=3)
        peer.lose("started", times=3)
        snapshot, result = await snapshot_of_outage(workflow), None
        while result is None:
            try:
                result = await resumed(workflow, snapshot)
            except StepFailedError:  # it may be that one was lost and the others were cancelled before they were
                continue
        assert result == 12
        assert sorted(work.begun.values()) == [1, 1, 1]
