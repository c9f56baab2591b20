"""A run that goes on, as data: its snapshot, and what a snapshot leaves out.

A snapshot puts unfinished calls back, for they are to be repeated. Rows that follow a base go on with these calls. So
beside the snapshot stands, for the run and each one inside it, what is *live*: which calls run, what they wrote and
took that does not count yet, and what they wait for. ``write_live`` tells it, ``Live.make_live`` makes it so again.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs

from blazen_trio.codec import Codec, DecodeError, Plain, codec_of
from blazen_trio.core.calls import Call
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import WakeTask
from blazen_trio.core.events import UsageEvent
from blazen_trio.core.ids import format_id
from blazen_trio.core.machine import Machine
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.messages import Message
from blazen_trio.core.shared_state import MISSING
from blazen_trio.core.state import RunState
from blazen_trio.core.status import Rest, RunStatus
from blazen_trio.journal.rows import NOBODY, RowWriter, RunReader, read_class, read_waiter, write_waiter
from blazen_trio.snapshot.fields import Fields, checked, checked_count, checked_id, checked_list, checked_number

IsObserved: TypeAlias = Callable[[RunState], bool]


# --- Writing ----------------------------------------------------------------------------------------------------------


def write_live(definition: WorkflowDefinition, state: RunState, rows: RowWriter, is_observed: IsObserved) -> Plain:
    """What is live in a run and in those inside it; ``None`` if it is over.

    Args:
        definition: of its workflow.
        state: of the run.
        rows: what numbers its waiters.
        is_observed: whether lifecycle events of a run (this one, or one inside it) are made now.

    Raises:
        EncodeError: something in it cannot be encoded.
    """
    return None if state.outcome is not None else _Writer(rows, is_observed).run(definition, state)


@attrs.frozen
class _Writer:
    rows: RowWriter
    is_observed: IsObserved

    def run(self, definition: WorkflowDefinition, state: RunState) -> dict[str, Plain]:
        codec = codec_of(definition)
        return {
            "status": state.status.value,
            "has_clock": state.running_since is not None,
            "is_held": state.is_held,
            "is_observed": self.is_observed(state),
            "wall_offset": state.wall_offset,
            "rest": None if state.nesting is None else state.nesting.rest.value,
            "running": [[call.step_name, format_id(call.id), call.begun_at] for call in state.running],
            "writes": [_pile(key, pile) for key, pile in state.values.layers.items()],
            "usage": list(_usage(state, codec)),
            "taken": list(_taken(state)),
            "waiters": [self.waiter(state, codec, each) for each in _waiters(state)],
            "asking": list(_asking(state)),
            "held": list(_held(state)),
            "children": [self.child(definition, *each) for each in (state.children or {}).items()],
        }

    def waiter(self, state: RunState, codec: Codec, waiter: Waiter) -> Plain:
        assert state.mailbox is not None
        declined, offered = state.mailbox.interest(waiter)
        places: list[Plain] = [*declined]
        return [write_waiter(self.rows, codec, waiter), places, offered]

    def child(self, around: WorkflowDefinition, call: Call, child: RunState) -> Plain:
        over = child.outcome is not None
        live = None if over else self.run(around.children[call.plan.index], child)
        return [format_id(call.id), [call.waits, call.asks], live]


def _pile(key: str, pile: list[tuple[Any, Any]]) -> Plain:
    layers: list[Plain] = [
        [format_id(owner.id), [] if value is MISSING else [value]] for owner, value in pile if owner is not None
    ]
    return [key, layers]


def _usage(state: RunState, codec: Codec) -> Iterator[Plain]:
    for call in state.running:
        if call.record is not None and call.record.usage:
            events: list[Plain] = [codec.event_to_plain(each) for each in call.record.usage]
            yield [format_id(call.id), events]


def _taken(state: RunState) -> Iterator[Plain]:
    for call in state.running:
        taken = {} if call.record is None else call.record.taken
        for event_class, entries in taken.items():  # in the snapshot those are back whose calls were not given up
            back = sum(event_class in entry[0].recorded().collected for entry in entries)
            yield [format_id(call.id), event_class.event_type, back]


def _waiters(state: RunState) -> list[Waiter]:
    return [] if state.mailbox is None else state.mailbox.waiters()


def _asking(state: RunState) -> Iterator[Plain]:
    for question in state.own_questions() if state.asks else ():
        if question.token is not None:
            yield [question.event.request_id, question.is_final]


def _held(state: RunState) -> Iterator[Plain]:
    """Answers that wait for the end of a pause; one whose call was interrupted since is in that call's record."""
    for request_id, (call, _) in (state.held_wakes or {}).items():
        if call in state.running:
            yield [request_id, format_id(call.id)]


# --- Reading ----------------------------------------------------------------------------------------------------------


