"""A server of the console with a real engine behind it, and a browser to look at it."""

from collections.abc import AsyncIterator

import pytest

from blazen_trio import open_engine
from blazen_trio.stores import MemoryStore
from tests.browser.chromium import Tab, find_chromium, is_expected, open_chromium
from tests.browser.server import ConsoleServer, open_console
from tests.browser.workflows import workflows


@pytest.fixture
async def console() -> AsyncIterator[ConsoleServer]:
    async with open_engine(MemoryStore(), workflows()) as engine, open_console(engine) as server:
        yield server
        for run in await engine.runs():  # or closing the engine would wait for their calls
            await engine.abort(run.run_id)


@pytest.fixture
def console_url(console: ConsoleServer) -> str:
    return console.url


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    program = find_chromium()
    if program is None:
        give_up = pytest.fail if is_expected() else pytest.skip
        give_up("no Chromium here: install Debian's package chromium, or name a program in CHROMIUM")
    async with open_chromium(program) as opened:
        await opened.show()
        yield opened
