"""Who holds which run: claims, leases, releases; and the commands for a run that somebody else holds."""

from collections.abc import Collection, Iterable, Iterator

import attrs
import msgspec

from blazen_trio.abc import UNFINISHED, Command, Owner, RunRecord, Wanted, is_id
from blazen_trio.core.errors import RunNotFoundError
from blazen_trio.stores.sqlite.lookups import find_run
from blazen_trio.stores.sqlite.rows import OwnerRow, RunRow, command_row
from blazen_trio.stores.sqlite.session import Session
from blazen_trio.stores.sqlite.statements import (
    ADD_COMMAND,
    ALL_OWNERS,
    CLAIM_CALLED,
    CLAIM_DUE,
    CLAIM_FREE,
    CLAIM_HELD,
    CLAIM_ONE,
    DELETE_OWNER,
    END_COMMAND,
    FORGET_LOST,
    HELD_RUNS,
    HOLDS_ANY,
    LOSE_RUN,
    NEXT_WORKFLOW,
    REGAIN_RUN,
    TELL_LOST,
)


@attrs.frozen
class Claim:
    """One call of ``claim``."""

    owner: Owner
    now: float
    lease_s: float
    limit: int
    wanted: Wanted

    @property
    def until(self) -> float:
        """When the lease runs out."""
        return float(self.now + self.lease_s)

    def filters(self) -> tuple[object, ...]:
        """What the statements of claims take first."""
        wanted = self.wanted
        workflows = None if wanted.workflows is None else _texts(wanted.workflows)
        statuses = None if wanted.statuses is None else _texts(wanted.statuses)
        labels = None
        if wanted.labels is not None:
            labels = {name: value for name, value in wanted.labels.items() if is_id(name) and is_id(value)}
        return *map(_json, (workflows, statuses, labels)), wanted.wake_before, max(0, self.limit)


def _texts(texts: Collection[str]) -> list[str]:
    return [text for text in texts if is_id(text)]


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def claim(session: Session, asked: Claim) -> list[RunRecord]:
    """Take runs that are free."""
    session.extend(asked.owner, asked.until)
    dead = _dead_owners(session, asked)
    found = {row.run: row for row in _candidates(session, asked, dead)}
    oldest = sorted(found.values(), key=lambda row: (row.created, row.run_id))[: max(0, asked.limit)]
    records = [_take(session, row, asked) for row in oldest]
    _forget_owners(session, dead)
    return records


def _dead_owners(session: Session, asked: Claim) -> dict[str, OwnerRow]:
    """Those whose lease has run out, or who are a process of this host that is gone."""
    rows = map(OwnerRow.of, session.rows(ALL_OWNERS))
    return {
        row.owner.engine_id: row
        for row in rows
        if row.owner.engine_id != asked.owner.engine_id and (row.lease_until <= asked.now or row.owner.is_gone())
    }


def _candidates(session: Session, asked: Claim, dead: Collection[str]) -> Iterator[RunRow]:
    filters, wanted = asked.filters(), asked.wanted
    if wanted.run_id is not None:
        one = session.rows(CLAIM_ONE, *filters, wanted.run_id) if is_id(wanted.run_id) else []
        yield from (row for row in map(RunRow.of, one) if row.owner is None or row.owner in dead)
        return
    for engine_id in dead:
        yield from map(RunRow.of, session.rows(CLAIM_HELD, *filters, engine_id))
    if wanted.wake_before is not None:
        yield from map(RunRow.of, session.rows(CLAIM_DUE, *filters))
        yield from map(RunRow.of, session.rows(CLAIM_CALLED, *filters))
        return
    for status, workflow in _kinds(session, wanted):
        yield from map(RunRow.of, session.rows(CLAIM_FREE, *filters, status, workflow))


def _kinds(session: Session, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """The pairs of status and workflow that are wanted: of each, an index gives the oldest."""
    for status in UNFINISHED if wanted.statuses is None else UNFINISHED & set(wanted.statuses):
        workflows: Iterable[str] = _workflows(session, status)
        if wanted.workflows is not None:
            workflows = set(_texts(wanted.workflows))
        for workflow in workflows:
            yield status, workflow


def _workflows(session: Session, status: str) -> Iterator[str]:
    """The workflows of which free runs have that status; one step in the index for each."""
    workflow: str | None = ""
    while True:
        ((workflow,),) = session.rows(NEXT_WORKFLOW, status, workflow)
        if workflow is None:
            return
        yield workflow


def _take(session: Session, row: RunRow, asked: Claim) -> RunRecord:
    if row.owner is not None:
        session.rows(LOSE_RUN, row.owner, row.run_id)
    session.rows(REGAIN_RUN, asked.owner.engine_id, row.run_id)
    taken = attrs.evolve(row, owner=asked.owner.engine_id, fence=session.next_fence(row.fence))
    session.put_run(taken)
    return taken.record(asked.owner, asked.until)


def _forget_owners(session: Session, dead: dict[str, OwnerRow]) -> None:
    """Forget processes that are gone and hold nothing; who is merely late may want to hear what it lost."""
    for engine_id, row in dead.items():
        if row.owner.is_gone() and not session.rows(HOLDS_ANY, engine_id):
            _forget_owner(session, engine_id)


def _forget_owner(session: Session, engine_id: str) -> None:
    session.rows(DELETE_OWNER, engine_id)
    session.rows(FORGET_LOST, engine_id)


# --- Holding and letting go -------------------------------------------------------------------------------------------


def renew(session: Session, owner: Owner, until: float) -> frozenset[str]:
    """Extend a lease; gives the runs that others took."""
    session.extend(owner, until)
    return frozenset(run_id for (run_id,) in session.rows(TELL_LOST, owner.engine_id))


def release(session: Session, owner: Owner, run_ids: Collection[str] | None) -> None:
    """Let go of runs, or of all and of the lease."""
    if run_ids is None:
        for columns in session.rows(HELD_RUNS, owner.engine_id):
            _let_go(session, RunRow.of(columns))
        _forget_owner(session, owner.engine_id)
        return
    for run_id in run_ids:
        try:
            row = find_run(session.connection, run_id)
        except RunNotFoundError:
            continue
        if row.owner == owner.engine_id:
            _let_go(session, row)


def _let_go(session: Session, row: RunRow) -> None:
    session.put_run(attrs.evolve(row, owner=None, fence=session.next_fence(row.fence)))


# --- Commands ---------------------------------------------------------------------------------------------------------


def send(session: Session, command: Command) -> None:
    """Leave a command for the holder of a run."""
    row = find_run(session.connection, command.run_id)
    session.rows(ADD_COMMAND, *command_row(row.run, command))


def done(session: Session, command_ids: Collection[str]) -> None:
    """Forget commands."""
    session.many(END_COMMAND, [(command_id,) for command_id in command_ids if is_id(command_id)])
