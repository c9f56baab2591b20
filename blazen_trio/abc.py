"""What an engine needs of storage: ``Store``, and the records that go in and out.

Write your own store by subclassing ``Store``, and run ``blazen_trio.testing.store_conformance`` on it.

* A store knows texts, numbers and bytes; of workflows, machines and the codec it knows nothing.
* When a call has returned, what it changed is durable: it survives ``kill -9`` and power loss (in a store that is
  durable at all).
* Each of those calls is one transaction. A cancelled one has either done nothing, or it finishes and returns: a caller
  who sees ``Cancelled`` knows that nothing happened.
* One engine holds a run, under a lease. The lease belongs to the engine, not to the run: ``renew`` touches one row,
  however many runs an engine holds. Each change of hands (created, claimed, released) raises the run's **fence**, and a
  write with another fence than the stored one writes nothing. So an engine that slept past its lease does no harm,
  whatever the clocks say. A store never gives a fence twice, not even to a run that was deleted and created anew.
* The time is always given by the caller (``now``, seconds since the epoch), so tests run on a clock of their own.
"""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import attrs
import msgspec

from blazen_trio.core.errors import StoreError
from blazen_trio.core.status import RunStatus
from blazen_trio.processes import is_gone, started, this_host

ID_CHARS_MAX: Final = 1_000
"""Characters of an id, a workflow's name, a label: they are keys of indexes, and stand in messages and URLs."""

NUMBER_MAX: Final = 2**63 - 1
"""The highest number of a stream row: what a database keeps exactly."""

FINISHED: Final = frozenset(status.value for status in RunStatus if status.is_end)
"""The statuses that are ends. A finished run is never claimed."""

UNFINISHED: Final = frozenset(status.value for status in RunStatus if not status.is_end)
"""The other ones."""


def is_id(text: object) -> bool:
    """Whether every store can keep this text exactly: 1 to 1,000 characters that encode to UTF-8, and no NUL."""
    if not isinstance(text, str) or not 0 < len(text) <= ID_CHARS_MAX or "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _id(_record: object, attribute: "attrs.Attribute[Any]", text: str) -> None:
    if not is_id(text):
        shown = repr(text) if len(repr(text)) <= ID_CHARS_MAX else f"{repr(text)[:50]}..."
        raise ValueError(
            f"{attribute.name} must be a text of 1 to {ID_CHARS_MAX} characters without NUL or lone surrogates, "
            f"not {shown}"
        )


def _ids(record: object, attribute: "attrs.Attribute[Any]", labels: Mapping[str, str]) -> None:
    for text in (*labels, *labels.values()):
        _id(record, attribute, text)


def _status(_record: object, _attribute: object, status: str) -> None:
    RunStatus(status)


def _time(_record: object, attribute: "attrs.Attribute[Any]", seconds: float | None) -> None:
    if seconds is not None and not math.isfinite(seconds):
        raise ValueError(f"{attribute.name} must be seconds since the epoch, not {seconds!r}")


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else float(seconds)


def _text(_record: object, attribute: "attrs.Attribute[Any]", text: str | None) -> None:
    if text is not None and ("\0" in text or any("\ud800" <= char <= "\udfff" for char in text)):
        raise ValueError(f"{attribute.name} must be a text without NUL and lone surrogates")


def _frozen(labels: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(labels))


# --- Records ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Owner:
    """An engine, as one that holds runs: its id, unique for each opening, and the process it lives in."""

    engine_id: str = attrs.field(validator=_id)
    host: str
    pid: int
    started: str = ""

    @classmethod
    def here(cls, engine_id: str) -> Self:
        """The owner of that id in this process."""
        return cls(engine_id, this_host(), os.getpid(), started(os.getpid()))

    def is_gone(self) -> bool:
        """Whether it was a process of this host that lives no more; blocks for some 20 us."""
        return self.host == this_host() and is_gone(self.pid, self.started)


@attrs.frozen
class RunHeader:
    """What lists show of a run, and what sweeps look for; ``status`` is the value of a ``RunStatus``.

    ``wake_at``: when a run that nobody holds must come back by itself, for a timer. ``updated`` and ``wake_at`` are
    seconds since the epoch.
    """

    status: str = attrs.field(validator=_status)
    updated: float = attrs.field(converter=float, validator=_time)
    pending_inputs: bytes = b""
    error: str | None = attrs.field(default=None, validator=_text)
    wake_at: float | None = attrs.field(default=None, converter=_seconds, validator=_time)

    @property
    def is_finished(self) -> bool:
        """Whether the status is an end."""
        return self.status in FINISHED


