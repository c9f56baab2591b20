"""What goes wrong around the file: locks, full and failing disks, files that vanish, forks, foreign and newer files."""

import sys
import threading
from pathlib import Path

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blazen_trio import SqliteStore, StoreCorruptError, StoreError, StoreFullError
from blazen_trio.abc import RunWrite
from blazen_trio.stores.sqlite import changes, files
from blazen_trio.stores.sqlite.schema import VERSION
from blazen_trio.stores.sqlite.session import Session
from tests.stores.scenes import BOB, Fault, FaultyDisk, change, create, faulty_disk, opened, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def disk():
    with faulty_disk() as disk:
        yield disk


# --- Locks ------------------------------------------------------------------------------------------------------------


async def test_a_write_waits_while_another_process_holds_the_lock(path):
    async with SqliteStore(path) as store:
        fence = await create(store)
        with opened(path) as other:
            other.execute("BEGIN IMMEDIATE").fetchall()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, store, "run", fence, b"entry")
                await wait_all_tasks_blocked()
                assert (await store.read("run")).entries == (), "readers do not wait"
                other.execute("ROLLBACK").fetchall()
        assert (await store.read("run")).entries == (b"entry",)


async def test_a_lock_that_is_held_too_long_is_an_error_that_says_so_and_then_it_goes_on(path, monkeypatch):
    monkeypatch.setattr(files, "BUSY_S", 0.01)
    async with SqliteStore(path) as store:
        fence = await create(store)
        with opened(path) as other:
            other.execute("BEGIN IMMEDIATE").fetchall()
            with pytest.raises(StoreError, match="keeps the file locked"):
                await store.write([RunWrite("run", fence, [b"lost"])])
        await write(store, "run", fence, b"entry")
        assert (await store.read("run")).entries == (b"entry",)


@pytest.mark.parametrize("round_", range(10))  # what is wrong here goes wrong in one of forty
async def test_many_stores_may_make_and_open_one_new_file_at_once(path, round_):
    async def use(number: int) -> None:
        async with SqliteStore(path) as store:
            await create(store, f"run {number}")

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(use, number)
    async with SqliteStore(path) as store:
        assert len(await store.list_runs()) == 8


async def test_two_stores_on_one_file_see_what_the_other_wrote(path):
    async with SqliteStore(path) as one, SqliteStore(path) as other:
        fence = await create(one)
        await write(one, "run", fence, b"1")
        await write(other, "run", fence, b"2")
        await write(one, "run", fence, b"3")
        assert (await other.read("run")).entries == (b"1", b"2", b"3")
        await other.claim(BOB, now=2e9, lease_s=10.0, limit=1)
        (problem,) = await one.write([RunWrite("run", fence, [b"4"])])
        assert problem is not None


# --- Cancelled callers ------------------------------------------------------------------------------------------------


async def test_a_cancelled_write_is_withdrawn_before_it_began_and_awaited_after(path):
    began, may_end = threading.Event(), threading.Event()

    def slow_write(session: Session, write: RunWrite) -> list[StoreError | None]:
        began.set()
        may_end.wait()
        return changes.write(session, [write])

    async with SqliteStore(path) as store:
        fences = {run_id: await create(store, run_id) for run_id in ("begun", "waiting")}
        ends: dict[str, object] = {}
        scopes = {run_id: trio.CancelScope() for run_id in fences}

        async def begun() -> None:
            with scopes["begun"]:
                ends["begun"] = await store._change(slow_write, RunWrite("begun", fences["begun"], [b"entry"]))

        async def waiting() -> None:
            with scopes["waiting"]:
                ends["waiting"] = await store.write([RunWrite("waiting", fences["waiting"], [b"entry"])])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(begun)
            await trio.to_thread.run_sync(began.wait)
            nursery.start_soon(waiting)
            await wait_all_tasks_blocked()
            for scope in scopes.values():
                scope.cancel()
            await wait_all_tasks_blocked()
            assert scopes["waiting"].cancelled_caught
            assert ends == {}
            may_end.set()
        assert ends == {"begun": [None]}
        assert (await store.read("begun")).entries == (b"entry",)
        assert (await store.read("waiting")).entries == ()


async def test_what_was_cancelled_at_any_moment_is_written_if_and_only_if_it_was_told_so(path):
    async with SqliteStore(path) as store:
        fence = await create(store)
        told: list[bytes] = []

        async def write_some(scope: trio.CancelScope, name: bytes) -> None:
            with scope:
                assert await store.write([RunWrite("run", fence, [name])]) == [None]
                told.append(name)

        for passes in range(30):
            scopes = [trio.CancelScope() for _ in range(3)]
            async with trio.open_nursery() as nursery:
                for number, scope in enumerate(scopes):
                    nursery.start_soon(write_some, scope, b"%d %d" % (passes, number))
                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                for scope in scopes:
                    scope.cancel()
        assert sorted((await store.read("run")).entries) == sorted(told)


# --- Group commit -----------------------------------------------------------------------------------------------------


