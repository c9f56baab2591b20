"""``MadeWorkflows``: workflows that an engine was not given, made of registered steps by their names.

The rules of this file:

* Whatever begins a run of such a workflow notes the names of its steps with the run. So a later engine makes the
  workflow again: for a run that it is asked for, and for those that it finds in the store while it looks for work.
* A run whose steps are not all registered here is left as it is, for an engine that has them.
* What is not there is not looked for twice: each run is read once at most, and a few at a time.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from blazen_trio.abc import UNFINISHED, Cursor, RunRecord, StoredRun
from blazen_trio.core.errors import (
    PeerError,
    RunNotFoundError,
    SnapshotMismatchError,
    StoreCorruptError,
    UnknownStepError,
    WorkflowValidationError,
)
from blazen_trio.core.status import RunStatus
from blazen_trio.journal import metadata_of
from blazen_trio.metadata import STEPS
from blazen_trio.step_registry import StepRegistry
from blazen_trio.workflow import Workflow

if TYPE_CHECKING:
    from blazen_trio.engine.engine import Engine

MADE_MAX: Final = 1_000
"""So many workflows an engine may have and make another one for a call: names come from outside, and each stays."""

LOOKED_AT_ONCE: Final = 100
"""Runs of the store that are looked at in one go."""

READ_AT_ONCE: Final = 10
"""Of these so many are read at most: a run may be big."""

LOOKS_AT_OPENING: Final = 100
"""So many looks an engine that is opened takes at once; what is behind that it finds while it runs."""

KNOWN_MAX: Final = 10_000
"""Of so many runs it is remembered that nothing can be made of them."""

_STATUSES: Final = (RunStatus.RUNNING.value, *sorted(UNFINISHED - {RunStatus.RUNNING.value}))
"""In this order; first those that have something to do."""

_Place: TypeAlias = tuple[int, Cursor | None]
"""Where the look around is: at which status, and behind which run."""

_START: Final[_Place] = (0, None)

logger: Final = logging.getLogger("blazen_trio")


class MadeWorkflows:
    """What an engine makes of registered steps."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._registries: list[StepRegistry] = []
        self._names: set[str] = set()
        self._in_vain: dict[str, None] = {}
        self._steps_known = 0
        self._place: _Place = _START

    def use(self, registry: StepRegistry) -> None:
        """Make workflows of these steps, too."""
        if all(each is not registry for each in self._registries):
            self._registries.append(registry)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    # --- Making -------------------------------------------------------------------------------------------------------

    def make(self, name: str, steps: Sequence[str], registry: StepRegistry) -> Workflow:
        """The engine's workflow of this name from now on.

        Raises:
            PeerError: there are too many.
            UnknownStepError: steps that are not registered.
            WorkflowValidationError: the steps do not fit together.
        """
        if len(self._engine.workflows) >= MADE_MAX:
            raise PeerError(self._engine.node_id, f"it has {MADE_MAX} workflows and makes no more")
        workflow = self._engine.workflows[name] = Workflow.from_registered_steps(name, steps, registry)
        self._names.add(name)
        return workflow

    def marks(self, workflow: Workflow) -> dict[str, Any]:
        """What is noted of a run, so that its workflow can be made again."""
        return {STEPS: [each.name for each in workflow.steps]} if workflow.name in self._names else {}

    def check(self, stored: StoredRun) -> None:
        """Raise ``SnapshotMismatchError`` if a run is of other steps than the workflow that was made of this name."""
        name = stored.workflow_name
        if name not in self._names:
            return
        steps = metadata_of(stored.snapshot or b"").get(STEPS)
        if steps is not None and steps != self.marks(self._engine.workflows[name])[STEPS]:
            raise SnapshotMismatchError(f"it is of the steps {steps}, and {name!r} was made of others", stored.run_id)

    def remake(self, stored: StoredRun) -> Workflow:
        """The workflow of a run that the engine was not given.

        Raises:
            PeerError: there are too many.
            StoreCorruptError: the run cannot be read.
            UnknownStepError: steps of it that are not registered.
            ValueError: it was not made of registered steps, or there is no registry here.
            WorkflowValidationError: the steps do not fit together any more.
        """
        steps = metadata_of(stored.snapshot or b"").get(STEPS)
        if not self._registries or not isinstance(steps, list):
            return self._engine.workflow(stored.workflow_name)
        names = [str(each) for each in steps]
        having = [each for each in self._registries if all(name in each for name in names)]
        return self.make(stored.workflow_name, names, (having or self._registries)[0])

    # --- Looking ------------------------------------------------------------------------------------------------------

    async def look_around(self) -> None:
        """Look at all unfinished runs of the store, or at very many; a checkpoint."""
        for _ in range(LOOKS_AT_OPENING):
            await self.look()
            if self._place == _START:
                return

    async def look(self) -> None:
        """Look at the next runs of the store for workflows to be made; a checkpoint."""
        if not self._registries:
            await trio.lowlevel.checkpoint()
            return
        self._forget_if_steps_came()
        turn, after = self._place
        page = await self._engine.store.list_runs(status=_STATUSES[turn], limit=LOOKED_AT_ONCE, after=after)
        is_last = len(page) < LOOKED_AT_ONCE
        self._place = ((turn + 1) % len(_STATUSES), None) if is_last else (turn, page[-1].cursor)
        for record in islice(self._unknown(page), READ_AT_ONCE):
            await self._try(record)

    def _forget_if_steps_came(self) -> None:
        steps_known = sum(map(len, self._registries))
        if steps_known != self._steps_known or len(self._in_vain) >= KNOWN_MAX:
            self._in_vain.clear()
        self._steps_known = steps_known

    def _unknown(self, page: Iterable[RunRecord]) -> Iterator[RunRecord]:
        """The runs of workflows that are not known, at the moment when it is asked for the next one."""
        for each in page:
            if each.workflow_name not in self._engine.workflows and each.run_id not in self._in_vain:
                yield each

    async def _try(self, record: RunRecord) -> None:
        try:
            self.remake(await self._engine.store.read(record.run_id))
        except (RunNotFoundError, ValueError):  # it was deleted; or is of somebody else's workflow
            self._in_vain[record.run_id] = None
        except (PeerError, StoreCorruptError, UnknownStepError, WorkflowValidationError) as error:
            self._in_vain[record.run_id] = None
            logger.warning("run %s is left to others: %s", record.run_id, error)
