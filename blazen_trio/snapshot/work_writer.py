"""A run's work as plain data: calls, fan-outs, collectors, mail, questions.

Rules of this file:

* Nothing is changed. A running call is written as what it would be after an interruption: waiting, in front of those
  that wait for a slot, with what it did undone.
* Fan-outs are numbered as they are met, each after the one around it; number 0 is the run itself.
* Items of a fan-out that wait for one step are written once as what they are: events with places.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from blazen_trio.codec import Codec, Plain
from blazen_trio.core.calls import Batch, Call, CallRecord, Lane, Origin, Unencoded
from blazen_trio.core.errors import EncodeError
from blazen_trio.core.events import Event
from blazen_trio.core.ids import format_id
from blazen_trio.core.plans import StepPlan
from blazen_trio.core.scopes import Collection, Scope
from blazen_trio.core.state import Emission, Question, RunState
from blazen_trio.core.status import RunStatus

Entry: TypeAlias = tuple[Call, Event]
LiveKey: TypeAlias = Callable[[object], str]


def safe_text(text: str, what: str) -> str:
    """The text, if every encoding can hold it."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise EncodeError("str", f"{what} {text!r}", "it has a lone surrogate") from None
    return text


class WorkWriter:
    """Writes the work of one run, once."""

    def __init__(
        self, plans: tuple[StepPlan, ...], state: RunState, codec: Codec, now: float, live: LiveKey | None
    ) -> None:
        self._plans = plans
        self._state = state
        self._codec = codec
        self._now = now
        self._live = live
        self._numbers: dict[Scope, int] = {state.root: 0}
        self._unfinished: set[Call] = set()
        self._running: dict[Lane, list[Call]] = {}
        for call in state.running:
            self._running.setdefault(call.lane, []).append(call)

    # --- The parts of a snapshot --------------------------------------------------------------------------------------

    def pending_events(self) -> dict[str, Plain]:
        """Everything that waits, runs or is between two attempts, and mail that nobody has claimed."""
        retrying: list[Plain] = [{"step": call.step_name, **self._call(call)} for call in self._state.timers]
        works: dict[str, Plain] = {lane.plan.name: self._lane(lane) for lane in self._state.lanes}
        return {
            "steps": {name: work for name, work in works.items() if work},
            "retrying": retrying,
            "queue": [self._emission(each) for each in self._state.queue],
            "mail": self._mail(),
        }

    def collected_events(self) -> dict[str, Plain]:
        """What joins and collectors hold. Must be written last: only then all fan-outs are known."""
        scopes: list[Plain] = [self._scope(scope) for scope in self._numbers]
        buffers = self._buffers().items()
        return {"scopes": scopes, "collectors": [self._collector(*key, entries) for key, entries in buffers if entries]}

    def input_requests(self) -> dict[str, Plain]:
        """The run's open questions, and the answers that were given; those in runs inside stand in the outermost."""
        state = self._state
        answers = state.answered.items() if state.nesting is None else ()
        answered = {
            safe_text(request_id, "request_id"): self._codec.to_plain(answer, f"the answer to question {request_id!r}")
            for request_id, answer in answers
        }
        return {"open": [self._question(each) for each in state.own_questions()], "answered": answered}

    def timers(self) -> dict[str, Plain]:
        """Seconds that remain before the next attempt, by the id of the call."""
        is_paused = self._state.status is RunStatus.PAUSED
        begin = 0.0 if is_paused else self._now
        return {format_id(call.id): max(0.0, due - begin) for call, due in self._state.timers.items()}

    def event(self, event: Event) -> dict[str, Plain]:
        """An event by itself."""
        return self._codec.event_to_plain(event, self._live)

    @property
    def put_back(self) -> int:
        """How many events running calls took out of full buffers; each is in its buffer again."""
        return sum(map(len, self._buffers().values())) - sum(map(len, self._state.collectors.values()))

    # --- Calls --------------------------------------------------------------------------------------------------------

    def _lane(self, lane: Lane) -> list[Plain]:
        return [self._work(each) for each in chain(self._running.get(lane, ()), lane.waiting or ())]

    def _work(self, work: Call | Batch) -> dict[str, Plain]:
        return self._batch(work) if isinstance(work, Batch) else self._call(work)

    def _call(self, call: Call) -> dict[str, Plain]:
        self._unfinished.add(call)
        plain: dict[str, Plain] = {"id": format_id(call.id), "scope": self._number(call.scope)}
        event: Event | list[Event] = call.event
        if isinstance(event, list):
            plain["events"] = [self.event(each) for each in event]
        else:
            plain["event"] = self.event(event)
        if call.order:
            plain["order"] = list(call.order)
        if call.recoveries:
            plain["recoveries"] = call.recoveries
        if call.attempt > 1:
            plain["attempt"] = call.attempt
        record = {} if call.record is None else self._record(call, call.record)
        if record:
            plain["record"] = record
        return plain

    def _record(self, call: Call, record: CallRecord) -> dict[str, Plain]:
        """What a repeated call must know; values, usage and full buffers are undone instead."""
        plain: dict[str, Plain] = {
            "sent": [self.event(each) for each in record.sent],
            "written": [self.event(each) for each in record.written],
            "received": [self.event(each) for each in record.received],
            "emissions": record.emissions,
            "once": {safe_text(name, "once"): self._kept(name, each) for name, each in record.once.items()},
            "answers": {
                safe_text(request_id, "request_id"): self._codec.to_plain(answer, f"an answer to {call.step_name!r}")
                for request_id, answer in record.answers.items()
            },
            "collected": [each.event_type for each in record.collected],
        }
        plain = {key: value for key, value in plain.items() if value}
        if record.first_at is not None:
            plain["age"] = max(0.0, self._now - record.first_at)
        if record.fan_out is not None:
            plain["fan_out"] = self._number(record.fan_out)
        return plain

    def _kept(self, name: str, result: object) -> Plain:
        if isinstance(result, Unencoded):
            return self._codec.to_plain(result.value, f"the result of once({name!r})")
        plain: Plain = result  # type: ignore[assignment]  # what is not Unencoded is plain
        return plain

    def _batch(self, batch: Batch) -> dict[str, Plain]:
        begin, first = batch.next_index, batch.first
        plain: dict[str, Plain] = {
            "parent": format_id(first.parent),
            "scope": self._number(first.scope),
            "place": first.place + (begin if batch.places is None else 0),
            "event_type": type(batch.events[0]).event_type,
            "items": [self.event(each)["data"] for each in batch.events[begin:]],
        }
        if batch.places is not None:
            plain["places"] = list(batch.places[begin:])
        if batch.is_shared:
            plain["is_shared"] = True
        if first.recoveries:
            plain["recoveries"] = first.recoveries
        return plain

    def _emission(self, emission: Emission) -> dict[str, Plain]:
        return {
            "events": [self.event(each) for each in emission.events],
            "is_fan_out": emission.is_fan_out,
            "source": emission.source,
            **self._origin(emission.origin),
        }

    def _origin(self, origin: Origin) -> dict[str, Plain]:
        return {
            "parent": format_id(origin.parent),
            "place": origin.place,
            "scope": self._number(origin.scope),
            "order": list(origin.order),
            "recoveries": origin.recoveries,
        }

    # --- Mail and questions -------------------------------------------------------------------------------------------

    def _mail(self) -> dict[str, Plain]:
        """By class, for all classes that were ever waited for; those that the workflow cannot name are left out."""
        mailbox = self._state.mailbox
        boxes = {} if mailbox is None else mailbox.mails()
        return {
            cls.event_type: [self._letter(mail.event, mail.readers) for mail in mails]
            for cls, mails in boxes.items()
            if mails or self._codec.event_class(cls.event_type) is cls
        }

    def _letter(self, event: Event, readers: Iterable[object] | None) -> dict[str, Plain]:
        plain: dict[str, Plain] = {"data": self.event(event)["data"]}
        if readers is not None:
            waiters = self._state.mailbox.waiters() if self._state.mailbox is not None else []
            plain["for"] = [format_id(each.call.id) for each in waiters if each in set(readers)]
        return plain

    def _question(self, question: Question) -> dict[str, Plain]:
        asker = question.call
        if asker is not None:
            return {"event": self.event(question.event), "call": format_id(asker.id)}
        return {"event": self.event(question.event), **self._origin(question.origin)}

    # --- Fan-outs and collectors --------------------------------------------------------------------------------------

    def _number(self, scope: Scope) -> int:
        """The number of a fan-out; those around it get theirs first."""
        number = self._numbers.get(scope)
        if number is not None:
            return number
        around = list(_unnumbered(scope, self._numbers))
        for each in reversed(around):
            self._numbers[each] = len(self._numbers)
        return self._numbers[scope]

    def _scope(self, scope: Scope) -> dict[str, Plain]:
        plain: dict[str, Plain] = {} if scope.parent is None else {"parent": self._number(scope.parent)}
        if scope.parent is not None:
            plain["id"] = format_id(scope.id)
            plain["opener"] = scope.opener
            plain["order"] = list(scope.order)
            plain["recoveries"] = scope.recoveries
            plain["expected"] = self._names(scope.expected)
        plain["joined_inside"] = self._names(sorted(scope.joined_inside or ()))
        collections = {} if scope.collected is None else scope.collected
        plain["collected"] = {self._plans[join].name: self._collection(each) for join, each in collections.items()}
        return plain

    def _names(self, indexes: Iterable[int]) -> list[Plain]:
        return [self._plans[index].name for index in indexes]

    def _collection(self, collection: Collection) -> dict[str, Plain]:
        events, ids, orders = collection.columns()
        return {
            "events": [self.event(each) for each in events],
            "ids": [format_id(each) for each in ids],
            "orders": [list(each) for each in orders],
            "recoveries": collection.recoveries,
        }

    def _buffers(self) -> dict[tuple[int, type[Event]], list[Entry]]:
        """The buffers of collectors, with what running calls took out of them put back, the first to take in front."""
        buffers = {key: list(entries) for key, entries in self._state.collectors.items()}
        for call in reversed(self._state.running):
            taken = {} if call.record is None else call.record.taken
            for event_class, entries in taken.items():
                back = [entry for entry in entries if _is_collected(entry[0], event_class)]  # not of calls given up
                buffers.setdefault((call.plan.index, event_class), [])[:0] = back
        return buffers

    def _collector(self, step: int, event_class: type[Event], entries: list[Entry]) -> dict[str, Plain]:
        items: list[Plain] = [self._entry(*entry) for entry in entries]
        return {"step": self._plans[step].name, "event_type": event_class.event_type, "items": items}

    def _entry(self, call: Call, event: Event) -> dict[str, Plain]:
        if call in self._unfinished:  # its event is pending, too; it stands there
            return {"call": format_id(call.id)}
        return {"call": format_id(call.id), "data": self.event(event)["data"]}


def _is_collected(call: Call, event_class: type[Event]) -> bool:
    return call.record is not None and event_class in call.record.collected


def _unnumbered(scope: Scope, numbers: dict[Scope, int]) -> Iterator[Scope]:
    """A fan-out and those around it that have no number yet, from the inside out."""
    inner: Scope | None = scope
    while inner is not None and inner not in numbers:
        yield inner
        inner = inner.parent
