"""``Engine``: start, find and control runs, wherever they are."""

import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from blazen_trio.abc import Command, NewRun, Owner, Store, Wanted, is_id
from blazen_trio.codec import to_msgpack
from blazen_trio.core.children import queue_start
from blazen_trio.core.errors import (
    AnswerConflictError,
    RunClosedError,
    StoreError,
    UnknownInputRequestError,
    WorkflowError,
)
from blazen_trio.core.events import Event, require_event
from blazen_trio.core.questions import is_same
from blazen_trio.core.state import RunState, new_state
from blazen_trio.core.status import RunStatus
from blazen_trio.durable import Committer, Durability, DurableRunner
from blazen_trio.engine.aborted_calls import AbortedCalls
from blazen_trio.engine.handle import EngineRun
from blazen_trio.engine.holding import HeldRun
from blazen_trio.engine.infos import RunInfo, Seen, checked_limit, info_of, require_same, state_of, told
from blazen_trio.engine.kept_refs import KeptRefs
from blazen_trio.engine.made import MadeWorkflows
from blazen_trio.journal import base_of, begun
from blazen_trio.metadata import CALL, checked_metadata
from blazen_trio.run import WorkflowRun
from blazen_trio.run_ids import new_run_id
from blazen_trio.snapshot import WorkflowSnapshot, take
from blazen_trio.sub_workflow import start_event
from blazen_trio.workflow import Workflow

CLAIMED_AT_ONCE: Final = 100
"""Runs taken over in one go: then those who wait for the store get their turn."""

_COUNTED: Final = ("emitted", "pending", "consumed", "late")


@attrs.frozen(kw_only=True)
class EngineOptions:
    """The options of ``open_engine``; it documents them."""

    recover: bool = True
    durability: Durability = "step"
    lease: float = 10.0
    idle_after: float | None = None
    max_runs: int | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict[str, str])


