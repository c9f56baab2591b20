"""Each request has exactly one answer, also that of a subscription which is left while its run is still looked up."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, final

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.stores import _Around
from tests.websocket.castle import echoing
from tests.websocket.fakes import Client, Refused, approving, asking, connected, new_tap, pouring, serving


@final
class ThreadedStore(_Around):
    """A store whose every call is in a thread, as it were: it takes a while, and is not cancelled."""

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)
            return await call()


async def leave_after(client: Client, run_id: str, seconds: float) -> tuple[int, int]:
    """Subscribe, and leave so much later; gives both ids."""
    subscription = await client.say("subscribe", run_id=run_id)
    await trio.sleep(seconds)
    return subscription, await client.say("unsubscribe", subscription=subscription)


async def test_a_subscription_left_at_any_moment_has_its_answer(autojump_clock: MockClock) -> None:
    async with open_engine(ThreadedStore(MemoryStore()), [echoing]) as engine, serving(engine) as server:
        run = await engine.start("echoing")
        await run.result()
        async with connected(server) as client:
            for moment in range(60):
                for request_id in await leave_after(client, run.run_id, moment * 0.01):
                    with trio.fail_after(10):
                        await client.connection.until(partial(client.answers, request_id))
                await trio.sleep(5)
            answers = [each["id"] for each in client.connection.sent if each["type"] in ("ok", "error")]
            assert sorted(answers) == list(range(1, 121))
            assert client.session.statistics() == {"requests": 0, "subscriptions": 0, "faults": 0}


async def test_a_run_that_does_not_exist_is_one_answer_to_who_has_left(autojump_clock: MockClock) -> None:
    async with (
        open_engine(ThreadedStore(MemoryStore()), [asking]) as engine,
        serving(engine) as server,
        connected(server) as client,
    ):
        for moment in range(30):
            for request_id in await leave_after(client, "none", moment * 0.01):
                await client.connection.until(partial(client.answers, request_id))
        await trio.sleep(5)
        assert len(client.connection.sent) == 60


# --- What makes no sense ----------------------------------------------------------------------------------------------


async def test_what_is_refused_with_reason_never_costs_the_connection(autojump_clock: MockClock) -> None:
    def hook(access: Any) -> bool:
        return access.verb not in ("abort", "statistics")

    async with (
        open_engine(MemoryStore(), [approving]) as engine,
        serving(engine, hook) as server,
        connected(server) as client,
    ):
        run = await engine.start("approving")
        note = {"event_type": "Note", "data": {"number": 1}}
        wrong = {"event_type": "Approval", "data": {"by": 1}}
        for _ in range(10):
            for verb, fields in (
                ("statistics", {}),
                ("abort", {"run_id": run.run_id}),
                ("send_event", {"run_id": run.run_id, "event": note}),
                ("send_event", {"run_id": run.run_id, "event": wrong}),
                ("start", {"workflow": "approving", "event": note}),
                ("get", {"run_id": "none"}),
            ):
                with pytest.raises(Refused):
                    await client.ask(verb, **fields)
        assert client.connection.closed is None
        assert (server.faults, client.session.statistics()["faults"]) == (0, 0)


async def test_what_makes_no_sense_is_weighed_against_what_does(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        for _ in range(20):
            await client.session.receive("{")
            await client.ask("runs")
        assert client.connection.closed is None
        assert server.faults == 20
        for _ in range(6):
            await client.session.receive("{")
        assert client.connection.closed == (1008, "too many faulty messages")


async def test_what_is_received_makes_sense_too(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with open_engine(MemoryStore(), [pouring()]) as engine, serving(engine) as server:
        run = await engine.start("pouring")
        async with connected(server) as client:
            subscription = await client.say("subscribe", run_id=run.run_id)
            tap.notes(10)
            await client.reached(subscription, 10)
            for seq in range(1, 11):
                await client.session.receive("{")
                await client.received(subscription, seq)
            assert client.connection.closed is None
