"""A workflow on another server, as a step of one here: what ``Workflow.as_step(peer=)`` makes.

The rules of this file:

* The call's id is its idempotency key. So whoever repeats the call (a retry, a resume, a crash) attaches to the run
  that it began, instead of beginning another one.
* A run there is aborted when nobody will ask for it again: its call was cancelled for good. An interrupted call asks
  again; so does one whose run here is saved and goes on elsewhere.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import trio

from blazen_trio.context import Context
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import RUN_ENDS, SubWorkflowError, WorkflowError, describe_exception
from blazen_trio.core.events import Event, UsageEvent
from blazen_trio.core.usage import TokenUsage
from blazen_trio.outages import is_given_up
from blazen_trio.peers import ABORT_S, Peer, abort_call, call_peer
from blazen_trio.run import WorkflowResult
from blazen_trio.sub_workflow import MakeFunction, SubWorkflow, awaited, start_event


@attrs.frozen(eq=False)
class RemoteWorkflow(SubWorkflow):
    """The function of a step that runs a workflow on a peer.

    Attributes:
        peer: the server.
    """

    peer: Peer

    @property
    def child(self) -> WorkflowDefinition | None:
        """None: nothing of it runs inside the calls here."""
        return None

    @property
    def is_remote(self) -> bool:
        """True: all of it is there."""
        return True

    async def __call__(self, event: Event, ctx: Context[Any]) -> object:
        """Run the workflow there, to its end; a checkpoint.

        Raises:
            PeerError: the peer is lost or refuses.
            SubWorkflowError: the run failed; its error is the cause.
        """
        start = start_event(await awaited(self.input(event)))
        try:
            result = await self._called(start, ctx)
        except RUN_ENDS as error:
            raise SubWorkflowError(ctx.step_name, self.workflow.name, describe_exception(error)) from error
        _take_over(result, ctx)
        return await awaited(self.output(result))

    async def _called(self, start: Event, ctx: Context[Any]) -> WorkflowResult:
        call_id = ctx.idempotency_key
        try:
            return await call_peer(self.peer, self.workflow, start, call_id, ctx.metadata)
        except trio.Cancelled:
            if is_given_up(ctx.runner, ctx.call) and await _is_saved(ctx):  # noqa: ASYNC102 - shielded, two seconds
                reason = f"its call in run {ctx.run_id} was cancelled"
                await abort_call(self.peer, call_id, reason)  # noqa: ASYNC102 - shielded, two seconds
            raise


async def _is_saved(ctx: Context[Any]) -> bool:
    """Whether what ended the call is durable: else a crash could bring the call back, whose run would be aborted."""
    if not ctx.runner.root.is_durable:
        return True
    with trio.move_on_after(ABORT_S, shield=True) as scope:  # noqa: ASYNC912 - a store that has failed says so at once
        try:
            await ctx.runner.wait_saved()
        except WorkflowError:
            return False
    return not scope.cancelled_caught


def checked_peer(peer: object) -> Peer:
    """What is a peer; raises ``TypeError`` for anything else."""
    if not isinstance(peer, Peer):
        raise TypeError(f"peer= takes a Peer, such as a RemoteEngine of a websocket client, not {peer!r}")
    return peer


def on_peer(peer: Peer) -> MakeFunction:
    """What makes the function of a step that runs its workflow there."""
    return partial(RemoteWorkflow, peer=checked_peer(peer))


def _take_over(result: WorkflowResult, ctx: Context[Any]) -> None:
    """What the run used counts with this call; what it left there can be named here."""
    counts = attrs.asdict(result.usage_total)
    if result.usage_total != TokenUsage() or result.cost_total_usd:
        ctx.emit_usage(UsageEvent(**counts, cost_usd=result.cost_total_usd or None))
    for key in result.session_refs:
        descriptor = result.session_refs.get_remote(key)
        if descriptor is not None:
            ctx.session_refs.insert_remote(key, descriptor)


async def run_on_peer(
    workflow: WorkflowDefinition, event: Event, peer: Peer, call_id: str, metadata: Mapping[str, Any] | None
) -> WorkflowResult:
    """Run a workflow on a peer: see ``Workflow.run_remote``."""
    try:
        return await call_peer(peer, workflow, event, call_id, metadata)
    except trio.Cancelled:
        await abort_call(peer, call_id, "its caller was cancelled")  # noqa: ASYNC102 - shielded, two seconds
        raise
