"""``blazen-trio abort``: ends a run in a file.

* A run that a living process holds is ended there: word is left in the file, which needs no code of the workflow.
* A run that nobody holds is ended here, and for that its workflow is needed: only it can read the run.

Either way the run is over when the command is.
"""

import uuid
from functools import partial
from typing import Final

import trio
from rich.console import Console

from blazen_trio import SnapshotError, open_engine
from blazen_trio.abc import Command, Store, StoredRun
from blazen_trio.cli.database import command, find_run, holder_of, open_db
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import run_trio
from blazen_trio.cli.loading import load_workflow
from blazen_trio.cli.output import print_json, printable
from blazen_trio.cli.view import print_line
from blazen_trio.codec import to_msgpack

ANSWER_S: Final = 15.0
"""How long the process that holds a run may take; it looks every half second, and calls have time to end."""

POLL_S: Final = 0.1


def abort_run(db: str, run_id: str, name: str | None, *, as_json: bool) -> Exit:
    """End a run; ``name`` is the ``module:workflow`` of one that nobody holds. Harmless if it is over.

    Raises:
        CommandError: no such file, run or workflow; or its process does not do it.
    """
    status = run_trio(partial(_abort, db, run_id, name))
    print_line(Console(stderr=True), f"blazen-trio: run '{printable(run_id)}' is over ({status})")
    if as_json:
        print_json({"run_id": run_id, "status": status})
    return Exit.DONE


async def _abort(db: str, run_id: str, name: str | None) -> str:
    """End the run; gives the status that it has at last."""
    async with open_db(db) as store:
        stored = await find_run(store, run_id, db)
        holder = holder_of(stored)
        if stored.header.is_finished:
            return stored.header.status
        if holder is not None:
            await store.send(Command(run_id, uuid.uuid4().hex, "abort", to_msgpack([None])))
        else:
            await _abort_here(store, stored, db, name)
        with trio.move_on_after(ANSWER_S):
            return await _last_status(store, run_id)
        raise CommandError(
            f"{holder} was told to abort run '{printable(run_id)}', and has not done so for {ANSWER_S:g} s; whoever "
            "holds the run next will",
            Exit.FAILED,
        )


async def _abort_here(store: Store, stored: StoredRun, db: str, name: str | None) -> None:
    run_id = stored.run_id
    if name is None:
        line = command("abort", run_id, db=db, workflow="MODULE:WORKFLOW")
        raise CommandError(f"nobody holds run '{printable(run_id)}'; say which workflow can read it: {line}")
    workflow = load_workflow(name)
    if workflow.name != stored.workflow_name:
        raise CommandError(
            f"run '{printable(run_id)}' is of the workflow '{printable(stored.workflow_name)}', not of "
            f"'{printable(workflow.name)}'"
        )
    async with open_engine(store, [workflow], recover=False) as engine:
        try:
            await engine.abort(run_id)
        except SnapshotError as error:
            raise CommandError(f"run '{printable(run_id)}' cannot be read: {printable(error)}") from error


async def _last_status(store: Store, run_id: str) -> str:
    while True:
        header = (await store.info(run_id)).header
        if header.is_finished:
            return header.status
        await trio.sleep(POLL_S)
