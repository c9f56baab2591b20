"""Peers over the websocket: the stories of peers with a real server and a real client, and what lines do to them."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import Any, final

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    PeerError,
    RegistryKey,
    RunStatus,
    SessionRefNotFoundError,
    StartEvent,
    StepFailedError,
    StepRegistry,
    StopEvent,
    UnknownStepError,
    Workflow,
    WorkflowError,
    WorkflowSnapshot,
    open_engine,
    step,
)
from blazen_trio.abc import Store
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.stores import _Around
from blazen_trio.websocket import RemoteEngine
from tests.peers import test_remote_steps as of_steps
from tests.peers import test_run_remote as of_workflows
from tests.peers.stories import Model, Work, crashing, doubling, parent_of, until
from tests.websocket.lines import Exchange, Line, exchange, lives, outcome_of


@asynccontextmanager
async def afar(*workflows: Workflow, store: Store | None = None, **options: Any) -> AsyncGenerator[Any]:
    """As ``peer_of``: a peer that has these workflows, and can be lost on purpose."""
    options.pop("name", None)
    async with (
        open_engine(store or MemoryStore(), workflows) as engine,
        exchange(**options) as there,
    ):
        await there.open(engine)
        lines: list[Line] = []
        async with there.client(lines, workflows) as remote:
            yield losing(remote, lines, engine)


def losing(remote: Any, lines: list[Line], engine: Any) -> Any:
    """A client that counts its calls as a ``LocalPeer`` does, and loses its line when it is told to."""
    remote._engine, remote.calls, remote.aborted = engine, [], []
    losses: Counter[str] = Counter()
    call, abort = remote.call, remote.abort

    async def counted(*args: Any, call_id: str, **options: Any) -> Any:
        remote.calls.append(call_id)
        for moment in list(losses.elements())[:1]:
            losses[moment] -= 1
            lines[-1].cut("out" if moment == "before" else "in", 3)
        return await call(*args, call_id=call_id, **options)

    async def noted(run_id: str, reason: str | None = None) -> None:
        remote.aborted.append(run_id)
        await abort(run_id, reason)

    def lose(moment: str, times: int = 1) -> None:
        losses[moment] += times

    remote.call, remote.abort, remote.lose = counted, noted, lose
    return remote


STORIES = [
    (of_workflows, "the_result_is_that_of_the_run_there"),
    (of_workflows, "an_event_goes_there_and_an_event_comes_back"),
    (of_workflows, "metadata_goes_along"),
    (of_workflows, "the_same_call_id_gives_the_first_ones_result"),
    (of_workflows, "errors_of_the_run_come_as_they_are"),
    (of_workflows, "what_cannot_be_sent_is_told_at_once"),
    (of_workflows, "live_objects_stay_there"),
    (of_workflows, "a_cancelled_caller_aborts_the_run_there"),
    (of_steps, "each_event_is_a_call_under_its_idempotency_key"),
    (of_steps, "input_and_output_are_those_of_any_sub_workflow"),
    (of_steps, "usage_and_cost_count_once"),
    (of_steps, "session_refs_come_as_remote_ones"),
    (of_steps, "metadata_of_the_caller_is_there"),
    (of_steps, "a_run_that_fails_there_is_a_sub_workflow_error"),
    (of_steps, "the_workflows_retry_holds_too"),
    (of_steps, "a_late_attempt_attaches_to_the_run_of_the_one_that_timed_out"),
    (of_steps, "a_step_that_timed_out_for_good_aborts_the_run_there"),
    (of_steps, "an_aborted_run_aborts_those_there"),
    (of_steps, "a_run_that_fails_for_another_reason_aborts_those_there"),
    (of_steps, "an_interrupted_call_attaches_again"),
    (of_steps, "a_resumed_snapshot_attaches_again"),
    (of_steps, "a_parked_run_leaves_those_there_running"),
    (of_steps, "several_peers_at_once"),
]


@pytest.mark.parametrize(("module", "name"), STORIES, ids=[name for _, name in STORIES])
async def test_stories_of_peers_afar(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    monkeypatch.setattr(module, "peer_of", afar)
    await getattr(module, f"test_{name}")(autojump_clock)


# --- Calls ------------------------------------------------------------------------------------------------------------

PATIENCE_S = 10.0


@asynccontextmanager
async def two(
    *workflows: Workflow, store: Store | None = None, **options: Any
) -> AsyncGenerator[tuple[RemoteEngine, Exchange, list[Line]]]:
    """A client and the server of an engine that has these workflows."""
    async with open_engine(store or MemoryStore(), workflows) as engine, exchange(**options) as there:
        await there.open(engine)
        lines: list[Line] = []
        async with there.client(lines, workflows, patience=PATIENCE_S) as remote:
            yield remote, there, lines


async def test_the_same_call_after_the_server_was_opened_anew_on_its_store(autojump_clock: MockClock) -> None:
    work, outcomes, again = Work(), list[Any](), list[Any]()
    workflow = doubling(work, seconds=30)
    async with exchange() as there, trio.open_nursery() as nursery:
        ends = [lambda: work.begun["x"], lambda: outcomes, lambda: again]
        await nursery.start(lives, there, MemoryStore(), [workflow], *ends)
        async with there.client([], [workflow], patience=1_000) as remote:
            node_ids = {remote.node_id}
            call = partial(workflow.run_remote, {"number": 4}, remote, call_id="x")
            await outcome_of(call, outcomes)
            node_ids.add(remote.node_id)
            await outcome_of(call, again)
    assert [each.result for each in outcomes + again] == [{"number": 8}] * 2
    assert (work.ended["x"], len(node_ids)) == (1, 2)


async def test_steps_by_name(autojump_clock: MockClock) -> None:
    registry = StepRegistry()
    for each in doubling(Work()).steps:
        registry.register(each)
    async with two(registry=registry) as (remote, _, _):
        assert (await doubling(Work()).run_remote({"number": 4}, remote)).result == {"number": 8}
        with pytest.raises(PeerError) as caught:
            await crashing().run_remote(None, remote)
        cause = caught.value.__cause__
        assert isinstance(cause, UnknownStepError)
        assert (cause.unknown, cause.known) == (("crash",), ("double",))


async def test_a_peer_that_refuses(autojump_clock: MockClock) -> None:
    @step
    async def other(event: StartEvent) -> StopEvent:
        return StopEvent()

    async with two(crashing()) as (remote, _, _):
        with pytest.raises(PeerError, match="no workflow 'doubling'; it has 'crashing'"):
            await doubling(Work()).run_remote({"number": 1}, remote)
        with pytest.raises(PeerError, match="other steps: crash"):
            await Workflow("crashing", [other]).run_remote(None, remote)
        with pytest.raises(PeerError):
            await crashing().run_remote(None, remote, call_id="\0")


async def test_a_call_that_was_not_allowed_holds_nobody_who_asks_for_its_run(autojump_clock: MockClock) -> None:
    with trio.fail_after(60):
        async with two(crashing(), authorize=lambda access: access.verb != "call") as (remote, _, _):
            with pytest.raises(PeerError, match="authorize= refused 'call'"):
                await crashing().run_remote(None, remote, call_id="x")
            with pytest.raises(WorkflowError, match="'x'"):
                await remote.get("x")


async def test_two_calls_under_one_id_are_one_run_however_slowly_they_are_allowed(autojump_clock: MockClock) -> None:
    waits = [0, 5, 1]

    async def slowly(access: Any) -> bool:
        await trio.sleep(waits.pop(0))
        return True

    work, outcomes = Work(), list[Any]()
    workflow = doubling(work)
    async with two(workflow, authorize=slowly) as (remote, _, _), trio.open_nursery() as nursery:
        for _ in range(3):
            call = partial(workflow.run_remote, {"number": 4}, remote, call_id="x")
            nursery.start_soon(outcome_of, call, outcomes)
    assert [each.result for each in outcomes] == [{"number": 8}] * 3
    assert work.begun == {"x": 1}


# --- Losses -----------------------------------------------------------------------------------------------------------


async def session(cut_before: int | None) -> int:
    """A call, what it left, and a call that fails, with a cut; gives how many messages that took."""
    work = Work(model=Model(b"abc"))
    workflow = doubling(work, seconds=1)
    async with two(workflow, crashing()) as (remote, there, _):
        there.cut_before = cut_before
        result = await workflow.run_remote({"number": 4}, remote, call_id="x")
        [key] = result.session_refs
        assert (await remote.deref_session_ref(key)).data == b"abc"
        await remote.release_session_ref(key)
        with pytest.raises(SessionRefNotFoundError):
            await remote.deref_session_ref(key)
        with pytest.raises(StepFailedError, match="Crash: no such page"):
            await crashing().run_remote(None, remote)
        assert (result.result, result.cost_total_usd, work.begun) == ({"number": 8}, 0.5, {"x": 1})
        return there.messages


async def test_a_cut_before_every_message(autojump_clock: MockClock) -> None:
    for number in range(5, await session(None) + 1):  # before that there is no client
        await session(number)


@final
class SlowStore(_Around):
    """A store that takes its time for everything."""

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        await trio.sleep(0.1)
        return await call()


async def cancelled_session(cut_before: int | None, cancel_at: int) -> int:
    """A caller who is cancelled at a message, and perhaps a cut at another one."""
    work = Work()
    workflow = doubling(work, seconds=60)
    async with two(workflow, store=SlowStore(MemoryStore())) as (remote, there, _):
        there.cut_before = cut_before
        with trio.move_on_after(30) as scope:
            there.on_message = lambda number: scope.cancel() if number == cancel_at else None
            await workflow.run_remote({"number": 4}, remote, call_id="x")
        await trio.sleep(5)
        statuses = [each.status for each in await remote.runs()]
        assert statuses in ([], [RunStatus.ABORTED]), (cut_before, cancel_at)
        assert not work.ended
        return there.messages


async def test_a_cancelled_caller_aborts_the_run_at_every_message(autojump_clock: MockClock) -> None:
    for cancel_at in range(4, 10):
        for cut_before in (None, *range(5, 10)):
            await cancelled_session(cut_before, cancel_at)


async def test_a_lost_peer_is_noticed_in_bounded_time(autojump_clock: MockClock) -> None:
    for loss in ("closed", "silent"):
        begun_at = trio.current_time()
        workflow = doubling(Work(), seconds=10_000)
        async with two(workflow) as (remote, there, lines):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lose, loss, there, lines)
                with pytest.raises(PeerError, match="no connection for 10 s") as caught:
                    await workflow.run_remote({"number": 4}, remote, call_id="x")
            assert caught.value.run_id == "x"
            assert trio.current_time() - begun_at < 3 + 40 + PATIENCE_S + 10


async def test_a_call_under_an_id_that_nobody_chose_can_be_made_again(autojump_clock: MockClock) -> None:
    work = Work()
    workflow = doubling(work, seconds=100)
    async with two(workflow) as (remote, there, lines), trio.open_nursery() as nursery:
        nursery.start_soon(lose, "silent", there, lines)
        with pytest.raises(PeerError, match="no connection for 10 s") as caught:
            await workflow.run_remote({"number": 4}, remote)
        there.is_reachable = True
        result = await workflow.run_remote({"number": 4}, remote, call_id=caught.value.run_id)
        assert (result.run_id, result.result) == (caught.value.run_id, {"number": 8})
    assert sum(work.begun.values()) == 1


async def lose(how: str, there: Exchange, lines: list[Line]) -> None:
    await trio.sleep(3)
    if how == "silent":
        for direction in ("in", "out"):
            lines[-1].hush(direction)
        there.is_reachable = False
    else:
        await there.close()


async def test_what_a_lost_peer_was_asked_for_stays_pending(autojump_clock: MockClock) -> None:
    work, store = Work(), MemoryStore()
    child = doubling(work, seconds=30)
    async with exchange() as there:
        async with served(there, store, child) as remote, parent_of(child, remote).start() as run:
            await until(lambda: work.begun)
            await there.close()
            with pytest.raises(StepFailedError) as caught:
                await run.result()
            assert isinstance(caught.value.__cause__, PeerError)
            text = (await run.snapshot()).to_json()
        snapshot = WorkflowSnapshot.from_json(text)
        async with served(there, store, child) as remote, parent_of(child, remote).resume(snapshot) as run:
            assert (await run.result()).result == 2
    assert list(work.ended.values()) == [1]


@asynccontextmanager
async def served(there: Exchange, store: Store, workflow: Workflow) -> AsyncGenerator[RemoteEngine]:
    """A client of a new engine on this store."""
    async with open_engine(store, [workflow]) as engine:
        await there.open(engine)
        async with there.client([], [workflow], patience=PATIENCE_S) as remote:
            yield remote
        await there.close()


# --- A third machine --------------------------------------------------------------------------------------------------


async def test_refs_of_a_third_machine_say_whose_they_are(autojump_clock: MockClock) -> None:
    far = doubling(Work(model=Model(b"far")))
    async with two(far) as (third, _, _):
        middle = parent_of(far, third)
        async with two(middle) as (second, _, _):
            result = await middle.run_remote(None, second)
            [key] = result.session_refs
            descriptor = result.session_refs.get_remote(key)
            assert descriptor is not None
            assert (result.result, descriptor.origin_node_id) == (2, third.node_id)
            assert third.node_id != second.node_id
            assert (await third.deref_session_ref(key)).data == b"far"
            with pytest.raises(SessionRefNotFoundError):
                await second.deref_session_ref(RegistryKey())
            assert (result.usage_total.total_tokens, result.cost_total_usd) == (3, 0.5)
