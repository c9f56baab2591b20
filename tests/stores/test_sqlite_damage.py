"""Whatever happens to the bytes of the file: what is read is what was written, or an error; never anything else."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from blazen_trio import SqliteStore, StoreCorruptError, StoreError
from blazen_trio.abc import RunWrite
from blazen_trio.stores.sqlite import reading
from tests.budget import share
from tests.stores.scenes import ANN, change, create, everything, furnished, opened, write

FLIPS = 150
COLUMNS = [
    *[("runs", name) for name in ("workflow_name", "created", "labels", "status", "updated", "pending_inputs")],
    *[("runs", name) for name in ("error", "wake_at", "owner", "fence", "finished", "crc", "run_id")],
    *[("places", name) for name in ("first_entry", "next_entry", "kept_from", "last_row", "stream_floor")],
    *[("places", name) for name in ("stream_last", "snapshot_crc", "crc")],
    *[("journal", name) for name in ("run", "number", "previous", "entries", "crc")],
    *[("stream", name) for name in ("run", "last", "previous", "items", "crc")],
    *[("commands", name) for name in ("run", "command_id", "kind", "payload", "crc")],
    *[("owners", name) for name in ("host", "pid", "started", "lease_until", "crc")],
    ("snapshots", "blob"),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    """The content of a file with something of everything, and what a store reads in it."""
    path = tmp_path_factory.mktemp("whole") / "whole.db"
    before = trio.run(furnished, path)
    return path.read_bytes(), before


@pytest.fixture
def whole(saved: tuple[bytes, dict[str, Any]], tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Such a file, and what is in it."""
    path = tmp_path / "whole.db"
    path.write_bytes(saved[0])
    return path, saved[1]


def flipped(value: Any) -> Any:
    """The value with one bit flipped, near its end."""
    if isinstance(value, int):
        return value ^ 0x4000
    if isinstance(value, float):
        return value + 1
    if isinstance(value, str):
        return f"{value[:-1]}{chr(ord(value[-1]) ^ 64)}" if value else "x"
    return bytes([*value[:-1], value[-1] ^ 1]) if value else b"x"


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda name: name)
async def test_a_changed_value_in_a_row_is_found(table, column, whole):
    path, _ = whole
    with opened(path) as connection:
        key = KEYS.get(table, "rowid")
        found = f"SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY {key} DESC LIMIT 1"
        ((row, value),) = connection.execute(found).fetchall()
        changing = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"
        connection.execute(changing, (flipped(value), row)).fetchall()
        assert connection.changes() == 1

    async with SqliteStore(path) as store:
        with pytest.raises(StoreError):
            await everything(store)


KEYS = {"journal": "id", "stream": "id", "places": "run", "snapshots": "run", "owners": "engine_id"}


@pytest.mark.parametrize(("table", "key"), KEYS.items(), ids=KEYS)
async def test_a_row_that_is_missing_is_found(table, key, whole):
    path, _ = whole
    assert change(path, f"DELETE FROM {table} WHERE {key} = (SELECT max({key}) FROM {table})") == 1

    async with SqliteStore(path) as store:
        with pytest.raises(StoreCorruptError):
            await everything(store)


@pytest.mark.parametrize("number", [1, 3, 15])
async def test_a_hole_in_a_journal_is_found_and_named(number, tmp_path):
    async with SqliteStore(tmp_path / "runs.db") as store:
        fence = await create(store)
        for turn in range(15):
            await write(store, "run", fence, b"entry %d" % turn)
    assert change(tmp_path / "runs.db", "DELETE FROM journal WHERE number = ?", number) == 1

    async with SqliteStore(tmp_path / "runs.db") as store:
        with pytest.raises(StoreCorruptError, match=f"'run'.*entry {number} is missing"):
            await store.read("run")


@pytest.mark.parametrize("table", ["journal", "stream"])
async def test_rows_that_changed_places_are_found(table, whole):
    path, _ = whole
    place = {"journal": "number", "stream": "last"}[table]
    with opened(path) as connection:
        rows = connection.execute(f"SELECT id, run, {place} FROM {table} ORDER BY id DESC LIMIT 2").fetchall()
        (first, run_a, place_a), (second, run_b, place_b) = rows
        move = f"UPDATE {table} SET run = ?, {place} = ? WHERE id = ?"
        connection.execute(move, (-1, -1, first)).fetchall()
        connection.execute(move, (run_a, place_a, second)).fetchall()
        connection.execute(move, (run_b, place_b, first)).fetchall()

    async with SqliteStore(path) as store:
        with pytest.raises(StoreCorruptError):
            await everything(store)


