"""Runs inside this one, of workflows that are steps here: what they tell it.

Rules of this file:

* A run inside another one has its own machine, state, timeout and retries. It shares the stream, the usage, the session
  refs and the questions of the run around it.
* Its state hangs on the call that it runs in (``RunState.children``), so it is in the same snapshot. It goes with the
  attempt: an interrupted call keeps it, a failed one begins it anew.
* What the run around it must know comes as a message: what to publish, and whether it has to be waited for.
"""

from typing import Any, Final, cast

import attrs

from blazen_trio.core.calls import Call, Origin
from blazen_trio.core.dispatch import Dispatcher, Handlers
from blazen_trio.core.effects import Publish
from blazen_trio.core.events import Event, LifecycleEvent, ProgressEvent
from blazen_trio.core.ids import ROOT_ID, format_id
from blazen_trio.core.messages import ChildPublished, ChildRested, ChildStarted
from blazen_trio.core.records import is_late
from blazen_trio.core.state import Emission, RunState, new_child_state
from blazen_trio.core.status import Rest, RunStatus

_WAITS: Final = {Rest.BUSY: (0, 0), Rest.QUIET: (1, 0), Rest.ASKING: (1, 1)}
"""How many tasks of the call wait, and how many of them for answers."""


def child_started(machine: Dispatcher, message: ChildStarted) -> None:
    """Let the call have a run inside it."""
    state, call = machine.state, message.call
    definition = machine.definition.children.get(call.plan.index)
    if is_late(machine, call) or definition is None:
        return
    call.recorded()  # there is something to commit when it ends
    state.children = state.children or {}
    state.children[call] = child = new_child_state(state, call, definition)
    queue_start(child, message.event)


def queue_start(child: RunState, event: Event) -> None:
    """Let a run begin as one that was paused before its first event: so there is no instant at which it has none."""
    child.status, child.has_begun = RunStatus.PAUSED, False
    child.queue.append(Emission((event,), Origin(ROOT_ID, 0, child.root, (), 0), is_fan_out=False))
    child.root.active = child.alive = child.emitted = 1


def published(call: Call, effect: Publish, child: RunState) -> ChildPublished:
    """What the run inside a call tells the one around it when it publishes."""
    origin = (effect.source_step, effect.call_id, effect.attempt)
    return ChildPublished(call, effect.event, *origin, effect.timestamp - child.wall_offset)


def child_published(machine: Dispatcher, message: ChildPublished) -> None:
    """Publish here what the run inside published, under the names of both steps."""
    call = message.call
    if is_late(machine, call):
        return
    machine.now = message.at
    event = _named(message.event, call)
    if isinstance(event, ProgressEvent):
        machine.state.progress = event
    if message.source_step is None or message.call_id is None:  # the run inside itself: for its steps it is the call
        machine.publish(event, call)
        return
    inner = message.call_id if isinstance(message.call_id, str) else format_id(message.call_id)
    source, call_id = f"{call.step_name}/{message.source_step}", f"{format_id(call.id)}/{inner}"
    machine.publish_from(event, source, call_id, message.attempt)


def _named(event: Event, call: Call) -> Event:
    """Events that the engine made name their step; here its name has that of the step around it in front."""
    if isinstance(event, LifecycleEvent | ProgressEvent) and event.step_name is not None:
        made: Any = event
        return cast("Event", attrs.evolve(made, step_name=f"{call.step_name}/{event.step_name}"))
    return event


def child_rested(machine: Dispatcher, message: ChildRested) -> None:
    """Count the call among those that a pause need not wait for, or that only wait for answers; or no more."""
    call = message.call
    if call not in machine.state.running:
        return
    machine.now = message.at
    record = call.recorded()
    waits, asks = _WAITS[message.rest]
    machine.count_waits(record, waits - record.waits, asks - record.asks)
    machine.settle()


HANDLERS: Final[Handlers] = {
    ChildStarted: child_started,
    ChildPublished: child_published,
    ChildRested: child_rested,
}
