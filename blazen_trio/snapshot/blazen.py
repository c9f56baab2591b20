"""Snapshots that Blazen wrote (version 1 of the format), as plain data of our own version.

The rules of this file:

* The fields, names and tags are those that the Rust engine writes. What it never wrote is a ``DecodeError`` that names
  the place. Nothing is imported and nothing unpickled.
* It knows no workflow. So events stand in the queue of the run itself, where ``resume`` finds their classes and steps,
  and all else is checked there as in any snapshot.
* What Blazen does not write begins anew: usage, running time, the numbers on the stream.
* What has no place in this engine is in ``ctx.metadata``, not lost.
"""

import re
from collections.abc import Iterator
from typing import Final

import attrs

from blazen_trio.codec import DecodeError, Plain
from blazen_trio.core.events import InputRequestEvent, InputResponseEvent, StartEvent, StopEvent
from blazen_trio.core.ids import ROOT_ID, derive_id, format_id
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.snapshot.blazen_values import State, encoded, encoded_members, read_session_refs, read_timestamp
from blazen_trio.snapshot.fields import Fields, checked, checked_list, checked_object
from blazen_trio.snapshot.format import COUNTERS, ENGINE, USER, VERSION

BLAZEN_VERSION: Final = 1

COLLECTED: Final = "__blazen_collected_events"
"""In ``ctx.metadata``: the events, by type, that Blazen had given to steps and its ``collect_events`` had not taken.
For which step they wait is not written. The name is Blazen's own, for the same."""

_QUESTION: Final = "__input_request"
_REPEATED: Final = ("run_id", "workflow_name")
"""In Blazen's metadata: the last question, answered or not; and what stands in the snapshot itself, too."""

_PREFIX: Final = "blazen::"
_BUILT_IN: Final = frozenset(each.event_type for each in (StartEvent, StopEvent, InputRequestEvent, InputResponseEvent))

_ASKER: Final = 0xFFFF
"""Stands for the step in the id of the question: no workflow has so many."""


def is_of_blazen(plain: dict[str, Plain]) -> bool:
    """Whether a snapshot is in Blazen's format."""
    version = plain["version"]
    return type(version) is int and version == BLAZEN_VERSION


def translated(plain: dict[str, Plain]) -> dict[str, Plain]:
    """The snapshot in our format, to be read as any other.

    Raises:
        DecodeError: that is nothing that Blazen writes.
    """
    fields = Fields(plain, "snapshot")
    checked(fields.value("version"), int, "version")
    name, run_id = fields.text("workflow_name"), fields.text("run_id")
    timestamp = read_timestamp(fields.text("timestamp"), fields.at("timestamp"))
    metadata = dict(fields.members("metadata"))
    state = State.read(fields.members("context_state"), run_id)
    collected = _read_collected(fields.members("collected_events"))
    work = _Work.read(fields.items("pending_events"), collected, metadata.pop(_QUESTION, None))
    history = _read_history(fields.items("history", []))
    fields.end()
    return {
        "version": VERSION,
        "workflow_name": name,
        "run_id": run_id,
        "timestamp": timestamp,
        "context_state": state.values,
        "session_refs": read_session_refs(metadata, state.pickles),
        "metadata": {
            USER: _user_metadata(metadata, collected, plain),
            ENGINE: {**work.counters(), "history_seq": len(history)},
        },
        "history": history or None,
        **work.to_plain(),
        **_begun_anew(),
    }


def _begun_anew() -> dict[str, Plain]:
    return {
        "elapsed": 0.0,
        "timers": {},
        "children": {},
        "usage": {"tokens": attrs.asdict(TokenUsage()), "cost_usd": 0.0},
        "stream_position": 0,
    }


def _read_collected(members: dict[str, Plain]) -> dict[str, list[Plain]]:
    return {name: checked_list(each, f"collected_events[{name[:60]!r}]") for name, each in members.items()}


def _user_metadata(
    metadata: dict[str, Plain], collected: dict[str, list[Plain]], plain: dict[str, Plain]
) -> dict[str, Plain]:
    """What is left of the metadata for ``ctx.metadata``."""
    left = {key: each for key, each in metadata.items() if key not in _REPEATED or each != plain[key]}
    if collected and COLLECTED in left:
        raise DecodeError("the collected events stand there twice", "metadata")
    return encoded_members({**left, COLLECTED: {**collected}} if collected else left, "metadata")


# --- Events and questions ---------------------------------------------------------------------------------------------


