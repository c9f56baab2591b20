"""A run's work from plain data into a new state: fan-outs, calls, batches, mail, questions, collectors.

Rules of this file:

* Every reference is checked: a fan-out is around another only if it was numbered before it, a call has one fan-out, an
  event goes to a step that accepts it. What is counted is counted anew, never read.
* Each call, each collected item and each queued emission has an id of its own; one that comes twice is an event that
  somebody doubled.
* What the workflow does not know (a step, an event class) is a ``SnapshotMismatchError``; all else a ``DecodeError``.
"""

from collections.abc import Callable
from typing import TypeAlias

from blazen_trio.codec import Codec, DecodeError, Plain
from blazen_trio.core.calls import Batch, Call, CallRecord, Lane, Origin
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import SnapshotMismatchError
from blazen_trio.core.events import Event, InputRequestEvent
from blazen_trio.core.ids import derive_id, format_id
from blazen_trio.core.mailbox import Mailbox
from blazen_trio.core.scopes import Collection, Scope
from blazen_trio.core.state import Emission, Question, RunState
from blazen_trio.snapshot.fields import Fields, checked_count, checked_id, checked_list, checked_seconds, read_order

LiveValue: TypeAlias = Callable[[str], object]


class WorkReader:
    """Reads the work of one run into a state that was just made. The methods are called in the order they stand in."""

    def __init__(
        self, definition: WorkflowDefinition, state: RunState, codec: Codec, now: float, live: LiveValue | None
    ) -> None:
        self._definition = definition
        self._state = state
        self._codec = codec
        self._now = now
        self._live = live
        self._lanes: dict[str, Lane] = {lane.plan.name: lane for lane in state.lanes}
        self._scopes: list[Scope] = [state.root]
        self._calls: dict[int, Call] = {}
        self._ids: set[int] = set()
        self._opened: set[Scope] = set()

    # --- Fan-outs -----------------------------------------------------------------------------------------------------

    def scopes(self, collected: Fields) -> None:
        """The fan-outs, with what their joins collected; number 0 is the run."""
        for number, fields in enumerate(collected.objects("scopes")):
            scope = self._state.root if number == 0 else self._scope(fields)
            scope.joined_inside = set(self._joins(fields, "joined_inside")) or None
            for name, plain in fields.members("collected").items():
                self._collection(scope, name, Fields(plain, f"{fields.where}.collected[{name!r}]"))
            fields.end()

    def _scope(self, fields: Fields) -> Scope:
        parent = self._scope_at(fields, "parent")
        scope = Scope(
            parent,
            fields.call_id("id"),
            fields.order("order"),
            fields.optional_text("opener"),
            fields.count("recoveries"),
        )
        scope.expected = tuple(sorted(self._joins(fields, "expected")))
        parent.active += 1
        self._scopes.append(scope)
        return scope

    def _scope_at(self, fields: Fields, key: str) -> Scope:
        number = fields.count(key)
        if number >= len(self._scopes):
            raise DecodeError(f"there is no fan-out {number}", fields.at(key))
        return self._scopes[number]

    def _joins(self, fields: Fields, key: str) -> list[int]:
        return [self._join(name) for name in fields.texts(key)]

    def _join(self, name: str) -> int:
        plan = self._lane(name).plan
        if not plan.is_join:
            raise SnapshotMismatchError(f"step {name!r} was a join and is none here", self._state.run_id)
        return plan.index

    def _collection(self, scope: Scope, name: str, fields: Fields) -> None:
        join = self._join(name)
        collection: Collection = scope.collection(join)
        events = fields.read_items("events", self._event)
        ids = [self._claim(checked_id(each, fields.at("ids"))) for each in fields.items("ids")]
        orders = [read_order(each, fields.at("orders")) for each in fields.items("orders")]
        recoveries = fields.count("recoveries")
        fields.end()
        if not len(events) == len(ids) == len(orders):
            raise DecodeError("events, ids and orders are not equally many", fields.where)
        for event, item_id, order in zip(events, ids, orders, strict=True):
            self._check_taken(name, event, is_join=True)
            collection.add(event, item_id, order, recoveries)
        self._state.kept += len(events)

    # --- Pending events -----------------------------------------------------------------------------------------------

    def pending(self, fields: Fields, timers: dict[str, Plain]) -> None:
        """What waits for a slot, for the next attempt, for the end of a pause, or for somebody who wants it."""
        for name, works in fields.members("steps").items():
            lane = self._lane(name)
            for place, plain in enumerate(checked_list(works, fields.at("steps"))):
                lane.push(self._work(lane, Fields(plain, f"{fields.where}.steps[{name!r}][{place}]")))
        self._retrying(fields, dict(timers))
        self._state.queue = [self._emission(each) for each in fields.objects("queue")]
        for name, letters in fields.members("mail").items():
            self._mail(name, Fields({"letters": letters}, f"{fields.where}.mail[{name!r}]"))
        fields.end()

    def _retrying(self, fields: Fields, timers: dict[str, Plain]) -> None:
        for each in fields.objects("retrying"):
            call = self._call(self._lane(each.text("step")), each)
            remaining = timers.pop(format_id(call.id), None)
            self._state.timers[call] = checked_seconds(remaining, f"the timer of {each.where}")
        if timers:
            raise DecodeError("a timer belongs to no call that waits for its next attempt", "timers")

    def _work(self, lane: Lane, fields: Fields) -> Call | Batch:
        return self._batch(lane, fields) if fields.has("items") else self._call(lane, fields)

    def _call(self, lane: Lane, fields: Fields) -> Call:
        call_id = self._claim(fields.call_id("id"))
        scope = self._scope_at(fields, "scope")
        event = self._call_event(lane, fields)
        call = Call(lane, event, call_id, scope, fields.order("order"), fields.count("recoveries", 0))
        call.attempt = max(1, fields.count("attempt", 1))
        if fields.has("record"):
            self._record(call, Fields(fields.value("record"), fields.at("record")))
        fields.end()
        scope.active += 1
        self._state.alive += 1
        self._calls[call_id] = call
        return call

    def _call_event(self, lane: Lane, fields: Fields) -> Event | list[Event]:
        name, is_join = lane.plan.name, lane.plan.is_join
        if not is_join:
            return self._check_taken(name, fields.read("event", self._event), is_join=is_join)
        events = fields.read_items("events", self._event)
        return [self._check_taken(name, each, is_join=is_join) for each in events]

    def _record(self, call: Call, fields: Fields) -> None:
        record = call.record = CallRecord(
            sent=fields.read_items("sent", self._event, []),
            written=fields.read_items("written", self._event, []),
            received=fields.read_items("received", self._event, []),
            emissions=fields.count("emissions", 0),
            once=self._values(fields, "once"),
            answers=fields.read_members("answers", self._codec.from_plain, {}),
            collected={self._class(name) for name in fields.texts("collected")},
        )
        if fields.has("age"):
            record.first_at = self._now - fields.seconds("age")
        if fields.has("fan_out"):
            record.fan_out = self._fan_out(call, fields)
        fields.end()

    def _fan_out(self, call: Call, fields: Fields) -> Scope:
        scope = self._scope_at(fields, "fan_out")
        if scope.parent is not call.scope:
            raise DecodeError("the fan-out of the call is not inside the one that the call is in", fields.where)
        if scope in self._opened:
            raise DecodeError("two calls have one fan-out", fields.where)
        self._opened.add(scope)
        scope.active += 1
        return scope

    def _values(self, fields: Fields, key: str) -> dict[str, object]:
        """Values that are read again each time they are needed; here only checked."""

        def check(plain: Plain) -> object:
            self._codec.from_plain(plain)
            return plain

        return fields.read_members(key, check, {})

    def _batch(self, lane: Lane, fields: Fields) -> Batch:
        if lane.plan.is_join:
            raise SnapshotMismatchError(f"step {lane.plan.name!r} is a join here and was none", self._state.run_id)
        name, place = fields.text("event_type"), fields.count("place")
        self._class(name)
        events = fields.read_items("items", self._event_of(name))
        places = None
        if fields.has("places"):
            places = [checked_count(each, fields.at("places")) for each in fields.items("places")]
        scope, parent = self._scope_at(fields, "scope"), fields.call_id("parent")
        first = Origin(parent, place, scope, (place,), fields.count("recoveries", 0))
        is_shared = fields.flag("is_shared")
        fields.end()
        if not events or (places is not None and len(places) != len(events)):
            raise DecodeError("items and places are not equally many, or none", fields.where)
        self._check_taken(lane.plan.name, events[0], is_join=False)
        for step in places or range(len(events)):
            self._claim(derive_id(parent, place + step, lane.plan.index))
        scope.active += len(events)
        self._state.alive += len(events)
        return Batch(lane, events, first, places, is_shared=is_shared)

    def _emission(self, fields: Fields) -> Emission:
        events = fields.read_items("events", self._event)
        origin = self._origin(fields)
        is_fan_out = fields.flag("is_fan_out")
        emission = Emission(events, origin, is_fan_out, fields.optional_text("source"))
        fields.end()
        if not is_fan_out and len(events) != 1:
            raise DecodeError("one event is emitted, or a fan-out", fields.where)
        self._claim(derive_id(origin.parent, origin.place, len(self._lanes) + 1))
        origin.scope.active += 1
        self._state.alive += 1
        self._state.queued += len(events) - 1
        return emission

    def _origin(self, fields: Fields) -> Origin:
        return Origin(
            fields.call_id("parent"),
            fields.count("place"),
            self._scope_at(fields, "scope"),
            fields.order("order"),
            fields.count("recoveries"),
        )

    def _mail(self, name: str, fields: Fields) -> None:
        """Mail of a class, oldest first; nobody has it, but somebody waited for the class."""
        mailbox = self._state.mailbox = self._state.mailbox or Mailbox()
        event_class = self._class(name)
        mailbox.expect(event_class)
        for letter in fields.objects("letters"):
            event = letter.read("data", self._event_of(name))
            if letter.has("for"):
                mailbox.put_promised(event, [self._call_of(each, letter.where) for each in letter.texts("for")])
            else:
                mailbox.put(event)
            letter.end()

    # --- Questions and collectors -------------------------------------------------------------------------------------

    def questions(self, fields: Fields) -> None:
        """Open questions, and the answers that were given."""
        state = self._state
        answered = fields.read_members("answered", self._codec.from_plain)
        if answered and state.nesting is not None:
            raise DecodeError("answers stand in the outermost run", fields.at("answered"))
        state.answered.update(answered)
        for each in fields.objects("open"):
            question = self._question(each)
            each.end()
            request_id = question.event.request_id
            if request_id in state.questions or request_id in state.answered:
                raise DecodeError(f"the question {request_id[:60]!r} stands there twice", each.where)
            state.ask(question)
        fields.end()

    def _question(self, fields: Fields) -> Question:
        event = fields.read("event", self._event)
        if not isinstance(event, InputRequestEvent) or type(event.request_id) is not str:
            raise DecodeError("not a question", fields.where)
        if fields.has("call"):
            call = self._call_of(fields.text("call"), fields.where)
            call.recorded().asked += (event.request_id,)
            return Question(event, Origin(call.id, 0, call.scope, call.order, call.recoveries), self._state, call)
        origin = self._origin(fields)
        self._claim(origin.parent)
        origin.scope.active += 1
        self._state.alive += 1
        self._state.asking += 1
        return Question(event, origin, self._state)

    def collectors(self, collected: Fields) -> None:
        """The buffers of ``collect_events``."""
        for fields in collected.objects("collectors"):
            lane, event_class = self._lane(fields.text("step")), self._class(fields.text("event_type"))
            key = (lane.plan.index, event_class)
            if key in self._state.collectors:
                raise DecodeError("one buffer stands there twice", fields.where)
            entries = [self._entry(lane, event_class, each) for each in fields.objects("items")]
            fields.end()
            self._state.collectors[key] = entries
            self._state.kept += len(entries)

    def _entry(self, lane: Lane, event_class: type[Event], fields: Fields) -> tuple[Call, Event]:
        call_id = fields.call_id("call")
        if not fields.has("data"):
            fields.end()
            call = self._call_of(f"{call_id:032x}", fields.where)
            if call.lane is not lane or type(call.event) is not event_class:
                raise DecodeError("the call that collected the event was called with none such", fields.where)
            self._claim(~call_id)  # once in the buffers
            return call, call.event
        event = fields.read("data", self._event_of(event_class.event_type))
        fields.end()
        done = Call(lane, event, self._claim(call_id), self._state.root, (), 0)  # it is over: only its id is known yet
        done.recorded().collected.add(event_class)
        return done, event

    def end(self) -> None:
        """Each fan-out has something in it that can still end it."""
        for number, scope in enumerate(self._scopes[1:], 1):
            if not scope.active:
                raise DecodeError("nothing of the fan-out is left, so it would never end", f"scopes[{number}]")

    def call_of_child(self, text: str) -> Call:
        """The call that a run is inside of; its step must run a workflow."""
        call = self._call_of(text, "children")
        if call.plan.index not in self._definition.children:
            raise SnapshotMismatchError(f"step {call.step_name!r} ran a workflow and does not here", self._state.run_id)
        if call in self._state.timers:
            raise DecodeError("a call between two attempts has no run inside it", "children")
        return call

    # --- Words --------------------------------------------------------------------------------------------------------

    def event(self, plain: Plain) -> Event:
        """An event by itself."""
        return self._event(plain)

    def _event(self, plain: Plain) -> Event:
        if type(plain) is dict and type(plain.get("event_type")) is str:
            self._class(str(plain["event_type"]))
        return self._codec.event_from_plain(plain, self._live)

    def _event_of(self, name: str) -> Callable[[Plain], Event]:
        """Reads the data of an event of this class."""
        return lambda data: self._event({"event_type": name, "data": data})

    def _class(self, name: str) -> type[Event]:
        found = self._codec.event_class(name)
        if found is None:
            raise SnapshotMismatchError(f"the workflow has no event class {name[:60]!r}", self._state.run_id)
        return found

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            raise SnapshotMismatchError(f"the workflow has no step {name[:60]!r}", self._state.run_id)
        return lane

    def _call_of(self, text: str, where: str) -> Call:
        call = self._calls.get(checked_id(text, where))
        if call is None:
            raise DecodeError(f"there is no call {text}", where)
        return call

    def _check_taken(self, name: str, event: Event, *, is_join: bool) -> Event:
        """Refuse an event that its step does not accept any more."""
        route = self._definition.routing.routes[type(event)]
        if self._lanes[name].plan not in (route.joins if is_join else route.plans):
            what = f"step {name!r} does not accept {type(event).event_type!r} here, as it did"
            raise SnapshotMismatchError(what, self._state.run_id)
        return event

    def _claim(self, each: int) -> int:
        if each in self._ids:
            raise DecodeError(f"the event of call {each:032x} stands there twice")
        self._ids.add(each)
        return each
