"""A session with all verbs, real client and real server: its line is cut before each message, and again soon after.

Each request has exactly one outcome, and what it says is true: what was taken is in the run once, what was refused is
not, and only what nobody can know is a ``PeerError``. Every reader sees each event once and in order.
"""

from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    Event,
    PeerError,
    RunExistsError,
    RunNotFoundError,
    RunStatus,
    StartEvent,
    StopEvent,
    Workflow,
    open_engine,
    step,
)
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket import RemoteEngine, RemoteRun
from blazen_trio.websocket.client.controls import ENDED_SINCE
from blazen_trio.websocket.client.ledger import UNKNOWN
from tests.websocket.lines import Exchange, Line, exchange, outcome_of

ITEMS = 3


class Item(Event, external=True):
    number: int


class Taken(Event):
    number: int


@step
async def collect(event: StartEvent, ctx: Context) -> StopEvent:
    answer = await ctx.request_input("how many?")
    taken = list[int]()
    while (item := await ctx.wait_for_event(Item)).number != 0:
        taken.append(item.number)
        ctx.write_event_to_stream(Taken(item.number))
    return StopEvent([answer, taken])


@step
async def ask(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent(await ctx.request_input("how many?"))


collecting = Workflow("collecting", [collect], events=[Item, Taken])
asking = Workflow("asking", [ask])


@attrs.define
class Told:
    """What the client was told."""

    sent: list[int] = attrs.Factory(list)
    unknown: list[int] = attrs.Factory(list)
    numbers: list[int] = attrs.Factory(list)
    taken: list[int] = attrs.Factory(list)


async def session(engine: RemoteEngine) -> Told:
    """A run from its start to its end, with two who read it, and another one that is deleted."""
    told = Told()
    async with trio.open_nursery() as nursery:
        run = await engine.start("collecting")
        nursery.start_soon(read, run, None, told.numbers)
        nursery.start_soon(read, run, Taken, told.taken)
        await run.respond_to_input(await asked(run), 7)
        for number in range(1, ITEMS + 1):
            await send(run, number, told)
        await look(engine, run)
        await control(run)
        await delete_another(engine)
        end = Told()
        while not end.sent and not (await engine.get(run.run_id)).status.is_end:
            await send(run, 0, end)
            await trio.sleep(1)
        answer, taken = (await run.result()).result
        assert answer == 7
        assert taken == [each for each in taken if each in told.sent or each in told.unknown]
        assert set(told.sent) <= set(taken)
        assert len(taken) == len(set(taken))
    assert told.taken[:ITEMS] == list(dict.fromkeys(told.taken))
    return told


async def asked(run: RemoteRun) -> str:
    """The id of the run's question."""
    while not run.pending_inputs:
        await trio.sleep(0.1)
        await run.refresh()
    return run.pending_inputs[0].request_id


async def send(run: RemoteRun, number: int, told: Told) -> None:
    outcomes: list[Any] = []
    await outcome_of(partial(run.send_event, Item(number)), outcomes)
    [outcome] = outcomes
    if outcome is None:
        told.sent.append(number)
    else:
        assert isinstance(outcome, PeerError), outcome
        assert outcome.problem == UNKNOWN
        told.unknown.append(number)


async def look(engine: RemoteEngine, run: RemoteRun) -> None:
    """All that only looks: it is as without any cut."""
    assert (await run.info()).run_id == run.run_id
    assert run.run_id in [each.run_id for each in await engine.runs()]
    assert [each.name for each in await engine.workflows()] == ["collecting", "asking"]
    assert (await run.snapshot()).run_id == run.run_id
    assert "engine" in await engine.server_statistics()


async def control(run: RemoteRun) -> None:
    await run.pause()
    assert run.status is RunStatus.PAUSED
    await run.resume_in_place()
    assert not run.status.is_end


async def delete_another(engine: RemoteEngine) -> None:
    outcomes: list[Any] = []
    while not outcomes or isinstance(outcomes[-1], PeerError):  # that leaves it open; starting it again tells
        await outcome_of(partial(engine.start, "asking", run_id="mine"), outcomes)
    assert isinstance(outcomes[-1], RemoteRun | RunExistsError)
    await engine.abort("mine")
    await outcome_of(partial(engine.delete, "mine"), outcomes)
    assert outcomes[-1] is None or (isinstance(outcomes[-1], PeerError) and outcomes[-1].problem == UNKNOWN)
    await outcome_of(partial(engine.delete, "mine"), outcomes)
    await outcome_of(partial(engine.delete, "mine"), outcomes)
    with pytest.raises(RunNotFoundError):
        await engine.get("mine")


async def read(run: RemoteRun, types: type[Event] | None, into: list[int]) -> None:
    async with run.stream_events(types=types) as subscription:
        async for item in subscription.envelopes():
            into.append(item.event.number if isinstance(item.event, Taken) and types else item.seq)


async def check(cut_before: int | None = None, again_after: int | None = None) -> int:
    """One session with these cuts; gives how many messages it took."""
    workflows = [collecting, asking]
    with trio.fail_after(1_000):
        async with open_engine(MemoryStore(), workflows) as engine, exchange() as there:
            await there.open(engine)
            there.cut_before = cut_before
            there.on_message = partial(cut_again, there, cut_before, again_after)
            async with there.client([], workflows) as remote:
                told = await session(remote)
            [info] = await engine.runs()
            last = await (await engine.get(info.run_id)).last_seq()
            assert told.numbers == list(range(1, last + 1))
            assert len(told.unknown) <= 2
            return there.messages


def cut_again(there: Exchange, first: int | None, later: int | None, number: int) -> None:
    if number == first and later is not None:
        there.cut_before = number + later


async def test_without_a_cut_all_is_done_once(autojump_clock: MockClock) -> None:
    assert await check() > 60


async def test_a_cut_before_every_message(autojump_clock: MockClock) -> None:
    for number in range(5, await check() + 1):  # before that there is no client
        await check(number)


async def test_a_second_cut_soon_after_every_one(autojump_clock: MockClock) -> None:
    for number in range(5, await check() + 1, 4):
        for later in range(1, 8, 2):
            await check(number, later)


async def answer_last(cut_before: int | None) -> tuple[int, object]:
    """A run that ends with an answer, and what the one who gave it is told."""
    async with open_engine(MemoryStore(), [asking]) as engine, exchange() as there:
        await there.open(engine)
        async with there.client([], [asking]) as remote:
            run = await remote.start("asking", run_id="x")
            question = await asked(run)
            begun = there.messages
            there.cut_before = None if cut_before is None else begun + cut_before
            outcomes: list[Any] = []
            await outcome_of(partial(run.respond_to_input, question, 7), outcomes)
            assert (await run.result()).result == 7
            return there.messages - begun, outcomes[0]


async def test_an_answer_that_ended_the_run_before_it_was_repeated(autojump_clock: MockClock) -> None:
    messages, outcome = await answer_last(None)
    assert outcome is None
    outcomes = [(await answer_last(number))[1] for number in range(1, messages + 1)]
    assert outcomes[0] is None  # it was lost on the way there, and sent again
    assert isinstance(outcomes[1], PeerError)
    assert (outcomes[1].problem, outcomes[1].run_id) == (ENDED_SINCE, "x")


async def test_who_lost_patience_may_ask_for_the_result_again(autojump_clock: MockClock) -> None:
    @step
    async def sleep(event: StartEvent) -> StopEvent:
        await trio.sleep(60)
        return StopEvent("awake")

    sleeping, lines = Workflow("sleeping", [sleep]), list[Line]()
    async with open_engine(MemoryStore(), [sleeping]) as engine, exchange() as there:
        await there.open(engine)
        async with there.client(lines, [sleeping], patience=0.5) as remote, trio.open_nursery() as nursery:
            run, outcomes = await remote.start("sleeping"), list[Any]()
            nursery.start_soon(outcome_of, run.result, outcomes)
            await trio.sleep(1)
            lines[-1].cut()
            await trio.sleep(1)  # connected again, and asked again: what takes long is no reason to lose patience
            assert outcomes == []
            there.is_reachable = False
            lines[-1].cut()
            await trio.sleep(1)
            assert isinstance(outcomes[0], PeerError)
            there.is_reachable = True
            while not remote.statistics()["connected"]:  # noqa: ASYNC110 - on a clock that jumps
                await trio.sleep(0.1)
            assert (await run.result()).result == "awake"
