"""Creating, reading and forgetting runs; ids and blobs are exact."""

from typing import Final

import trio

from blazen_trio.abc import Command, NewRun, RunHeader, RunWrite, Store, StreamPage
from blazen_trio.core.errors import RunExistsError, RunLockedError, RunNotFoundError
from blazen_trio.testing.promises.scene import ANN, BOB, LEASE_S, NOON, create, header_of, parked, raising, rows, write

_NEAR_IDS: Final = (
    *("run", "Run", "run ", " run", "r", "../run", "/", ".", "%", "_", "*", "'", '"', "\\", "\n", "0", "00", "None"),
    *("\u00e9", "e\u0301", "\U0001f9a6", "\uffff", "x" * 1_000, "\u00e9" * 1_000, "x" * 999),
)
"""Texts that a careless store takes for one another, or cuts."""

_IMPOSSIBLE_IDS: Final = ("", "nul\0", "\0", "x" * 1_001, "\ud800")


async def a_new_run_is_read_as_it_was_created(store: Store) -> None:
    run = NewRun("run", "flow", NOON, "paused", {"gpu": "yes"}, b"snapshot", [b"one", b"", b"two"])
    fence = await store.create(run, ANN, now=NOON + 1, lease_s=LEASE_S)
    stored = await store.read("run")
    assert (stored.run_id, stored.workflow_name, stored.created) == ("run", "flow", NOON)
    assert stored.header == RunHeader("paused", NOON)
    assert (stored.owner, stored.lease_until, stored.fence) == (ANN, NOON + 1 + LEASE_S, fence)
    assert dict(stored.labels) == {"gpu": "yes"}
    assert (stored.snapshot, stored.entries) == (b"snapshot", (b"one", b"", b"two"))
    assert (stored.stream_floor, stored.stream_last) == (0, 0)


async def info_is_read_without_the_journal(store: Store) -> None:
    await create(store, labels={"a": "b"}, entries=[b"entry"])
    whole, info = await store.read("run"), await store.info("run")
    assert (info.run_id, info.workflow_name, info.created) == (whole.run_id, whole.workflow_name, whole.created)
    assert (info.header, info.owner, info.fence) == (whole.header, whole.owner, whole.fence)
    assert (info.lease_until, dict(info.labels)) == (whole.lease_until, dict(whole.labels))


async def no_snapshot_is_not_an_empty_one(store: Store) -> None:
    await create(store, "none")
    await create(store, "empty", snapshot=b"")
    assert (await store.read("none")).snapshot is None
    assert (await store.read("empty")).snapshot == b""


async def a_run_is_created_once(store: Store) -> None:
    fence = await create(store, entries=[b"first"])
    with raising(RunExistsError):
        await create(store, owner=BOB, entries=[b"second"])
    stored = await store.read("run")
    assert (stored.fence, stored.owner, stored.entries) == (fence, ANN, (b"first",))


async def of_many_creators_at_once_one_succeeds(store: Store) -> None:
    fences: list[int] = []
    refusals = 0

    async def try_it() -> None:
        nonlocal refusals
        try:
            fences.append(await create(store))
        except RunExistsError:
            refusals += 1

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(try_it)
    assert (len(fences), refusals) == (1, 9)
    assert (await store.info("run")).fence == fences[0]


async def ids_are_exact(store: Store) -> None:
    for run_id in _NEAR_IDS:
        await create(store, run_id, workflow_name=run_id, labels={run_id: run_id}, entries=[run_id.encode()])
    for run_id in _NEAR_IDS:
        stored = await store.read(run_id)
        assert (stored.run_id, stored.workflow_name) == (run_id, run_id)
        assert (dict(stored.labels), stored.entries) == ({run_id: run_id}, (run_id.encode(),))


async def an_id_that_cannot_be_is_not_found(store: Store) -> None:
    await create(store, "nul")
    for run_id in _IMPOSSIBLE_IDS:
        with raising(ValueError):
            NewRun(run_id, "flow", NOON)
        with raising(RunNotFoundError):
            await store.read(run_id)
        (problem,) = await store.write([RunWrite(run_id, 1)])
        assert isinstance(problem, RunNotFoundError)


async def an_unknown_run_is_not_found(store: Store) -> None:
    await create(store, "another")
    for ask in (store.read, store.info, store.read_stream, store.delete):
        with raising(RunNotFoundError):
            await ask("run")
    with raising(RunNotFoundError):
        await store.send(Command("run", "command", "pause"))
    (problem,) = await store.write([RunWrite("run", 1, [b"entry"])])
    assert isinstance(problem, RunNotFoundError)
    assert problem.run_id == "run"