class Engine:
    """Runs of some workflows, kept in a store. Made by ``open_engine``; it lives in that block.

    All methods but ``statistics`` are checkpoints, raise ``StoreError`` if the store fails, and return when what they
    did is durable.

    Attributes:
        store: where its runs are.
        workflows: by name.
        owner: who it is in the store.
        in_memory: how many runs are in memory now.
        kept_refs: the session refs of finished calls of peers.
        aborted_calls: calls of peers that were aborted before they began.
        made: workflows that it was not given.
    """

    def __init__(self, store: Store, workflows: Iterable[Workflow], options: EngineOptions) -> None:
        self.store: Store = store
        self.workflows: dict[str, Workflow] = _by_name(workflows)
        self.options: EngineOptions = options
        self.durability: Durability = options.durability
        self.owner: Owner = Owner.here(new_run_id())
        self.committer: Committer = Committer(store)
        self.kept_refs: KeptRefs = KeptRefs(self.node_id)
        self.aborted_calls: AbortedCalls = AbortedCalls()
        self.made: MadeWorkflows = MadeWorkflows(self)
        self.nursery: trio.Nursery
        self.held: dict[str, HeldRun] = {}
        self.in_memory: int = 0
        self.is_closing: bool = False
        self.idle: dict[HeldRun, None] = {}
        self.obeying: set[HeldRun] = set()
        self._queue: deque[tuple[HeldRun, RunState | None, dict[str, Any]]] = deque()
        self._started = self._recovered = self._finished = 0
        self._away: Counter[str] = Counter()
        self._watchers: dict[str, list[Callable[[], None]]] = {}

    @property
    def node_id(self) -> str:
        """Where live objects of its runs are: the engine's own id, since they go with it."""
        return self.owner.engine_id

    # --- Runs ---------------------------------------------------------------------------------------------------------

    async def start(
        self,
        name: str,
        input: object = None,
        run_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        require: Mapping[str, str] | None = None,
    ) -> EngineRun:
        """Start a run of the workflow of this name; it is in the store when this returns.

        Args:
            name: of the workflow.
            input: becomes a ``StartEvent`` unless it is an event.
            run_id: by default a new one.
            metadata: what steps shall find in ``ctx.metadata``.
            require: labels that an engine must have to run it; this one need not.

        Raises:
            EncodeError: the input or the metadata cannot be saved.
            RunExistsError: there is a run of that id.
            TypeError: ``metadata`` is no mapping of texts.
            ValueError: no such workflow here, an id that no store takes, or reserved ``metadata``.
        """
        known = checked_metadata(metadata)
        run_id = new_run_id() if run_id is None else run_id
        return await self.start_marked(name, start_event(input), run_id, known, dict(require or {}))

    async def start_marked(
        self, name: str, event: Event, run_id: str, known: dict[str, Any], labels: dict[str, str]
    ) -> EngineRun:
        """As ``start``, with the library's own marks among the metadata."""
        self.check_open()
        workflow = self.workflow(name)
        known |= self.made.marks(workflow)
        if not is_id(run_id):
            raise ValueError(f"run_id= must be a text of 1 to 1,000 characters without NUL, not {run_id!r:.60}")
        state = _new(workflow, run_id, event)
        snapshot = begun(take(workflow, state, workflow.codec, known, trio.current_time()))
        run = NewRun(run_id, name, time.time(), labels=labels, snapshot=base_of(snapshot))
        fence = await self.store.create(run, self.owner, now=time.time(), lease_s=self.options.lease)
        self._started += 1
        seen = Seen(RunStatus.RUNNING, (), state)
        if not labels.items() <= self.options.labels.items():
            with trio.CancelScope(shield=True):  # it is there already, and another engine shall find it
                await self.store.release(self.owner, [run_id])
            return EngineRun(self, workflow, run_id, seen, run.created)
        held = self._hold(workflow, run_id, fence, run.created)
        held.seen = seen
        self._enqueue(held, state, known)
        return EngineRun(self, workflow, run_id, seen, run.created)

    async def get(self, run_id: str) -> EngineRun:
        """A run by its id.

        Raises:
            RunNotFoundError: there is none.
            UnknownStepError: its workflow was made of registered steps, some of which are not registered here.
            ValueError: its workflow is not one of this engine's.
        """
        held = self.held.get(run_id)
        if held is not None and held.runner is not None:
            await trio.lowlevel.checkpoint()
            return EngineRun(self, held.workflow, run_id, held.seen, held.created)
        stored = await self.store.read(run_id)
        workflow = self.made.workflow_of(stored)
        return EngineRun(self, workflow, run_id, Seen.of(state_of(workflow, stored)), stored.created)

    async def told(self, run_id: str) -> WorkflowSnapshot:
        """The snapshot of a run that is not in memory here."""
        stored = await self.store.read(run_id)
        return told(self.made.workflow_of(stored), stored)

    async def runs(
        self,
        *,
        status: RunStatus | str | None = None,
        workflow: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[RunInfo]:
        """A page of the runs in the store, newest first.

        Args:
            status: only runs of that status.
            workflow: only runs of the workflow of that name.
            limit: at most so many.
            after: the ``run_id`` that the page before ended with.

        Raises:
            RunNotFoundError: there is no run ``after``.
            TypeError, ValueError: ``limit`` is no number of runs, or ``status`` is none.
        """
        cursor = None if after is None else (await self.store.info(after)).cursor
        wanted = None if status is None else RunStatus(status).value
        found = await self.store.list_runs(status=wanted, workflow=workflow, limit=checked_limit(limit), after=cursor)
        return [info_of(each) for each in found]

    async def delete(self, run_id: str) -> None:
        """Forget a run with all that is of it; abort it first if it is not over.

        A run that cannot go on here, since its store failed or its workflow was changed, is forgotten as it is.

        Raises:
            RunLockedError: it is not over.
            RunNotFoundError: there is none.
        """
        held = self.held.get(run_id)
        if held is not None and held.error is not None and held.runner is None:
            await self.store.release(self.owner, [run_id])
            held.gone()
        await self.store.delete(run_id)
        self.kept_refs.forget_run(run_id)

    # --- Controls -----------------------------------------------------------------------------------------------------

    async def respond_to_input(self, run_id: str, request_id: str, response: object) -> None:
        """Answer a question of a run; raises as ``WorkflowRun.respond_to_input`` does."""
        async with self.using(run_id, "respond_to_input") as run:
            if run is not None:
                await run.respond_to_input(request_id, response)
            else:
                await self._leave_answer(run_id, request_id, response)

    async def _leave_answer(self, run_id: str, request_id: str, response: object) -> None:
        info, workflow = info_of(await self.store.info(run_id)), await self.workflow_of(run_id)
        plain = workflow.codec.to_plain(response, "the answer")
        if all(each.request_id != request_id for each in info.pending_inputs):
            self._check_answered(state_of(workflow, await self.store.read(run_id)), request_id, response)
            return
        await self._leave(run_id, "respond_to_input", [request_id, plain])

    def _check_answered(self, state: RunState, request_id: str, response: object) -> None:
        """The same answer may be given again, also to a run that another engine holds."""
        if state.outcome is not None:
            raise RunClosedError("respond_to_input", state.status.value, state.run_id)
        if request_id not in state.answered:
            raise UnknownInputRequestError(request_id, state.run_id)
        if not is_same(state.answered[request_id], response):
            raise AnswerConflictError(request_id, state.run_id)

    async def send_event(self, run_id: str, event: Event) -> None:
        """Put an event into a run; raises as ``WorkflowRun.send_event`` does."""
        require_event(event, "send_event")
        async with self.using(run_id, "send_event") as run:
            if run is not None:
                await run.send_event(event)
                return
            workflow = await self.workflow_of(run_id)
            await self._leave(run_id, "send_event", [workflow.codec.event_to_plain(event)])

    async def pause(self, run_id: str, *, interrupt: bool = False) -> None:
        """Stop dispatching a run, and wait until no call of it runs; it stays paused until ``resume``.

        Of a run that another engine holds this is asked, and not waited for; so it is with all controls.
        """
        async with self.using(run_id, "pause") as run:
            if run is not None:
                await run.pause(interrupt=interrupt)
            else:
                await self._leave(run_id, "pause", [interrupt])

    async def resume(self, run_id: str) -> None:
        """Go on with a run that was paused, or that stopped because its store failed."""
        async with self.using(run_id, "resume") as run:
            if run is not None:
                await run.resume_in_place()
            else:
                await self._leave(run_id, "resume", [])

    async def abort(self, run_id: str, reason: str | None = None) -> None:
        """End a run now; harmless after its end."""
        try:
            async with self.using(run_id, "abort") as run:
                if run is not None:
                    await run.abort(reason)
                else:
                    await self._leave(run_id, "abort", [reason])
        except RunClosedError:
            return

    @asynccontextmanager
    async def using(
        self, run_id: str, verb: str, created: float | None = None
    ) -> AsyncGenerator[WorkflowRun | None, None]:
        """The run's handle, with the run in memory for the block; ``None`` if another engine has it.

        With ``created``, only the run that was created then: an id may be given again when its run was deleted.

        Raises:
            RunClosedError: it is over.
            RunNotFoundError: there is none, or another one.
            SnapshotError: it does not fit its workflow as it is now.
            StoreError: it cannot be read.
        """
        held, run = await self._held(run_id, verb, created), None
        while held is not None and (run := await held.enter()) is None:
            held = await self._held(run_id, verb, created)  # it was let go of in the meantime
        try:
            yield run
        except WorkflowError:  # a refusal tells what the run is like: nobody is told what a crash could undo
            if held is not None and held.runner is not None:
                await held.runner.wait_saved()  # noqa: ASYNC120 - who is cancelled is told nothing at all
            raise
        finally:
            if held is not None:
                held.exit()

    async def _leave(self, run_id: str, kind: str, arguments: list[Any]) -> None:
        """Leave word for the engine that holds the run."""
        await self.store.send(Command(run_id, new_run_id(), kind, to_msgpack(arguments)))

    def check_open(self) -> None:
        """Raise ``StoreError`` if the engine was closed: nobody here brings runs to their end any more."""
        if self.is_closing:
            raise StoreError("the engine was closed; its runs go on when one is opened on the store again")

    # --- Holding ------------------------------------------------------------------------------------------------------

    def workflow(self, name: str) -> Workflow:
        """The workflow of this name; raises ``ValueError`` if there is none here."""
        workflow = self.workflows.get(name)
        if workflow is None:
            known = ", ".join(map(repr, self.workflows))
            raise ValueError(f"this engine has no workflow {name!r:.60}; it has {known}")
        return workflow

    async def workflow_of(self, run_id: str) -> Workflow:
        """The workflow of a run; raises as ``get`` does."""
        held = self.held.get(run_id)
        if held is not None:
            await trio.lowlevel.checkpoint()
            return held.workflow
        name = (await self.store.info(run_id)).workflow_name
        return self.workflows.get(name) or self.made.workflow_of(await self.store.read(run_id))

    async def _held(self, run_id: str, verb: str, created: float | None) -> HeldRun | None:
        """The run, taken if nobody has it; ``None`` if another engine has it."""
        held = self.held.get(run_id)
        if held is not None:
            return require_same(held, created)
        record = require_same(await self.store.info(run_id), created)
        if record.header.is_finished:
            raise RunClosedError(verb, record.header.status, run_id)
        if record.workflow_name not in self.workflows and record.owner is not None:
            return None  # to leave word for the other one needs no workflow
        if record.workflow_name not in self.workflows:
            self.made.workflow_of(await self.store.read(run_id))  # makes it, if that is possible
        taken = await self.claim(Wanted(run_id=run_id, labels=self.options.labels), 1)
        held = taken[0] if taken else self.held.get(run_id)
        return None if held is None else require_same(held, created)

    async def claim(self, wanted: Wanted, limit: int) -> list[HeldRun]:
        """Take runs of this engine's workflows that nobody holds."""
        wanted = attrs.evolve(wanted, workflows=tuple(self.workflows))
        lease = self.options.lease
        records = await self.store.claim(self.owner, now=time.time(), lease_s=lease, limit=limit, wanted=wanted)
        return [
            self._hold(self.workflows[each.workflow_name], each.run_id, each.fence, each.created) for each in records
        ]

    def _hold(self, workflow: Workflow, run_id: str, fence: int, created: float) -> HeldRun:
        held = self.held[run_id] = HeldRun(self, workflow, run_id, fence, created)
        return held

    def forget(self, held: HeldRun) -> None:
        """The run is over, or is not this engine's any more."""
        if held.is_held:
            del self.held[held.run_id]
        self.idle.pop(held, None)

    def note_idle(self, held: HeldRun, *, is_idle: bool) -> None:
        """The run has only questions left, or has something to do, or left memory."""
        held.idle_since = trio.current_time() if is_idle else None
        if is_idle:
            self.idle[held] = None
            self.pump()
        else:
            self.idle.pop(held, None)

    def watch(self, run_id: str, tell: Callable[[], None]) -> Callable[[], None]:
        """See ``EngineRun.watch``."""
        watchers = self._watchers.setdefault(run_id, [])
        watchers.append(tell)

        def leave() -> None:
            watchers.remove(tell)
            if not watchers:
                self._watchers.pop(run_id, None)

        return leave

    def tell_watchers(self, run_id: str) -> None:
        """What is known of the run has changed."""
        for tell in self._watchers.get(run_id, ()):
            tell()

    def note_finished(self, state: RunState) -> None:
        """A run is over, and that is saved."""
        self._finished += 1
        self.note_away(state, 1)

    def note_refs(self, runner: DurableRunner) -> None:
        """A run has its result: of a call of a peer the live objects are the caller's now."""
        if CALL in runner.marks and runner.has_session_refs:
            self.kept_refs.keep(runner.run_id, runner.session_refs)

    def note_away(self, state: RunState, times: int) -> None:
        """A run left memory, or (-1) came back: what it counted still counts."""
        for name in _COUNTED:
            self._away[name] += times * getattr(state, name)

    def bring(self, held: HeldRun) -> None:
        """Let a run go on that was taken over, as soon as there is room."""
        self._recovered += 1
        self._enqueue(held, None, {})

    def _enqueue(self, held: HeldRun, state: RunState | None, metadata: dict[str, Any]) -> None:
        held.is_queued = True
        self._queue.append((held, state, metadata))
        self.pump()

    def pump(self) -> None:
        """Bring the runs that wait for it into memory, as far as there is room: in order, so nobody waits for ever."""
        room = self.options.max_runs
        while self._queue and not self.is_closing and (room is None or self.in_memory - len(self.idle) < room):
            self.in_memory += 1
            held, state, metadata = self._queue.popleft()
            self.nursery.start_soon(held.bring, state, metadata)

    # --- What it holds ------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, Any]:
        """Counts: runs held, in memory, in the queue, stopped by an error; events and calls of all, added up.

        ``emitted``, ``pending``, ``consumed`` and ``late`` are of the runs in memory, of those that this engine parked,
        and of those that ended here.
        """
        loaded = [held.runner.state for held in self.held.values() if held.runner is not None]
        return {
            "held": len(self.held),
            "in_memory": self.in_memory,
            "queued": len(self._queue),
            "started": self._started,
            "recovered": self._recovered,
            "finished": self._finished,
            **{name: sum(getattr(state, name) for state in loaded) + self._away[name] for name in _COUNTED},
            "running": sum(len(state.running) for state in loaded),
            "kept_refs": len(self.kept_refs),
            "aborted_calls": len(self.aborted_calls),
            "stopped": sum(held.error is not None for held in self.held.values()),
            "store": self.store.statistics(),
        }

    def __repr__(self) -> str:
        return f"<Engine {self.owner.engine_id} with {len(self.held)} runs>"


def _by_name(workflows: Iterable[Workflow]) -> dict[str, Workflow]:
    by_name: dict[str, Workflow] = {}
    for each in workflows:
        if by_name.setdefault(each.name, each) is not each:
            raise ValueError(f"two workflows are named {each.name!r}; runs are found again by the name")
    return by_name


def _new(workflow: Workflow, run_id: str, event: Event) -> RunState:
    """The state of a run that was never started."""
    state = new_state(workflow, run_id)
    state.wall_offset = time.time() - trio.current_time()
    queue_start(state, event)
    return state
