"""Entries, snapshots, headers; a refused write leaves no trace."""

from blazen_trio.abc import RunHeader, RunWrite, Store
from blazen_trio.core.errors import RunLockedError, RunNotFoundError, StoreError
from blazen_trio.testing.promises.scene import ANN, NOON, create, header_of, refused, rows, write


async def entries_are_read_in_the_order_written(store: Store) -> None:
    fence = await create(store, entries=[b"0"])
    await write(store, "run", fence, entries=[b"1", b"2"])
    await write(store, "run", fence, entries=[])
    await write(store, "run", fence, entries=[b"3"])
    assert (await store.read("run")).entries == (b"0", b"1", b"2", b"3")


async def journals_of_many_runs_do_not_mix(store: Store) -> None:
    names = [f"run {number}" for number in range(20)]
    fences = {name: await create(store, name) for name in names}
    for turn in range(5):
        batch = [RunWrite(name, fences[name], [f"{name} {turn}".encode()]) for name in names]
        assert await store.write(batch) == [None] * len(names)
    for name in names:
        assert (await store.read(name)).entries == tuple(f"{name} {turn}".encode() for turn in range(5))


async def one_run_may_come_twice_in_a_batch(store: Store) -> None:
    fence = await create(store)
    batch = [
        RunWrite("run", fence, [b"1"], stream=rows(1)),
        RunWrite("run", fence, [b"2"], snapshot=b"folded", header=header_of("paused")),
        RunWrite("run", fence, [b"3"], stream=rows(2), header=header_of("running")),
    ]
    assert await store.write(batch) == [None, None, None]
    stored = await store.read("run")
    assert (stored.snapshot, stored.entries, stored.header) == (b"folded", (b"3",), header_of("running"))
    assert (await store.read_stream("run")).rows == tuple(rows(1, 2))


async def a_batch_of_nothing_is_written(store: Store) -> None:
    assert await store.write([]) == []


async def a_snapshot_takes_the_place_of_the_journal(store: Store) -> None:
    fence = await create(store, snapshot=b"at first", entries=[b"1"])
    await write(store, "run", fence, entries=[b"2"])
    await write(store, "run", fence, entries=[b"3"], snapshot=b"all three")
    stored = await store.read("run")
    assert (stored.snapshot, stored.entries) == (b"all three", ())


async def the_journal_goes_on_behind_a_snapshot(store: Store) -> None:
    fence = await create(store)
    for turn in range(3):
        await write(store, "run", fence, entries=[b"folded"])
        await write(store, "run", fence, snapshot=b"snapshot %d" % turn)
        await write(store, "run", fence, entries=[b"a", b"b"])
        await write(store, "run", fence, entries=[b"c"])
        stored = await store.read("run")
        assert (stored.snapshot, stored.entries) == (b"snapshot %d" % turn, (b"a", b"b", b"c"))


async def a_snapshot_touches_only_its_run(store: Store) -> None:
    fences = [await create(store, run_id, snapshot=b"old", entries=[b"entry"]) for run_id in ("a", "b")]
    await write(store, "a", fences[0], snapshot=b"new")
    other = await store.read("b")
    assert (other.snapshot, other.entries) == (b"old", (b"entry",))


async def a_header_replaces_the_one_before(store: Store) -> None:
    fence = await create(store)
    first = RunHeader("awaiting_input", NOON + 1, b"questions", "an error", NOON + 9)
    await write(store, "run", fence, header=first)
    assert (await store.info("run")).header == first
    await write(store, "run", fence, entries=[b"entry"])
    assert (await store.info("run")).header == first, "a write without a header leaves it as it was"
    await write(store, "run", fence, header=RunHeader("running", NOON + 2))
    assert (await store.info("run")).header == RunHeader("running", NOON + 2)


async def a_refused_write_leaves_no_trace(store: Store) -> None:
    fence = await create(store, snapshot=b"snapshot", entries=[b"entry"])
    await write(store, "run", fence, stream=rows(1, 2))
    before, stream = await store.read("run"), await store.read_stream("run")
    everything = {
        "entries": [b"stale"],
        "snapshot": b"stale",
        "stream": rows(3),
        "stream_floor": 2,
        "header": header_of("failed", NOON + 5, error="stale"),
        "release": True,
    }
    assert isinstance(await refused(store, "run", fence + 1, **everything), RunLockedError)
    assert isinstance(await refused(store, "run", fence, **{**everything, "stream": rows(2)}), StoreError)
    assert await store.read("run") == before
    assert await store.read_stream("run") == stream


async def a_refused_write_does_not_touch_the_rest_of_its_batch(store: Store) -> None:
    fences = {run_id: await create(store, run_id) for run_id in ("a", "b", "c")}
    batch = [
        RunWrite("a", fences["a"], [b"a"]),
        RunWrite("b", fences["b"] + 100, [b"b"]),
        RunWrite("nobody", 1, [b"n"]),
        RunWrite("c", fences["c"], [b"c"]),
    ]
    first, second, third, fourth = await store.write(batch)
    assert first is None
    assert isinstance(second, RunLockedError)
    assert (second.run_id, second.owner) == ("b", ANN.engine_id)
    assert isinstance(third, RunNotFoundError)
    assert fourth is None
    assert [(await store.read(run_id)).entries for run_id in "abc"] == [(b"a",), (), (b"c",)]
