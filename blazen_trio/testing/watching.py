"""A run whose every message can be listened to; else it is like any other.

The listener is called when the machine has taken a message in and before its effects are carried out. It must not
change anything.
"""

from collections.abc import Callable, Sequence
from typing import Any

import trio

from blazen_trio.block import RunBlock
from blazen_trio.core.effects import Effect
from blazen_trio.core.events import Event, StartEvent
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import Message
from blazen_trio.core.state import RunState, new_state
from blazen_trio.run_ids import new_run_id
from blazen_trio.runner import Runner
from blazen_trio.session_refs.saving import Deserializers
from blazen_trio.snapshot import WorkflowSnapshot, restore
from blazen_trio.workflow import Workflow

Listener = Callable[[Runner, RunState, Message, Sequence[Effect]], None]
"""Is told: the run, the state of that whose message it is (this run, or one inside of it), the message, and what was
decided."""


class WatchedRunner(Runner):
    """A runner that tells a listener of each message."""

    __slots__ = ("_listen",)

    def __init__(self, workflow: Workflow, state: RunState, metadata: dict[str, Any] | None, listen: Listener) -> None:
        self._listen = listen
        super().__init__(workflow, state, workflow.codec, metadata)

    def decider(self, machine: Machine) -> Callable[[Message], list[Effect]]:
        """What decides, and tells the listener; of runs inside this one, too."""

        def handle_and_tell(message: Message) -> list[Effect]:
            effects = machine.handle(message)
            self._listen(self, machine.state, message, effects)
            return effects

        return handle_and_tell


def begin(workflow: Workflow, input: object, listen: Listener) -> tuple[Runner, RunBlock]:
    """A run from the start, as ``workflow.start`` makes it."""
    event = input if isinstance(input, Event) else StartEvent(input)
    runner = WatchedRunner(workflow, new_state(workflow, new_run_id()), None, listen)
    return runner, RunBlock(workflow, runner, event)


def go_on(
    workflow: Workflow, snapshot: WorkflowSnapshot, listen: Listener, deserializers: Deserializers | None = None
) -> tuple[Runner, RunBlock]:
    """A run from a snapshot, as ``workflow.resume`` makes it; raises ``SnapshotError``."""
    restored = restore(workflow, workflow.codec, snapshot, trio.current_time(), deserializers)
    runner = WatchedRunner(workflow, restored.state, restored.metadata, listen)
    if restored.refs is not None:
        runner.use_session_refs(restored.refs, is_owner=True)
    return runner, RunBlock(workflow, runner, None)
