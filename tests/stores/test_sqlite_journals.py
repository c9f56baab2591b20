"""The rows of a journal are a chain from the last to the first: it holds through folds, deletes and damage."""

from pathlib import Path
from typing import Any

import pytest

from blazen_trio import SqliteStore, StoreCorruptError
from blazen_trio.abc import RunHeader, RunWrite
from blazen_trio.stores.sqlite import journals, litter, reading
from blazen_trio.stores.sqlite.lookups import find_place, find_run
from blazen_trio.stores.sqlite.statements import DROP_JOURNAL
from tests.stores.scenes import ANN, NOON, change, create, opened, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def rows_of(path: Path, run_id: str | None = None) -> int:
    """How many rows the journals have, or that of one run."""
    with opened(path) as connection:
        asked = "SELECT count(*) FROM journal LEFT JOIN runs USING (run) WHERE ?1 IS NULL OR run_id = ?1"
        rows: list[tuple[Any, ...]] = connection.execute(asked, (run_id,)).fetchall()
        return int(rows[0][0])


async def three_entries(store: SqliteStore, run_id: str) -> int:
    fence = await create(store, run_id)
    for text in ("first", "second", "third"):
        await write(store, run_id, fence, f"{run_id} {text}".encode())
    return fence


THREE = (b"run first", b"run second", b"run third")

# --- Writing ----------------------------------------------------------------------------------------------------------


async def test_runs_that_take_turns_read_their_own_entries_in_order(path):
    runs = [f"run-{number}" for number in range(7)]
    async with SqliteStore(path) as store:
        fences = {run_id: await create(store, run_id) for run_id in runs}
        for turn in range(20):
            some = [run_id for number, run_id in enumerate(runs) if (turn + number) % 3]
            batch = [RunWrite(run_id, fences[run_id], [b"%d" % turn, b"%d too" % turn]) for run_id in some]
            assert await store.write(batch) == [None] * len(batch)

        for number, run_id in enumerate(runs):
            turns = [turn for turn in range(20) if (turn + number) % 3]
            expected = [entry for turn in turns for entry in (b"%d" % turn, b"%d too" % turn)]
            assert list((await store.read(run_id)).entries) == expected


async def test_folded_rows_stay_until_their_run_is_folded_again(path):
    async with SqliteStore(path) as store:
        fence = await three_entries(store, "run")
        await three_entries(store, "another")
        await write(store, "run", fence, snapshot=b"base")
        assert (await store.read("run")).entries == ()
        assert rows_of(path, "run") == 3

        await write(store, "run", fence, b"after", b"and after")
        await write(store, "run", fence, snapshot=b"base 2")
        assert (rows_of(path, "run"), rows_of(path, "another")) == (0, 3)
        with opened(path) as connection:
            place = find_place(connection, find_run(connection, "run"))
            assert (place.last_row, place.kept_from) == (0, place.first_entry), "and nothing leads to one"

        await write(store, "run", fence, b"on it goes")
        run = await store.read("run")
        assert (run.snapshot, run.entries) == (b"base 2", (b"on it goes",))
        assert len((await store.read("another")).entries) == 3


async def test_folded_rows_of_many_runs_go_at_once_and_what_came_after_them_stays(path):
    runs = [f"run-{number:02}" for number in range(litter._LITTERED_MAX)]
    async with SqliteStore(path) as store:
        fences = {run_id: await three_entries(store, run_id) for run_id in runs}
        for run_id in runs[:-1]:
            await write(store, run_id, fences[run_id], snapshot=b"base")
            await write(store, run_id, fences[run_id], b"after", b"and after")
        assert rows_of(path) == 3 * len(runs) + len(runs) - 1

    async with SqliteStore(path) as store:
        await write(store, runs[-1], fences[runs[-1]], snapshot=b"base")
        assert rows_of(path) == len(runs) - 1, "all that were folded are gone"
        for run_id in runs[:-1]:
            await write(store, run_id, fences[run_id], b"on it goes")
            assert (await store.read(run_id)).entries == (b"after", b"and after", b"on it goes")
        assert (await store.read(runs[-1])).entries == ()


async def test_folded_rows_go_when_they_are_many(path):
    async with SqliteStore(path) as store:
        few, many = await three_entries(store, "few"), await create(store, "many")
        await write(store, "many", many, *[b"x"] * litter._LITTER_MAX)
        await write(store, "few", few, snapshot=b"base")
        assert rows_of(path) == 4
        await write(store, "many", many, snapshot=b"base")
        assert rows_of(path) == 0


async def test_folded_rows_of_a_run_that_is_deleted_go_with_it(path):
    async with SqliteStore(path) as store:
        fence = await three_entries(store, "run")
        await write(store, "run", fence, snapshot=b"base")
        await write(store, "run", fence, b"after", release=True)
        assert rows_of(path) == 4
        await store.delete("run")
    assert rows_of(path) == 0


async def test_a_whole_journal_is_dropped_without_a_look_at_those_of_others(path):
    async with SqliteStore(path) as store:
        await three_entries(store, "run")
        await three_entries(store, "another")
    seen: list[str] = []

    def see(_cursor: object, statement: str, _bindings: object) -> bool:
        seen.append(statement)
        return True

    with opened(path) as connection:
        place = find_place(connection, find_run(connection, "run"))
        connection.exec_trace = see
        journals.drop_entries(connection, place)
    assert seen == [DROP_JOURNAL]
    assert (rows_of(path, "run"), rows_of(path, "another")) == (0, 3)


