"""The servers of W10, each in a process of its own: ours, and bare trio-websocket that sends the same texts.

As a program: ``python -m benchmarks.websocket_server ours|bare MODE EVENTS``. It prints one line of JSON when
it listens, begins to publish at a line on its standard input, and ends at the next one. ``MODE`` is how events come:

* ``one``: a checkpoint after each, so that it could go out by itself.
* ``burst``: 1,000 at a time between two checkpoints; bare sends them one after another, since it has no batches.
* ``paced``: 10 by the second; each holds the time at which it was made.
* ``idle``: none; the process prints its memory at each line on its standard input.
"""

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio
import trio_websocket
from trio.lowlevel import checkpoint

from blazen_trio import Context, Event, MemoryStore, StartEvent, StopEvent, Workflow, open_engine, step
from blazen_trio.codec import Codec
from blazen_trio.websocket import WebsocketLimits, open_websocket_server
from blazen_trio.websocket.protocol import encode_item, events_message
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.views import ItemView

BURST: Final = 1_000
PACE_S: Final = 0.1
STATM: Final = Path("/proc/self/statm")
SUBSCRIPTION: Final = 1
"""The id that each client gives its subscription."""


class Go(Event):
    """Begin to publish."""


class Tick(Event):
    number: int
    made: float


Publish = Callable[[Tick], Awaitable[None]]


async def publish_all(mode: str, count: int, publish: Publish) -> None:
    """Publish so many events; ``publish`` returns when the next one may come."""
    for number in range(1, count + 1):
        await publish(Tick(number, time.monotonic()))
        if mode == "paced":
            await trio.sleep(PACE_S)
        elif mode == "one" or number % BURST == 0:
            await checkpoint()


async def wait_for_line() -> str:
    return await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


def tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def allow_sockets() -> None:
    """Open as many files as the system lets us: many a shell allows fewer than 1,000 clients need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident_bytes() -> int:
    return int(STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- Ours -------------------------------------------------------------------------------------------------------------


class Ours:
    """A run that publishes, an engine and a websocket server."""

    def __init__(self, mode: str, events: int) -> None:
        self.mode = mode
        self.events = events
        write = step(self.write)
        self.workflow = Workflow("ticks", [write], events=[Go, Tick], publish_lifecycle=False, stream_buffer=100_000)

    async def write(self, event: StartEvent, ctx: Context) -> StopEvent:
        await ctx.wait_for_event(Go)

        async def publish(tick: Tick) -> None:
            ctx.write_event_to_stream(tick)

        await publish_all(self.mode, self.events, publish)
        return StopEvent()

    async def serve(self) -> None:
        limits = WebsocketLimits(window=100_000, window_bytes=64 * 1024**2)
        async with (
            open_engine(MemoryStore(), [self.workflow], durability="group") as engine,
            open_websocket_server(engine, port=0, limits=limits) as server,
        ):
            run = await engine.start("ticks")
            tell(port=server.port, run_id=run.run_id)
            await serve_idle() if self.mode == "idle" else await wait_for_line()
            await run.send_event(Go())
            await wait_for_line()


async def serve_idle() -> None:
    while (await wait_for_line()).strip() != "end":
        tell(resident=resident_bytes())


# --- Bare trio-websocket ----------------------------------------------------------------------------------------------


async def serve_bare(mode: str, events: int) -> None:
    """A broadcast of the same texts as its documentation would do it."""
    sockets: list[trio_websocket.WebSocketConnection] = []

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        socket = await request.accept(subprotocol="blazen.v1")
        with contextlib.suppress(trio_websocket.ConnectionClosed):  # what a handler raises ends the whole server
            await socket.get_message()  # the subscription
            sockets.append(socket)
            await socket.send_message('{"type":"ok","id":1,"value":null}')
            await trio.sleep_forever()

    codec = Codec([Tick])

    async def publish(tick: Tick) -> None:
        data = EventData(Tick.event_type, codec.event_to_plain(tick)["data"])
        item = ItemView(tick.number, time.time(), data, "write", "0" * 32, 1)
        text = events_message(SUBSCRIPTION, tick.number, [encode_item(item)]).decode()
        for socket in sockets:
            await socket.send_message(text)

    async with trio.open_nursery() as nursery:
        server: trio_websocket.WebSocketServer = await nursery.start(
            trio_websocket.serve_websocket, handle, "127.0.0.1", 0, None
        )
        tell(port=server.port, run_id="bare")
        await serve_idle() if mode == "idle" else await wait_for_line()
        await publish_all(mode, events, publish)
        await wait_for_line()
        nursery.cancel_scope.cancel()


def main() -> None:
    allow_sockets()
    kind, mode, events = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "ours":
        trio.run(Ours(mode, events).serve)
    else:
        trio.run(serve_bare, mode, events)


if __name__ == "__main__":
    main()
