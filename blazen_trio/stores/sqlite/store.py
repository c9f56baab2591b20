"""``SqliteStore``: a store in one file."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, final

import apsw
import trio

from blazen_trio.abc import (
    ANY,
    Command,
    Cursor,
    NewRun,
    Owner,
    RunRecord,
    RunWrite,
    Store,
    StoredRun,
    StoreStatistics,
    StreamPage,
    Wanted,
)
from blazen_trio.core.errors import StoreError
from blazen_trio.stores.sqlite import changes, owning, reading, upkeep
from blazen_trio.stores.sqlite.readers import Readers
from blazen_trio.stores.sqlite.session import Session
from blazen_trio.stores.sqlite.writer import Writer

T = TypeVar("T")
P = ParamSpec("P")


@final
class SqliteStore(Store):
    """A store in one SQLite file, beside which a ``-wal`` and a ``-shm`` file lie while it is open.

    * What was acknowledged survives ``kill -9`` and power loss: ``synchronous=FULL``. A commit costs one fsync; all
      that is handed over while one runs goes into the next (group commit).
    * One thread writes, a few read; neither uses Trio's default limiter. A cancelled call has done nothing, or ends
      first and returns.
    * Rows carry checksums; damage is ``StoreCorruptError``, never wrong data.
    * Several processes of one machine may use the file at once; not those of several (the log needs shared memory), nor
      a network's file system. After a fork, the child must make its own.
    * Only ``apsw`` may have the file open in this process: closing it elsewhere (``sqlite3``, ``open``) would drop the
      locks.
    * When the disk is full, or fails, calls raise ``StoreError``; the store works again when the cause has gone.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path).absolute()  # the working directory may change while it is open
        self._openings = 0
        self._opening = trio.StrictFIFOLock()
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._commits = 0
        self._counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})"

    # --- Opening ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the file and make it if there is none; or count one more opening.

        Raises:
            StoreError: it cannot be opened, belongs to another program, or to a newer version of this library.
        """
        async with self._opening:
            if self._openings == 0:
                await self._open_file()
            self._openings += 1

    async def _open_file(self) -> None:
        writer = Writer(str(self.path))
        try:
            await writer.do(lambda _session: None)
            self._readers = Readers(str(self.path))
        except BaseException:
            await writer.close()  # noqa: ASYNC102 - shielded inside; a deadline would leave the file open behind us
            raise
        self._writer = writer

    async def aclose(self) -> None:
        """Undo one ``open``; the last one finishes what was handed over, and closes the file."""
        with trio.CancelScope(shield=True):
            async with self._opening:
                if self._openings == 1:
                    await self._close_file()
                self._openings = max(0, self._openings - 1)
        await trio.lowlevel.checkpoint()

    async def _close_file(self) -> None:
        writer, readers = self._writer, self._readers
        self._writer = self._readers = None
        assert writer is not None
        assert readers is not None
        self._commits += writer.commits
        await readers.close()
        await writer.close()

    def statistics(self) -> StoreStatistics:
        """Counters; does not wait."""
        commits = self._commits + (0 if self._writer is None else self._writer.commits)
        return StoreStatistics(commits=commits, **self._counts)

    # --- Runs ---------------------------------------------------------------------------------------------------------

    async def create(self, run: NewRun, owner: Owner, *, now: float, lease_s: float) -> int:
        """A new run; see ``Store.create``."""
        fence = await self._change(changes.create, run, owner, float(now + lease_s))
        self._counts.update(entries=len(run.entries))
        return fence

    async def write(self, writes: Sequence[RunWrite]) -> list[StoreError | None]:
        """Write of many runs at once, in one commit; see ``Store.write``."""
        results = await self._change(changes.write, writes)
        failed = len(results) - results.count(None)
        taken = writes if not failed else [each for each, problem in zip(writes, results, strict=True) if not problem]
        self._counts.update(writes=len(writes), entries=sum(len(each.entries) for each in taken), failed=failed)
        return results

    async def read(self, run_id: str) -> StoredRun:
        """A whole run; see ``Store.read``."""
        return await self._ask(reading.read, run_id)

    async def info(self, run_id: str) -> RunRecord:
        """A run without its journal; see ``Store.info``."""
        return await self._ask(reading.info, run_id)

    async def list_runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: Cursor | None = None
    ) -> list[RunRecord]:
        """A page of runs, newest first; see ``Store.list_runs``."""
        return await self._ask(reading.list_runs, status, workflow, limit, after)

    async def read_stream(self, run_id: str, *, after: int = 0, limit: int = 1_000) -> StreamPage:
        """The stream's rows behind a number; see ``Store.read_stream``."""
        return await self._ask(reading.read_stream, run_id, after, limit)

    async def delete(self, run_id: str) -> None:
        """Forget a run; see ``Store.delete``."""
        await self._change(changes.delete, run_id)

    async def delete_finished(self, *, older_than: float) -> int:
        """Forget old finished runs; see ``Store.delete_finished``."""
        return await self._change(changes.delete_finished, float(older_than))

    # --- Owners -------------------------------------------------------------------------------------------------------

    async def claim(
        self, owner: Owner, *, now: float, lease_s: float, limit: int, wanted: Wanted = ANY
    ) -> list[RunRecord]:
        """Take runs; see ``Store.claim``."""
        return await self._change(owning.claim, owning.Claim(owner, now, lease_s, limit, wanted))

    async def renew(self, owner: Owner, *, now: float, lease_s: float) -> frozenset[str]:
        """Hold on to the owner's runs; see ``Store.renew``."""
        return await self._change(owning.renew, owner, float(now + lease_s))

    async def release(self, owner: Owner, run_ids: Collection[str] | None = None) -> None:
        """Let go of runs; see ``Store.release``."""
        await self._change(owning.release, owner, run_ids)

    async def send(self, command: Command) -> None:
        """Leave a command; see ``Store.send``."""
        await self._change(owning.send, command)

    async def commands(self, owner: Owner) -> list[Command]:
        """What waits for the runs of an owner; see ``Store.commands``."""
        return await self._ask(reading.commands, owner)

    async def done(self, command_ids: Collection[str]) -> None:
        """Forget commands; see ``Store.done``."""
        await self._change(owning.done, command_ids)

    # --- The file -----------------------------------------------------------------------------------------------------

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the store to a new file, as it is at one moment, while all goes on. The copy is a store.

        Raises:
            StoreError: there is such a file already, or the copy failed (then nothing is left of it).
        """
        await self._ask(upkeep.backup, os.fspath(path))

    async def vacuum(self) -> None:
        """Give the room of deleted runs back to the disk. Nothing is written meanwhile, and as much room is needed."""
        self._check_open()
        assert self._writer is not None
        await self._writer.do(upkeep.vacuum, alone=True)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._writer is None:
            raise StoreError("it is not open; use it inside of `async with store:`")
        self._writer.check_process()

    async def _change(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._check_open()
        assert self._writer is not None
        return await self._writer.do(lambda session: job(session, *args, **kwargs))

    async def _ask(self, job: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._check_open()
        assert self._readers is not None
        return await self._readers.do(lambda connection: job(connection, *args, **kwargs))