async def test_one_batch_may_write_and_fold_and_write_again(path):
    async with SqliteStore(path) as store:
        fence = await three_entries(store, "run")
        entries = [RunWrite("run", fence, [b"%d" % number]) for number in range(4)]
        bases = [RunWrite("run", fence, snapshot=b"base %d" % number) for number in range(2)]
        batch = [entries[0], bases[0], entries[1], bases[1], entries[2], entries[3]]
        assert await store.write(batch) == [None] * 6

        run = await store.read("run")
        assert (run.snapshot, run.entries) == (b"base 1", (b"2", b"3"))
        assert rows_of(path) == 2


async def test_stores_on_one_file_take_turns_at_the_end_of_the_journals(path):
    async with SqliteStore(path) as one, SqliteStore(path) as other:
        fences = await create(one, "one"), await create(other, "other")
        for turn in range(5):
            await write(one, "one", fences[0], b"%d" % turn)
            await write(other, "other", fences[1], b"%d" % turn)
        await write(other, "one", fences[0], b"by the other")

        numbers = tuple(b"%d" % turn for turn in range(5))
        assert (await other.read("one")).entries == (*numbers, b"by the other")
        assert (await one.read("other")).entries == numbers


async def test_a_run_that_was_deleted_and_made_again_has_a_journal_of_its_own(path):
    async with SqliteStore(path) as store:
        for turn in range(3):
            fence = await three_entries(store, "run")
            assert (await store.read("run")).entries == THREE
            assert rows_of(path) == 3, f"nothing is left of the {turn} before"
            await write(store, "run", fence, header=RunHeader("completed", NOON, b""), release=True)
            await store.delete("run")
        assert rows_of(path) == 0


async def test_a_reader_sees_the_journal_of_one_moment_while_it_is_folded_and_grows(path):
    async with SqliteStore(path) as store:
        fence = await three_entries(store, "run")
        with opened(path) as connection:
            connection.execute("BEGIN").fetchall()
            assert reading.info(connection, "run").run_id == "run"
            await write(store, "run", fence, snapshot=b"base")
            await write(store, "run", fence, b"after")
            assert reading.read(connection, "run").entries == THREE
            connection.execute("COMMIT").fetchall()
            assert reading.read(connection, "run").entries == (b"after",)


# --- Damage -----------------------------------------------------------------------------------------------------------

LINKS = {
    "to itself": ("number = 2", "id"),
    "to one behind it": ("number = 2", "id + 1"),
    "past one": ("number = 3", "id - 2"),
    "to nothing": ("number = 2", "0"),
    "from the first to nothing that is there": ("number = 1", "77"),
    "from the first to another run's": ("number = 1", "4"),
}


@pytest.mark.parametrize(("row", "target"), LINKS.values(), ids=LINKS)
async def test_a_link_that_leads_elsewhere_is_found(row, target, path):
    async with SqliteStore(path) as store:
        await three_entries(store, "run")
        await three_entries(store, "another")
        assert change(path, f"UPDATE journal SET previous = {target} WHERE run = 1 AND {row}") == 1
        with pytest.raises(StoreCorruptError, match="'run'"):
            await store.read("run")
        assert len((await store.read("another")).entries) == 3


async def test_rows_that_damage_has_cut_off_go_with_the_others(path):
    async with SqliteStore(path) as store:
        fence = await three_entries(store, "run")
        await three_entries(store, "another")
        change(path, "DELETE FROM journal WHERE run = 1 AND number = 2")
        await write(store, "run", fence, snapshot=b"base")
        await write(store, "run", fence, b"after")
        await write(store, "run", fence, snapshot=b"base 2")
        await write(store, "run", fence, b"on it goes")
        assert (await store.read("run")).entries == (b"on it goes",)
        assert (rows_of(path, "run"), rows_of(path, "another")) == (1, 3)


async def test_a_damaged_place_keeps_its_rows_and_those_of_others_go(path):
    async with SqliteStore(path) as store:
        fences = [await three_entries(store, run_id) for run_id in ("run", "another")]
        await write(store, "run", fences[0], snapshot=b"base")
        await write(store, "another", fences[1], snapshot=b"base")
        change(path, "UPDATE places SET first_entry = 3 WHERE run = 1")
        await write(store, "another", fences[1], snapshot=b"base 2")
        assert (rows_of(path, "run"), rows_of(path, "another")) == (3, 0)
        with pytest.raises(StoreCorruptError, match="'run'"):
            await store.read("run")


@pytest.mark.parametrize("damage", ["DELETE FROM places WHERE run = 1", "UPDATE places SET last_row = 2 WHERE run = 1"])
async def test_a_run_that_is_damaged_can_be_deleted_and_leaves_nothing(damage, path):
    async with SqliteStore(path) as store:
        await three_entries(store, "run")
        await store.release(ANN)
        change(path, damage)
        with pytest.raises(StoreCorruptError):
            await store.read("run")
        await store.delete("run")
    assert rows_of(path) == 0


async def test_a_row_with_an_id_beyond_all_is_an_error_and_not_the_end_of_the_writer(path):
    async with SqliteStore(path) as store:
        fence = await three_entries(store, "run")
        change(path, "UPDATE journal SET id = 0x7fffffffffffffff WHERE number = 1")
        (error,) = await store.write([RunWrite("run", fence, [b"lost"])])
        assert isinstance(error, StoreCorruptError)
        for _ in range(2):  # with the second one the rows go
            await write(store, "run", fence, snapshot=b"base")
        await write(store, "run", fence, b"after")
        assert (await store.read("run")).entries == (b"after",)
