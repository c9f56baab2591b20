"""A peer in the same process: for tests and examples of what runs on other servers.

What crosses to it and back goes through text, as it would on a wire; so an error arrives without its cause, and live
objects stay where they are. The run itself is one of a real engine.
"""

import pickle
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs
import trio

from blazen_trio.codec import Codec, codec_of, from_json, to_json
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import PeerError, WorkflowError
from blazen_trio.core.events import Event
from blazen_trio.engine import Engine
from blazen_trio.engine.calls import abort_call, begin_call, called_workflow, end_call
from blazen_trio.peers import SessionRefData
from blazen_trio.run import WorkflowResult, result_of
from blazen_trio.session_refs import RegistryKey
from blazen_trio.step_registry import StepRegistry

Moment: TypeAlias = Literal["before", "started", "answer"]


class LocalPeer:
    """An engine of this process as a ``Peer``, which can be lost on purpose.

    Args:
        engine: runs what is called.
        name: what errors call it.
        registry: steps of which it makes workflows that the engine has not.

    Attributes:
        calls: the ids of the calls that came so far, in order, those that were lost included.
        aborted: the ids of the runs that were aborted from afar.
    """

    def __init__(self, engine: Engine, name: str = "local", registry: StepRegistry | None = None) -> None:
        self._engine = engine
        self._name = name
        self._registry = registry
        if registry is not None:
            engine.made.use(registry)
        self._lost: Counter[Moment] = Counter()
        self.calls: list[str] = []
        self.aborted: list[str] = []

    def lose(self, moment: Moment, times: int = 1) -> None:
        """Let the next calls lose the connection.

        Args:
            moment: ``"before"`` the call arrives, when its run has ``"started"``, or before the ``"answer"``.
            times: so many calls.
        """
        self._lost[moment] += times

    @property
    def name(self) -> str:
        """What errors call it."""
        return self._name

    @property
    def node_id(self) -> str:
        """The engine's."""
        return self._engine.node_id

    async def call(
        self,
        workflow: WorkflowDefinition,
        event: Event,
        *,
        call_id: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> WorkflowResult:
        """Run the engine's workflow of this name; a checkpoint. See ``Peer.call``."""
        self.calls.append(call_id)
        text = to_json(codec_of(workflow).event_to_plain(event))
        self._lose_at("before", call_id)
        try:
            result = await self._run(workflow, text, call_id, metadata)
        except WorkflowError as error:
            raise pickle.loads(pickle.dumps(error)) from None  # noqa: S301 - it was pickled in this line
        self._lose_at("answer", call_id)
        event = _carried(result.event, self._engine.workflow(workflow.name).codec, codec_of(workflow))
        return attrs.evolve(result, event=event, result=result_of(event))

    async def _run(
        self, workflow: WorkflowDefinition, text: str, call_id: str, metadata: Mapping[str, Any] | None
    ) -> WorkflowResult:
        steps = [step.name for step in workflow.steps]
        known = called_workflow(self._engine, workflow.name, steps, self._registry)
        event = known.codec.event_from_plain(from_json(text))
        run = await begin_call(self._engine, workflow.name, event, call_id, metadata)
        self._lose_at("started", call_id)
        return await end_call(self._engine, run)

    def _lose_at(self, moment: Moment, call_id: str) -> None:
        if self._lost[moment]:
            self._lost[moment] -= 1
            raise PeerError(self._name, "the connection was lost", call_id)

    async def abort(self, run_id: str, reason: str | None = None) -> None:
        """End the run of a call; a checkpoint."""
        self.aborted.append(run_id)
        await abort_call(self._engine, run_id, reason)

    async def deref_session_ref(self, key: RegistryKey) -> SessionRefData:
        """An object that stayed there, as bytes. See ``Peer.deref_session_ref``."""
        await trio.lowlevel.checkpoint()
        return self._engine.kept_refs.deref(key)

    async def release_session_ref(self, key: RegistryKey) -> bool:
        """Let go of an object there; whether it was there."""
        await trio.lowlevel.checkpoint()
        return self._engine.kept_refs.release(key)

    def __repr__(self) -> str:
        return f"<LocalPeer {self._name!r}>"


def _carried(event: Event, sender: Codec, receiver: Codec) -> Event:
    return receiver.event_from_plain(from_json(to_json(sender.event_to_plain(event))))