async def blobs_are_exact(store: Store) -> None:
    blobs = [b"", b"\0", bytes(range(256)), b"\xff" * 100_000, "\u00e9".encode("latin-1")]
    fence = await create(store, entries=blobs)
    await write(store, "run", fence, entries=blobs, header=header_of(pending_inputs=blobs[2]))
    assert (await store.read("run")).entries == (*blobs, *blobs)
    assert (await store.read("run")).header.pending_inputs == blobs[2]
    for blob in blobs:
        await write(store, "run", fence, snapshot=blob)
        assert (await store.read("run")).snapshot == blob


async def times_are_exact(store: Store) -> None:
    for time in (0.1 + 0.2, 0.0, 1e18, 1_700_000_000.123456):
        fence = await create(store, f"{time}", now=time)
        await write(store, f"{time}", fence, header=header_of(updated=time, wake_at=time))
        info = await store.info(f"{time}")
        assert (info.created, info.header.updated, info.header.wake_at) == (time, time, time)


async def errors_are_kept_as_text(store: Store) -> None:
    fence = await create(store)
    for error in ("", "ValueError: \u00e9 \U0001f9a6\n", "x" * 10_000, None):
        await write(store, "run", fence, header=header_of("failed", error=error))
        assert (await store.info("run")).header.error == error


async def a_deleted_run_leaves_nothing_behind(store: Store) -> None:
    fence = await create(store, labels={"a": "b"}, snapshot=b"snapshot", entries=[b"entry"])
    await write(store, "run", fence, entries=[b"more"], stream=rows(1, 2), header=header_of("failed", error="no"))
    await store.send(Command("run", "command", "pause"))
    await store.delete("run")
    with raising(RunNotFoundError):
        await store.read("run")
    assert await store.list_runs() == []
    fence = await create(store)
    stored = await store.read("run")
    assert (stored.snapshot, stored.entries, dict(stored.labels)) == (None, (), {})
    assert stored.header == RunHeader("running", NOON)
    assert await store.read_stream("run") == StreamPage((), 0, 0)
    assert await store.commands(ANN) == []
    await write(store, "run", fence, entries=[b"anew"], stream=rows(2))
    assert (await store.read("run")).entries == (b"anew",)
    assert (await store.read_stream("run")).rows == tuple(rows(2))


async def deleting_one_run_leaves_the_others(store: Store) -> None:
    for run_id in ("a", "b"):
        fence = await create(store, run_id, entries=[run_id.encode()])
        await write(store, run_id, fence, stream=rows(1), header=header_of("completed"))
        await store.send(Command(run_id, f"to {run_id}", "pause"))
    await store.delete("a")
    assert (await store.read("b")).entries == (b"b",)
    assert (await store.read_stream("b")).rows == tuple(rows(1))
    assert [each.command_id for each in await store.commands(ANN)] == ["to b"]


async def a_run_that_somebody_works_at_is_not_deleted(store: Store) -> None:
    fence = await create(store)
    with raising(RunLockedError):
        await store.delete("run")
    await store.release(ANN, ["run"])
    await store.delete("run")
    fence = await create(store)
    await write(store, "run", fence, header=header_of("completed"))
    await store.delete("run")  # finished, though held


async def old_finished_runs_are_deleted_together(store: Store) -> None:
    for status in ("completed", "failed", "timed_out", "aborted"):
        for age_s in (5, 10, 20):
            await parked(store, f"{status} {age_s}", now=NOON - age_s, status=status)
    for status in ("running", "paused", "awaiting_input"):
        await parked(store, status, now=NOON - 20, status=status)
    assert await store.delete_finished(older_than=NOON - 10) == 4
    left = {run.run_id for run in await store.list_runs()}
    ends = {f"{status} {age_s}" for status in ("completed", "failed", "timed_out", "aborted") for age_s in (5, 10)}
    assert left == {"running", "paused", "awaiting_input"} | ends
    assert await store.delete_finished(older_than=NOON - 10) == 0


async def age_counts_from_the_last_update(store: Store) -> None:
    fence = await create(store, now=NOON - 100)
    await write(store, "run", fence, header=header_of("completed", updated=NOON))
    assert await store.delete_finished(older_than=NOON) == 0
    assert await store.delete_finished(older_than=NOON + 1) == 1
