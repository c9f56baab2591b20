"""What the library notes of a run beside its metadata: nobody forges it, no step sees it, and no call passes it on."""

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from blazen_trio import Context, PeerError, RetryConfig, StartEvent, StopEvent, Workflow, open_engine, step
from blazen_trio.engine.calls import begin_call, end_call
from blazen_trio.metadata import CALL
from blazen_trio.stores import MemoryStore
from blazen_trio.testing import LocalPeer
from tests.peers.stories import Query, Work, doubling, parent_of, peer_of
from tests.websocket.lines import exchange

CALLED = r"'blazen_trio\.call'"

FORGED = {CALL: "0" * 64}


@step
async def show(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent(dict(ctx.metadata))


showing = Workflow("showing", [show])


async def test_nobody_says_of_a_run_that_it_is_a_call(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [showing]) as engine:
        peer = LocalPeer(engine)
        tries: list[Callable[[], Any]] = [
            lambda: engine.start("showing", metadata=FORGED),
            lambda: begin_call(engine, "showing", StartEvent(), "x", FORGED),
            lambda: showing.run(metadata=FORGED),
            lambda: showing.run(metadata=FORGED, store=MemoryStore()),
            lambda: showing.run_remote(None, peer, metadata=FORGED),
        ]
        for begin in tries:
            with pytest.raises(ValueError, match=CALLED):
                await begin()
        with pytest.raises(ValueError, match=CALLED):
            showing.start(metadata=FORGED)
        assert await engine.runs() == []


async def test_nor_does_anybody_afar(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [showing]) as engine, exchange() as there:
        await there.open(engine)
        async with there.client([], [showing]) as remote:
            with pytest.raises(ValueError, match=CALLED):
                await remote.start("showing", metadata=FORGED)
            with pytest.raises(ValueError, match=CALLED):
                await showing.run_remote(None, remote, metadata=FORGED)
        assert await engine.runs() == []


async def test_metadata_that_is_no_mapping_of_texts_is_told_where_it_is_given(autojump_clock: MockClock) -> None:
    mistakes: list[Any] = [{1: 2}, ["key"], "text"]
    async with open_engine(MemoryStore(), [showing]) as engine:
        for metadata in mistakes:
            with pytest.raises(TypeError, match="metadata="):
                await engine.start("showing", metadata=metadata)
            with pytest.raises(TypeError, match="metadata="):
                await showing.run_remote(None, LocalPeer(engine), metadata=metadata)


@pytest.mark.parametrize("metadata", [None, {"who": "me"}])
async def test_steps_see_what_the_caller_gave_and_nothing_else(
    autojump_clock: MockClock, metadata: dict[str, Any] | None
) -> None:
    async with peer_of(showing) as peer:
        result = await showing.run_remote(None, peer, call_id="x", metadata=metadata)
        assert result.result == (metadata or {})


async def test_a_step_may_note_there_what_it_likes_for_the_runs_inside(autojump_clock: MockClock) -> None:
    @step
    async def note(event: StartEvent, ctx: Context) -> Query:
        odd: Any = ctx.metadata
        odd[5] = "five"
        return Query()

    inside = showing.as_step(accepts=Query, emits=StopEvent, output=lambda result: StopEvent(result.result))
    assert (await Workflow("noting", [note, inside]).run()).result == {5: "five"}


async def test_nor_do_they_after_the_run_was_read_again(autojump_clock: MockClock) -> None:
    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        await ctx.request_input("go on?")
        return StopEvent(dict(ctx.metadata))

    asking, store, event = Workflow("asking", [ask]), MemoryStore(), StartEvent()
    async with open_engine(store, [asking]) as engine:
        await begin_call(engine, "asking", event, "x", {"who": "me"})
    for _ in range(2):  # also in a life that only parks it again
        async with open_engine(store, [asking]) as engine:
            await begin_call(engine, "asking", event, "x", {"who": "me"})
    async with open_engine(store, [asking]) as engine:
        run = await begin_call(engine, "asking", event, "x")
        await run.respond_to_input(await _question(run), "yes")
        assert (await end_call(engine, run)).result == {"who": "me"}


async def _question(run: Any) -> str:
    async with run.stream_events() as events:
        async for _ in events:
            if run.pending_inputs:
                break
    return str(run.pending_inputs[0].request_id)


async def test_a_call_through_a_chain_of_peers_is_repeated_at_each_link(autojump_clock: MockClock) -> None:
    work, again = Work(), RetryConfig(max_retries=3, initial_delay_ms=10)
    async with peer_of(doubling(work)) as last:
        parent = parent_of(doubling(Work()), last, count=3, retry=again)
        async with peer_of(parent) as first:
            last.lose("answer", 2)
            first.lose("answer")
            with pytest.raises(PeerError):
                await parent.run_remote(None, first, call_id="x", metadata={"who": "me"})
            result = await parent.run_remote(None, first, call_id="x", metadata={"who": "me"})
            assert (result.result, len(last.calls)) == (12, 5)
            for call_id in set(last.calls):
                run = await last._engine.get(call_id)
                saved: Any = (await run.snapshot()).metadata["user"]
                assert saved.keys() == {"who", CALL}
    assert sorted(work.begun.values()) == [1, 1, 1]