async def test_what_comes_while_a_commit_runs_goes_into_one_commit(path):
    async with SqliteStore(path) as store:
        await create(store)
        with opened(path) as other:
            other.execute("BEGIN IMMEDIATE").fetchall()
            before = store.statistics().commits
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(create, store, f"run {number}")
                await wait_all_tasks_blocked()
                other.execute("ROLLBACK").fetchall()
        assert store.statistics().commits - before <= 2
        assert len(await store.list_runs()) == 51


async def test_a_bug_in_one_job_of_a_group_takes_nobody_along(path):
    def broken(_session: object) -> None:
        raise LookupError("a bug")

    async def fails(store: SqliteStore) -> None:
        with pytest.raises(LookupError):
            await store._change(broken)

    async with SqliteStore(path) as store:
        await create(store)
        with opened(path) as other:
            other.execute("BEGIN IMMEDIATE").fetchall()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.list_runs)
                for number in range(5):
                    nursery.start_soon(create, store, f"run {number}")
                    nursery.start_soon(fails, store)
                await wait_all_tasks_blocked()
                other.execute("ROLLBACK").fetchall()
        assert len(await store.list_runs()) == 6


async def test_what_is_no_bytes_is_refused_for_its_run_alone(path):
    async with SqliteStore(path) as store:
        fences = [await create(store, run_id) for run_id in ("a", "b")]
        bad: list[bytes] = ["text"]  # type: ignore[list-item] # the mistake that is told
        wrong, fine = await store.write([RunWrite("a", fences[0], bad), RunWrite("b", fences[1], [b"entry"])])
        assert isinstance(wrong, StoreError)
        assert "must be bytes" in str(wrong)
        assert fine is None


# --- Disks ------------------------------------------------------------------------------------------------------------


async def test_a_full_disk_is_told_and_the_store_goes_on_when_there_is_room(path, disk: FaultyDisk):
    async with SqliteStore(path) as store:
        fence = await create(store)
        disk.fault = Fault(apsw.FullError, "-wal", "write", times=3)
        for _ in range(3):
            with pytest.raises(StoreFullError, match="free some space"):
                await store.write([RunWrite("run", fence, [b"lost"])])
        await write(store, "run", fence, b"entry")
        assert (await store.read("run")).entries == (b"entry",)


async def test_after_a_failed_fsync_nothing_is_trusted_and_the_store_goes_on(path, disk: FaultyDisk):
    async with SqliteStore(path) as store:
        fence = await create(store)
        disk.fault = Fault(apsw.IOError, "-wal", "sync")
        with pytest.raises(StoreError, match="the disk failed"):
            await store.write([RunWrite("run", fence, [b"lost"])])
        assert disk.fault.met == 1
        entries = (await store.read("run")).entries
        assert entries in ((), (b"lost",))  # nobody can know; but it is one or the other
        await write(store, "run", fence, b"entry")
        assert (await store.read("run")).entries == (*entries, b"entry")
    async with SqliteStore(path) as store:
        assert (await store.read("run")).entries == (*entries, b"entry")


@pytest.mark.parametrize("kind", [apsw.FullError, apsw.IOError])
@pytest.mark.parametrize("method", ["write", "sync"])
async def test_a_disk_that_fails_at_any_call_loses_nothing_that_was_acknowledged(kind, method, path, disk: FaultyDisk):
    for late in range(12):
        where = path.with_name(f"{late}.db")
        async with SqliteStore(where) as store:
            fence = await create(store)
            disk.fault = LateFault(kind, "", method, late)
            told = [entry for turn in range(8) if (entry := await try_to_write(store, fence, turn))]
            disk.fault = None
        async with SqliteStore(where) as store:
            entries = (await store.read("run")).entries
        assert [entry for entry in entries if entry in told] == told
        assert sorted(set(entries)) == sorted(entries)


async def try_to_write(store: SqliteStore, fence: int, turn: int) -> bytes | None:
    """Write; gives what was acknowledged."""
    try:
        await write(store, "run", fence, b"entry %d" % turn)
    except StoreError:
        return None
    return b"entry %d" % turn


class LateFault(Fault):
    """A fault that lets some calls pass."""

    def __init__(self, error: type[Exception], file: str, method: str, late: int) -> None:
        super().__init__(error, file, method)
        self.late = late

    def strikes(self, file: str, method: str) -> bool:
        if method == self.method and self.late > 0:
            self.late -= 1
            return False
        return super().strikes(file, method)


async def test_a_file_that_cannot_be_read_is_an_error_and_is_read_later(path, disk: FaultyDisk):
    async with SqliteStore(path) as store:
        await create(store)
    async with SqliteStore(path) as store:
        disk.fault = Fault(apsw.IOError, "runs.db", "read")
        with pytest.raises(StoreError, match="the disk failed"):
            await store.read("run")
        assert (await store.read("run")).run_id == "run"


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (apsw.ReadOnlyError, "may only be read"),
        (apsw.CantOpenError, "cannot be opened"),
        (apsw.PermissionsError, "right to read and write"),
        (apsw.NoMemError, "no memory"),
    ],
)
async def test_a_file_that_cannot_be_opened_says_what_to_do(kind, advice, path, disk: FaultyDisk):
    disk.fault = Fault(kind, "runs.db", "open")
    with pytest.raises(StoreError, match=advice):
        await SqliteStore(path).open()


