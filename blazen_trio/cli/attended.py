"""Runs that live in this process only: followed, and saved to a file when somebody stops the command."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from blazen_trio import RunClosedError, WorkflowError, WorkflowRun
from blazen_trio.block import RunBlock
from blazen_trio.cli.database import command
from blazen_trio.cli.following import Audience, Ending, follow, run_trio
from blazen_trio.cli.interrupts import Interruption
from blazen_trio.cli.output import printable

INTERRUPT_S: Final = 5.0
"""How long calls may take to end when they are interrupted; then the snapshot is taken all the same."""


def follow_here(begin: Callable[[], RunBlock], audience: Audience, name: str | None) -> Ending:
    """Follow a run in this process; one that is stopped is saved, unless no ``name`` says how to find its workflow."""
    return run_trio(partial(_follow_here, begin, audience, name))


async def _follow_here(begin: Callable[[], RunBlock], audience: Audience, name: str | None) -> Ending:
    ending = Ending()
    with audience.attending(), Interruption() as stop, stop.now:
        async with begin() as run:
            ending = Ending(run.run_id)
            with stop.soon:
                ending = await follow(run, audience)
            if not ending.is_known and name is not None:
                ending = await _saved(run, name) or await follow(run, audience)
    return ending if ending.is_known else attrs.evolve(ending, stopped=stop.code)


async def _saved(run: WorkflowRun, name: str) -> Ending | None:
    """Stop a run and save it; ``None`` if it came to its end meanwhile."""
    with contextlib.suppress(RunClosedError), trio.move_on_after(INTERRUPT_S):
        await run.pause(interrupt=True)
    if run.status.is_end:
        return None
    path = Path(f"{run.run_id}.snapshot.json")
    try:
        _write(path, (await run.snapshot()).to_json())
    except (WorkflowError, OSError) as error:
        return Ending(run.run_id, not_kept=f", and it could not be saved: {printable(error)}")
    return Ending(run.run_id, way_on=command("resume", name, snapshot=str(path)))


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all: it may take the place of the only one."""
    new = path.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.replace(path)
