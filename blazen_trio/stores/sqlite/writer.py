"""The thread that writes: the only one that ever does.

* Jobs come through a queue. What has come while a commit was running goes into the next one together: each commit costs
  an fsync, whatever is in it.
* A job is taken by whoever is first: the thread, or the cancelled caller, who takes it away. So a caller who sees
  ``Cancelled`` knows that nothing was done; once the thread has it, the caller waits for its end and gets the truth.
* A job that fails with a bug takes nobody along: the transaction is rolled back and each job tried alone.
* After an error of the disk nothing that the connection believes may be trusted: it is closed, and the next transaction
  begins with a new one.
* Checkpoints are made here, after the results are on their way. SQLite's own would make a commit wait, and two
  connections that checkpoint have corrupted files.
"""

import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, Final, TypeVar

import apsw
import attrs
import outcome
import trio

from blazen_trio.core.errors import StoreError
from blazen_trio.stores.sqlite.faults import STORAGE_ERRORS, is_harmless, store_error
from blazen_trio.stores.sqlite.session import Session

T = TypeVar("T")

_CHECKPOINT_PAGES: Final = 1_000
"""Pages of 4 kB in the log at which it is copied into the file: as SQLite does, some 2 ms of a disk's time."""

_GROUP_MAX: Final = 1_000
"""Jobs in one transaction: more gain nothing, and would let the first of them wait."""


@attrs.define(eq=False)
class _Ticket:
    """A job, and the task that waits for it."""

    job: Callable[[Session], Any]
    task: trio.lowlevel.Task
    alone: bool = False
    _claim: Any = attrs.Factory(threading.Lock)

    def take(self) -> bool:
        """Whether the job is the caller's now; succeeds once."""
        return bool(self._claim.acquire(blocking=False))

    def withdraw(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """The caller is cancelled: take the job away, or wait for it if the thread was first."""
        return trio.lowlevel.Abort.SUCCEEDED if self.take() else trio.lowlevel.Abort.FAILED


Outcome = outcome.Value[Any] | outcome.Error


class Writer:
    """A thread with a connection; made, used and closed in one ``trio.run``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._trio = trio.lowlevel.current_trio_token()
        self._session: Session | None = None
        self._wal_pages = 0
        self._checkpoint_at = _CHECKPOINT_PAGES
        self.commits: int = 0
        self._thread = threading.Thread(target=self._work, name=f"writer of {path}", daemon=True)
        self._thread.start()

    @trio.lowlevel.enable_ki_protection  # Ctrl-C between handing over and waiting would wake a task that does not wait
    async def do(self, job: Callable[[Session], T], *, alone: bool = False) -> T:
        """Run the job in a transaction, durable when this returns; ``alone``: outside of any. A checkpoint."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_process()
        ticket = _Ticket(job, trio.lowlevel.current_task(), alone)
        self._queue.put(ticket)
        result: T = await trio.lowlevel.wait_task_rescheduled(ticket.withdraw)
        return result

    async def close(self) -> None:
        """End the thread, after what was handed over. Cancelled or not, it waits: some milliseconds."""
        self.check_process()
        self._queue.put(None)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join, limiter=trio.CapacityLimiter(1))

    def check_process(self) -> None:
        """Raise ``StoreError`` in a process that was forked off: the thread and the locks are the parent's."""
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self._path} was opened by process {self._pid}, of which this one ({os.getpid()}) is a fork; "
                "make and open a new SqliteStore in each process"
            )

    # --- In the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [ticket for ticket in self._group(first) if ticket.take()]
            self._deliver(group, self._carry_out(group))
            self._checkpoint()
        self._drop_session()

    def _group(self, first: _Ticket) -> list[_Ticket]:
        """The first job and those that have come since; one that wants to be alone ends the group."""
        group = [first]
        while not group[-1].alone and len(group) < _GROUP_MAX:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._queue.put(None)  # the end comes after this group; nothing was handed over behind it
                break
            group.append(following)
        return group

    def _deliver(self, group: Sequence[_Ticket], outcomes: Sequence[Outcome]) -> None:
        def wake() -> None:
            for ticket, result in zip(group, outcomes, strict=True):
                trio.lowlevel.reschedule(ticket.task, result)

        with suppress(trio.RunFinishedError):  # nobody is there any more who could be told
            self._trio.run_sync_soon(wake)

    def _carry_out(self, group: Sequence[_Ticket]) -> list[Outcome]:
        if group and group[-1].alone:
            *others, last = group
            return [*self._carry_out(others), self._alone(last)]
        return self._transaction(group) if group else []

    def _transaction(self, group: Sequence[_Ticket]) -> list[Outcome]:
        """All jobs in one commit."""
        try:
            session = self._ready()
            session.begin()
            outcomes = [self._attempt(session, ticket) for ticket in group]
            session.commit()
        except Exception as error:
            self._recover(error)
            if len(group) > 1 and not isinstance(error, (*STORAGE_ERRORS, StoreError)):
                return [result for ticket in group for result in self._transaction([ticket])]
            return [self._failure(error) for _ in group]
        self.commits += 1
        return outcomes

    def _attempt(self, session: Session, ticket: _Ticket) -> Outcome:
        """A job's result; what it refuses, it refuses before it writes."""
        try:
            return outcome.Value(ticket.job(session))
        except StoreError as error:
            return outcome.Error(error)

    def _alone(self, ticket: _Ticket) -> Outcome:
        try:
            return outcome.Value(ticket.job(self._ready()))
        except Exception as error:
            self._recover(error)
            return self._failure(error)

    def _failure(self, error: Exception) -> Outcome:
        """Each caller gets an error of its own."""
        known = isinstance(error, STORAGE_ERRORS)
        return outcome.Error(store_error(error, self._path) if known else copy(error))

    def _ready(self) -> Session:
        if self._session is None:
            self._session = session = Session(self._path)
            session.connection.set_wal_hook(self._note_pages)
        self._session.check_file()
        return self._session

    def _note_pages(self, _connection: object, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return 0

    def _recover(self, error: Exception) -> None:
        """Roll back; or throw the connection away, where it cannot be trusted any more."""
        if self._session is None:
            return
        try:
            self._session.rollback()
        except Exception:
            self._drop_session()
            return
        if isinstance(error, STORAGE_ERRORS) and not is_harmless(error):
            self._drop_session()

    def _drop_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session, self._wal_pages, self._checkpoint_at = None, 0, _CHECKPOINT_PAGES

    # --- Checkpoints --------------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        """Copy the log into the file when it has grown. If readers hold it up, wait for as much again."""
        if self._session is None or self._wal_pages < self._checkpoint_at:
            return
        try:
            size, copied = self._session.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error:  # the log still has it all; the next commit tells whether the disk lives
            size, copied = self._wal_pages, 0
        held_up = size > copied
        self._checkpoint_at = self._wal_pages + _CHECKPOINT_PAGES if held_up else _CHECKPOINT_PAGES
        self._wal_pages = 0 if not held_up else self._wal_pages
