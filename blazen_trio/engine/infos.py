"""What is known of a run without bringing it into memory."""

from typing import Final, Protocol, TypeVar

import attrs

from blazen_trio.abc import RunRecord, StoredRun
from blazen_trio.core.errors import RunNotFoundError
from blazen_trio.core.events import InputRequestEvent
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.durable.items import read_questions
from blazen_trio.endings import Ending
from blazen_trio.journal import replay
from blazen_trio.run import WorkflowResult, result_of
from blazen_trio.snapshot import WorkflowSnapshot, restore
from blazen_trio.workflow import Workflow

NO_USAGE: Final = TokenUsage()


@attrs.frozen
class RunInfo:
    """One run in a list.

    Attributes:
        run_id: its id.
        workflow_name: of the workflow that it is a run of.
        status: where it is.
        created: in seconds since the epoch.
        updated: when its status or its questions changed last, likewise.
        pending_inputs: its open questions.
        error: why it failed, if so.
    """

    run_id: str
    workflow_name: str
    status: RunStatus
    created: float
    updated: float
    pending_inputs: tuple[InputRequestEvent, ...] = ()
    error: str | None = None


@attrs.define(eq=False)
class Seen:
    """What a handle knows of a run: of one in memory all, of a parked one little, so that a million may wait.

    Attributes:
        status: the last one that is saved; ``None``: it was not looked at yet.
        questions: the open ones that are saved.
        state: of a run in memory, or of one that was read; ``None`` of one that was parked.
        usage: of a parked run.
        cost_usd: likewise.
    """

    status: RunStatus | None = None
    questions: tuple[InputRequestEvent, ...] = ()
    state: RunState | None = None
    usage: TokenUsage = NO_USAGE
    cost_usd: float = 0.0

    @classmethod
    def of(cls, state: RunState) -> "Seen":
        """All of a run as it was read."""
        return cls(state.status, questions_of(state), state)

    @property
    def is_frozen(self) -> bool:
        """Whether it is of a run that was parked."""
        return self.status is not None and self.state is None

    def freeze(self, state: RunState) -> None:
        """The run leaves memory, and its state with it."""
        self.status, self.questions, self.state = state.status, questions_of(state), None
        self.usage, self.cost_usd = state.usage_total(), state.cost_total_usd()


def questions_of(state: RunState) -> tuple[InputRequestEvent, ...]:
    """The open questions, oldest first; none after the end."""
    return () if state.outcome is not None else tuple([each.event for each in state.questions.values()])


class Created(Protocol):
    """What is known of one run; with its id, ``created`` says which one it is."""

    @property
    def run_id(self) -> str:
        """Its id."""
        ...

    @property
    def created(self) -> float:
        """When it was."""
        ...


_Created = TypeVar("_Created", bound=Created)


def require_same(found: _Created, created: float | None) -> _Created:
    """What was found under an id, if that run was created then; ``None``: whichever it is.

    Raises:
        RunNotFoundError: it is another one, since the id was given again.
    """
    if created is not None and found.created != created:
        raise RunNotFoundError(found.run_id)
    return found


def info_of(record: RunRecord) -> RunInfo:
    """What a store's record says; raises ``StoreCorruptError`` if it cannot be read."""
    header = record.header
    return RunInfo(
        run_id=record.run_id,
        workflow_name=record.workflow_name,
        status=RunStatus(header.status),
        created=record.created,
        updated=header.updated,
        pending_inputs=read_questions(header.pending_inputs),
        error=header.error,
    )


def told(workflow: Workflow, stored: StoredRun) -> WorkflowSnapshot:
    """The run as the store has it.

    Raises:
        SnapshotError: it does not fit the workflow as it is now.
        StoreCorruptError: it is damaged.
    """
    return replay(workflow, stored.snapshot or b"", stored.entries)


def state_of(workflow: Workflow, stored: StoredRun) -> RunState:
    """The state of a run, to look at; raises as ``told`` does."""
    snapshot = attrs.evolve(told(workflow, stored), session_refs={})
    state = restore(workflow, workflow.codec, snapshot, 0.0).state
    state.status = snapshot.status
    return state


def result_in(state: RunState) -> WorkflowResult:
    """The result of a run that is over; raises its error."""
    event = Ending(state).take()
    return WorkflowResult(state.run_id, event, result_of(event), state.usage, state.cost_usd)


def checked_limit(limit: object) -> int:
    """How many runs a page may have, if it is that; raises ``TypeError`` or ``ValueError``."""
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"limit= is a number of runs, an int, not {limit!r:.60}")
    if limit < 0:
        raise ValueError(f"limit= is a number of runs and cannot be negative: {limit}")
    return limit
