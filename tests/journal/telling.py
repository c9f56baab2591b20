"""A run and its journal, told again from every base: what comes out must be what a snapshot gives at that moment."""

from collections.abc import Callable
from typing import Any

import attrs

from blazen_trio import WorkflowSnapshot
from blazen_trio.codec import Plain, codec_of, to_msgpack
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import Effect, Reject
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import Message, TimerFired
from blazen_trio.core.state import RunState
from blazen_trio.durable.journal import path_of
from blazen_trio.journal import RowWriter, base_plain, write_live
from blazen_trio.journal.replay import _Replay
from blazen_trio.journal.rows import NOT_WRITTEN
from blazen_trio.runner import Runner
from blazen_trio.snapshot import take
from blazen_trio.workflow import Workflow


@attrs.define
class Story:
    """What happened to a run: after each row the snapshot of that moment, and a base."""

    definition: WorkflowDefinition
    rows: list[bytes] = attrs.Factory(list)
    snapshots: list[WorkflowSnapshot] = attrs.Factory(list)
    bases: list[bytes] = attrs.Factory(list)
    is_over: bool = False

    def keep(self, row: bytes, snapshot: WorkflowSnapshot, live: Plain, now: float) -> None:
        """One more row."""
        self.rows.append(row)
        self.snapshots.append(snapshot)
        self.bases.append(to_msgpack(base_plain(snapshot, live, now)))

    def take_back(self) -> bytes:
        """Forget the last row: more belongs to it."""
        self.snapshots.pop()
        self.bases.pop()
        return self.rows.pop()

    def check(self, count: int) -> None:
        """Tell it from about so many bases."""
        for base in range(0, len(self.bases), 1 + len(self.bases) // count):
            self.check_from(base)

    def check_from(self, base: int) -> None:
        """Tell the story again from this base on."""
        told = _Replay(self.definition, self.bases[base])
        for number in range(base + 1, len(self.rows)):
            told.tell(self.rows[number], number)
            assert plain(told.snapshot()) == plain(self.snapshots[number]), (base, number, self.rows[number])


def plain(snapshot: WorkflowSnapshot) -> Any:
    """A snapshot without what depends on the moment it was taken at, when nothing was told since."""
    whole: dict[str, Any] = snapshot.to_plain()
    _forget_times(whole["children"])
    return _rounded(whole)


def _forget_times(children: dict[str, Any]) -> None:
    """A run inside that is over has no clock any more."""
    for child in children.values():
        _forget_times(child["children"])
        if child["metadata"]["engine"]["outcome"] is not None:
            child.pop("timestamp", None)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _rounded(each) for key, each in value.items() if key not in {"late", "session_refs"}}
        if "collectors" in kept:  # buffers in the order in which they were first used: nobody can see it
            kept["collectors"].sort(key=lambda each: (each["step"], each["event_type"]))
        return kept
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


class ToldRunner(Runner):
    """A runner that keeps its story."""

    __slots__ = ("last_at", "machines", "story", "writer")

    def __init__(self, workflow: Workflow, state: RunState, metadata: Any) -> None:
        self.story = Story(workflow)
        self.writer = RowWriter()
        self.last_at = 0.0
        self.machines: dict[RunState, Machine] = {}
        super().__init__(workflow, state, workflow.codec, metadata)

    def decider(self, machine: Machine) -> Callable[[Message], list[Effect]]:
        self.machines[machine.state] = machine

        def handle(message: Message) -> list[Effect]:
            if self.state.outcome is not None or is_late(machine.state, message):
                return machine.handle(message)
            if type(message) in NOT_WRITTEN:  # it belongs to the row before
                effects = machine.handle(message)
                self.keep(self.story.take_back(), getattr(message, "at", None))
                return effects
            path = path_of(machine.state, self.run_id)
            row = self.writer.write(path, codec_of(machine.definition), message)
            effects = machine.handle(message)
            if not (effects and isinstance(effects[0], Reject)):
                self.keep(row, getattr(message, "at", None))
            return effects

        return handle

    def keep(self, row: bytes, at: float | None) -> None:
        now = self.last_at = max(self.last_at, at or 0.0)
        snapshot = take(self.definition, self.state, self.codec, self._metadata or {}, now)
        live = write_live(self.definition, self.state, self.writer, self.is_seen)
        self.story.keep(row, snapshot, live, now)

    def is_seen(self, run: RunState) -> bool:
        """Whether lifecycle events of a run are made; not before it begins."""
        return run in self.machines and self.machines[run].is_observed


def is_late(state: RunState, message: Message) -> bool:
    """Whether the message is of a call that does not run."""
    call = getattr(message, "call", None) or getattr(getattr(message, "waiter", None), "call", None)
    return call is not None and call not in state.running and not isinstance(message, TimerFired)