@attrs.frozen
class NewRun:
    """A run to be created. ``labels`` are what it requires of an engine (see ``Wanted``)."""

    run_id: str = attrs.field(validator=_id)
    workflow_name: str = attrs.field(validator=_id)
    created: float = attrs.field(converter=float, validator=_time)
    status: str = attrs.field(default=RunStatus.RUNNING.value, validator=_status)
    labels: Mapping[str, str] = attrs.field(factory=dict, converter=_frozen, validator=_ids)
    snapshot: bytes | None = None
    entries: Sequence[bytes] = ()


class StreamRow(msgspec.Struct, frozen=True, gc=False):
    """One item of a run's stream: its number, when it was published, and what."""

    seq: int
    timestamp: float
    blob: bytes


@attrs.frozen
class RunWrite:
    """What is to be written of one run, all or nothing.

    * ``entries`` are appended to the journal. A ``snapshot`` takes the place of the whole journal, these entries
      included.
    * ``stream`` is appended: the numbers rise. Rows with ``seq <= stream_floor`` are trimmed; the floor never sinks.
    * ``header``: the new one, or ``None`` if nothing of it has changed.
    * ``release``: nobody holds the run afterwards; for a run that is parked or has ended.
    """

    run_id: str
    fence: int
    entries: Sequence[bytes] = ()
    snapshot: bytes | None = None
    stream: Sequence[StreamRow] = ()
    stream_floor: int = 0
    header: RunHeader | None = None
    release: bool = False

    def stream_problem(self, last: int) -> StoreError | None:
        """The error for stream numbers that do not rise from ``last``, the highest one stored; for stores."""
        for row in self.stream:
            if row.seq <= last:
                return StoreError(f"stream row {row.seq} comes after row {last}; the numbers must rise", self.run_id)
            last = row.seq
        if max(last, self.stream_floor) > NUMBER_MAX:
            return StoreError(f"stream row {max(last, self.stream_floor)} is beyond {NUMBER_MAX}", self.run_id)
        return None


@attrs.frozen
class RunRecord:
    """A run as lists show it. ``owner`` and ``lease_until`` are ``None`` while nobody holds it."""

    run_id: str
    workflow_name: str
    created: float
    header: RunHeader
    owner: Owner | None
    fence: int
    lease_until: float | None
    labels: Mapping[str, str] = attrs.field(converter=_frozen)

    @property
    def cursor(self) -> "Cursor":
        """Where a list goes on behind this run."""
        return self.created, self.run_id


@attrs.frozen
class StoredRun(RunRecord):
    """A whole run: its last snapshot, and the journal since; with the range of its stream."""

    snapshot: bytes | None = None
    entries: tuple[bytes, ...] = ()
    stream_floor: int = 0
    stream_last: int = 0


@attrs.frozen
class StreamPage:
    """Rows of a stream in order; up to ``floor`` all were trimmed, and ``last`` is the highest number written."""

    rows: tuple[StreamRow, ...]
    floor: int
    last: int


@attrs.frozen
class Command:
    """A control or an answer for a run that another engine holds. A ``command_id`` that waits already is not added."""

    run_id: str = attrs.field(validator=_id)
    command_id: str = attrs.field(validator=_id)
    kind: str = attrs.field(validator=_text)
    payload: bytes = b""


@attrs.frozen
class Wanted:
    """Which runs an engine would take; ``None`` means any.

    * ``statuses``: those of ``RunStatus`` that are no ends.
    * ``wake_before``: only runs that have a reason to come back now: ``wake_at`` is not later than this, or a command
      waits for them.
    * ``labels``: what the engine has; it takes a run if that contains all labels of the run.
    """

    run_id: str | None = None
    workflows: Collection[str] | None = None
    statuses: Collection[str] | None = None
    wake_before: float | None = None
    labels: Mapping[str, str] | None = None


ANY: Final = Wanted()
"""Every run that is not finished."""

Cursor = tuple[float, str]
"""``created`` and ``run_id`` of the last run of a page."""


