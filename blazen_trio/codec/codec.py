"""The codec of one workflow: what leaves the process, and what may come in.

Three kinds of data go through it, all to and from plain data (see ``plain``):

* Values (``ctx.state``, recorded results, answers) say what they are: ``to_plain``, ``from_plain``.
* Values read as a type that the reader names: ``structure``.
* Events, whose class says what their fields are: ``event_to_plain``, ``event_from_plain``.

Each way is exact or an error. A codec never changes after it was made, so threads may share it.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from blazen_trio.codec.classes import Classes
from blazen_trio.codec.plain import INT_MAX, INT_MIN, DecodeError, Plain
from blazen_trio.codec.records import Shapes
from blazen_trio.codec.values import ENCODERS, TAGS
from blazen_trio.codec.walkers import SCALARS, Reader, Refused, Writer, flat_copy
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import EncodeError, EventDecodeError
from blazen_trio.core.events import (
    DynamicEvent,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    LifecycleEvent,
    ProgressEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    StreamGap,
    UsageEvent,
)

BUILT_IN_EVENTS: Final[tuple[type[Event], ...]] = (
    StartEvent,
    StopEvent,
    InputRequestEvent,
    InputResponseEvent,
    DynamicEvent,
    StepFailedEvent,
    UsageEvent,
    ProgressEvent,
    LifecycleEvent,
    StreamGap,
)
"""The events that every codec knows."""

_NAME_LENGTH_MAX: Final = 1_000
"""Characters of a wire name that is read: it is repeated in errors."""


class Codec:
    """Turns values and events into plain data and back, for the classes it was given.

    ``events`` are event classes; ``classes`` are other attrs classes, dataclasses and Enums (a state type, say). What
    their field types mention is known too. Two classes of one name are a ``ValueError``; an annotation of an event
    class that cannot be resolved is a ``TypeError``. The library's own events are always known.
    """

    def __init__(self, events: Iterable[type[Event]] = (), classes: Iterable[type] = ()) -> None:
        self._classes = Classes([*BUILT_IN_EVENTS, *events], classes)
        self._encoders = {**ENCODERS, **self._classes.encoders()}
        self._tags = {**TAGS, **self._classes.tags()}
        self._shapes = Shapes(lambda: Writer(self._encoders, lambda _: ""))

    def event_class(self, name: str) -> type[Event] | None:
        """The event class of this wire name, if the codec was given one."""
        known = self._classes.events.get(name)
        return None if known is None else cast("type[Event]", known.cls)

    def to_plain(self, value: object, where: str) -> Plain:
        """The value as plain data that says what it is and shares nothing with it.

        ``where`` begins the name of the place in an error: ``state['seen']``. Raises ``EncodeError``.
        """
        if type(value) is str and value.isascii():
            return value
        if (type(value) is int and INT_MIN <= value <= INT_MAX) or value is None:
            return value
        copy = flat_copy(value)
        if copy is not None:
            return copy
        try:
            return Writer(self._encoders).encode(value)
        except Refused as refused:
            raise EncodeError(refused.type_name, where + refused.path, refused.problem) from None

    def from_plain(self, plain: Plain) -> object:
        """A fresh value, equal to the one that was written and of the same type. Raises ``DecodeError``."""
        if type(plain) in SCALARS:
            return plain
        return Reader(self._tags).decode(plain)

    def structure(self, plain: Plain, type: object) -> Any:
        """Plain data as a value of this annotation, converting nothing.

        Takes what ``to_plain`` wrote, and bare JSON too: an object of fields for an attrs class that the codec need not
        know, a text for a ``datetime``. Raises ``DecodeError``.
        """
        return self._shapes.of(type).load(plain, Reader(self._tags))

    def event_to_plain(self, event: Event, live: Callable[[object], str] | None = None) -> dict[str, Plain]:
        """An event as ``{"event_type": wire name, "data": {field: ...}}``, each field as its annotation says.

        ``live`` gives the session-ref key of an object in a ``Live[T]`` field. Raises ``EncodeError`` that names event,
        field and type; also for an event whose class the codec was not given.
        """
        name = type(event).event_type
        known = self._classes.events.get(name)
        if known is None or known.cls is not type(event):
            raise EncodeError(name, f"event {name}", "the workflow has no such class: name it in Workflow(events=)")
        try:
            data = self._shapes.record(type(event)).dump_fields(event, Writer(self._encoders, live))
        except Refused as refused:
            raise EncodeError(refused.type_name, f"event {name}{refused.path}", refused.problem) from None
        return {"event_type": name, "data": data}

    def event_from_plain(
        self, plain: Plain, live: Callable[[str], object] | None = None, *, dynamic: bool = False
    ) -> Event:
        """The event that was written. An unknown class is an error, or a ``DynamicEvent`` if ``dynamic`` is set.

        ``live`` gives the live object of a session-ref key; what it raises passes through. Raises ``EventDecodeError``.
        """
        name, data = _event_parts(plain)
        reader = Reader(self._tags, live)
        try:
            known = self._classes.events.get(name)
            if known is not None:
                return cast("Event", self._shapes.record(known.cls).load_fields(data, reader))
            if dynamic:
                return DynamicEvent(name, reader.decode(data))
        except DecodeError as error:
            raise EventDecodeError(name, error.path.removeprefix(".") or None, error.problem) from None
        raise EventDecodeError(name, None, "this workflow has no event class of that name")


def _event_parts(plain: Plain) -> tuple[str, Plain]:
    if type(plain) is not dict or plain.keys() != {"event_type", "data"}:
        raise EventDecodeError("?", None, "expected an object of event_type and data")
    name = plain["event_type"]
    if type(name) is not str or len(name) > _NAME_LENGTH_MAX:
        raise EventDecodeError("?", "event_type", f"expected a string of at most {_NAME_LENGTH_MAX} characters")
    return name, plain["data"]


_codecs: Final[WeakKeyDictionary[WorkflowDefinition, Codec]] = WeakKeyDictionary()


def codec_of(definition: WorkflowDefinition) -> Codec:
    """The codec of a workflow: for its event classes and its ``state_type``; made when first asked for.

    Raises:
        TypeError: an annotation of an event class cannot be resolved.
        ValueError: two classes have one name.
    """
    codec = _codecs.get(definition)
    if codec is None:
        state_type = definition.options.state_type
        codec = Codec(definition.event_classes.values(), [] if state_type is None else [state_type])
        _codecs[definition] = codec
    return codec
