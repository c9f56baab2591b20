"""The ways to begin with a run in a file: as a new one, where it was, or with an answer.

Each function gives a ``Begin`` for ``follow_stored``. What makes no sense is a ``CommandError`` that says what to do.
"""

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
    UnknownInputRequestError,
)
from blazen_trio.abc import StoredRun
from blazen_trio.cli.database import find_run, holder_of
from blazen_trio.cli.durable import Begin, Begun, Target
from blazen_trio.cli.exits import CommandError
from blazen_trio.cli.following import Ending
from blazen_trio.cli.output import printable, time_text
from blazen_trio.cli.view import View, describe_progress
from blazen_trio.engine import info_of


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
