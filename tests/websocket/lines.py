"""A real server and real clients with lines in memory between them, which can be cut, hushed or stalled.

* A line is cut after so many more bytes in a direction, also in the middle of a frame: then both ends know.
* It is hushed: from now on it swallows what goes in a direction, and nobody is told.
* Lines can also be cut before the message with a given number, counted over all of them and in both directions.
* It is half open: what the client says is kept on the way and arrives later, though the client has gone long since.
* It is stalled: the server's sends wait, and what the client says arrives.
* The server can be closed and opened anew, on the same engine or on another one.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

import attrs
import trio
from trio.testing import memory_stream_pair

from blazen_trio import Engine, Workflow, open_engine
from blazen_trio.abc import Store
from blazen_trio.websocket import RemoteEngine, WebsocketServer, open_websocket_server
from blazen_trio.websocket.client.dialling import DialError
from tests.peers.stories import until
from tests.websocket.dialled import dialled

Direction: TypeAlias = Literal["out", "in"]


class Line(trio.abc.Stream):
    """The client's end of a connection, seen from there: ``out`` goes to the server, ``in`` comes from it."""

    def __init__(self, near: Any, far: Any, on_message: Callable[["Line"], None]) -> None:
        self._near = near
        self._on_message = on_message
        self._left: dict[Direction, float] = {"out": float("inf"), "in": float("inf")}
        self._hushed: set[Direction] = set()
        self._kept: list[bytes] | None = None
        self._gate: trio.Event | None = None
        self._pump = far.send_stream.send_all_hook
        far.send_stream.send_all_hook = self._bring
        self.is_cut = False

    async def _bring(self) -> None:
        """Bring what the server sends."""
        if self._gate is not None:
            await self._gate.wait()
        self._on_message(self)
        await self._pump()

    def cut(self, direction: Direction = "out", after_bytes: int = 0) -> None:
        """Let so many more bytes through, and then nothing in either direction."""
        self._left[direction] = min(self._left[direction], after_bytes)
        if not after_bytes:
            self._cut()

    def _cut(self) -> None:
        self.is_cut = True
        self._near.send_stream.close()
        self._near.receive_stream.close()
        self.let_go()

    def hush(self, direction: Direction) -> None:
        """Swallow all that goes there."""
        self._hushed.add(direction)

    def keep(self) -> None:
        """From now on keep what the client says on the way."""
        self._kept = []

    def part(self) -> None:
        """The client learns that the connection is lost; the server does not, and what was kept is still on its way."""
        self._near.receive_stream.close()

    async def arrive(self) -> None:
        """What was kept arrives, and then the end."""
        assert self._kept is not None
        kept, self._kept = self._kept, None
        await self._near.send_all(b"".join(kept))
        await self._near.aclose()

    @property
    def is_stalled(self) -> bool:
        """Whether the server's sends wait."""
        return self._gate is not None

    def stall(self) -> None:
        """Let the server's sends wait."""
        if self._gate is None:
            self._gate = trio.Event()

    def let_go(self) -> None:
        """Let them go on."""
        if self._gate is not None:
            self._gate.set()
            self._gate = None

    # --- As a stream --------------------------------------------------------------------------------------------------

    async def send_all(self, data: Any) -> None:
        self._on_message(self)
        if self.is_cut or "out" in self._hushed:
            await trio.lowlevel.checkpoint()
            return
        whole = bytes(data)
        if self._kept is not None:
            self._kept.append(whole)
            await trio.lowlevel.checkpoint()
            return
        part = whole[: int(min(len(whole), self._left["out"]))]
        self._left["out"] -= len(part)
        await self._near.send_all(part)
        if not self._left["out"]:
            self._cut()
            raise trio.BrokenResourceError("cut")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        most = min(65_536 if max_bytes is None else max_bytes, self._left["in"])
        while data := bytes(await self._near.receive_some(max(1, int(most)))):
            self._left["in"] -= len(data)
            if self._left["in"] <= 0:
                self._cut()
            if "in" not in self._hushed:
                return data
        return b""

    async def wait_send_all_might_not_block(self) -> None:
        await self._near.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.let_go()
        if self._kept is None:
            await self._near.aclose()
        else:
            await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Exchange:
    """Where lines are: one server at a time, or none."""

    nursery: trio.Nursery
    options: dict[str, Any]
    server: WebsocketServer | None = None
    lines: list[Line] = attrs.Factory(list)
    messages: int = 0
    cut_before: int | None = None
    on_message: Callable[[int], None] = lambda _: None
    is_reachable: bool = True
    _closing: trio.Event = attrs.Factory(trio.Event)
    _closed: trio.Event = attrs.Factory(trio.Event)
    _served: trio.Nursery = attrs.field(init=False)

    async def open(self, engine: Engine) -> None:
        """Open a server on this engine."""
        await self.nursery.start(self._serve, engine)

    async def _serve(self, engine: Engine, task_status: trio.TaskStatus[None]) -> None:
        self._closing, self._closed = trio.Event(), trio.Event()
        async with trio.open_nursery() as self._served:
            async with open_websocket_server(engine, port=0, **self.options) as server:
                self.server = server
                task_status.started()
                await self._closing.wait()
                self.server = None
            self._served.cancel_scope.cancel()  # as the server does with those of its own listeners
        assert server.statistics()["connections"] == 0
        self._closed.set()

    async def close(self) -> None:
        """Close the server, if there is one."""
        if self.server is not None:
            self._closing.set()
            await self._closed.wait()

    def _count(self, line: Line) -> None:
        self.messages += 1
        if self.messages == self.cut_before:
            line.cut()
        self.on_message(self.messages)

    def dial_of(self, lines: list[Line]) -> Any:
        """What dials for one client; its lines are noted."""

        async def dial() -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            if self.server is None or not self.is_reachable:
                raise DialError("nobody listens")
            near, far = memory_stream_pair()
            line = Line(near, far, self._count)
            lines.append(line)
            self.lines.append(line)
            self._served.start_soon(self.server.serve, far)
            return line

        return dial

    @asynccontextmanager
    async def client(
        self, lines: list[Line], workflows: Any = (), **options: Any
    ) -> AsyncGenerator[RemoteEngine, None]:
        """A client; the last of ``lines`` is its line."""
        options = {"url": "ws://127.0.0.1", "workflows": workflows, **options}
        async with dialled(self.dial_of(lines), **options) as engine:
            yield engine


@asynccontextmanager
async def exchange(**options: Any) -> AsyncGenerator[Exchange, None]:
    """An exchange without a server yet; afterwards nothing of it is left."""
    async with trio.open_nursery() as nursery:
        there = Exchange(nursery, options)
        yield there
        await there.close()
        with trio.fail_after(100):
            while nursery.child_tasks:  # noqa: ASYNC110 - on a clock that jumps
                await trio.sleep(0.1)


async def lives(
    there: Exchange,
    store: Store,
    workflows: Iterable[Workflow],
    *ends: Callable[[], object],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """One engine on the store after another, each with a server, until each one's condition holds."""
    for is_over in ends:
        async with open_engine(store, workflows) as engine:
            await there.open(engine)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await until(is_over, 10_000)
            await there.close()


async def outcome_of(call: Callable[[], Awaitable[Any]], outcomes: list[Any]) -> None:
    """Add what comes of a call: its value or its error."""
    try:
        outcomes.append(await call())
    except Exception as error:
        outcomes.append(error)
