"""Callers afar who do not wait any more: the server hears of it, and their places are free for others."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio import PeerError, StartEvent, StopEvent, Workflow, open_engine, step
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket import WebsocketLimits
from blazen_trio.websocket.protocol import RequestCancelledError, write_error
from blazen_trio.websocket.protocol import messages as said
from blazen_trio.websocket.protocol.messages import Error, Ok, ServerMessage
from tests.budget import share
from tests.peers.stories import Work, doubling, parent_of, until
from tests.websocket.lines import Line, exchange
from tests.websocket.stories import ANY, Scene, outcome_of, scene


@step
async def sleep(event: StartEvent) -> StopEvent:
    await trio.sleep(event.data)
    return StopEvent("awake")


sleeping = Workflow("sleeping", [sleep])


def patient(*kinds: type[Any]) -> Callable[[Any], Iterable[ServerMessage] | None]:
    """A server that answers these only when they are cancelled."""

    def script(message: Any) -> Iterable[ServerMessage] | None:
        if isinstance(message, said.Cancel):
            return [Error(message.id, write_error(RequestCancelledError()))]
        return [] if isinstance(message, kinds) else None

    return script


def silent(*kinds: type[Any]) -> Callable[[Any], Iterable[ServerMessage] | None]:
    """A server that never answers these."""
    return lambda message: [] if isinstance(message, (*kinds, said.Cancel)) else None


async def given_up(call: Callable[[], Any], seconds: float = 1) -> None:
    """Make a call, and do not wait for it any more after so long, to the second."""
    begun = trio.current_time()
    with trio.move_on_after(seconds) as scope:
        await call()
    assert scope.cancelled_caught
    assert trio.current_time() - begun == pytest.approx(seconds)


def requests(story: Scene) -> int:
    return int(story.engine.statistics()["requests"])


# --- What the server hears --------------------------------------------------------------------------------------------


async def test_what_nobody_waits_for_is_cancelled_and_its_place_is_free(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = patient(said.Result, said.Pause)
        for _ in range(20):
            for call in (run.result, run.pause):
                await given_up(call)
        asked = [each.id for each in (*story.heard(said.Result), *story.heard(said.Pause))]
        await wait_all_tasks_blocked()
        assert sorted(each.id for each in story.heard(said.Cancel)) == sorted(asked)
        assert len(asked) == len(set(asked)) == 40
        assert (requests(story), story.engine.statistics()["reconnects"]) == (0, 0)


async def test_as_long_as_somebody_waits_nothing_is_cancelled(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = patient(said.Result)
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, run.result, outcomes)
            await given_up(run.result)
            [asked] = story.heard(said.Result)
            assert story.heard(said.Cancel) == []
            await story.server.say(Ok(asked.id, story.model.answer(asked)))
        assert outcomes[0].result == 0
        await wait_all_tasks_blocked()
        assert story.heard(said.Cancel) == []


async def test_who_asks_after_a_cancel_asks_anew(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        await given_up(run.result)
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, run.result, outcomes)
            await wait_all_tasks_blocked()
            first, second = story.heard(said.Result)
            await story.server.say(Error(first.id, write_error(RequestCancelledError())))
            await wait_all_tasks_blocked()
            assert outcomes == []
            await story.server.say(Ok(second.id, story.model.answer(second)))
        assert outcomes[0].result == 0


async def test_an_answer_that_was_on_its_way_is_dropped(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        await given_up(run.result)
        [asked] = story.heard(said.Result)
        await story.server.say(Ok(asked.id, story.model.answer(asked)))
        await wait_all_tasks_blocked()
        assert (requests(story), story.engine.statistics()["reconnects"]) == (0, 0)


async def test_a_server_that_never_answers_gets_no_more_than_it_takes(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        for _ in range(20):
            await given_up(run.result)
        assert len(story.heard(said.Result)) == len(story.heard(said.Cancel)) == 6  # of 8: two are for others
        assert (requests(story), story.engine.statistics()["unsent"]) == (6, 0)
        assert (await story.engine.get("run")).run_id == "run"


async def test_what_does_something_is_never_cancelled(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.SendEvent, said.Abort, said.Resume, said.Info)
        for call in (partial(run.send_event, ANY), run.abort, run.resume_in_place, run.info):
            await given_up(call)
        assert story.heard(said.Cancel) == []
        assert requests(story) == 4


async def test_nobody_waits_until_the_cancel_is_out(autojump_clock: MockClock) -> None:
    lines: list[Line] = []
    async with open_engine(MemoryStore(), [sleeping]) as engine, exchange() as there:
        await there.open(engine)
        async with there.client(lines, [sleeping]) as remote:
            run = await remote.start("sleeping", 1_000)
            await given_up(run.result)
            lines[-1].hush("out")
            await given_up(run.result, 0.5)
            await given_up(run.result, 0.5)


# --- Lost connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_heard", [True, False])
async def test_on_the_next_connection_nothing_is_said_of_what_was_cancelled(
    autojump_clock: MockClock, *, is_heard: bool
) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        await given_up(run.result)
        if is_heard:
            await wait_all_tasks_blocked()
        await story.server.cut()
        await trio.sleep(1)
        await story.engine.get("run")
        assert story.engine.statistics()["reconnects"] == 1
        assert (requests(story), len(story.heard(said.Result)), len(story.heard(said.Cancel))) == (0, 1, is_heard)


async def test_a_caller_who_gives_up_as_the_connection_breaks_leaves_nothing(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        for lag in (-0.001, 0, 0.001):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(given_up, run.result)
                await trio.sleep(1 + lag)
                await story.server.cut()
            await trio.sleep(1)
            assert requests(story) == 0


async def give_up_often(times: int, takes: int) -> None:
    """So many callers give up, one after another, with a connection and without; the server takes so many at once."""
    lines: list[Line] = []
    async with (
        open_engine(MemoryStore(), [sleeping]) as engine,
        exchange(limits=WebsocketLimits(requests=takes)) as there,
    ):
        await there.open(engine)
        async with there.client(lines, [sleeping], patience=1_000_000) as remote:
            run = await remote.start("sleeping", 100)
            for _ in range(times):
                await given_up(run.result, 0.001)
            await trio.sleep(1)
            assert remote.statistics()["requests"] == 0
            there.is_reachable = False
            lines[-1].cut()
            for _ in range(times):
                await given_up(run.result, 0.001)
            assert remote.statistics()["requests"] == remote.statistics()["unsent"] == 0
            there.is_reachable = True
            assert (await run.result()).result == "awake"
            assert len(lines) == 2


async def test_many_who_give_up_leave_nothing_connected_or_not(autojump_clock: MockClock) -> None:
    await give_up_often(200, takes=8)


@pytest.mark.slow
async def test_thousands_who_give_up_leave_nothing_connected_or_not(autojump_clock: MockClock) -> None:
    await give_up_often(share(5_000), takes=1_000)


async def test_what_waits_when_patience_is_lost_is_told_whatever_was_cancelled(autojump_clock: MockClock) -> None:
    async with scene(patience=10) as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        await given_up(run.result)
        story.server.refusals = ["down"] * 1_000
        await story.server.cut()
        with pytest.raises(PeerError, match="no connection for 10 s"):
            await run.result()


# --- Calls ------------------------------------------------------------------------------------------------------------


async def test_an_interrupted_call_leaves_no_place_taken_and_attaches_again(autojump_clock: MockClock) -> None:
    work = Work()
    child = doubling(work, seconds=60)
    async with open_engine(MemoryStore(), [child]) as engine, exchange() as there:
        await there.open(engine)
        async with there.client([], [child]) as remote, parent_of(child, remote).start() as run:
            await until(lambda: work.begun)
            for _ in range(5):
                await run.pause(interrupt=True)
                await trio.sleep(1)
                assert remote.statistics()["requests"] == 0
                await run.resume_in_place()
                await trio.sleep(1)
                assert remote.statistics()["requests"] == 1
            assert (await run.result()).result == 2
    assert list(work.begun.values()) == [1]
