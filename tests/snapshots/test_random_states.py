"""Any state that the machine can be in is the same when it comes back: Hypothesis leads the machine there.

The model of the machine's own tests writes the programs and plays everybody. After every step here a snapshot is taken,
and what is restored from it is compared with the state, with the running calls interrupted.
"""

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from blazen_trio.codec import Codec
from blazen_trio.core.calls import Batch, Call
from blazen_trio.core.effects import Finish, SetTimer, StartStep
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import RunResumed
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus
from blazen_trio.snapshot import WorkflowSnapshot, restore, take
from tests.budget import share
from tests.machine.programs import Stray
from tests.machine.recount import counted, recounted
from tests.machine.test_machine_model import MachineModel


def facts(state: RunState) -> dict[str, Any]:
    """What is in a state, with running calls as ones that wait."""
    waiting = [call for lane in state.lanes for each in lane.waiting or () for call in items_of(each)]
    everything = [*waiting, *state.running, *state.timers]
    taken = [e for call in state.running if call.record for entries in call.record.taken.values() for e in entries]
    buffered = [entry for entries in state.collectors.values() for entry in entries]
    scopes = {scope for call in everything for scope in around(call.scope)}
    return {
        "calls": Counter((c.id, c.step_name, repr(c.event), c.attempt, c.recoveries, c.order) for c in everything),
        "timers": Counter(call.id for call in state.timers),
        "scopes": Counter((s.id, s.order, s.expected, frozenset(s.joined_inside or ()), collected(s)) for s in scopes),
        "queue": [(repr(list(each.events)), each.is_fan_out) for each in state.queue],
        "questions": {key: question.call and question.call.id for key, question in state.questions.items()},
        "answered": state.answered,
        "mail": Counter(map(repr, state.mailbox.pending() if state.mailbox else ())),
        "buffered": Counter(call.id for call, _ in [*buffered, *valid(taken)]),
        "values": state.values.committed(),
        "counters": (state.usage, state.emitted, state.consumed, state.late, state.outside, state.seq, state.last_step),
        "pending": state.pending + len(valid(taken)),
    }


def valid(taken: list[Any]) -> list[Any]:
    """What was taken out of a buffer by a call that runs and would be put back."""
    return [entry for entry in taken if entry[0].record is not None and type(entry[1]) in entry[0].record.collected]


def items_of(waiting: Call | Batch) -> list[Call]:
    if isinstance(waiting, Call):
        return [waiting]
    index, calls = waiting.next_index, []
    while not waiting.is_empty:
        calls.append(waiting.next_call())
    waiting.next_index = index
    return calls


def around(scope: Any) -> list[Any]:
    return [] if scope is None else [scope, *around(scope.parent)]


def collected(scope: Any) -> tuple[Any, ...]:
    return tuple((join, repr(each.in_order())) for join, each in sorted((scope.collected or {}).items()))


class SavedMachine(MachineModel):
    """The machine's model, with a snapshot after every step."""

    @invariant()
    def what_is_restored_is_what_was_saved(self) -> None:
        if not hasattr(self, "driver"):
            return
        driver = self.driver
        definition, state = driver.program.definition, driver.state
        codec = Codec([*definition.event_classes.values(), Stray])
        snapshot = WorkflowSnapshot.from_json(take(definition, state, codec, {}, driver.now).to_json())
        restored = restore(definition, codec, snapshot, 1000.0).state
        if state.outcome is not None:
            assert restored.outcome is not None
            assert (restored.status, restored.pending) == (state.status, 0)
            return
        assert facts(restored) == facts(state)
        assert counted(restored) == recounted(restored)
        assert restored.status is RunStatus.PAUSED
        self.goes_on(Machine(definition, restored), restored)

    def goes_on(self, machine: Machine, restored: RunState) -> None:
        """What is restored begins with as much as its steps have room for."""
        waiting = sum(len(items_of(each)) for lane in restored.lanes for each in lane.waiting or ())
        effects = machine.handle(RunResumed(1000.0, 0.0))
        started = [effect for effect in effects if isinstance(effect, StartStep)]
        assert len({call.id for call in started}) == len(started)
        assert bool(started) or not waiting or any(isinstance(e, Finish) for e in effects) or shares(restored)
        assert sum(isinstance(effect, SetTimer) for effect in effects) >= len(self.driver.state.timers) - len(started)
        if restored.outcome is None:
            assert counted(restored) == recounted(restored)


def shares(state: RunState) -> bool:
    return any(lane.is_shared and lane.waiting for lane in state.lanes)


def test_any_state_comes_back_as_it_was() -> None:
    run_state_machine_as_test(SavedMachine, settings=settings(stateful_step_count=40))


@pytest.mark.slow
def test_any_state_comes_back_as_it_was_for_long() -> None:
    run_state_machine_as_test(SavedMachine, settings=settings(stateful_step_count=100, max_examples=share(1000)))
