"""A run and its journal, told again from every base: what comes out must be what a snapshot gives at that moment."""

from collections.abc import Callable
from typing import Any

import attrs

from blazen_trio import WorkflowSnapshot
from blazen_trio.codec import codec_of, to_msgpack
from blazen_trio.core.effects import Effect
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import Message, TimerFired
from blazen_trio.core.state import RunState
from blazen_trio.journal import RowWriter, base_plain, write_live
from blazen_trio.journal.replay import _Replay
from blazen_trio.runner import Runner
from blazen_trio.snapshot import take
from blazen_trio.workflow import Workflow


@attrs.define
class Story:
    """What happened to a run: after each row the snapshot of that moment, and a base."""

    workflow: Workflow
    rows: list[bytes] = attrs.Factory(list)
    snapshots: list[WorkflowSnapshot] = attrs.Factory(list)
    bases: list[bytes] = attrs.Factory(list)

    def check_from(self, base: int) -> None:
        """Tell the story again from this base on."""
        told = _Replay(self.workflow, self.bases[base])
        for number in range(base + 1, len(self.rows)):
            told.tell(self.rows[number], number)
            assert plain(told.snapshot()) == plain(self.snapshots[number]), (base, number, self.rows[number])


def plain(snapshot: WorkflowSnapshot) -> Any:
    """A snapshot without what depends on the moment it was taken at, when nothing was told since."""
    whole: dict[str, Any] = snapshot.to_plain()
    return _rounded(whole)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items() if key not in {"late", "session_refs"}}
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
            state = machine.state
            call = getattr(message, "call", None) or getattr(getattr(message, "waiter", None), "call", None)
            if self.state.outcome is not None or (
                call is not None and call not in state.running and not isinstance(message, TimerFired)
            ):
                return machine.handle(message)
            path = tuple(int(part, 16) for part in state.run_id.split("/")[1:])
            row = self.writer.write(path, codec_of(machine.definition), message)
            effects = machine.handle(message)
            self.keep(row, getattr(message, "at", None))
            return effects

        return handle

    def keep(self, row: bytes, at: float | None) -> None:
        now = self.last_at = max(self.last_at, at or 0.0)
        self.story.rows.append(row)
        metadata = self._metadata or {}
        snapshot = take(self.definition, self.state, self.codec, metadata, now)
        live = write_live(self.definition, self.state, self.writer, lambda run: self.machines[run].is_observed)
        self.story.snapshots.append(snapshot)
        self.story.bases.append(to_msgpack(base_plain(snapshot, live, now)))