async def test_a_damaged_run_is_refused_in_a_batch_and_the_others_are_written(whole):
    path, before = whole
    change(path, "UPDATE runs SET error = 'another' WHERE run_id = 'run-01'")

    async with SqliteStore(path) as store:
        batch = [RunWrite(run_id, before[run_id][0].fence, [b"new"]) for run_id in ("run-01", "run-03")]
        damaged, fine = await store.write(batch)

        assert isinstance(damaged, StoreCorruptError)
        assert damaged.run_id == "run-01"
        assert fine is None
        assert (await store.read("run-03")).entries[-1] == b"new"


async def test_a_run_that_a_damaged_index_hides_is_not_taken_for_a_missing_one(whole, tmp_path):
    path, _ = whole
    content = path.read_bytes()
    places = [place for place in range(len(content)) if content.startswith(b"run-07", place)]
    hidden = 0
    for place in places:
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(content[: place + 5] + b"\xb7" + content[place + 6 :])
        async with SqliteStore(damaged) as store:
            try:
                await store.read("run-07")
            except StoreCorruptError:  # and not RunNotFoundError
                hidden += 1
    assert hidden >= 2  # the row itself, and its entry in the index of ids


async def flip_and_read(path: Path, copy: Path, where: tuple[int, int], before: dict[str, Any]) -> bool:
    """Whether a flipped bit was noticed; anything but an error or the old content is a failure."""
    content = bytearray(path.read_bytes())
    content[where[0]] ^= 1 << where[1]
    copy.write_bytes(content)
    for side in ("-wal", "-shm"):
        Path(f"{copy}{side}").unlink(missing_ok=True)
    store = SqliteStore(copy)
    try:
        async with store:
            for name, there in before.items():
                await compare(store, name, there)
    except StoreError:
        return True
    return False


async def compare(store: SqliteStore, name: str, there: Any) -> None:
    # A page of the file that forgets rows at its end hides what no other row counts: a command, a run from a list.
    if name == "list":
        assert [each for each in await store.list_runs() if each not in there] == []
        return
    if name == "commands":
        assert [each for each in await store.commands(ANN) if each not in there] == []
        return
    assert (await store.read(name), await store.read_stream(name)) == there


@pytest.mark.parametrize("seed", range(3))
async def test_a_flipped_bit_anywhere_is_noticed_or_harmless(seed, whole, tmp_path):
    path, before = whole
    dice, size = random.Random(seed), path.stat().st_size
    noticed = 0
    for _ in range(FLIPS // 3):
        where = dice.randrange(size), dice.randrange(8)
        noticed += await flip_and_read(path, tmp_path / "copy.db", where, before)
    assert noticed


@pytest.mark.slow
async def test_many_flipped_bits_anywhere_are_noticed_or_harmless(whole, tmp_path):
    path, before = whole
    dice, size = random.Random(0), path.stat().st_size
    for _ in range(share(4_000)):
        where = dice.randrange(size), dice.randrange(8)
        await flip_and_read(path, tmp_path / "copy.db", where, before)


async def a_log(path: Path) -> bytes:
    """The log of a store in which one run has 4 entries; leaves a copy of the file as it was before them."""
    async with SqliteStore(path) as store:
        fence = await create(store)
    shutil.copy(path, path.with_suffix(".before"))
    async with SqliteStore(path) as store:
        for turn in range(4):
            await write(store, "run", fence, b"entry %d" % turn)
        return Path(f"{path}-wal").read_bytes()


def cut(path: Path, log: bytes, size: int) -> Path:
    """The file with so much of its log, as a power cut might leave it."""
    path.with_suffix(".cut").write_bytes(path.with_suffix(".before").read_bytes())
    path.with_suffix(".cut-wal").write_bytes(log[:size])
    return path.with_suffix(".cut")


async def test_a_log_that_was_cut_off_anywhere_holds_a_beginning_of_what_was_written(tmp_path):
    path = tmp_path / "runs.db"
    log = await a_log(path)
    found = []
    for size in range(0, len(log) + 97, 97):
        with opened(cut(path, log, size)) as connection:
            connection.pragma("synchronous", "OFF")
            found.append(reading.read(connection, "run").entries)
    whole = tuple(b"entry %d" % turn for turn in range(4))
    assert list(dict.fromkeys(found)) == [whole[:length] for length in range(5)], "each beginning, and in order"


@pytest.mark.parametrize("share_of_it", [0.0, 0.3, 0.6, 1.0])
async def test_a_store_goes_on_after_a_log_that_was_cut_off(share_of_it, tmp_path):
    path = tmp_path / "runs.db"
    log = await a_log(path)
    async with SqliteStore(cut(path, log, int(len(log) * share_of_it))) as store:
        before = await store.read("run")
        await write(store, "run", before.fence, b"new")
        assert (await store.read("run")).entries == (*before.entries, b"new")
