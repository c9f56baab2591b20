"""The stores that fail on purpose: they fail exactly where they should, and pass everything else on."""

import pytest

from blazen_trio import MemoryStore, RunNotFoundError, StoreError, StoreFullError
from blazen_trio.abc import Store
from blazen_trio.testing import STORE_PROMISES, CrashingStore, FlakyStore, store_conformance
from tests.stores.scenes import create, write


async def write_three(store: Store) -> None:
    fence = await create(store)  # call 1
    for entry in (b"a", b"b", b"c"):  # calls 2 to 4
        await write(store, "run", fence, entry)


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("happens", [False, True])
async def test_a_crash_leaves_what_happened_before_it(at, happens):
    inside = MemoryStore()
    async with CrashingStore(inside, at=at, happens=happens) as store:
        with pytest.raises(StoreError, match=f"crashed at call {at}"):
            await write_three(store)
        for _ in range(2):
            with pytest.raises(StoreError, match=f"crashed at call {at}"):
                await store.read("run")
    calls_that_happened = at if happens else at - 1
    async with inside:
        if calls_that_happened == 0:
            with pytest.raises(RunNotFoundError):
                await inside.read("run")
        else:
            assert (await inside.read("run")).entries == (b"a", b"b", b"c")[: calls_that_happened - 1]


async def test_a_store_that_crashes_later_tells_how_many_calls_there_were():
    async with CrashingStore(MemoryStore(), at=100) as store:
        await write_three(store)
    assert store.calls == 4


async def test_a_flaky_store_fails_only_where_it_should():
    async with FlakyStore(MemoryStore(), fail={2, 4}) as store:
        fence = await create(store)
        with pytest.raises(StoreError, match="failed at call 2"):
            await write(store, "run", fence, b"lost")
        await write(store, "run", fence, b"there")
        with pytest.raises(StoreError, match="failed at call 4"):
            await store.read("run")
        assert (await store.read("run")).entries == (b"there",)


async def test_a_flaky_store_raises_the_error_it_was_given_each_time_anew():
    error = StoreFullError("as the test wants")
    async with FlakyStore(MemoryStore(), fail={1, 2}, error=error) as store:
        raised = []
        for _ in range(2):
            with pytest.raises(StoreFullError) as caught:
                await store.list_runs()
            raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert error.__traceback__ is None


async def test_stores_that_do_not_fail_yet_are_stores():
    await store_conformance(lambda: FlakyStore(MemoryStore(), fail=()))
    await store_conformance(lambda: CrashingStore(MemoryStore(), at=10_000))
    assert len(STORE_PROMISES) > 50
