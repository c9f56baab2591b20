"""An engine from afar: a real server on it and a real client of that, with a stream in memory between them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import memory_stream_pair

from blazen_trio import Engine
from blazen_trio.websocket import RemoteEngine, open_websocket_server
from tests.websocket.dialled import dialled


@asynccontextmanager
async def remote_engine(engine: Engine, **options: Any) -> AsyncIterator[RemoteEngine]:
    """A client of a server on this engine, which knows its workflows."""
    async with trio.open_nursery() as nursery:
        async with open_websocket_server(engine, port=0) as server:

            async def dial() -> trio.abc.Stream:
                client, far = memory_stream_pair()
                nursery.start_soon(server.serve, far)
                await trio.lowlevel.checkpoint()
                return client

            options = {"workflows": engine.workflows.values(), **options}
            async with dialled(dial, url="ws://127.0.0.1", **options) as remote:
                yield remote
        nursery.cancel_scope.cancel()
