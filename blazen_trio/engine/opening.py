"""``open_engine``: the block that an engine lives in, and its standing tasks."""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs
import trio

from blazen_trio.abc import Store, Wanted
from blazen_trio.core.errors import RunLockedError, StoreError
from blazen_trio.core.status import RunStatus
from blazen_trio.durable import Durability
from blazen_trio.engine.commands import obey_commands
from blazen_trio.engine.engine import CLAIMED_AT_ONCE, Engine, EngineOptions
from blazen_trio.engine.holding import HeldRun
from blazen_trio.groups import open_users_nursery
from blazen_trio.step_registry import StepRegistry
from blazen_trio.workflow import Workflow

DRAIN_S: Final = 5.0
"""How long a closing engine lets running calls go on before they are cancelled and put back."""

SAVE_S: Final = 30.0
"""How long it then takes at most to save them: a store that hangs must not hang the program."""

SWEEP_S: Final = 1.0
"""How often runs that only wait are looked for; so long a question stays in memory for a quick answer."""

LOOK_S: Final = 0.5
"""How often the store is asked for commands, and for runs that nobody holds any more."""

PARKED_AT_ONCE: Final = 100
"""Runs parked together: enough for one commit, and a task each."""

_LOOK_SOON_S: Final = 0.05

logger: Final = logging.getLogger("blazen_trio")


@asynccontextmanager
async def open_engine(
    store: Store,
    workflows: Iterable[Workflow],
    *,
    recover: bool = True,
    durability: Durability = "step",
    lease: float = 10.0,
    idle_after: float | None = None,
    max_runs: int | None = None,
    labels: Mapping[str, str] | None = None,
    registry: StepRegistry | None = None,
) -> AsyncGenerator[Engine, None]:
    """An engine of many durable runs, as an async context manager.

    Leaving the block parks what still runs: calls have five seconds to end, then they are put back; the run goes on at
    the next opening. An engine that dies loses nothing that was acknowledged: another one, on this store, goes on with
    its runs, and calls that had not finished run again with the same ``idempotency_key``.

    Args:
        store: opened and closed with the engine, unless it is open already.
        workflows: those whose runs it starts and goes on with; names must differ.
        recover: go on with runs that nobody holds and that have something to do: now, and with those of engines that
            end later. Without, it takes only runs that it is asked for by their ids.
        durability: ``"step"``: a call starts when that is on disk which led to it, so a crash repeats only calls that
            were running. ``"group"``: calls may be a commit ahead of the disk, and a crash repeats those; take it for
            steps that are quick and may be repeated. Either way nothing leaves the process before it is on disk.
        lease: seconds for which a run is held; after that much silence another engine takes it over.
        idle_after: seconds after which a run that only waits for answers is let go of, so that any engine may take it.
            By default it is held, though not in memory.
        max_runs: so many runs at most are in memory and have something to do; others wait their turn.
        labels: what this engine has; it runs only what requires no others.
        registry: steps of which the workflows are made again that peers had made of them, when their runs go on.

    Raises:
        StoreError: the store cannot be opened.
        ValueError: two workflows of one name, or a bad option.
    """
    options = EngineOptions(
        recover=recover,
        durability=durability,
        lease=lease,
        idle_after=idle_after,
        max_runs=max_runs,
        labels=dict(labels or {}),
    )
    engine = Engine(store, workflows, options)
    if registry is not None:
        engine.made.use(registry)
    async with store, open_users_nursery() as nursery:
        engine.nursery = nursery
        nursery.start_soon(engine.committer.work)
        try:
            await _look_for_work(engine)
            for work in (_keep_lease, _look, _sweep):
                nursery.start_soon(_again_and_again, work, engine)
            yield engine
        finally:
            await _close(engine)  # noqa: ASYNC102 - it shields what must be done, with a deadline


async def recover_runs(engine: Engine) -> None:
    """Have an engine recover runs from now on that was opened with ``recover=False``; a checkpoint.

    For whoever has to do something before the first step begins, such as to find out whether its port is free.

    Raises:
        StoreError: the store fails.
    """
    engine.options = attrs.evolve(engine.options, recover=True)
    await _look_for_work(engine)


