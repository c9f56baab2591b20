"""An engine from afar: a real server on it and a real client of that, with a stream in memory between them."""

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from blazen_trio import Engine
from blazen_trio.websocket.client import RemoteEngine
from blazen_trio.websocket.client.opening import dialled


@asynccontextmanager
async def remote_engine(engine: Engine, **options: Any) -> AsyncIterator[RemoteEngine]:
    """A client of a server on this engine, which knows its workflows."""
    try:
        server_module: Any = importlib.import_module("blazen_trio.websocket.server")
        opening = server_module.open_websocket_server(engine, port=0)
    except (ImportError, AttributeError):
        pytest.skip("there is no server yet")
    async with trio.open_nursery() as nursery:
        async with opening as server:

            async def dial() -> trio.abc.Stream:
                client, far = memory_stream_pair()
                nursery.start_soon(server.serve, far)
                await trio.lowlevel.checkpoint()
                return client

            options = {"workflows": engine.workflows.values(), **options}
            async with dialled(dial, url="ws://127.0.0.1", **options) as remote:
                yield remote
        nursery.cancel_scope.cancel()
