"""``Workflow``: steps and options, checked when it is built; it makes runs."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

import attrs
import trio

from blazen_trio.block import RunBlock
from blazen_trio.codec import Codec, codec_of
from blazen_trio.core.definition import OptionKeywords, WorkflowDefinition, WorkflowOptions
from blazen_trio.core.description import WorkflowDescription, describe, to_mermaid
from blazen_trio.core.state import new_state
from blazen_trio.core.steps import Step, StepOptions
from blazen_trio.metadata import checked_metadata
from blazen_trio.run import WorkflowResult
from blazen_trio.run_ids import new_run_id
from blazen_trio.runner import Runner
from blazen_trio.session_refs.saving import Deserializers
from blazen_trio.snapshot import WorkflowSnapshot, restore
from blazen_trio.sub_workflow import EventClasses, InputMapper, OutputMapper, start_event, sub_workflow_step
from blazen_trio.worker import let_interrupt

if TYPE_CHECKING:
    from blazen_trio.abc import Store
    from blazen_trio.peers import Peer
    from blazen_trio.step_registry import StepRegistry


class Workflow(WorkflowDefinition):
    """Steps wired by the events that they accept and return.

    Args:
        name: for people, and for finding it again.
        steps: made by ``step``; their order is the order in which an event reaches those that accept it.
        timeout: seconds of running time for a run; time paused or waiting only for input does not count.
        retry: for steps that have none of their own; without either a step is not retried.
        input_handler: ``async (InputRequestEvent) -> object``, which answers every question.
        publish_lifecycle: whether lifecycle events are on the stream while somebody reads it.
        state_type: an attrs class whose fields all have defaults: the type of ``ctx.state``.
        collect_history: keep what happens as ``run.history``.
        events: event classes that only enter from outside (``run.send_event``), or that calls wait for.
        max_pending_events: more events than this waiting in a run are an error.
        stream_buffer: how many published events a run keeps for subscribers.
        max_session_refs: how many live objects a run may register.
        session_pause_policy: what a snapshot does with them.
        allow_pickle: whether ``resume`` may unpickle them. That runs code that stands in the snapshot, so say it only
            of snapshots that nobody else can write. One that was read with ``verify_key=`` needs no such permission.

    Raises:
        WorkflowValidationError: with everything that is wrong, each with its fix.
    """

    def __init__(self, name: str, steps: Iterable[Step], **options: Unpack[OptionKeywords]) -> None:
        super().__init__(name, steps, WorkflowOptions(**options))
        for plan in self.plans:
            let_interrupt(plan.step.function)
        self.codec: Codec = codec_of(self)

    async def run(
        self,
        input: object = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        store: "Store | None" = None,
        run_id: str | None = None,
    ) -> WorkflowResult:
        """Run to the end; a checkpoint.

        A question that no ``input_handler`` answers is a ``RunStalledError`` here, when nothing else can go on: nobody
        could answer it.

        Args:
            input: becomes a ``StartEvent`` unless it is an event.
            metadata: anything that steps shall find in ``ctx.metadata``.
            store: makes the run durable: what happens is saved there before anybody sees it.
            run_id: its id there. Of a run that was begun before the input is that of then: it goes on where it was, or
                gives its result if it is over.

        Raises:
            RunLockedError: the run is held by an engine, or by another call.
            StoreError: it cannot be saved.
            WorkflowError: why the run failed; exactly one exception, never a group.
        """
        if store is not None:
            from blazen_trio.single_run import run_durably  # noqa: PLC0415 - most programs have no use for journals

            return await run_durably(self, start_event(input), checked_metadata(metadata), store, run_id)
        if run_id is not None:
            raise TypeError("run_id= is the id of a run in a store: give store=, too")
        return await self._block(input, metadata, is_attended=False).run_to_end()

    async def run_remote(
        self,
        input: object,
        peer: "Peer",
        *,
        call_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> WorkflowResult:
        """Run to the end on another server, which has a workflow of this name and these steps; a checkpoint.

        Live objects stay there: ``session_refs`` of the result holds a ``RemoteRefDescriptor`` for each. If the caller
        is cancelled the run there is aborted, if that can be told within two seconds; if the peer is lost it runs on.

        Args:
            input: becomes a ``StartEvent`` unless it is an event.
            peer: the server: a ``RemoteEngine`` of the websocket client, or what else is a ``Peer``.
            call_id: the id of the call, and of the run there. Called again with the same one, after a ``PeerError``,
                this gives the result of the first call instead of running again. By default a new one.
            metadata: anything that steps shall find in ``ctx.metadata``, as far as it can be sent.

        Raises:
            EncodeError: the input or the metadata cannot be sent.
            PeerError: the peer is lost, or refuses; its ``run_id`` is the call's id.
            WorkflowError: why the run failed.
        """
        from blazen_trio.remote_step import checked_peer, run_on_peer  # noqa: PLC0415 - most programs have no peers

        where = checked_peer(peer)
        return await run_on_peer(self, start_event(input), where, call_id or new_run_id(), metadata)

    def start(self, input: object = None, *, metadata: Mapping[str, Any] | None = None) -> RunBlock:
        """A run as an async context manager: ``async with workflow.start(...) as run``.

        When the block ends the run ends: one that still runs is aborted. A failure that nobody took through
        ``run.result()`` is raised then.

        Args:
            input: becomes a ``StartEvent`` unless it is an event.
            metadata: anything that steps shall find in ``ctx.metadata``.
        """
        return self._block(input, metadata, is_attended=True)

    def resume(self, snapshot: WorkflowSnapshot, deserializers: Deserializers | None = None) -> RunBlock:
        """A run that goes on where the snapshot was taken, as an async context manager: see ``start``.

        Calls that had not finished run again, with what they had done undone; ids, idempotency keys, attempts, usage,
        timers, running time and the numbers on the stream go on. A run that was paused goes on, too; one that was over
        gives its outcome at once. The snapshot can be resumed again: these are runs of their own, under one id.

        Args:
            snapshot: of a run of a workflow with this name.
            deserializers: by type tag, what makes a session ref's object of the bytes that its ``blazen_serialize``
                gave. Without any they are kept as bytes, for a later resume.

        Raises:
            SessionRefCapacityError: it has more session refs than ``max_session_refs``.
            SessionRefsNotSerializableError: session refs cannot be rebuilt, or only by unpickling without permission.
            SnapshotCorruptError: it is damaged, or was changed by hand.
            SnapshotMismatchError: it is of another workflow, or of steps and event classes that this one has not.
            SnapshotVersionError: it was written in another format.
        """
        now = trio.current_time()
        restored = restore(self, self.codec, snapshot, now, deserializers)
        runner = Runner(self, restored.state, self.codec, restored.metadata)
        if restored.refs is not None:
            runner.use_session_refs(restored.refs, is_owner=True)
        return RunBlock(self, runner, None)

    def as_step(
        self,
        accepts: EventClasses,
        emits: EventClasses,
        input: InputMapper | None = None,
        output: OutputMapper | None = None,
        *,
        peer: "Peer | None" = None,
        **options: Unpack[StepOptions],
    ) -> Step:
        """A step for another workflow that runs this one, to its end, for each event.

        The run inside shares the stream, the usage, the session refs and the questions of the run around it, is paused
        and aborted with it, and stands in its snapshot where it is. It has its own state, timeout and retries. Its
        steps are named ``name/step`` on the stream. Events do not cross the boundary by themselves.

        Args:
            accepts: the event class that starts a call, or several.
            emits: the event class that ``output`` gives, or several.
            input: gives the input of ``run`` for an event; by default the event's fields as a dict. May be async.
            output: gives the event for a ``WorkflowResult``; by default ``emits(**result)``. May be async; ``None``
                emits nothing.
            peer: runs it on that server instead of inside the call; then it shares only usage, session refs (as remote
                ones) and metadata. The call's id is ``ctx.idempotency_key``: a repeated attempt attaches to the run
                that is there. A lost peer is a ``PeerError``, and the event stays pending: see the guide on peers.
            options: those of ``step``: ``name`` (by default this workflow's), ``timeout``, ``retry`` and so on. A
                repeated attempt begins a new run, under the same ids, unless it runs on a ``peer``.

        Raises:
            TypeError: what is no event class, or an option that does not exist.
        """
        name = options.get("name", self.name)
        if peer is None:
            bare = sub_workflow_step(self, name, (accepts, emits), (input, output))
        else:
            from blazen_trio.remote_step import on_peer  # noqa: PLC0415 - most programs have no peers

            bare = sub_workflow_step(self, name, (accepts, emits), (input, output), on_peer(peer))
        return bare.with_options(**options)

    @classmethod
    def from_registered_steps(
        cls, name: str, names: Iterable[str], registry: "StepRegistry", **options: Unpack[OptionKeywords]
    ) -> "Workflow":
        """A workflow of steps that are named, as a server makes it for a peer that calls.

        Raises:
            UnknownStepError: the registry has no steps of these names, all of which are told.
            WorkflowValidationError: the steps do not fit together.
        """
        return cls(name, registry.steps(names), **options)

    def with_options(self, options: WorkflowOptions) -> "Workflow":
        """The same steps under other options."""
        return Workflow(self.name, self.steps, **attrs.asdict(options, recurse=False))

    def _block(self, start: object, metadata: Mapping[str, Any] | None, *, is_attended: bool) -> RunBlock:
        event = start_event(start)
        state = new_state(self, new_run_id(), is_attended=is_attended)
        runner = Runner(self, state, self.codec, checked_metadata(metadata) or None)
        return RunBlock(self, runner, event)

    def describe(self) -> WorkflowDescription:
        """The graph of the workflow: nodes (steps and ends) and edges (events)."""
        return describe(self)

    def to_mermaid(self) -> str:
        """The graph as a Mermaid flowchart."""
        return to_mermaid(self.describe())

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r} with {len(self.steps)} steps>"
