"""``Target``: the run that one request is about; the same one, however often it is looked at.

* An id may be given again when its run was deleted. A run is known by its id and by when it was created, so what was
  allowed for one run is never done to another one, whatever happens while the hook is asked.
* Another run under the id is told as none: ``RunNotFoundError``.
* Only word that is left for another engine goes by the id alone.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
from trio.lowlevel import checkpoint

from blazen_trio.core.errors import RunNotFoundError
from blazen_trio.engine import Engine, EngineRun, RunInfo, info_of
from blazen_trio.engine.infos import require_same
from blazen_trio.run import WorkflowRun
from blazen_trio.session_refs import RegistryKey
from blazen_trio.workflow import Workflow


@attrs.frozen
class Found:
    """A run as far as it matters for whether somebody may do something to it."""

    run_id: str
    workflow_name: str
    created: float


async def find(engine: Engine, run_id: str) -> Found:
    """Look a run up; a checkpoint.

    Raises:
        RunNotFoundError: there is none.
    """
    held = engine.held.get(run_id)
    if held is not None:
        await checkpoint()
        return Found(run_id, held.workflow.name, held.created)
    record = await engine.store.info(run_id)
    return Found(run_id, record.workflow_name, record.created)


@attrs.define
class Target:
    """The run that a request is about. All methods are checkpoints, and raise ``RunNotFoundError`` if it is gone.

    Attributes:
        run_id: its id; empty if the request is about none.
        is_absent: there was no such run when it was asked for.
    """

    _engine: Engine
    run_id: str = ""
    is_absent: bool = False
    _found: Found | None = attrs.field(default=None, alias="found")
    _ask_again: Callable[[], Awaitable["Target"]] | None = attrs.field(default=None, alias="ask_again")

    async def again(self) -> "Target":
        """This one, or if it was absent what there is now, which then was asked about, too."""
        if self.is_absent and self._ask_again is not None:
            return await self._ask_again()
        await checkpoint()
        return self

    async def found(self) -> Found:
        """What it is: looked up once."""
        await checkpoint()
        return await self._look()

    async def _look(self) -> Found:
        """The same; no checkpoint if it is known, since what is told of a run shall be what was seen just now."""
        if self.is_absent:
            raise RunNotFoundError(self.run_id)
        if self._found is None:
            self._found = await find(self._engine, self.run_id)
        return self._found

    async def workflow(self) -> Workflow:
        """The workflow that it is a run of. Raises ``ValueError`` if it is not one of this engine's."""
        found = await self.found()
        known = self._engine.workflows.get(found.workflow_name)
        return known or await self._engine.workflow_of(self.run_id)  # it may have to be made again

    async def run(self) -> EngineRun:
        """Its handle, as it is now. Raises ``ValueError`` if its workflow is not one of this engine's."""
        found = await self._look()
        return require_same(await self._engine.get(self.run_id), found.created)

    async def info(self) -> RunInfo:
        """What the store says of it now."""
        found = await self._look()
        return info_of(require_same(await self._engine.store.info(self.run_id), found.created))

    @asynccontextmanager
    async def using(self, verb: str) -> AsyncGenerator[WorkflowRun | None, None]:
        """See ``Engine.using``."""
        found = await self._look()
        async with self._engine.using(self.run_id, verb, found.created) as run:
            yield run

    async def delete(self) -> None:
        """Forget it. Raises ``RunLockedError`` if it is not over."""
        await self.info()
        await self._engine.delete(self.run_id)


def ref_key(text: str) -> RegistryKey | None:
    """The key of a live object, if that is one."""
    try:
        return RegistryKey.from_text(text)
    except ValueError:
        return None