@attrs.frozen
class StoreStatistics:
    """Counters since the store object was made: ``commits`` (transactions), and what went in with them."""

    commits: int = 0
    writes: int = 0
    entries: int = 0
    failed: int = 0


# --- The store --------------------------------------------------------------------------------------------------------


class Store(ABC):
    """Storage of runs. Every async method is a checkpoint and raises ``StoreError`` if the store fails.

    A store is opened with ``async with store:``. It may be opened several times at once, as by two engines; it closes
    with the last of them. Any method but ``statistics`` raises ``StoreError`` while it is not open.
    """

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def open(self) -> None:
        """Open the store, or count one more opening of it; each needs its ``aclose``."""

    @abstractmethod
    async def aclose(self) -> None:
        """Undo one ``open``, if there is one. What was handed over is finished first; nobody's runs are released."""

    @abstractmethod
    async def create(self, run: NewRun, owner: Owner, *, now: float, lease_s: float) -> int:
        """A new run, held by this owner, whose lease is renewed; gives the run's fence.

        Raises:
            RunExistsError: there is a run of that id.
        """

    @abstractmethod
    async def write(self, writes: Sequence[RunWrite]) -> list[StoreError | None]:
        """Write of many runs at once; gives for each ``None`` or why nothing of it was written.

        The results in place: ``RunLockedError`` (another fence: somebody else has the run), ``RunNotFoundError``,
        ``StoreError`` (stream numbers that do not rise), ``StoreCorruptError``. One run's result does not touch the
        others. The same run may come several times; they are written in order.

        Raises:
            StoreError: the whole batch failed. It is not to be repeated as it is: where a disk failed, nobody can know
                whether the batch will be found there. Read the runs again first.
        """

    @abstractmethod
    async def read(self, run_id: str) -> StoredRun:
        """A whole run, held or not.

        Raises:
            RunNotFoundError: there is no such run.
            StoreCorruptError: something of it is damaged.
        """

    @abstractmethod
    async def info(self, run_id: str) -> RunRecord:
        """A run without its journal; raises as ``read`` does."""

    @abstractmethod
    async def list_runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 100, after: Cursor | None = None
    ) -> list[RunRecord]:
        """A page of runs, newest first, by ``created`` and then by ``run_id``; ``after``: behind that place."""

    @abstractmethod
    async def read_stream(self, run_id: str, *, after: int = 0, limit: int = 1_000) -> StreamPage:
        """The stream's rows with a higher number than ``after``, in order; raises as ``read`` does."""

    @abstractmethod
    async def claim(
        self, owner: Owner, *, now: float, lease_s: float, limit: int, wanted: Wanted = ANY
    ) -> list[RunRecord]:
        """Take runs, oldest first, with raised fences; renews the lease of this owner.

        Free to take is what is not finished and held by nobody, by an owner whose lease has run out, or by a process
        of this host that is gone. What this owner holds is not given again. Two calls never take the same run.
        """

    @abstractmethod
    async def renew(self, owner: Owner, *, now: float, lease_s: float) -> frozenset[str]:
        """Hold on to the owner's runs until ``now + lease_s``; gives those that others took since the last time."""

    @abstractmethod
    async def release(self, owner: Owner, run_ids: Collection[str] | None = None) -> None:
        """Let go of runs, if the owner holds them; of all, and of the lease, with ``None``: the engine closes."""

    @abstractmethod
    async def send(self, command: Command) -> None:
        """Leave a command for whoever holds the run.

        Raises:
            RunNotFoundError: there is no such run.
        """

    @abstractmethod
    async def commands(self, owner: Owner) -> list[Command]:
        """What waits for the runs that this owner holds, in the order it was sent; it stays until it is ``done``."""

    @abstractmethod
    async def done(self, command_ids: Collection[str]) -> None:
        """Forget these commands; unknown ones do not matter."""

    @abstractmethod
    async def delete(self, run_id: str) -> None:
        """Forget a run with all that is of it.

        Raises:
            RunNotFoundError: there is no such run.
            RunLockedError: it is not finished, and somebody holds it.
        """

    @abstractmethod
    async def delete_finished(self, *, older_than: float) -> int:
        """Forget all finished runs that were last updated before that time; gives their number."""

    @abstractmethod
    def statistics(self) -> StoreStatistics:
        """Counters; does not wait."""
