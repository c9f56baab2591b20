"""A workflow on another server as a step here: its call has one id for all attempts, its run is one run."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    PeerError,
    RetryConfig,
    RunStatus,
    SessionRefCapacityError,
    StartEvent,
    Step,
    StepFailedError,
    StepFailedEvent,
    StepResultError,
    StepTimeoutError,
    StopEvent,
    SubWorkflowError,
    TokenUsage,
    UsageEvent,
    Workflow,
    WorkflowResult,
    WorkflowSnapshot,
    open_engine,
    parallel_step,
    step,
)
from blazen_trio.stores import MemoryStore
from blazen_trio.testing import LocalPeer
from tests.engine.stories import GatedStore
from tests.peers.stories import Answer, Query, Work, ask_all, collect, crashing, doubling, parent_of, peer_of, until

AGAIN = RetryConfig(max_retries=5, initial_delay_ms=1_000, jitter=False)


async def remote_statuses(peer: LocalPeer) -> set[RunStatus]:
    return {each.status for each in await peer._engine.runs()}


def kinds(error: BaseException | None) -> list[type[BaseException]]:
    found: list[type[BaseException]] = []
    while error is not None:
        found.append(type(error))
        error = error.__cause__
    return found


async def test_each_event_is_a_call_under_its_idempotency_key(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=1)) as peer:
        result = await parent_of(doubling(Work()), peer, count=3).run()
        assert result.result == 2 * (1 + 2 + 3)
        assert len(set(peer.calls)) == len(work.begun) == 3
        assert all(each.startswith(f"{result.run_id}:") for each in peer.calls)
        assert trio.current_time() == pytest.approx(1, abs=0.5)


async def test_input_and_output_are_those_of_any_sub_workflow(autojump_clock: MockClock) -> None:
    async def given(event: Query) -> dict[str, int]:
        return {"number": event.number + 10}

    def made(result: WorkflowResult) -> Answer:
        return Answer(number=result.result["number"] + 1)

    async with peer_of(doubling(Work())) as peer:
        workflow = parent_of(doubling(Work()), peer, input=given, output=made)
        assert (await workflow.run()).result == 23
        with pytest.raises(StepFailedError) as caught:
            await parent_of(doubling(Work()), peer, output=lambda result: StopEvent()).run()
        assert kinds(caught.value) == [StepFailedError, StepResultError]


async def test_usage_and_cost_count_once(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work())) as peer:
        peer.lose("answer")
        peer.lose("started")
        workflow = parent_of(doubling(Work()), peer, count=2, retry=AGAIN)
        async with workflow.start() as run, run.stream_events(types=UsageEvent) as events:
            result = await run.result()
            told = [event async for event in events]
        assert (result.usage_total, result.cost_total_usd) == (TokenUsage(total_tokens=6), 1.0)
        assert len(told) == 2


async def test_session_refs_come_as_remote_ones(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work())) as peer:
        result = await parent_of(doubling(Work()), peer, count=2).run()
        assert len(result.session_refs) == 2
        for key in result.session_refs:
            assert result.session_refs.is_remote(key)
            assert (await peer.deref_session_ref(key)).type_tag == "model"
        with pytest.raises(StepFailedError) as caught:
            await parent_of(doubling(Work()), peer, count=2, options={"max_session_refs": 1}).run()
        assert kinds(caught.value)[-1] is SessionRefCapacityError


async def test_metadata_of_the_caller_is_there(autojump_clock: MockClock) -> None:
    @step
    async def tell(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent({"number": ctx.metadata["number"]})

    async with peer_of(Workflow("tell", [tell])) as peer:
        assert (await parent_of(Workflow("tell", [tell]), peer).run(metadata={"number": 3})).result == 3


# --- Failures ---------------------------------------------------------------------------------------------------------


async def test_a_run_that_fails_there_is_a_sub_workflow_error(autojump_clock: MockClock) -> None:
    async with peer_of(crashing()) as peer:
        with pytest.raises(StepFailedError) as caught:
            await parent_of(crashing(), peer).run()
        error: Any = caught.value
        assert kinds(error) == [StepFailedError, SubWorkflowError, StepFailedError]
        assert "no such page" in str(error)
        assert (error.step_name, error.__cause__.__cause__.step_name) == ("inside", "crash")


@pytest.mark.parametrize("moment", ["before", "started", "answer"])
async def test_a_lost_peer_is_tried_again_and_the_run_is_still_one(autojump_clock: MockClock, moment: Any) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=1)) as peer:
        peer.lose(moment, times=3)
        assert (await parent_of(doubling(Work()), peer, retry=AGAIN).run()).result == 2
        assert (len(peer.calls), len(set(peer.calls)), list(work.begun.values())) == (4, 1, [1])
        assert peer.aborted == []


async def test_the_workflows_retry_holds_too(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work())) as peer:
        peer.lose("before")
        assert (await parent_of(doubling(Work()), peer, options={"retry": AGAIN}).run()).result == 2


async def test_a_lost_peer_can_be_recovered(autojump_clock: MockClock) -> None:
    @step(recovers=["inside"])
    async def guess(event: StepFailedEvent) -> Answer:
        assert event.error_type == "PeerError"
        return Answer(-1)

    async with peer_of(doubling(Work())) as peer:
        peer.lose("before")
        inside = doubling(Work()).as_step(accepts=Query, emits=Answer, name="inside", peer=peer)
        async with Workflow("parent", [ask_all(2), inside, guess, collect]).start() as run:
            result = await run.result()
            assert (await run.snapshot()).status is RunStatus.COMPLETED
        assert result.result in {-1 + 2, -1 + 4}


async def test_a_late_attempt_attaches_to_the_run_of_the_one_that_timed_out(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=10)) as peer:
        assert (await parent_of(doubling(Work()), peer, retry=AGAIN, timeout=4).run()).result == 2
        assert (list(work.begun.values()), peer.aborted) == ([1], [])


async def test_a_step_that_timed_out_for_good_aborts_the_run_there(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work(), seconds=10)) as peer:
        with pytest.raises(StepFailedError) as caught:
            await parent_of(doubling(Work()), peer, timeout=4).run()
        assert kinds(caught.value) == [StepFailedError, StepTimeoutError]
        assert await remote_statuses(peer) == {RunStatus.ABORTED}


# --- Cancellation -----------------------------------------------------------------------------------------------------


async def test_an_aborted_run_aborts_those_there(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work(), seconds=10)) as peer:
        async with parent_of(doubling(Work()), peer, count=3).start() as run:
            await trio.sleep(1)
            await run.abort()
            assert await remote_statuses(peer) == {RunStatus.ABORTED}
        assert len(peer.aborted) == 3


@pytest.mark.parametrize("is_attended", [True, False])
async def test_a_cancelled_program_aborts_those_there(autojump_clock: MockClock, is_attended: bool) -> None:
    workflow: Any = None
    async with peer_of(doubling(Work(), seconds=10)) as peer:
        workflow = parent_of(doubling(Work()), peer, count=3)
        with trio.move_on_after(1):
            if is_attended:
                async with workflow.start() as run:
                    await run.result()
            else:
                await workflow.run()
        assert await remote_statuses(peer) == {RunStatus.ABORTED}


async def test_a_run_that_fails_for_another_reason_aborts_those_there(autojump_clock: MockClock) -> None:
    @step
    async def crash(event: Query) -> None:
        await trio.sleep(1)
        raise ValueError

    async with peer_of(doubling(Work(), seconds=10)) as peer:
        inside = doubling(Work()).as_step(accepts=Query, emits=Answer, peer=peer)
        with pytest.raises(StepFailedError):
            await Workflow("parent", [ask_all(2), inside, crash, collect]).run()
        assert await remote_statuses(peer) == {RunStatus.ABORTED}


async def test_an_interrupted_call_attaches_again(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=10)) as peer:
        async with parent_of(doubling(Work()), peer, count=2).start() as run:
            await trio.sleep(1)
            await run.pause(interrupt=True)
            await trio.sleep(1)
            await run.resume_in_place()
            assert (await run.result()).result == 6
        assert (list(work.begun.values()), peer.aborted, len(peer.calls)) == ([1, 1], [], 4)


async def test_a_resumed_snapshot_attaches_again(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=10)) as peer:
        workflow = parent_of(doubling(Work()), peer, count=2)
        async with workflow.start() as run:
            await trio.sleep(1)
            await run.pause(interrupt=True)
            text = (await run.snapshot()).to_json()
        async with workflow.resume(WorkflowSnapshot.from_json(text)) as run:
            assert (await run.result()).result == 6
        assert list(work.begun.values()) == [1, 1]


async def test_a_parked_run_leaves_those_there_running(autojump_clock: MockClock) -> None:
    work, store = Work(), MemoryStore()
    async with peer_of(doubling(work, seconds=30)) as peer:
        workflow = parent_of(doubling(Work()), peer, count=2)
        for _ in range(2):
            async with open_engine(store, [workflow]) as engine:
                await trio.sleep(1)
                if not await engine.runs():
                    await engine.start("parent", run_id="run")
                    await until(lambda: len(work.begun) == 2)
        with trio.move_on_after(1):  # who is in a hurry
            async with open_engine(store, [workflow]):
                await trio.sleep_forever()
        async with open_engine(store, [workflow]) as engine:
            assert (await (await engine.get("run")).result()).result == 6
        assert (list(work.begun.values()), peer.aborted) == ([1, 1], [])


@pytest.mark.parametrize(("held_s", "aborted"), [(1, 1), (60, 0)])
async def test_nothing_is_aborted_that_a_crash_could_bring_back(
    autojump_clock: MockClock, held_s: float, aborted: int
) -> None:
    """With ``durability="group"`` a call is cancelled before that is on disk: its run there waits for the disk."""

    @step
    async def stop(event: Query) -> StopEvent:
        await trio.sleep(1)
        store.hold()
        return StopEvent()

    store = GatedStore(MemoryStore())
    async with peer_of(doubling(Work(), seconds=90)) as peer:
        inside = doubling(Work()).as_step(accepts=Query, emits=Answer, peer=peer)
        workflow = Workflow("parent", [ask_all(1), inside, stop, collect])
        async with open_engine(store, [workflow], durability="group", lease=1_000) as engine:
            run = await engine.start("parent")
            await trio.sleep(1 + held_s)
            assert peer.aborted == []
            store.let_go()
            await run.result()
            await trio.sleep(1)
            assert len(peer.aborted) == aborted


# --- Inside other steps -----------------------------------------------------------------------------------------------


def remote(workflow: Workflow, peer: LocalPeer, name: str) -> Step:
    return workflow.as_step(accepts=Query, emits=Answer, peer=peer, name=name)


async def test_several_peers_at_once(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work(), seconds=1), name="a") as a, peer_of(doubling(Work(), seconds=9), name="b") as b:
        both = [remote(doubling(Work()), a, "a"), remote(doubling(Work()), b, "b")]
        assert (await Workflow("parent", [ask_all(1), parallel_step("both", both), collect]).run()).result == 4

        first = Workflow("parent", [ask_all(1), parallel_step("first", both, join="first"), collect])
        assert (await first.run()).result == 2
        assert (len(a.aborted), len(b.aborted)) == (0, 1)


async def test_a_parallel_step_tells_of_a_lost_peer(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work(), seconds=1)) as peer:
        peer.lose("before")
        workflow = Workflow(
            "parent", [ask_all(1), parallel_step("all", [remote(doubling(Work()), peer, "a")]), collect]
        )
        with pytest.raises(StepFailedError) as caught:
            await workflow.run()
        assert kinds(caught.value)[-1] is PeerError
        async with workflow.start() as run:
            assert (await run.result()).result == 2


def test_a_step_on_no_peer_is_refused() -> None:
    url: Any = "wss://example.org"
    with pytest.raises(TypeError, match="Peer"):
        doubling(Work()).as_step(accepts=Query, emits=Answer, peer=url)