class Live:
    """A run as far as it was told: its machine, what its rows refer to, and the runs inside it.

    Args:
        definition: of its workflow.
        state: of the run, as a snapshot gives it: paused, or over.
    """

    def __init__(self, definition: WorkflowDefinition, state: RunState) -> None:
        self.definition: WorkflowDefinition = definition
        self.state: RunState = state
        self.machine: Machine = Machine(definition, state)
        self.reader: RunReader = RunReader(codec_of(definition), {call.id: call for call in state.timers})
        self.children: dict[int, Live] = {}

    def begin_anew(self) -> None:
        """It goes on in another call or process: with a machine that has seen nothing yet."""
        self.machine = Machine(self.definition, self.state)

    def let_rest(self, message: Message) -> None:
        """If the message ended a call, then the run inside it rests until the call is repeated."""
        call = getattr(message, "call", None)
        if call is not None and call not in self.state.running and call.id in self.children:
            self.children[call.id].begin_anew()

    def make_live(self, plain: Plain, at: float) -> None:
        """Make live again what was at the time ``at``; a run that was over stays as it is.

        Raises:
            DecodeError: that does not fit what the snapshot holds.
        """
        if plain is None:
            return
        fields = Fields(plain, "live")
        self._begin(fields, at)
        for entry in fields.items("running"):
            self._run(*_items(entry, 3))
        for entry in fields.items("writes"):
            self._write(*_items(entry, 2))
        for entry in fields.items("usage"):
            self._use(*_items(entry, 2))
        for entry in fields.items("taken"):
            self._take(*_items(entry, 3))
        for entry in fields.items("waiters"):
            self._wait(*_items(entry, 3))
        for entry in fields.items("asking"):
            self._ask(*_items(entry, 2))
        for entry in fields.items("held"):
            self._hold(*_items(entry, 2))
        for entry in fields.items("children"):
            self._child(*_items(entry, 3), at=at)
        fields.end()

    def _begin(self, fields: Fields, at: float) -> None:
        state, machine = self.state, self.machine
        state.status = RunStatus(fields.text("status"))
        if state.status is not RunStatus.PAUSED:
            state.timers = {call: at + remaining for call, remaining in state.timers.items()}
        state.running_since = at if fields.flag("has_clock") else None
        state.is_held = fields.flag("is_held")
        state.wall_offset = checked_number(fields.value("wall_offset"), "wall_offset")
        rest = fields.value("rest")
        if state.nesting is not None:
            state.nesting.rest = Rest(checked(rest, str, "rest"))
        machine.now = at
        machine.is_observed = fields.flag("is_observed")
        machine.is_watched = machine.is_observed or state.history is not None
        machine.is_stopped = state.is_held or state.status is RunStatus.PAUSED
        machine.see_to_routing()

    def _run(self, step: Plain, call_id: Plain, begun_at: Plain) -> None:
        """The call stands in front of its lane: there a snapshot puts it."""
        lane = next((lane for lane in self.state.lanes if lane.plan.name == step), None)
        if lane is None or not lane.waiting:
            raise DecodeError("a call runs that is not there")
        call = lane.pop()
        if call.id != checked_id(call_id, "running"):
            raise DecodeError(f"another call than {call_id!r} is the first of its step")
        lane.running += 1
        call.begun_at = checked_number(begun_at, "begun_at")
        self.state.running[call] = None
        self.reader.calls[call.id] = call

    def _call(self, call_id: Plain) -> Call:
        return self.reader.call(checked_id(call_id, "live"))

    def _write(self, key: Plain, layers: Plain) -> None:
        name = checked(key, str, "writes")
        for layer in checked_list(layers, "writes"):
            call_id, values = _items(layer, 2)
            call = self._call(call_id)
            found = checked_list(values, "writes")
            call.recorded().keys.add(name)
            self.state.values.write(call, name, found[0] if found else MISSING)

    def _use(self, call_id: Plain, events: Plain) -> None:
        record = self._call(call_id).recorded()
        for each in checked_list(events, "usage"):
            event = self.reader.codec.event_from_plain(each)
            if not isinstance(event, UsageEvent):
                raise DecodeError("not a UsageEvent", "usage")
            record.usage.append(event)

    def _take(self, call_id: Plain, event_type: Plain, count: Plain) -> None:
        call, event_class = self._call(call_id), read_class(self.reader, event_type)
        buffer = self.state.collectors.get((call.plan.index, event_class), [])
        number = checked_count(count, "taken")
        call.recorded().taken[event_class] = buffer[:number]
        del buffer[:number]
        self.state.kept -= number

    def _wait(self, waiter: Plain, declined: Plain, offered: Plain) -> None:
        made = read_waiter(self.reader, waiter)
        places = [checked_count(each, "waiters") for each in checked_list(declined, "waiters")]
        place = None if offered is None else checked_count(offered, "waiters")
        self.machine.mailbox().stand(made, places, place)
        if place is None:
            self.machine.park(made.call, is_question=False)

    def _ask(self, request_id: Plain, is_final: Plain) -> None:
        question = self.state.questions[checked(request_id, str, "asking")]
        assert question.call is not None
        question.token, question.is_final = NOBODY, checked(is_final, bool, "asking")
        self.machine.park(question.call, is_question=True)

    def _hold(self, request_id: Plain, call_id: Plain) -> None:
        name, call = checked(request_id, str, "held"), self._call(call_id)
        self.state.hold_wake(name, call, WakeTask(NOBODY, self.state.answered[name]))
        self.machine.park(call, is_question=True)

    def _child(self, call_id: Plain, waits: Plain, live: Plain, *, at: float) -> None:
        child = self.child(checked_id(call_id, "children"))
        child.make_live(live, at)
        call = self.reader.calls.get(checked_id(call_id, "children"))
        if call is not None:
            tasks, asks = (checked_count(each, "children") for each in _items(waits, 2))
            self.machine.count_waits(call.recorded(), tasks, asks)

    def child(self, call_id: int) -> "Live":
        """The run inside a call of this one, which was begun."""
        call = next((each for each in self.state.children or () if each.id == call_id), None)
        if call is None:
            raise DecodeError(f"no run is inside call {format_id(call_id)}")
        assert self.state.children is not None
        state = self.state.children[call]
        known = self.children.get(call_id)
        if known is None or known.state is not state:
            known = self.children[call_id] = Live(self.definition.children[call.plan.index], state)
        return known


def _items(plain: Plain, count: int) -> list[Plain]:
    items = checked_list(plain, "live")
    if len(items) != count:
        raise DecodeError(f"expected {count} items", "live")
    return items
