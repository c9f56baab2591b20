"""Files of older versions: what was in them is there, damage included, and they go on."""

from pathlib import Path

import pytest

from blazen_trio import SqliteStore, StoreCorruptError
from blazen_trio.stores.sqlite.schema import VERSION
from tests.stores.scenes import ANN, change, opened, write

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as version 1 left it."""
    with opened(tmp_path / "runs.db") as connection:
        connection.execute((RECORDED / "version_1.sql").read_text(encoding="utf-8")).fetchall()
    return tmp_path / "runs.db"


def written(run_id: str, *turns: int) -> tuple[bytes, ...]:
    return tuple(f"{run_id} entry {turn} {part}".encode() for turn in turns for part in range(turn))


async def test_a_file_of_version_1_has_all_that_was_in_it(path):
    async with SqliteStore(path) as store:
        runs = {record.run_id: await store.read(record.run_id) for record in await store.list_runs()}
        assert {run_id: run.entries for run_id, run in runs.items()} == {
            "new": (),
            "young": written("young", 1, 2, 3, 4),
            "folded": written("folded", 3, 4),
            "ended": written("ended", 1, 2, 3, 4),
        }
        assert runs["folded"].snapshot == b"folded after 2"
        items = [row.blob for row in (await store.read_stream("folded")).rows]
        assert items == [b"folded item %d" % turn for turn in (1, 2, 3, 4)]
        assert [command.payload for command in await store.commands(ANN)] == [b"yes"]


async def test_a_file_of_version_1_goes_on(path):
    for turn in range(2):  # and is of this version when it is opened again
        async with SqliteStore(path) as store:
            for run_id in ("new", "young", "folded"):
                await write(store, run_id, (await store.info(run_id)).fence, b"entry of turn %d" % turn)
    with opened(path) as connection:
        assert connection.pragma("user_version") == VERSION

    async with SqliteStore(path) as store:
        more = (b"entry of turn 0", b"entry of turn 1")
        assert (await store.read("new")).entries == more
        assert (await store.read("young")).entries == (*written("young", 1, 2, 3, 4), *more)
        fence = (await store.info("folded")).fence
        await write(store, "folded", fence, snapshot=b"folded again")
        await write(store, "folded", fence, snapshot=b"and again")
        assert (await store.read("folded")).entries == ()
        await store.delete("ended")
    with opened(path) as connection:
        assert connection.execute("SELECT DISTINCT run FROM journal ORDER BY run").fetchall() == [(1,), (2,)]


DAMAGE = [
    "UPDATE journal SET number = 3 WHERE run = 2 AND number = 2",
    "UPDATE journal SET entries = x'91c400' WHERE run = 2 AND number = 2",
    "UPDATE journal SET crc = crc + 1 WHERE run = 2 AND number = 2",
    "DELETE FROM journal WHERE run = 2 AND number = 2",
    "DELETE FROM journal WHERE run = 2",
    "DELETE FROM places WHERE run = 2",
    "UPDATE places SET next_entry = 7 WHERE run = 2",
    "UPDATE places SET stream_last = 3 WHERE run = 2",
]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_what_is_damaged_in_an_old_file_is_damaged_in_the_new_one(damage, path):
    assert change(path, damage)
    async with SqliteStore(path) as store:
        with pytest.raises(StoreCorruptError, match="'young'"):
            await store.read("young")
        assert (await store.read("folded")).entries == written("folded", 3, 4)
