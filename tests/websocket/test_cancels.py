"""What a client cancels: the waiting ends, its place is free, what was asked for is done, and there is one answer."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, final

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import RunStatus, open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.stores import _Around
from tests.engine.stories import sleeping
from tests.peers.stories import Work, doubling
from tests.websocket.castle import start_event
from tests.websocket.fakes import Client, Refused, asking, connected, new_tap, pouring, serving

CANCELLED = "RequestCancelledError"


@final
class SlowStore(_Around):
    """A store that takes its time for everything."""

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        await trio.sleep(0.1)
        return await call()


async def cancel(client: Client, request_id: int) -> None:
    await client.session.receive(json.dumps({"type": "cancel", "id": request_id}))


async def call(client: Client, call_id: str = "x") -> int:
    """Ask for a run of ``doubling``."""
    return await client.say(
        "call", call_id=call_id, workflow="doubling", steps=["double"], event=start_event({"number": 4})
    )


async def test_a_result_that_nobody_waits_for_is_answered_and_its_place_is_free(autojump_clock: MockClock) -> None:
    new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine, requests=2) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            for _ in range(100):
                waiting = await client.say("result", run_id=run.run_id)
                await cancel(client, waiting)
                with pytest.raises(Refused, match=f"{CANCELLED}.*the client cancelled"):
                    await client.answer(waiting)
                assert len(client.answers(waiting)) == 1
            assert client.session.statistics() == {"requests": 0, "subscriptions": 0, "faults": 0}
            assert client.connection.closed is None
            assert run.status is RunStatus.RUNNING


async def test_the_others_wait_on(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client, connected(server) as other:
            mine = [await client.say("result", run_id=run.run_id) for _ in range(3)]
            theirs = await other.say("result", run_id=run.run_id, id=mine[1])
            await cancel(client, mine[1])
            with pytest.raises(Refused, match=CANCELLED):
                await client.answer(mine[1])
            tap.end()
            for waiter, request_id in ((client, mine[0]), (client, mine[2]), (other, theirs)):
                assert (await waiter.answer(request_id))["run"]["status"] == "completed"


async def test_to_cancel_what_is_answered_or_never_was_does_nothing(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        assert await client.ask("runs", id=5) == []
        for _ in range(100):
            await cancel(client, 5)
            await cancel(client, 6)
        assert await client.ask("runs", id=6) == []
        assert [each["type"] for each in client.connection.sent] == ["ok", "ok"]
        assert client.session.statistics()["faults"] == 0


async def test_who_cancels_and_takes_no_answers_gets_no_more_tasks(autojump_clock: MockClock) -> None:
    async with (
        open_engine(MemoryStore(), [asking]) as engine,
        serving(engine, requests=3) as server,
        connected(server) as client,
    ):
        run = await engine.start("asking")
        client.connection.block()
        for _ in range(20):
            with trio.move_on_after(1):
                await cancel(client, await client.say("result", run_id=run.run_id))
        assert len(client.connection.nursery.child_tasks) == 4  # the answer on its way is no request any more
        client.connection.let_go()
        await trio.sleep(1)
        assert len(client.connection.nursery.child_tasks) == 0


async def test_an_answer_that_is_there_is_the_answer(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            waiting = await client.say("result", run_id=run.run_id)
            client.connection.block()
            tap.end()
            await trio.sleep(1)
            await cancel(client, waiting)
            client.connection.let_go()
            assert (await client.answer(waiting))["run"]["status"] == "completed"
            await trio.sleep(1)
            assert len(client.answers(waiting)) == 1


async def test_what_is_cancelled_before_it_waits_does_not_wait(autojump_clock: MockClock) -> None:
    hesitating = trio.Event()

    async def hesitate(access: object) -> bool:
        await hesitating.wait()
        return True

    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine, hesitate) as server:
        run = await engine.start("asking")
        async with connected(server) as client:
            waiting = await client.say("result", run_id=run.run_id)
            await cancel(client, waiting)
            hesitating.set()
            with pytest.raises(Refused, match=CANCELLED):
                await client.answer(waiting)


async def test_a_pause_that_nobody_waits_for_is_a_pause(autojump_clock: MockClock) -> None:
    async with open_engine(SlowStore(MemoryStore()), [sleeping]) as engine, serving(engine) as server:
        run = await engine.start("sleeping", 1_000)
        await trio.sleep(1)
        async with connected(server) as client:
            waiting = await client.say("pause", run_id=run.run_id)
            await cancel(client, waiting)  # before anything of it was done
            with pytest.raises(Refused, match=CANCELLED):
                await client.answer(waiting)
            await trio.sleep(1)  # it is shown when it is saved
            assert run.status is RunStatus.PAUSED
            assert (await client.ask("resume", run_id=run.run_id))["status"] == "running"
            with pytest.raises(Refused, match="RunNotFoundError"):
                await client.ask("pause", run_id="none")


async def test_the_run_of_a_call_that_nobody_waits_for_begins_and_goes_on(autojump_clock: MockClock) -> None:
    work = Work()
    async with (
        open_engine(SlowStore(MemoryStore()), [doubling(work, seconds=10)]) as engine,
        serving(engine) as server,
        connected(server) as client,
    ):
        first = await call(client)
        await cancel(client, first)  # the store has not even heard of it
        with pytest.raises(Refused, match=CANCELLED):
            await client.answer(first)
        assert client.session.statistics()["requests"] == 0
        view = await client.answer(await call(client))
        assert view["event"]["data"] == {"result": {"number": 8}}
        assert work.begun == {"x": 1}


async def test_an_abort_right_behind_a_cancelled_call_ends_its_run(autojump_clock: MockClock) -> None:
    async with (
        open_engine(SlowStore(MemoryStore()), [doubling(Work(), seconds=10)]) as engine,
        serving(engine) as server,
        connected(server) as client,
    ):
        await cancel(client, await call(client))
        assert (await client.ask("abort", run_id="x"))["status"] == "aborted"


async def test_what_does_something_is_done_and_answered_as_if_nobody_had_cancelled_it(
    autojump_clock: MockClock,
) -> None:
    async with (
        open_engine(SlowStore(MemoryStore()), [asking]) as engine,
        serving(engine) as server,
        connected(server) as client,
    ):
        for verb, fields in (
            ("start", {"run_id": "x", "workflow": "asking", "event": start_event(1)}),
            ("get", {"run_id": "x"}),
            ("snapshot", {"run_id": "x"}),
            ("subscribe", {"run_id": "x"}),
            ("abort", {"run_id": "x"}),
            ("delete", {"run_id": "x"}),
        ):
            request_id = await client.say(verb, **fields)
            await cancel(client, request_id)
            await client.answer(request_id)
            assert [each["type"] for each in client.answers(request_id)] == ["ok"]
