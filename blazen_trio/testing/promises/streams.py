"""Rows with numbers, and their floor."""

from blazen_trio.abc import Store, StreamPage, StreamRow
from blazen_trio.core.errors import StoreError
from blazen_trio.testing.promises.scene import NOON, create, numbers, refused, rows, write


async def rows_are_read_as_they_were_written(store: Store) -> None:
    fence = await create(store)
    some = [StreamRow(1, 0.1 + 0.2, b""), StreamRow(2, NOON, b"\0\xff" * 10_000)]
    await write(store, "run", fence, stream=some)
    await write(store, "run", fence, stream=rows(3))
    assert await store.read_stream("run") == StreamPage((*some, *rows(3)), 0, 3)


async def a_stream_is_read_in_pages(store: Store) -> None:
    fence = await create(store)
    for first in (1, 4, 5):
        await write(store, "run", fence, stream=rows(*range(first, {1: 4, 4: 5, 5: 11}[first])))
    for after in range(12):
        for limit in (1, 2, 3, 100):
            page = await store.read_stream("run", after=after, limit=limit)
            assert numbers(page.rows) == list(range(after + 1, 11))[:limit]
            assert (page.floor, page.last) == (0, 10)


async def rows_up_to_the_floor_are_trimmed(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, stream=rows(1, 2, 3))
    await write(store, "run", fence, stream=rows(4, 5), stream_floor=2)
    assert await store.read_stream("run") == StreamPage(tuple(rows(3, 4, 5)), 2, 5)
    await write(store, "run", fence, stream=rows(6), stream_floor=6)
    assert await store.read_stream("run") == StreamPage((), 6, 6)


async def the_floor_never_sinks(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, stream=rows(1, 2, 3), stream_floor=2)
    await write(store, "run", fence, stream=rows(4), stream_floor=1)
    await write(store, "run", fence)
    assert await store.read_stream("run") == StreamPage(tuple(rows(3, 4)), 2, 4)


async def the_floor_may_be_beyond_the_last_row(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, stream=rows(1), stream_floor=9)
    assert await store.read_stream("run") == StreamPage((), 9, 1)
    await write(store, "run", fence, stream=rows(2, 9, 10))
    assert await store.read_stream("run") == StreamPage(tuple(rows(10)), 9, 10)


async def numbers_may_leave_gaps(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, stream=rows(2, 5))
    await write(store, "run", fence, stream=rows(100, 2**40))
    assert numbers((await store.read_stream("run")).rows) == [2, 5, 100, 2**40]
    assert numbers((await store.read_stream("run", after=3)).rows) == [5, 100, 2**40]
    assert numbers((await store.read_stream("run", after=2**40)).rows) == []


async def numbers_must_rise(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, stream=rows(1, 2))
    for stale in ((2,), (1,), (4, 3), (3, 3), (0,)):
        problem = await refused(store, "run", fence, stream=rows(*stale))
        assert isinstance(problem, StoreError)
        assert problem.run_id == "run"
    await write(store, "run", fence, stream=rows(3))
    assert numbers((await store.read_stream("run")).rows) == [1, 2, 3]


async def a_trimmed_number_never_comes_back(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, stream=rows(1, 2), stream_floor=2)
    await refused(store, "run", fence, stream=rows(2))
    assert await store.read_stream("run") == StreamPage((), 2, 2)


async def a_snapshot_leaves_the_stream(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, entries=[b"entry"], stream=rows(1, 2))
    await write(store, "run", fence, snapshot=b"snapshot")
    assert numbers((await store.read_stream("run")).rows) == [1, 2]


async def a_run_tells_the_range_of_its_stream(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, stream=rows(1, 2, 7), stream_floor=1)
    stored = await store.read("run")
    assert (stored.stream_floor, stored.stream_last) == (1, 7)


async def streams_of_many_runs_do_not_mix(store: Store) -> None:
    for run_id in ("a", "b"):
        await write(store, run_id, await create(store, run_id), stream=[StreamRow(1, NOON, run_id.encode())])
    for run_id in ("a", "b"):
        assert (await store.read_stream(run_id)).rows == (StreamRow(1, NOON, run_id.encode()),)
