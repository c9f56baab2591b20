"""A call that cannot be sent is no outage: nothing changes by waiting, so its step fails as any other."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from trio.testing import MockClock

from blazen_trio import (
    EncodeError,
    Event,
    RunStatus,
    StartEvent,
    StepFailedError,
    StepFailedEvent,
    StopEvent,
    Workflow,
    open_engine,
    step,
)
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket import RemoteEngine, WebsocketLimits
from tests.websocket.lines import exchange

BYTES_MAX = 10_000


class Page(Event):
    text: str


class Done(Event):
    chars: int


@step
async def measure(event: StartEvent) -> StopEvent:
    return StopEvent(len(event.data))


@step
async def begin(event: StartEvent) -> Page:
    return Page("x" * event.data)


@step
async def end(event: Done) -> StopEvent:
    return StopEvent(event.chars)


measuring = Workflow("measuring", [measure])


@asynccontextmanager
async def a_peer() -> AsyncGenerator[RemoteEngine]:
    """A server that takes no long messages."""
    limits = WebsocketLimits(message_bytes=BYTES_MAX)
    async with open_engine(MemoryStore(), [measuring]) as engine, exchange(limits=limits) as there:
        await there.open(engine)
        async with there.client([], [measuring]) as remote:
            yield remote


def pages_on(peer: RemoteEngine, *more: Any) -> Workflow:
    def input(event: Page) -> str:
        return event.text

    def output(result: Any) -> Done:
        return Done(result.result)

    far = measuring.as_step(accepts=Page, emits=Done, input=input, output=output, peer=peer)
    return Workflow("pages", [begin, far, end, *more])


async def test_a_caller_is_told_at_once_what_is_too_big(autojump_clock: MockClock) -> None:
    async with a_peer() as peer:
        assert (await measuring.run_remote("x" * 1_000, peer)).result == 1_000
        with pytest.raises(EncodeError, match=f"the server takes at most {BYTES_MAX}"):
            await measuring.run_remote("x" * BYTES_MAX, peer)
        with pytest.raises(EncodeError, match="the server takes"):
            await measuring.run_remote("x", peer, metadata={"big": "x" * BYTES_MAX})
        assert (await measuring.run_remote("x", peer)).result == 1


@pytest.mark.parametrize("odd", [{"call_id": "\ud800"}, {"metadata": {"\ud800": 1}}], ids=["id", "metadata"])
async def test_a_text_that_nobody_can_write_is_told_likewise(autojump_clock: MockClock, odd: dict[str, Any]) -> None:
    async with a_peer() as peer:
        with pytest.raises(EncodeError):
            await measuring.run_remote("x", peer, **odd)


async def test_a_durable_run_fails_with_it_and_does_not_stop(autojump_clock: MockClock) -> None:
    async with a_peer() as peer, open_engine(MemoryStore(), [pages_on(peer)]) as engine:
        run = await engine.start("pages", BYTES_MAX)
        with pytest.raises(StepFailedError, match="the server takes") as caught:
            await run.result()
        assert "EncodeError" in str(caught.value)
        assert (run.status, engine.statistics()["stopped"]) == (RunStatus.FAILED, 0)
        assert (await (await engine.start("pages", 1_000)).result()).result == 1_000


async def test_a_run_in_memory_likewise(autojump_clock: MockClock) -> None:
    async with a_peer() as peer, pages_on(peer).start(BYTES_MAX) as run:
        with pytest.raises(StepFailedError, match="the server takes"):
            await run.result()
        assert (await run.snapshot()).status is RunStatus.FAILED


async def test_a_recovery_step_gets_it(autojump_clock: MockClock) -> None:
    @step
    async def recover(event: StepFailedEvent) -> StopEvent:
        return StopEvent([event.step_name, event.error_type])

    async with a_peer() as peer, open_engine(MemoryStore(), [pages_on(peer, recover)]) as engine:
        assert (await (await engine.start("pages", BYTES_MAX)).result()).result == ["measuring", "EncodeError"]
