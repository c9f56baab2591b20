"""Stores that fail on purpose, around one that does not: for tests of what uses them.

Calls are counted from 1; every async method is one, but ``open`` and ``aclose``. Let a test run once with a store that
does not fail, look at ``calls``, and then once for each number: so it meets every point at which storage can fail.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from copy import copy
from typing import TypeVar, final

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

T = TypeVar("T")


class _Around(Store):
    """Passes every call on, through ``_call``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: int = 0
        """How many calls there were so far."""

    def _count(self) -> int:
        """The number of the call that begins."""
        self.calls += 1
        return self.calls

    @abstractmethod
    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """One call to the store inside, or not; a checkpoint."""

    async def open(self) -> None:
        """Open the store inside."""
        await self._store.open()

    async def aclose(self) -> None:
        """Close the store inside."""
        await self._store.aclose()

    def statistics(self) -> StoreStatistics:
        """Those of the store inside."""
        return self._store.statistics()

    async def create(self, run: NewRun, owner: Owner, *, now: float, lease_s: float) -> int:
        """See ``Store.create``."""
        return await self._call(lambda: self._store.create(run, owner, now=now, lease_s=lease_s))

    async def write(self, writes: Sequence[RunWrite]) -> list[StoreError | None]:
        """See ``Store.write``."""
        return await self._call(lambda: self._store.write(writes))

    async def read(self, run_id: str) -> StoredRun:
        """See ``Store.read``."""
        return await self._call(lambda: self._store.read(run_id))

    async def info(self, run_id: str) -> RunRecord:
        """See ``Store.info``."""
        return await self._call(lambda: self._store.info(run_id))

    async def list_runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: Cursor | None = None
    ) -> list[RunRecord]:
        """See ``Store.list_runs``."""
        return await self._call(
            lambda: self._store.list_runs(status=status, workflow=workflow, limit=limit, after=after)
        )

    async def read_stream(self, run_id: str, *, after: int = 0, limit: int = 1_000) -> StreamPage:
        """See ``Store.read_stream``."""
        return await self._call(lambda: self._store.read_stream(run_id, after=after, limit=limit))

    async def claim(
        self, owner: Owner, *, now: float, lease_s: float, limit: int, wanted: Wanted = ANY
    ) -> list[RunRecord]:
        """See ``Store.claim``."""
        return await self._call(lambda: self._store.claim(owner, now=now, lease_s=lease_s, limit=limit, wanted=wanted))

    async def renew(self, owner: Owner, *, now: float, lease_s: float) -> frozenset[str]:
        """See ``Store.renew``."""
        return await self._call(lambda: self._store.renew(owner, now=now, lease_s=lease_s))

    async def release(self, owner: Owner, run_ids: Collection[str] | None = None) -> None:
        """See ``Store.release``."""
        await self._call(lambda: self._store.release(owner, run_ids))

    async def send(self, command: Command) -> None:
        """See ``Store.send``."""
        await self._call(lambda: self._store.send(command))

    async def commands(self, owner: Owner) -> list[Command]:
        """See ``Store.commands``."""
        return await self._call(lambda: self._store.commands(owner))

    async def done(self, command_ids: Collection[str]) -> None:
        """See ``Store.done``."""
        await self._call(lambda: self._store.done(command_ids))

    async def delete(self, run_id: str) -> None:
        """See ``Store.delete``."""
        await self._call(lambda: self._store.delete(run_id))

    async def delete_finished(self, *, older_than: float) -> int:
        """See ``Store.delete_finished``."""
        return await self._call(lambda: self._store.delete_finished(older_than=older_than))


@final
class CrashingStore(_Around):
    """A store whose process dies at the ``at``-th call: that one and every later call raises ``StoreError``.

    ``happens=False``: the call at which it dies does not happen. ``happens=True``: it happens, and nobody is told.
    What the store inside holds by then is what another process finds: open it again, or around it another one of these.
    """

    def __init__(self, store: Store, at: int, *, happens: bool = False) -> None:
        super().__init__(store)
        self._at = at
        self._happens = happens

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        number = self._count()
        if number < self._at:
            return await call()
        if number == self._at and self._happens:
            await call()
        else:
            await trio.lowlevel.checkpoint()
        raise StoreError(f"it crashed at call {self._at}, as this test wants")


@final
class FlakyStore(_Around):
    """A store of which the calls numbered ``fail`` do not happen, and raise ``error``; all others are as usual."""

    def __init__(self, store: Store, fail: Collection[int], error: Exception | None = None) -> None:
        super().__init__(store)
        self._fail = frozenset(fail)
        self._error = error

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        number = self._count()
        if number not in self._fail:
            return await call()
        await trio.lowlevel.checkpoint()
        if self._error is None:
            raise StoreError(f"it failed at call {number}, as this test wants")
        raise copy(self._error)
