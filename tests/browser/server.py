"""A websocket server that can be taken away without a word, and come back at the same port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from blazen_trio import Engine
from blazen_trio.websocket import WebsocketLimits, open_websocket_server


@attrs.define
class ConsoleServer:
    """The server of an engine's console, and how a browser gets to it."""

    engine: Engine
    nursery: trio.Nursery
    token: str | None = None
    port: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    closed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def open(self) -> None:
        self.scope = trio.CancelScope()
        self.port = await self.nursery.start(self._serve)

    async def _serve(self, task_status: trio.TaskStatus[int]) -> None:
        limits = WebsocketLimits(close=0.05)  # it does not wait for those who are cut
        self.closed = trio.Event()
        try:
            with self.scope:
                async with open_websocket_server(
                    self.engine, port=self.port, token=self.token, limits=limits
                ) as server:
                    task_status.started(server.port)
                    await trio.sleep_forever()
        finally:
            self.closed.set()

    async def close(self) -> None:
        """Go away: every connection is cut."""
        self.scope.cancel()
        await self.closed.wait()


@asynccontextmanager
async def open_console(engine: Engine, token: str | None = None) -> AsyncIterator[ConsoleServer]:
    async with trio.open_nursery() as nursery:
        server = ConsoleServer(engine, nursery, token)
        await server.open()
        yield server
        nursery.cancel_scope.cancel()