@attrs.frozen
class _Event:
    """One event; ``data`` is still bare JSON."""

    name: str
    data: dict[str, Plain]
    source: str | None
    where: str

    @classmethod
    def read(cls, plain: Plain, where: str) -> "_Event":
        fields = Fields(plain, where)
        name, source = fields.text("event_type"), fields.optional_text("source_step")
        event = cls.of(name, fields.value("data"), fields.at("data"), source)
        fields.end()
        return event

    @classmethod
    def of(cls, name: str, data: Plain, where: str, source: str | None = None) -> "_Event":
        bare_name = name.removeprefix(_PREFIX)
        name = bare_name if bare_name in _BUILT_IN else name
        members = {} if data is None else checked_object(data, where)  # a Rust struct without fields is null
        if name == InputRequestEvent.event_type and members.get("metadata") is None:
            members = {**members, "metadata": {}}  # it may be anything there, and is null if nobody gave any
        return cls(name, members, source, where)

    def is_of(self, event_class: type[InputRequestEvent | InputResponseEvent]) -> bool:
        return self.name == event_class.event_type

    def to_plain(self) -> dict[str, Plain]:
        return {"event_type": self.name, "data": encoded_members(self.data, self.where)}


@attrs.frozen
class _Work:
    """What was to be done: events in their order, and the question if it is open."""

    events: list[_Event]
    question: _Event | None
    answered: dict[str, Plain]

    @classmethod
    def read(cls, pending: list[Plain], collected: dict[str, list[Plain]], asked: Plain) -> "_Work":
        events = [_Event.read(each, f"pending_events[{place}]") for place, each in enumerate(pending)]
        answered = dict(_answers(events, collected))
        waiting = [each.data.get("request_id") for each in events if each.is_of(InputRequestEvent)]
        question = None if asked is None else _last_question(asked)
        is_done = question is not None and question.data["request_id"] in [*answered, *waiting]
        return cls(events, None if is_done else question, answered)

    def counters(self) -> dict[str, Plain]:
        count = len(self.events) + (self.question is not None)
        zeros: dict[str, Plain] = dict.fromkeys(COUNTERS, 0)
        last = {"last_step": None, "senders": 0, "progress": None, "outcome": None}
        return {**zeros, "emitted": count, "outside": count, "pending": count, **last}

    def to_plain(self) -> dict[str, Plain]:
        """As if all of it had come from outside."""
        queue: list[Plain] = [
            {"events": [each.to_plain()], "is_fan_out": False, "source": each.source, **_origin(ROOT_ID, place)}
            for place, each in enumerate(self.events, 1)
        ]
        open_: list[Plain] = []
        if self.question is not None:
            place = len(queue) + 1
            open_ = [{"event": self.question.to_plain(), **_origin(derive_id(ROOT_ID, place, _ASKER), 0, place)}]
        is_asking = open_ and not queue
        return {
            "status": (RunStatus.AWAITING_INPUT if is_asking else RunStatus.PAUSED).value,
            "collected_events": {"scopes": [{"joined_inside": [], "collected": {}}], "collectors": []},
            "pending_events": {"steps": {}, "retrying": [], "queue": queue, "mail": {}},
            "input_requests": {"open": open_, "answered": self.answered},
        }


def _last_question(asked: Plain) -> _Event:
    """The question in the metadata. Blazen leaves it there when it is answered; the answers tell."""
    question = _Event.of(InputRequestEvent.event_type, asked, f"metadata.{_QUESTION}")
    Fields(question.data, question.where).text("request_id")
    return question


def _answers(events: list[_Event], collected: dict[str, list[Plain]]) -> Iterator[tuple[str, Plain]]:
    """The answers that were given, by the id of their question."""
    given: list[Plain] = [*collected.get(_PREFIX + InputResponseEvent.event_type, ())]
    given += [each.data for each in events if each.is_of(InputResponseEvent)]
    for each in given:
        if type(each) is dict and type(each.get("request_id")) is str:
            yield str(each["request_id"]), encoded(each.get("response"), "an answer")


def _origin(parent: int, place: int, order: int | None = None) -> dict[str, Plain]:
    """The run itself, after what came before."""
    return {
        "parent": format_id(parent),
        "place": place,
        "scope": 0,
        "order": [place if order is None else order],
        "recoveries": 0,
    }


# --- History ----------------------------------------------------------------------------------------------------------


def _read_history(entries: list[Plain]) -> list[Plain]:
    return [_entry(number, Fields(each, f"history[{number - 1}]")) for number, each in enumerate(entries, 1)]


def _entry(number: int, fields: Fields) -> list[Plain]:
    """The columns of a ``HistoryEvent``, numbered anew: Blazen gives all of them 0."""
    timestamp = read_timestamp(fields.text("timestamp"), fields.at("timestamp"))
    fields.count("sequence")
    details = dict(fields.members("kind"))
    fields.end()
    kind = _snake_case(checked(details.pop("type", None), str, fields.at("kind")))
    named = [details.pop(name, None) for name in ("step_name", "event_type", "duration_ms", "error")]
    return [number, timestamp, kind, *named, encoded(details, fields.where)]


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
