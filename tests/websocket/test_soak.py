"""Two hundred clients over real sockets, cut at random while runs stream all the time: nothing is lost or doubled.

Sixty seconds of cuts, in CI too; ``SOAK_SECONDS=600`` makes it ten minutes.
"""

import gc
import os
import random
import struct
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import attrs
import pytest
import trio
from trio.lowlevel import current_statistics

from blazen_trio import Context, Engine, Event, StartEvent, StopEvent, StreamGap, Workflow, open_engine, step
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket import RemoteEngine, WebsocketLimits, WebsocketServer, open_websocket_server
from tests.websocket.dialled import dialled

CLIENTS = 200
RUNS = 5
SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
"""Whatever ``SLOW_SHARE`` says: what leaks slowly shows in a minute, not in a few seconds."""

EVENTS_PER_S = 20
"""Of each run: 4,000 deliveries per second to all clients, which one core does beside its own clients."""

CUTS_PER_S = 40
SEED = 7


class Tick(Event):
    number: int


@step
async def tick(event: StartEvent, ctx: Context) -> StopEvent:
    end, number = trio.current_time() + event.data, 0
    while trio.current_time() < end:
        await trio.sleep(1 / EVENTS_PER_S)
        number += 1
        ctx.write_event_to_stream(Tick(number))
    return StopEvent(number)


ticking = Workflow("ticking", [tick], events=[Tick], publish_lifecycle=False)


@attrs.define
class Guest:
    """One client with its sockets; ``numbers``: what it read."""

    port: int
    streams: list[trio.SocketStream] = attrs.Factory(list)
    numbers: list[int] = attrs.Factory(list)
    reconnects: int = 0
    is_open: bool = False

    async def dial(self) -> trio.SocketStream:
        self.streams[:] = [await trio.open_tcp_stream("127.0.0.1", self.port)]
        return self.streams[0]

    async def read(self, run_id: str) -> None:
        """Read a run to its end, and its result."""
        async with dialled(self.dial, workflows=[ticking], url=f"ws://127.0.0.1:{self.port}", patience=600) as engine:
            self.is_open = True  # the first connection must succeed
            await self._read(engine, run_id)
            self.reconnects = engine.statistics()["reconnects"]
            assert engine.statistics()["subscriptions"] == 0

    async def _read(self, engine: RemoteEngine, run_id: str) -> None:
        run = await engine.get(run_id)
        async with run.stream_events() as events:
            async for item in events.envelopes():
                assert not isinstance(item.event, StreamGap)
                self.numbers.append(item.seq)
        assert (await run.result()).result + 1 == len(self.numbers)

    def cut(self, *, hard: bool) -> None:
        """Close its socket under its feet; ``hard``: what is on the way is lost, too."""
        for stream in self.streams:
            if stream.socket.fileno() >= 0:
                if hard:
                    stream.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                stream.socket.close()


async def cut_at_random(guests: list[Guest], dice: random.Random) -> None:
    """Cut one after another, for ever; only those that were connected once."""
    while True:
        await trio.sleep(dice.expovariate(CUTS_PER_S))
        guest = dice.choice(guests)
        if guest.is_open:
            guest.cut(hard=dice.random() < 0.5)


async def soak(engine: Engine, server: WebsocketServer, seconds: float) -> list[Guest]:
    """All that runs and reads for so long; gives the clients when they are closed."""
    runs = [await engine.start("ticking", seconds) for _ in range(RUNS)]
    guests = [Guest(server.port) for _ in range(CLIENTS)]
    async with trio.open_nursery() as cutting:
        async with trio.open_nursery() as reading:
            for number, guest in enumerate(guests):
                reading.start_soon(guest.read, runs[number % RUNS].run_id)
            cutting.start_soon(cut_at_random, guests, random.Random(SEED))
        cutting.cancel_scope.cancel()
    for number, guest in enumerate(guests):
        published = await runs[number % RUNS].last_seq()
        assert guest.numbers == list(range(1, published + 1))
    for run in runs:
        await engine.delete(run.run_id)
    return guests


async def settled(server: WebsocketServer, tasks: int) -> None:
    """Wait until everything of clients is gone."""
    with trio.fail_after(60):
        while server.statistics()["connections"] or current_statistics().tasks_living > tasks:  # noqa: ASYNC110
            await trio.sleep(0.1)


def held() -> tuple[int, int]:
    """How many objects there are, and how many bytes the process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(gc.get_objects()), pages * os.sysconf("SC_PAGE_SIZE")


def files_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
async def test_nothing_is_lost_or_doubled_and_nothing_is_left() -> None:
    limits = WebsocketLimits(handshake=60.0)  # on a busy machine 200 clients at once may have to wait for seconds
    async with (
        open_engine(MemoryStore(), [ticking]) as engine,
        open_websocket_server(engine, port=0, limits=limits) as server,
    ):
        await trio.sleep(0.1)  # all that is there without clients has begun
        tasks, files = current_statistics().tasks_living, files_open()
        await soak(engine, server, 3)  # what is made once is made now
        await settled(server, tasks)
        objects, size = held()
        guests = await soak(engine, server, SECONDS)
        cuts = sum(each.reconnects for each in guests)
        del guests
        await settled(server, tasks)
        counts, feeds = server.statistics(), server.feeds.statistics()
        objects_now, size_now = held()
        assert (counts["connections"], counts["streams"], counts["subscriptions"], counts["errors"]) == (0, 0, 0, 0)
        assert (feeds["feeds"], feeds["feed_readers"]) == (0, 0)
        assert files_open() <= files
        assert cuts > SECONDS * CUTS_PER_S / 4
        assert objects_now - objects < 10_000, "ten for each cut would be more"
        assert size_now - size < 32 * 1024**2
