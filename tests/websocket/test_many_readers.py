"""One run, many readers: one slow, one dead, one healthy. Nobody waits for another one."""

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Context, Event, StartEvent, StopEvent, StreamGap, Workflow, open_engine, step
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket import RemoteEngine, WebsocketLimits
from tests.websocket.lines import Line, exchange

EVENTS_PER_S = 1_000
SECONDS = 10
PUBLISHED = EVENTS_PER_S * SECONDS + 1  # with the StopEvent


class Tick(Event):
    number: int


@step
async def tick(event: StartEvent, ctx: Context) -> StopEvent:
    for begin in range(0, EVENTS_PER_S * SECONDS, 10):
        await trio.sleep(10 / EVENTS_PER_S)
        for number in range(begin, begin + 10):
            ctx.write_event_to_stream(Tick(number))
    return StopEvent(trio.current_time())


ticking = Workflow("ticking", [tick], events=[Tick], publish_lifecycle=False)


@attrs.define
class Count:
    """What a reader got, and when it was done."""

    events: int = 0
    missed: int = 0
    gaps: int = 0
    last: int = 0
    done_at: float = 0

    def take(self, item: Any) -> None:
        missed = item.event.missed if isinstance(item.event, StreamGap) else 0
        assert item.seq == self.last + (missed or 1)
        self.last = item.seq
        self.missed += missed
        self.gaps += missed > 0
        self.events += not missed


async def read(engine: RemoteEngine, run_id: str, count: Count, pause_s: float) -> None:
    async with (await engine.get(run_id)).stream_events() as events:
        async for item in events.envelopes():
            count.take(item)
            await trio.sleep(pause_s)
    count.done_at = trio.current_time()


async def test_the_slow_and_the_dead_cost_the_healthy_nothing(autojump_clock: MockClock) -> None:
    limits = WebsocketLimits(window=500)
    healthy, slow, dead, stuck = (Count() for _ in range(4))
    lines: list[list[Line]] = [[] for _ in range(4)]
    async with open_engine(MemoryStore(), [ticking]) as engine, exchange(limits=limits) as there:
        await there.open(engine)
        async with (
            there.client(lines[0], [ticking]) as one,
            there.client(lines[1], [ticking], window=50) as two,
            there.client(lines[2], [ticking]) as three,
            there.client(lines[3], [ticking]) as four,
            trio.open_nursery() as nursery,
        ):
            begun_at = trio.current_time()
            run = await engine.start("ticking")
            nursery.start_soon(read, one, run.run_id, healthy, 0)
            nursery.start_soon(read, two, run.run_id, slow, 0.05)
            nursery.start_soon(read, three, run.run_id, dead, 0)
            nursery.start_soon(read, four, run.run_id, stuck, 0)
            await trio.sleep(2)
            lines[2][-1].hush("in")  # its server is not heard any more, and nobody is told
            lines[3][-1].stall()  # it takes nothing: after five seconds the server gives it up
            ended_at = (await run.result()).result
    assert ended_at - begun_at == pytest.approx(SECONDS, abs=0.1)
    assert healthy.done_at - begun_at == pytest.approx(SECONDS, abs=0.2)
    assert (healthy.events, healthy.gaps) == (PUBLISHED, 0)
    assert slow.gaps > 0
    for each in (slow, dead, stuck):
        assert each.events + each.missed == each.last == PUBLISHED
