"""One durable run without an engine: ``workflow.run(..., store=store, run_id="...")``.

Called again with the same ``run_id`` after a crash it goes on where the run was; after its end it gives the result.
"""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from blazen_trio.abc import NewRun, Owner, Store, StoredRun, Wanted
from blazen_trio.block import RunBlock
from blazen_trio.codec import codec_of
from blazen_trio.core.children import queue_start
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import RunExistsError, RunLockedError, StoreError
from blazen_trio.core.events import Event
from blazen_trio.core.state import new_state
from blazen_trio.durable import Committer, DurableRunner, Journal
from blazen_trio.endings import Ending
from blazen_trio.groups import alone
from blazen_trio.journal import base_of, begun, replay
from blazen_trio.run import WorkflowResult, make_result
from blazen_trio.run_ids import new_run_id
from blazen_trio.snapshot import restore, take

LEASE_S: Final = 10.0
"""For so long the run is held without a sign of life, as by an engine."""


async def run_durably(
    workflow: WorkflowDefinition, start: Event, metadata: Mapping[str, Any], store: Store, run_id: str | None
) -> WorkflowResult:
    """Run to the end, everything saved before it is seen; a checkpoint.

    Raises:
        RunLockedError: an engine holds the run.
        StoreError: it cannot be saved.
        WorkflowError: why the run failed.
    """
    owner = Owner.here(new_run_id())
    async with store:
        stored = await _stored(workflow, start, metadata, (store, owner), run_id or new_run_id())
        try:
            return await _live(workflow, stored, store, owner)
        finally:
            with trio.move_on_after(LEASE_S, shield=True), contextlib.suppress(StoreError):  # then the lease runs out
                await store.release(owner)


async def _stored(
    workflow: WorkflowDefinition, start: Event, metadata: Mapping[str, Any], place: tuple[Store, Owner], run_id: str
) -> StoredRun:
    """The run in the store: a new one, or the one that was begun before."""
    store, owner = place
    state = new_state(workflow, run_id)
    state.wall_offset = time.time() - trio.current_time()
    queue_start(state, start)
    base = base_of(begun(take(workflow, state, codec_of(workflow), metadata, trio.current_time())))
    run = NewRun(run_id, workflow.name, time.time(), snapshot=base)
    try:
        await store.create(run, owner, now=time.time(), lease_s=LEASE_S)
    except RunExistsError:
        await _claim(store, owner, run_id)
    return await store.read(run_id)


async def _claim(store: Store, owner: Owner, run_id: str) -> None:
    wanted = Wanted(run_id=run_id)
    taken = await store.claim(owner, now=time.time(), lease_s=LEASE_S, limit=1, wanted=wanted)
    record = await store.info(run_id)
    if not taken and not record.header.is_finished:
        raise RunLockedError(run_id, None if record.owner is None else record.owner.engine_id)


async def _live(workflow: WorkflowDefinition, stored: StoredRun, store: Store, owner: Owner) -> WorkflowResult:
    committer = Committer(store)
    snapshot = replay(workflow, stored.snapshot or b"", stored.entries)
    bare = attrs.evolve(snapshot, session_refs={})
    restored = restore(workflow, codec_of(workflow), bare, trio.current_time())
    restored.state.is_attended = False
    if restored.state.outcome is not None:
        journal = Journal(committer, "step", stored.fence)
        return make_result(DurableRunner(workflow, restored.state, {}, journal), Ending(restored.state))
    journal = Journal(committer, "step", stored.fence, base_of(snapshot) if stored.entries else None)
    runner = DurableRunner(workflow, restored.state, restored.metadata, journal)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(committer.work)
            nursery.start_soon(_keep_lease, store, owner, journal)
            try:
                async with RunBlock(workflow, runner, None, is_watched=True):
                    await runner.wait_finished()
            finally:
                committer.stop()
                nursery.cancel_scope.cancel()
    except BaseException as error:  # noqa: ASYNC103, BLE001 - raised again, alone
        raise alone(error) from None  # noqa: ASYNC104 - what was raised in the nursery, without its group
    return make_result(runner, Ending(runner.state))


async def _keep_lease(store: Store, owner: Owner, journal: Journal) -> None:
    while True:
        await trio.sleep(LEASE_S / 3)
        try:
            lost = await store.renew(owner, now=time.time(), lease_s=LEASE_S)
        except StoreError:
            continue  # what it cannot write it will be told when it writes
        for run_id in lost:
            journal.failed(RunLockedError(run_id))
