"""A call that arrives behind its abort: nobody wants its run any more, on whichever connection they came."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio import RunStatus, open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.stores import _Around
from tests.peers.stories import Work, doubling, parent_of, until
from tests.websocket.castle import start_event
from tests.websocket.fakes import Client, FakeServer, Refused, connected, serving
from tests.websocket.lines import Line, exchange

LAGS = [each / 20 for each in range(12)]


@final
class SlowStore(_Around):
    """A store that takes its time and ends what it began: a new run is late there, and what it says of one is old."""

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        before_s, after_s = (0.23, 0.02) if "create" in getattr(call, "__qualname__", "") else (0.01, 0.09)
        with trio.CancelScope(shield=True):
            await trio.sleep(before_s)
            result = await call()
            await trio.sleep(after_s)
            return result


async def call(client: Client, call_id: str = "x") -> int:
    """Ask for a run of ``doubling``."""
    return await client.say(
        "call", call_id=call_id, workflow="doubling", steps=["double"], event=start_event({"number": 4})
    )


async def abort(client: Client, call_id: str = "x") -> str:
    """Abort a run; gives the type of the answer, and ``""`` if it is a value."""
    try:
        await client.ask("abort", run_id=call_id)
    except Refused as refused:
        return refused.type
    return ""


async def test_a_call_that_arrives_behind_its_abort_on_another_connection_begins_nothing(
    autojump_clock: MockClock,
) -> None:
    work = Work()
    async with (
        open_engine(MemoryStore(), [doubling(work)]) as engine,
        serving(engine) as server,
        connected(server) as old,
        connected(server) as new,
    ):
        assert await abort(new) == "RunNotFoundError"
        for _ in range(2):
            with pytest.raises(Refused, match=r"WorkflowAbortedError.*'x' was aborted"):
                await old.answer(await call(old))
        assert (await engine.runs(), work.begun) == ([], {})
        assert (await old.answer(await call(old, "y")))["event"]["data"] == {"result": {"number": 8}}


async def test_an_abort_that_comes_while_the_call_begins_ends_its_run(autojump_clock: MockClock) -> None:
    for lag in LAGS:
        work = Work()
        async with (
            open_engine(SlowStore(MemoryStore()), [doubling(work, seconds=100)]) as engine,
            serving(engine) as server,
            connected(server) as old,
            connected(server) as new,
        ):
            called = await call(old)
            await trio.sleep(lag)
            assert await abort(new) in {"", "RunNotFoundError"}
            with pytest.raises(Refused, match="WorkflowAbortedError"):
                await old.answer(called)
            assert [each.status for each in await engine.runs()] in ([], [RunStatus.ABORTED])


async def test_a_connection_that_breaks_while_its_call_begins_leaves_no_run_that_was_aborted(
    autojump_clock: MockClock,
) -> None:
    for lost_after in LAGS:
        for aborted_after in LAGS:
            async with (
                open_engine(SlowStore(MemoryStore()), [doubling(Work(), seconds=100)]) as engine,
                serving(engine) as server,
                connected(server) as new,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(call_and_be_lost, server, lost_after)
                await trio.sleep(aborted_after)
                await abort(new)
                await trio.sleep(5)
                assert [each.status for each in await engine.runs()] in ([], [RunStatus.ABORTED])


async def call_and_be_lost(server: FakeServer, after_s: float) -> None:
    async with connected(server) as client:
        await call(client)
        await trio.sleep(after_s)


async def test_an_abort_that_overtakes_a_call_at_the_door_is_heeded(autojump_clock: MockClock) -> None:
    asked = trio.Event()

    async def slowly(access: Any) -> bool:
        if access.verb == "call":
            await asked.wait()
        return True

    work = Work()
    async with (
        open_engine(MemoryStore(), [doubling(work)]) as engine,
        serving(engine, slowly) as server,
        connected(server) as old,
        connected(server) as new,
    ):
        called = await call(old)
        assert await abort(new) == "RunNotFoundError"
        asked.set()
        with pytest.raises(Refused, match="WorkflowAbortedError"):
            await old.answer(called)
        assert work.begun == {}


async def test_who_may_not_abort_keeps_no_call_from_beginning(autojump_clock: MockClock) -> None:
    work = Work()
    async with (
        open_engine(MemoryStore(), [doubling(work)]) as engine,
        serving(engine, lambda access: access.verb == "call") as server,
        connected(server) as client,
    ):
        assert await abort(client) == "RunNotFoundError"
        await client.answer(await call(client))
        assert work.begun == {"x": 1}


# --- With a client ----------------------------------------------------------------------------------------------------


async def test_what_a_broken_connection_still_brings_begins_no_run_that_was_aborted(autojump_clock: MockClock) -> None:
    work, lines = Work(), list[Line]()
    workflow = doubling(work, seconds=60)
    async with open_engine(MemoryStore(), [workflow]) as engine, exchange() as there:
        await there.open(engine)
        async with there.client(lines, [workflow]) as remote:
            async with trio.open_nursery() as nursery:
                lines[0].keep()
                nursery.start_soon(partial(workflow.run_remote, {"number": 4}, remote, call_id="x"))
                await wait_all_tasks_blocked()
                there.is_reachable = False
                lines[0].part()
                await wait_all_tasks_blocked()
                nursery.start_soon(mended, there)
                nursery.cancel_scope.cancel()
            assert len(lines) == 2  # the abort went over the second one
            await lines[0].arrive()
            await trio.sleep(5)
            assert (await remote.runs(), work.begun) == ([], {})


async def test_what_was_said_to_a_server_that_ended_never_reaches_the_next_one(autojump_clock: MockClock) -> None:
    work, lines, store = Work(), list[Line](), MemoryStore()
    workflow = doubling(work, seconds=60)
    async with exchange() as there:
        async with open_engine(store, [workflow]) as engine:
            await there.open(engine)
            async with there.client(lines, [workflow]) as remote, trio.open_nursery() as nursery:
                lines[0].keep()
                nursery.start_soon(partial(workflow.run_remote, {"number": 4}, remote, call_id="x"))
                await wait_all_tasks_blocked()
                lines[0].part()
                nursery.cancel_scope.cancel()
            assert "x" in engine.aborted_calls
            await there.close()
        async with open_engine(store, [workflow]) as engine:
            await there.open(engine)
            assert "x" not in engine.aborted_calls  # it needs not: the line ended with the server
            with pytest.raises(trio.BrokenResourceError):
                await lines[0].arrive()
            await trio.sleep(5)
            assert (await engine.runs(), work.begun) == ([], {})


async def mended(there: Any) -> None:
    there.is_reachable = True
    await trio.lowlevel.checkpoint()


async def test_a_step_on_a_peer_that_nobody_wants_begins_nothing_there_later(autojump_clock: MockClock) -> None:
    work, lines = Work(), list[Line]()
    child = doubling(work, seconds=60)
    async with open_engine(MemoryStore(), [child]) as engine, exchange() as there:
        await there.open(engine)
        async with there.client(lines, [child]) as remote:
            lines[0].keep()
            async with parent_of(child, remote).start() as run:
                await wait_all_tasks_blocked()
                lines[0].part()
                there.is_reachable = False
                await wait_all_tasks_blocked()
                there.is_reachable = True
                await run.abort()
            await until(lambda: len(lines) == 2)
            await trio.sleep(5)
            await lines[0].arrive()
            await trio.sleep(5)
            assert work.begun == {}
            assert {each.status for each in await remote.runs()} <= {RunStatus.ABORTED}
