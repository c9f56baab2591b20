"""Runs that are kept in a file: begun, gone on with, answered. An engine lives as long as the command.

Rules of this file:

* The command is about one run: the engine does not recover others.
* Whoever stops the command parks the run, and is told the line that goes on with it.
* A run that another process holds is left to that process.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import attrs

from blazen_trio import Engine, EngineRun, StoreError, Workflow, open_engine
from blazen_trio.cli.database import command, open_db
from blazen_trio.cli.following import Audience, Ending, follow, run_trio
from blazen_trio.cli.interrupts import Interruption
from blazen_trio.cli.loading import load_workflow


@attrs.frozen
class Target:
    """A workflow with the file of its runs.

    Attributes:
        name: where it is, ``module:workflow``.
        workflow: what runs.
        db: the file.
        is_made: whether a file that is not there is made.
        again: the line that goes on with a run, if it is another one than that of ``resume``.
    """

    name: str
    workflow: Workflow
    db: str
    is_made: bool = False
    again: str | None = None

    @classmethod
    def named(cls, name: str, db: str, *, is_made: bool = False) -> "Target":
        """What the user named; raises ``CommandError`` if there is no such workflow."""
        return cls(name, load_workflow(name), db, is_made)

    def way_on(self, run_id: str) -> str:
        """The line that goes on with a run."""
        return self.again or command("resume", self.name, run_id, db=self.db)

    def way_to_answer(self, run_id: str) -> str:
        """The line that answers a question of a run."""
        return command("respond", self.name, run_id, "ANSWER", db=self.db)


@attrs.frozen
class Begun:
    """A run that goes on here, and the number on its stream that was reached before."""

    run: EngineRun
    after: int = 0


Begin: TypeAlias = Callable[[Engine], Awaitable["Begun | Ending"]]


def follow_stored(target: Target, begin: Begin, audience: Audience) -> Ending:
    """Open the file and an engine, begin as told, and follow the run.

    Raises:
        CommandError: it cannot be begun, or the file fails.
    """
    return run_trio(partial(_follow_stored, target, begin, audience))


async def _follow_stored(target: Target, begin: Begin, audience: Audience) -> Ending:
    with audience.attending(), Interruption() as stop:
        visit = _Visit(target, begin, audience, stop)
        with stop.now:
            await visit.pay()
    ending, code = visit.ending, stop.code
    if not ending.run_id or ending.answered:
        return attrs.evolve(ending, stopped=None if ending.answered else code)
    way_on = target.way_to_answer if ending.questions else target.way_on
    return attrs.evolve(ending, stopped=None if ending.is_known else code, way_on=way_on(ending.run_id))


@attrs.define
class _Visit:
    """One visit to a run; ``ending`` is what is known of it, however the visit ends."""

    target: Target
    begin: Begin
    audience: Audience
    stop: Interruption
    ending: Ending = attrs.field(factory=Ending)

    async def pay(self) -> None:
        """Open the file and an engine, begin, and follow the run; a checkpoint."""
        async with open_db(self.target.db, is_made=self.target.is_made) as store:
            try:
                async with open_engine(store, [self.target.workflow], recover=False) as engine:
                    await self._follow(engine)
            except StoreError as error:
                if not self.ending.run_id:
                    raise
                if not self.ending.is_known:  # else only closing failed
                    self.ending = attrs.evolve(self.ending, error=error)

    async def _follow(self, engine: Engine) -> None:
        begun = await self.begin(engine)
        if isinstance(begun, Ending):
            self.ending = begun
            return
        self.ending = Ending(begun.run.run_id)
        with self.stop.soon:
            self.ending = await follow(begun.run, self.audience, begun.after)
        if self.stop.soon.cancelled_caught and engine.statistics()["running"]:
            self.audience.view.say("stops when its calls have ended, after 5 s at most; Ctrl-C again stops at once")
