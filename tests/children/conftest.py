"""Every story here runs on a clock that starts at 0 and jumps over waiting; one that waits for ever fails."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

HERE = Path(__file__).parent
SECONDS_MAX = 1e7


def run_on_jumping_clock(
    main: Callable[[], Awaitable[object]],
    *,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> object:
    async def in_time() -> object:
        with trio.fail_after(SECONDS_MAX):
            return await main()

    return trio.run(in_time, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.trio(run=run_on_jumping_clock))
