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

from blazen_trio import (
    AnswerConflictError,
    EncodeError,
    Engine,
    EngineRun,
    InputRequestEvent,
    RunClosedError,
    RunExistsError,
    RunNotFoundError,
    RunStatus,
    SnapshotError,
    StoreError,
    UnknownInputRequestError,
    Workflow,
    open_engine,
)
from blazen_trio.abc import StoredRun
from blazen_trio.cli.database import command, find_run, holder_of, open_db
from blazen_trio.cli.exits import CommandError
from blazen_trio.cli.following import Audience, Ending, follow, run_trio
from blazen_trio.cli.interrupts import Interruption
from blazen_trio.cli.loading import load_workflow
from blazen_trio.cli.output import printable, time_text
from blazen_trio.cli.view import View, describe_progress
from blazen_trio.engine import info_of


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


# --- Ways to begin ----------------------------------------------------------------------------------------------------


def starting(target: Target, data: object, run_id: str | None) -> Begin:
    """Begin a new run."""

    async def begin(engine: Engine) -> Begun:
        try:
            return Begun(await engine.start(target.workflow.name, data, run_id))
        except RunExistsError as error:
            known = error.run_id or ""
            raise CommandError(
                f"there already is a run '{printable(known)}' in {target.db}; go on with it: {target.way_on(known)}"
            ) from error
        except (EncodeError, ValueError) as error:
            raise CommandError(f"the run cannot begin: {printable(error)}") from error

    return begin


def resuming(target: Target, run_id: str, view: View) -> Begin:
    """Go on with a run; of one that is over give the result."""

    async def begin(engine: Engine) -> Begun:
        stored = await _own_run(engine, target, run_id)
        holder = holder_of(stored)
        if holder is not None:
            raise CommandError(
                f"run '{printable(run_id)}' is held by {holder} and goes on there; stop that process first, or leave "
                "it word from here with `respond` and `abort`"
            )
        if not stored.header.is_finished:
            await _take_up(engine, run_id)
        run = await engine.get(run_id)
        view.say(_describe(run, stored))
        return Begun(run, stored.stream_last)

    return begin


def going_on(target: Target, data: object, run_id: str, view: View) -> Begin:
    """Go on with the run of this id, or begin it."""

    async def begin(engine: Engine) -> "Begun | Ending":
        try:
            await engine.store.info(run_id)
        except RunNotFoundError:
            return await starting(target, data, run_id)(engine)
        return await resuming(target, run_id, view)(engine)

    return begin


def responding(target: Target, run_id: str, answer: object, request_id: str | None) -> Begin:
    """Answer a question of a run, and go on with it unless another process does."""

    async def begin(engine: Engine) -> "Begun | Ending":
        stored = await _own_run(engine, target, run_id)
        question = _question_of(stored, request_id)
        holder = holder_of(stored)
        try:
            await engine.respond_to_input(run_id, question.request_id, answer)
        except (AnswerConflictError, RunClosedError, SnapshotError, UnknownInputRequestError) as error:
            raise CommandError(printable(error)) from error
        run = await engine.get(run_id)
        if holder is not None:
            return Ending(run_id, answered=f"{holder} has the run and goes on with it")
        if run.status is RunStatus.PAUSED:
            return Ending(run_id, answered=f"the run is paused; go on with it: {target.way_on(run_id)}")
        return Begun(run, stored.stream_last)

    return begin


# --- What is there ----------------------------------------------------------------------------------------------------


async def _own_run(engine: Engine, target: Target, run_id: str) -> StoredRun:
    stored = await find_run(engine.store, run_id, target.db)
    if stored.workflow_name != target.workflow.name:
        raise CommandError(
            f"run '{printable(run_id)}' is of the workflow '{printable(stored.workflow_name)}', and this one is named "
            f"'{printable(target.workflow.name)}'; name the module:workflow that it was begun with"
        )
    return stored


async def _take_up(engine: Engine, run_id: str) -> None:
    try:
        await engine.resume(run_id)
    except RunClosedError:  # it ended this very moment
        return
    except SnapshotError as error:
        raise CommandError(f"run '{printable(run_id)}' cannot go on: {printable(error)}") from error


def _question_of(stored: StoredRun, request_id: str | None) -> InputRequestEvent:
    """The question that is meant."""
    name = printable(stored.run_id)
    if stored.header.is_finished:
        raise CommandError(f"run '{name}' is over ({stored.header.status}) and takes no answer")
    questions = info_of(stored).pending_inputs
    if not questions:
        raise CommandError(f"run '{name}' has no open question; it is {stored.header.status}")
    meant = [each for each in questions if request_id in (None, each.request_id)]
    if len(meant) != 1:
        which = "; ".join(f"--request {printable(each.request_id)}: {printable(each.prompt)}" for each in questions)
        problem = "has several open questions, say which is answered" if meant else "has no such open question"
        raise CommandError(f"run '{name}' {problem}: {which}")
    return meant[0]


def _describe(run: EngineRun, stored: StoredRun) -> str:
    begun = f"run {printable(stored.run_id)}, begun {time_text(stored.created)}"
    if stored.header.is_finished:
        return f"{begun}, is over since {time_text(stored.header.updated)}; this is how it ended"
    done = f", after {describe_progress(run.progress)}" if run.progress is not None else ""
    return f"goes on with {begun}{done}"
