"""Checkpoints, cancelled calls, openings."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from trio.testing import assert_checkpoints

from blazen_trio.abc import Command, NewRun, RunWrite, Store
from blazen_trio.core.errors import StoreError
from blazen_trio.testing.promises.scene import ANN, BOB, LEASE_S, NOON, create, header_of, parked, raising

Call = Callable[[], Awaitable[Any]]


def _calls(store: Store, fence: int) -> list[Call]:
    """One call of each method; each would change something, if it can."""
    return [
        partial(store.create, NewRun("new", "flow", NOON), ANN, now=NOON, lease_s=LEASE_S),
        partial(store.write, [RunWrite("run", fence, [b"entry"], header=header_of("paused"))]),
        partial(store.read, "run"),
        partial(store.info, "run"),
        store.list_runs,
        partial(store.read_stream, "run"),
        partial(store.renew, ANN, now=NOON + 5, lease_s=LEASE_S),
        partial(store.send, Command("run", "second", "pause")),
        partial(store.commands, ANN),
        partial(store.done, ["first"]),
        partial(store.claim, BOB, now=NOON, lease_s=LEASE_S, limit=9),
        partial(store.delete, "finished"),
        partial(store.delete_finished, older_than=NOON + 1),
        partial(store.release, ANN, ["run"]),
    ]


async def _scene(store: Store) -> list[Call]:
    fence = await create(store)
    await store.send(Command("run", "first", "pause"))
    for run_id in ("finished", "finished too"):
        await parked(store, run_id, status="completed")
    await parked(store, "parked")
    return _calls(store, fence)


async def every_method_is_a_checkpoint(store: Store) -> None:
    for call in await _scene(store):
        with assert_checkpoints():
            await call()


async def a_call_that_was_cancelled_before_did_nothing(store: Store) -> None:
    calls = await _scene(store)
    before = await _everything(store)
    for call in calls:
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught, "a call in a cancelled scope must raise Cancelled"
    assert await _everything(store) == before


async def a_store_that_is_not_open_refuses(store: Store) -> None:
    calls = await _scene(store)
    await store.aclose()
    for call in calls:
        with raising(StoreError):
            await call()


async def what_was_stored_is_there_after_reopening(store: Store) -> None:
    await _scene(store)
    before = await _everything(store)
    await store.aclose()
    await store.open()
    assert await _everything(store) == before


async def a_store_that_is_open_twice_closes_with_the_second(store: Store) -> None:
    await create(store)
    async with store:
        pass
    assert (await store.info("run")).run_id == "run"


async def closing_once_more_does_nothing(store: Store) -> None:
    await store.aclose()
    await store.aclose()
    await store.open()
    await create(store)


async def closing_is_done_though_cancelled(store: Store) -> None:
    await store.open()
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.aclose()
    await create(store)  # still open once


async def a_fence_outlives_the_opening(store: Store) -> None:
    first = await create(store, "a")
    await store.aclose()
    await store.open()
    assert await create(store, "b") > first


async def statistics_count_what_was_written(store: Store) -> None:
    fence = await create(store)
    before = store.statistics()
    await store.write([RunWrite("run", fence, [b"1", b"2"]), RunWrite("run", fence, [b"3"])])
    after = store.statistics()
    assert after.commits > before.commits
    assert (after.writes - before.writes, after.entries - before.entries) == (2, 3)


async def _everything(store: Store) -> list[object]:
    runs = await store.list_runs()
    return [runs, *[await store.read(run.run_id) for run in runs], await store.commands(ANN)]