async def test_a_missing_directory_is_told_and_leaves_nothing_open(tmp_path):
    store = SqliteStore(tmp_path / "missing" / "runs.db")
    with pytest.raises(StoreError, match="is there such a directory"):
        await store.open()
    (tmp_path / "missing").mkdir()
    async with store:
        await create(store)


# --- Files that change under us ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["", "-wal"])
async def test_a_file_that_was_deleted_is_noticed_before_the_next_write(side, path):
    async with SqliteStore(path) as store:
        fence = await create(store)
        Path(f"{path}{side}").unlink()
        with pytest.raises(StoreError, match="was deleted"):
            await store.write([RunWrite("run", fence, [b"entry"])])


async def test_a_file_that_was_replaced_is_noticed_by_writers_and_readers(path, tmp_path):
    async with SqliteStore(tmp_path / "other.db") as store:
        await create(store)
    async with SqliteStore(path) as store:
        fence = await create(store)
        path.rename(tmp_path / "aside.db")
        (tmp_path / "other.db").rename(path)
        with pytest.raises(StoreError, match="another file was put in the place"):
            await store.write([RunWrite("run", fence, [b"entry"])])
        with pytest.raises(StoreError, match="another file was put in the place"):
            await store.read("run")
        path.rename(tmp_path / "other.db")
        (tmp_path / "aside.db").rename(path)
        await write(store, "run", fence, b"entry")


async def test_a_relative_path_stays_where_it_was_when_the_directory_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("runs.db")
    monkeypatch.chdir("/")
    async with store:
        await create(store)
    assert (tmp_path / "runs.db").exists()


# --- Files that are not ours ------------------------------------------------------------------------------------------


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.write_bytes(b"a letter to my bank" * 500)
    with pytest.raises(StoreCorruptError, match="no database"):
        await SqliteStore(path).open()
    assert path.read_bytes() == b"a letter to my bank" * 500


async def test_a_database_of_another_program_is_refused_and_left_alone(path):
    change(path, "CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="of another program"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before


async def test_an_empty_file_becomes_a_store(path):
    path.touch()
    async with SqliteStore(path) as store:
        await create(store)


@pytest.mark.parametrize("version", [VERSION + 1, 0, -1])
async def test_a_file_of_another_version_is_refused(version, path):
    async with SqliteStore(path):
        pass
    change(path, f"PRAGMA user_version = {version}")
    with pytest.raises(StoreError, match=f"schema is {version}, this one knows up to {VERSION}"):
        await SqliteStore(path).open()


# --- Forks ------------------------------------------------------------------------------------------------------------

FORKING = """
import os, sys, trio
from blazen_trio import SqliteStore, StoreError

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        child = os.fork()
        if child == 0:
            refused = 0
            for call in (store.read("run"), store.vacuum(), store.list_runs()):
                try:
                    call.send(None)
                except StoreError as error:
                    refused += "is a fork" in str(error)
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3

trio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no forks on Windows")
async def test_a_store_refuses_to_work_in_a_forked_child(path):
    await trio.run_process([sys.executable, "-W", "ignore", "-c", FORKING, str(path)])


# --- Upkeep -----------------------------------------------------------------------------------------------------------


async def test_a_backup_is_a_store_of_one_moment(path, tmp_path):
    async with SqliteStore(path) as store:
        fence = await create(store, entries=[b"before"])
        await store.backup(tmp_path / "copy.db")
        await write(store, "run", fence, b"after")
        with pytest.raises(StoreError, match="exists already"):
            await store.backup(tmp_path / "copy.db")
    async with SqliteStore(tmp_path / "copy.db") as copy:
        assert (await copy.read("run")).entries == (b"before",)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy.db", "runs.db"]


async def test_a_vacuum_gives_the_room_of_deleted_runs_back(path):
    async with SqliteStore(path) as store:
        for number in range(5):
            await create(store, f"{number}", snapshot=b"x" * 200_000)
        await store.release(BOB)
        for number in range(1, 5):
            (await store.write([RunWrite(f"{number}", (await store.info(f"{number}")).fence, release=True)]))
            await store.delete(f"{number}")
        await store.vacuum()
        assert path.stat().st_size < 400_000
        assert (await store.read("0")).snapshot == b"x" * 200_000
        await create(store, "new")
    assert path.stat().st_size < 400_000


async def test_the_log_does_not_grow_without_a_bound(path):
    async with SqliteStore(path) as store:
        fence = await create(store)
        for _ in range(60):
            await write(store, "run", fence, snapshot=b"x" * 200_000)
        assert Path(f"{path}-wal").stat().st_size < 8_000_000, "12 MB were written"
