"""Writes the journals of many runs, together: while one batch is being written the next one grows.

That is the group commit: an fsync costs the same for one row as for a thousand.
"""

import time
from itertools import islice

import trio

from blazen_trio.abc import RunWrite, Store
from blazen_trio.core.errors import StoreError, WorkflowError
from blazen_trio.durable.journal import Journal


class Committer:
    """The one task that writes.

    Attributes:
        store: where to.
    """

    def __init__(self, store: Store) -> None:
        self.store: Store = store
        self._due: dict[Journal, None] = {}
        self._is_due = trio.Event()
        self._scope = trio.CancelScope(shield=True)

    def wake(self, journal: Journal) -> None:
        """This journal has something to write, or something that waits."""
        self._due[journal] = None
        self._is_due.set()

    def now(self) -> float:
        """The time in seconds since the epoch."""
        return time.time()

    async def work(self) -> None:
        """Write what is due, until ``stop``: shielded, for whoever is cancelled may have something to save."""
        with self._scope:
            try:
                while True:
                    await self._is_due.wait()
                    self._is_due = trio.Event()
                    await self.write_due()
            finally:
                for journal in self._due:
                    journal.abandon()

    def stop(self) -> None:
        """Write no more; what is being written is finished."""
        self._scope.cancel()

    async def write_due(self) -> None:
        """Write one batch; a checkpoint."""
        due, self._due = self._due, {}
        batch = [(journal, _collected(journal)) for journal in due]
        try:
            results = iter(await self._written([write for _, writes in batch for write in writes]))
        except trio.Cancelled:  # the store hung, and the engine ends without it
            self._due = due | self._due
            raise
        for journal, writes in batch:
            errors = [error for error in islice(results, len(writes)) if error is not None]
            if errors:
                journal.failed(errors[0])
            else:
                journal.saved()

    async def _written(self, writes: list[RunWrite]) -> list[StoreError | None]:
        if not writes:
            await trio.lowlevel.checkpoint()
            return []
        try:
            return await self.store.write(writes)
        except StoreError as error:
            return [type(error)(error.problem, each.run_id) for each in writes]


def _collected(journal: Journal) -> list[RunWrite]:
    """What is to be written of a run; one that cannot be encoded ends, and the others go on."""
    try:
        return journal.collect()
    except WorkflowError as error:
        journal.failed(error)
        return []
