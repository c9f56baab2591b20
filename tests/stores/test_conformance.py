"""Every store keeps every promise of the interface; one test for each, so that a failure names the promise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blazen_trio.abc import Store
from blazen_trio.stores import MemoryStore, SqliteStore
from blazen_trio.testing import STORE_PROMISES

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda path: MemoryStore(),
    "sqlite": SqliteStore,
}


@pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
async def test_a_store_keeps(make: Callable[[Path], Store], promise: Any, tmp_path: Path):
    async with make(tmp_path / "runs.db") as store:
        await promise(store)
