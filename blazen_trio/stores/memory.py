"""``MemoryStore``: what a store promises, but for durability, in dictionaries.

It is also the shortest description of what a store does: each method is one checkpoint and then synchronous code, so
nothing comes between. What is stored outlives ``aclose`` and dies with the object.
"""

import itertools
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from typing import final

import attrs
import trio

from blazen_trio.abc import (
    ANY,
    Command,
    Cursor,
    NewRun,
    Owner,
    RunHeader,
    RunRecord,
    RunWrite,
    Store,
    StoredRun,
    StoreStatistics,
    StreamPage,
    StreamRow,
    Wanted,
)
from blazen_trio.core.errors import RunExistsError, RunLockedError, RunNotFoundError, StoreError


@attrs.define(eq=False)
class _Run:
    """All that is kept of a run."""

    new: NewRun
    header: RunHeader
    fence: int
    owner_id: str | None
    snapshot: bytes | None
    entries: list[bytes]
    stream: deque[StreamRow] = attrs.Factory(deque[StreamRow])
    stream_floor: int = 0
    stream_last: int = 0

    @property
    def cursor(self) -> Cursor:
        return self.new.created, self.new.run_id

    def fits(self, wanted: Wanted) -> bool:
        """Whether the run is one of those."""
        mine = self.new.labels.items()
        return (
            wanted.run_id in (None, self.new.run_id)
            and (wanted.workflows is None or self.new.workflow_name in wanted.workflows)
            and (wanted.statuses is None or self.header.status in wanted.statuses)
            and (wanted.labels is None or mine <= dict(wanted.labels).items())
        )

    def is_due(self, before: float) -> bool:
        """Whether it wants to come back by then."""
        return self.header.wake_at is not None and self.header.wake_at <= before


@attrs.define(eq=False)
class _Lease:
    """An owner, until when its lease lasts, and the runs that others took from it."""

    owner: Owner
    until: float
    lost: set[str] = attrs.Factory(set[str])