# --- Standing tasks ---------------------------------------------------------------------------------------------------


async def _look_for_work(engine: Engine) -> None:
    """All that there is in the store when the engine is opened."""
    if engine.options.recover:
        await engine.made.look_around()
    await _take_over(engine)


async def _take_over(engine: Engine) -> None:
    """Take the runs that nobody holds and that have something to do; none without ``recover``."""
    if not engine.options.recover:
        await trio.lowlevel.checkpoint()
        return
    for wanted in (
        Wanted(statuses=[RunStatus.RUNNING.value], labels=engine.options.labels),
        Wanted(wake_before=time.time(), labels=engine.options.labels),
    ):
        while claimed := await engine.claim(wanted, CLAIMED_AT_ONCE):
            for held in claimed:
                engine.bring(held)


async def _again_and_again(work: Callable[[Engine], Awaitable[None]], engine: Engine) -> None:
    """Do it for ever: a store that fails now may work again, and the runs notice when they write."""
    is_failing = False
    while True:
        try:
            await work(engine)
        except StoreError as error:
            if not is_failing:  # a store that is broken for an hour is worth one line
                logger.warning("engine %s: %s", engine.owner.engine_id, error)
            is_failing = True
        else:
            is_failing = False


async def _keep_lease(engine: Engine) -> None:
    """Hold on to what the engine holds; let go of what others took."""
    await trio.sleep(engine.options.lease / 3)
    for run_id in await engine.store.renew(engine.owner, now=time.time(), lease_s=engine.options.lease):
        held = engine.held.get(run_id)
        if held is not None:
            held.lose(RunLockedError(run_id))


async def _look(engine: Engine) -> None:
    """Obey commands, and take over runs whose engine is gone."""
    await trio.sleep(LOOK_S)
    await obey_commands(engine)
    if engine.options.recover:
        await engine.made.look()
    await _take_over(engine)


async def _sweep(engine: Engine) -> None:
    """Take runs out of memory that only wait for answers, or are paused."""
    patience = max(SWEEP_S, engine.options.idle_after or 0.0)
    await trio.sleep(SWEEP_S)
    engine.kept_refs.expire()
    due = trio.current_time() - patience
    idle = [each for each in engine.idle if (each.idle_since or 0.0) <= due and each.may_be_parked]
    for start in range(0, len(idle), PARKED_AT_ONCE):
        async with trio.open_nursery() as nursery:  # together, for they are then written together
            for held in idle[start : start + PARKED_AT_ONCE]:
                nursery.start_soon(partial(held.park_if_idle, is_released=engine.options.idle_after is not None))


# --- The end ----------------------------------------------------------------------------------------------------------


async def _close(engine: Engine) -> None:
    """Stop dispatch, let calls end, save everything; shielded but for the calls, with a deadline each."""
    engine.is_closing = True
    held = list(engine.held.values())
    try:
        for each in held:
            each.hold_dispatch()
        await _drain(held)  # not shielded: who cancels the block is in a hurry
    finally:
        with trio.move_on_after(SAVE_S, shield=True):
            await _save(engine, held)
        engine.committer.stop()
        engine.nursery.cancel_scope.cancel()
        for each in list(engine.held.values()):
            each.gone()
        engine.kept_refs.close()


async def _drain(held: list[HeldRun]) -> None:
    with trio.move_on_after(DRAIN_S):  # noqa: ASYNC912 - if all are quiet there is nothing to cancel
        while not all(each.is_quiet for each in held):  # noqa: ASYNC110 - calls end in many ways; this is not for long
            await trio.sleep(_LOOK_SOON_S)


async def _save(engine: Engine, held: list[HeldRun]) -> None:
    async with trio.open_nursery() as nursery:
        for each in held:
            nursery.start_soon(each.park_for_good)
    try:
        await engine.store.release(engine.owner)
    except StoreError as error:  # then the lease runs out, or this process ends
        logger.warning("engine %s: its runs were not released: %s", engine.owner.engine_id, error)
