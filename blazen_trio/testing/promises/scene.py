"""The cast: owners, times, short ways to make and write runs."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from blazen_trio.abc import NewRun, Owner, RunHeader, RunWrite, Store, StreamRow, Wanted
from blazen_trio.core.errors import StoreError

ANN: Final = Owner("ann", "a host far away", 1)
BOB: Final = Owner("bob", "another host", 1)
"""Engines on other hosts: that they live or not, only their leases tell."""

NOON: Final = 1_700_000_000.25
"""The time at which all begins."""

LEASE_S: Final = 10.0


async def create(store: Store, run_id: str = "run", owner: Owner = ANN, now: float = NOON, **fields: Any) -> int:
    """A run with little to say; gives its fence."""
    run = NewRun(run_id, fields.pop("workflow_name", "flow"), now, **fields)
    return await store.create(run, owner, now=now, lease_s=LEASE_S)


async def write(store: Store, run_id: str, fence: int, **fields: Any) -> None:
    """One run's write, which must be taken."""
    (problem,) = await store.write([RunWrite(run_id, fence, **fields)])
    assert problem is None, f"the write was refused: {problem!r}"


async def refused(store: Store, run_id: str, fence: int, **fields: Any) -> StoreError:
    """One run's write, which must be refused; gives the reason."""
    (problem,) = await store.write([RunWrite(run_id, fence, **fields)])
    assert problem is not None, "the write was taken, and should have been refused"
    return problem


async def claim(store: Store, owner: Owner = BOB, now: float = NOON, limit: int = 100, **wanted: Any) -> list[str]:
    """Claims runs; gives their ids."""
    taken = await store.claim(owner, now=now, lease_s=LEASE_S, limit=limit, wanted=Wanted(**wanted))
    return [each.run_id for each in taken]


async def parked(store: Store, run_id: str, now: float = NOON, **header: Any) -> None:
    """A run that nobody holds."""
    fields = {"labels": header.pop("labels", {}), "workflow_name": header.pop("workflow_name", "flow")}
    fence = await create(store, run_id, now=now, **fields)
    await write(store, run_id, fence, header=header_of(updated=now, **header), release=True)


def header_of(status: str = "running", updated: float = NOON, **fields: Any) -> RunHeader:
    """A header of which only some matters."""
    return RunHeader(status, updated, **fields)


def rows(*numbers: int) -> list[StreamRow]:
    """Stream rows with these numbers."""
    return [StreamRow(number, NOON + number, b"item %d" % number) for number in numbers]


def numbers(found: Sequence[StreamRow]) -> list[int]:
    """The numbers of stream rows."""
    return [row.seq for row in found]


def gone_process() -> Owner | None:
    """An owner in a process of this host that is gone; ``None`` where the system does not tell."""
    owner = attrs.evolve(Owner.here("dead"), started="long ago")
    return owner if owner.is_gone() else None


@contextmanager
def raising(kind: type[BaseException]) -> Generator[None]:
    """The block must raise an error of exactly this class."""
    raised: BaseException | None = None
    try:
        yield
    except kind as error:
        raised = error
    assert raised is not None, f"{kind.__name__} was not raised"
    assert type(raised) is kind, f"{type(raised).__name__} was raised instead of {kind.__name__}"