@final
class MemoryStore(Store):
    """A store in memory: nothing survives the process."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._leases: dict[str, _Lease] = {}
        self._commands: dict[str, Command] = {}
        self._fences = itertools.count(1)
        self._openings = 0
        self._counts: Counter[str] = Counter()

    async def open(self) -> None:
        """Count one more opening."""
        await trio.lowlevel.checkpoint()
        self._openings += 1

    async def aclose(self) -> None:
        """Undo one ``open``; what is stored stays."""
        self._openings = max(0, self._openings - 1)
        await trio.lowlevel.checkpoint()

    def statistics(self) -> StoreStatistics:
        """Counters; does not wait."""
        return StoreStatistics(**self._counts)

    # --- Runs ---------------------------------------------------------------------------------------------------------

    async def create(self, run: NewRun, owner: Owner, *, now: float, lease_s: float) -> int:
        """A new run; see ``Store.create``."""
        await self._turn()
        if run.run_id in self._runs:
            raise RunExistsError(run.run_id)
        self._extend(owner, now + lease_s).lost.discard(run.run_id)
        header = RunHeader(run.status, run.created)
        fence = next(self._fences)
        self._runs[run.run_id] = _Run(run, header, fence, owner.engine_id, run.snapshot, list(run.entries))
        self._count(commits=1, entries=len(run.entries))
        return fence

    async def write(self, writes: Sequence[RunWrite]) -> list[StoreError | None]:
        """Write of many runs at once; see ``Store.write``."""
        await self._turn()
        results = [self._write(each) for each in writes]
        self._count(commits=1, writes=len(writes), failed=sum(problem is not None for problem in results))
        return results

    def _write(self, write: RunWrite) -> StoreError | None:
        run = self._runs.get(write.run_id)
        problem = _problem(write, run)
        if run is None or problem is not None:
            return problem
        self._count(entries=len(write.entries))
        run.entries.extend(write.entries)
        if write.snapshot is not None:
            run.snapshot, run.entries = write.snapshot, []
        run.stream_last = write.stream[-1].seq if write.stream else run.stream_last
        run.stream_floor = max(run.stream_floor, write.stream_floor)
        run.stream.extend(write.stream)
        while run.stream and run.stream[0].seq <= run.stream_floor:
            run.stream.popleft()
        run.header = run.header if write.header is None else write.header
        if write.release:
            self._let_go(run)
        return None

    async def read(self, run_id: str) -> StoredRun:
        """A whole run; see ``Store.read``."""
        await self._turn()
        run = self._run(run_id)
        return StoredRun(
            **attrs.asdict(self._record(run), recurse=False),
            snapshot=run.snapshot,
            entries=tuple(run.entries),
            stream_floor=run.stream_floor,
            stream_last=run.stream_last,
        )

    async def info(self, run_id: str) -> RunRecord:
        """A run without its journal; see ``Store.info``."""
        await self._turn()
        return self._record(self._run(run_id))

    async def list_runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: Cursor | None = None
    ) -> list[RunRecord]:
        """A page of runs, newest first; see ``Store.list_runs``."""
        await self._turn()
        found = [
            run
            for run in self._runs.values()
            if status in (None, run.header.status)
            and workflow in (None, run.new.workflow_name)
            and (after is None or run.cursor < after)
        ]
        found.sort(key=lambda run: run.cursor, reverse=True)
        return [self._record(run) for run in found[:limit]]

    async def read_stream(self, run_id: str, *, after: int = 0, limit: int = 1_000) -> StreamPage:
        """The stream's rows behind a number; see ``Store.read_stream``."""
        await self._turn()
        run = self._run(run_id)
        rows = (row for row in run.stream if row.seq > after)
        return StreamPage(tuple(itertools.islice(rows, limit)), run.stream_floor, run.stream_last)

    async def delete(self, run_id: str) -> None:
        """Forget a run; see ``Store.delete``."""
        await self._turn()
        run = self._run(run_id)
        if run.owner_id is not None and not run.header.is_finished:
            raise RunLockedError(run_id, run.owner_id)
        self._forget([run_id])
        self._count(commits=1)

    async def delete_finished(self, *, older_than: float) -> int:
        """Forget old finished runs; see ``Store.delete_finished``."""
        await self._turn()
        old = [i for i, run in self._runs.items() if run.header.is_finished and run.header.updated < older_than]
        self._forget(old)
        self._count(commits=1)
        return len(old)

    def _forget(self, run_ids: Collection[str]) -> None:
        for run_id in run_ids:
            del self._runs[run_id]
        gone = set(run_ids)
        self._commands = {i: each for i, each in self._commands.items() if each.run_id not in gone}

    # --- Owners -------------------------------------------------------------------------------------------------------

    async def claim(
        self, owner: Owner, *, now: float, lease_s: float, limit: int, wanted: Wanted = ANY
    ) -> list[RunRecord]:
        """Take runs; see ``Store.claim``."""
        await self._turn()
        self._extend(owner, now + lease_s)
        holding = {i for i, each in self._leases.items() if each.until > now and not each.owner.is_gone()}
        free = sorted(self._free(owner, holding, wanted), key=lambda run: run.cursor)[:limit]
        for run in free:
            self._take(run, owner)
        self._count(commits=1)
        return [self._record(run) for run in free]

    def _free(self, owner: Owner, holding: Collection[str], wanted: Wanted) -> Iterable[_Run]:
        called = {each.run_id for each in self._commands.values()}
        for run_id, run in self._runs.items():
            is_free = run.owner_id is None or (run.owner_id not in holding and run.owner_id != owner.engine_id)
            before = wanted.wake_before
            comes = before is None or run_id in called or run.is_due(before)
            if is_free and comes and run.fits(wanted) and not run.header.is_finished:
                yield run

    def _take(self, run: _Run, owner: Owner) -> None:
        before = self._leases.get(run.owner_id or "")
        if before is not None:
            before.lost.add(run.new.run_id)
        self._leases[owner.engine_id].lost.discard(run.new.run_id)
        run.owner_id, run.fence = owner.engine_id, next(self._fences)

    async def renew(self, owner: Owner, *, now: float, lease_s: float) -> frozenset[str]:
        """Hold on to the owner's runs; see ``Store.renew``."""
        await self._turn()
        lease = self._extend(owner, now + lease_s)
        lost, lease.lost = frozenset(lease.lost), set()
        self._count(commits=1)
        return lost

    async def release(self, owner: Owner, run_ids: Collection[str] | None = None) -> None:
        """Let go of runs; see ``Store.release``."""
        await self._turn()
        chosen = self._runs.keys() if run_ids is None else self._runs.keys() & set(run_ids)
        for run_id in list(chosen):
            if self._runs[run_id].owner_id == owner.engine_id:
                self._let_go(self._runs[run_id])
        if run_ids is None:
            self._leases.pop(owner.engine_id, None)
        self._count(commits=1)

    def _let_go(self, run: _Run) -> None:
        run.owner_id, run.fence = None, next(self._fences)

    def _extend(self, owner: Owner, until: float) -> _Lease:
        lease = self._leases.setdefault(owner.engine_id, _Lease(owner, until))
        lease.until = until
        return lease

    # --- Commands -----------------------------------------------------------------------------------------------------

    async def send(self, command: Command) -> None:
        """Leave a command; see ``Store.send``."""
        await self._turn()
        self._run(command.run_id)
        self._commands.setdefault(command.command_id, command)
        self._count(commits=1)

    async def commands(self, owner: Owner) -> list[Command]:
        """What waits for the runs of an owner; see ``Store.commands``."""
        await self._turn()
        return [each for each in self._commands.values() if self._runs[each.run_id].owner_id == owner.engine_id]

    async def done(self, command_ids: Collection[str]) -> None:
        """Forget commands; see ``Store.done``."""
        await self._turn()
        for command_id in command_ids:
            self._commands.pop(command_id, None)
        self._count(commits=1)

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._openings < 1:
            raise StoreError("it is not open; use it inside of `async with store:`")

    def _run(self, run_id: str) -> _Run:
        try:
            return self._runs[run_id]
        except KeyError:
            raise RunNotFoundError(run_id) from None

    def _record(self, run: _Run) -> RunRecord:
        lease = self._leases.get(run.owner_id or "")
        owner, until = (None, None) if lease is None else (lease.owner, lease.until)
        new = run.new
        return RunRecord(new.run_id, new.workflow_name, new.created, run.header, owner, run.fence, until, new.labels)

    def _count(self, **more: int) -> None:
        self._counts.update(more)


def _problem(write: RunWrite, run: _Run | None) -> StoreError | None:
    """Why this must not be written."""
    if run is None:
        return RunNotFoundError(write.run_id)
    if run.fence != write.fence:
        return RunLockedError(write.run_id, run.owner_id)
    return write.stream_problem(run.stream_last)
