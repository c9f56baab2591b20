"""What the tests of SQLite's own faults share: a small store with something of everything, and ways into its file."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import attrs
import trio

from blazen_trio import SqliteStore
from blazen_trio.abc import Command, NewRun, Owner, RunHeader, RunWrite, Store, StreamRow

ANN = Owner("ann", "a host far away", 1)
BOB = Owner("bob", "another host", 1)
NOON = 1_700_000_000.0
LEASE_S = 10.0


async def create(store: Store, run_id: str = "run", owner: Owner = ANN, **fields: Any) -> int:
    return await store.create(NewRun(run_id, "flow", NOON, **fields), owner, now=NOON, lease_s=LEASE_S)


async def write(store: Store, run_id: str, fence: int, *entries: bytes, **fields: Any) -> None:
    assert await store.write([RunWrite(run_id, fence, entries, **fields)]) == [None]


RUNS = [f"run-{number:02}" for number in range(12)]


async def furnish(store: Store) -> None:
    """Runs with snapshots, journals, streams, commands, held and parked and ended; in few commits."""
    fences: dict[str, int] = {}

    async def make(number: int, run_id: str) -> None:
        fences[run_id] = await create(store, run_id, labels={"region": "eu"}, snapshot=b"snapshot " * number)

    async with trio.open_nursery() as nursery:
        for number, run_id in enumerate(RUNS):
            nursery.start_soon(make, number, run_id)
    for turn in range(1, 6):
        await store.write([_turn(run_id, fences[run_id], turn, number) for number, run_id in enumerate(RUNS)])
    await store.write([_end(run_id, fences[run_id], number) for number, run_id in enumerate(RUNS)])
    async with trio.open_nursery() as nursery:
        for run_id in RUNS[1::2]:
            nursery.start_soon(store.send, Command(run_id, f"to {run_id}", "answer", b"payload"))


def _turn(run_id: str, fence: int, turn: int, number: int) -> RunWrite:
    rows = [StreamRow(2 * turn, NOON, b"row"), StreamRow(2 * turn + 1, NOON, b"another")]
    entries = [f"{run_id} entry {turn} {part}".encode() for part in range(turn)]
    return RunWrite(run_id, fence, entries, stream=rows, stream_floor=number // 3)


def _end(run_id: str, fence: int, number: int) -> RunWrite:
    status = ("running", "awaiting_input", "completed")[number % 3]
    header = RunHeader(status, NOON + number, b"questions", "an error", NOON + 5)
    return RunWrite(run_id, fence, header=header, release=number % 2 == 0)


async def everything(store: Store) -> dict[str, Any]:
    """All that can be read."""
    runs = await store.list_runs()
    found: dict[str, Any] = {"list": runs, "commands": await store.commands(ANN)}
    for run_id in RUNS:
        found[run_id] = await store.read(run_id), await store.read_stream(run_id)
    return found


async def furnished(path: Path) -> dict[str, Any]:
    """A store's file with something of everything, closed; gives what is in it."""
    async with SqliteStore(path) as store:
        await furnish(store)
        return await everything(store)


@contextmanager
def opened(path: Path) -> Iterator[apsw.Connection]:
    """The file as another program would open it."""
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close()


def change(path: Path, statement: str, *bindings: Any) -> int:
    """Run a statement on the file, past the store; gives how many rows it changed."""
    with opened(path) as connection:
        connection.execute(statement, bindings).fetchall()
        return connection.changes()


@attrs.define
class Fault:
    """An error that the disk is to give at the calls that ``strikes`` chooses by name of file and of method."""

    error: type[Exception]
    file: str
    method: str
    times: int = 1
    met: int = 0

    def strikes(self, file: str, method: str) -> bool:
        if self.method != method or not file.endswith(self.file) or self.times <= 0:
            return False
        self.times -= 1
        self.met += 1
        return True


class FaultyFile(apsw.VFSFile):
    """A file that fails when it is told to."""

    def __init__(self, disk: "FaultyDisk", name: Any, flags: list[int]) -> None:
        super().__init__(disk.below, name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's names
        self._disk.maybe_fail(self._name, "write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's names
        self._disk.maybe_fail(self._name, "sync")
        super().xSync(flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's names
        self._disk.maybe_fail(self._name, "read")
        return super().xRead(amount, offset)


class FaultyDisk(apsw.VFS):
    """The disk of every file that is opened while it is the default one; whole until ``fault`` is set."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        self.name = f"faulty-{next(self._numbers)}"
        self.fault: Fault | None = None
        self.below = apsw.vfs_names()[0]
        super().__init__(self.name, self.below)

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - SQLite's names
        self.maybe_fail(name.filename() if isinstance(name, apsw.URIFilename) else str(name), "open")
        return FaultyFile(self, name, flags)

    def maybe_fail(self, file: str, method: str) -> None:
        if self.fault is not None and self.fault.strikes(file, method):
            raise self.fault.error(f"{method} of {file} failed, as the test wants")


@contextmanager
def faulty_disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    apsw.set_default_vfs(disk.name)
    try:
        yield disk
    finally:
        apsw.set_default_vfs(disk.below)
        disk.unregister()
