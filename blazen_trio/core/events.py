"""Events: the values that steps accept and return, and nothing else that connects them.

The rules of this file:

* ``class Page(Event): url: str`` is all it takes: the metaclass makes a frozen attrs class with slots of it, so an
  event can be shared by several steps and never changes. Do not decorate it again.
* Routing is by the exact class. The wire name, ``Page.event_type``, is for data that leaves the process; it is the
  class's name unless ``class Page(Event, event_type="shop.page")`` says otherwise, and it is not inherited.
* ``class Approval(Event, external=True)`` may be sent by clients from outside. That is not inherited either: each
  class that strangers may send is marked itself.
* A subclass of ``StartEvent`` or ``StopEvent`` with fields of its own takes ``data`` or ``result`` by keyword only, so
  that its own fields may be mandatory.
* There is no registry of event classes: a workflow knows those of its steps.
"""

import inspect
import re
from collections.abc import Callable
from types import FrameType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    TypeGuard,
    TypeVar,
    cast,
    dataclass_transform,
    get_origin,
    get_type_hints,
    overload,
)
from uuid import uuid4

import attrs

_MUTABLE: Final = (list, dict, set, bytearray)

_T = TypeVar("_T")


class _LiveMarker:
    """Stands in an annotation for: this field holds a live object."""


_LIVE: Final = _LiveMarker()

Live = Annotated[_T, _LIVE]
"""``connection: Live[Connection]``: passed by identity inside the process, kept as a session ref in a snapshot."""


@attrs.frozen
class EventInfo:
    """What an event class is beside its fields: its wire name, who may send it, the names its annotations use."""

    wire_name: str
    external: bool
    names_around: dict[str, object]


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
class EventMeta(type):
    """Makes a frozen attrs class with slots of each subclass of ``Event``."""

    __event_info__: EventInfo

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        event_type: str | None = None,
        external: bool = False,
    ) -> "EventMeta":
        """Build the class; ``event_type`` and ``external`` are keywords of the class statement."""
        bare = super().__new__(mcls, name, bases, namespace)
        if "__attrs_attrs__" in namespace:  # attrs gives a class its slots by making it a second time
            _refuse_second_decoration(name, namespace)
            return bare
        wire_name = _checked_wire_name(name, event_type)
        built = attrs.frozen(bare, auto_attribs=True, weakref_slot=False, field_transformer=_mandatory_after_default)
        _refuse_mutable_defaults(built)
        _keep_inherited_constructor(built)
        built.__event_info__ = EventInfo(wire_name, external, _names_around(built, inspect.currentframe()))
        return built

    @property
    def event_type(cls) -> str:
        """The name of this class on the wire."""
        return cls.__event_info__.wire_name


def _refuse_second_decoration(name: str, namespace: dict[str, Any]) -> None:
    if "__event_info__" in namespace:
        raise TypeError(
            f"event class {name} is an attrs class already, because it derives from Event; remove the decorator"
        )


def _checked_wire_name(class_name: str, event_type: object) -> str:
    if event_type is None:
        return class_name
    if not isinstance(event_type, str):
        raise TypeError(
            f"event_type of event class {class_name} must be a str, not {type(event_type).__name__}; "
            f'write class {class_name}(Event, event_type="...")'
        )
    if not event_type or event_type != event_type.strip() or not event_type.isprintable():
        raise ValueError(
            f"event_type of event class {class_name} is {event_type!r}; give a name of printable characters without "
            "spaces around it, or leave it out to use the name of the class"
        )
    return event_type


def _is_inherited(field: "attrs.Attribute[Any]") -> bool:
    return bool(getattr(field, "inherited", False))  # the stubs of attrs do not know this attribute


def _has_default(field: "attrs.Attribute[Any]") -> bool:
    return field.default is not attrs.NOTHING


def _own_fields(cls: type) -> "list[attrs.Attribute[Any]]":
    return [field for field in attrs.fields(cls) if not _is_inherited(field)]


def _mandatory_after_default(_cls: type, fields: "list[attrs.Attribute[Any]]") -> "list[attrs.Attribute[Any]]":
    """Let mandatory fields follow inherited ones that have a default: those become keyword-only."""
    if all(_is_inherited(field) or _has_default(field) or field.kw_only for field in fields):
        return fields
    return [field.evolve(kw_only=True) if _is_inherited(field) and _has_default(field) else field for field in fields]


def _refuse_mutable_defaults(cls: type) -> None:
    for field in _own_fields(cls):
        default: object = field.default
        if isinstance(default, _MUTABLE):
            kind = type(cast("object", default)).__name__
            raise TypeError(
                f"field {field.name!r} of event class {cls.__name__} has a {kind} as default, which all events would "
                f"share; write {field.name}: {kind} = attrs.field(factory={kind})"
            )


def _keep_inherited_constructor(cls: type) -> None:
    """Give a class without fields of its own the constructor above it, where that says more than the one attrs made.

    So ``MyStop(5)`` works as ``StopEvent(5)`` does, and an event without any field is made at the speed of
    ``object()``.
    """
    if _own_fields(cls) or "__attrs_init__" in cls.__dict__:
        return
    if not attrs.fields(cls) or any("__attrs_init__" in base.__dict__ for base in cls.__mro__):
        delattr(cls, "__init__")


def _names_around(cls: type, frame: FrameType | None) -> dict[str, object]:
    """Keep what the text annotations of a class inside a function refer to: later nobody can find it."""
    annotations: list[object] = [field.type for field in _own_fields(cls)]
    texts = [annotation for annotation in annotations if isinstance(annotation, str)]
    if not texts or "<locals>" not in cls.__qualname__ or frame is None or frame.f_back is None:
        return {}
    used = set(re.findall(r"\w+", " ".join(texts)))
    return {name: value for name, value in frame.f_back.f_locals.items() if name in used}


class _WireName:
    """``event.event_type``. A subclass may have a field of that name; ``Page.event_type`` stays its wire name."""

    def __init__(self, method: Callable[[Any], str]) -> None:
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, event: None, cls: EventMeta) -> str: ...
    @overload
    def __get__(self, event: object, cls: EventMeta) -> Any: ...
    def __get__(self, event: object | None, cls: EventMeta) -> str:
        return cls.event_type


class Event(metaclass=EventMeta):
    """The base of all events: subclass it and annotate the fields.

    Events never change, compare by value, and are hashable if their fields are.
    """

    __attrs_attrs__: ClassVar[Any]

    @_WireName
    def event_type(self) -> str:
        """The name of the event's class on the wire."""
        raise NotImplementedError  # a declaration for type checkers: the descriptor answers


class StartEvent(Event):
    """The first event of a run. What is given to ``run`` or ``start`` and is no event becomes its ``data``."""

    data: Any = attrs.field(default=None, kw_only=True)

    def __init__(self, data: object = None) -> None:
        object.__setattr__(self, "data", data)


class StopEvent(Event):
    """The last event of a run; ``result`` is what the run gives. Of a subclass, the event itself is the result."""

    result: Any = attrs.field(default=None, kw_only=True)

    def __init__(self, result: object = None) -> None:
        object.__setattr__(self, "result", result)


def _new_request_id() -> str:
    return str(uuid4())


class InputRequestEvent(Event):
    """A question to somebody outside. Each has an id of its own, made here unless one is given."""

    prompt: str
    request_id: str = attrs.field(factory=_new_request_id)
    metadata: dict[str, Any] = attrs.field(factory=dict[str, Any])


class InputResponseEvent(Event):
    """The answer to the ``InputRequestEvent`` with the same ``request_id``."""

    request_id: str
    response: Any


class DynamicEvent(Event):
    """An event whose class is not known here: its wire name and its fields as plain data."""

    event_type: str  # pyright: ignore[reportIncompatibleVariableOverride]  # the field hides the wire name, on purpose
    data: Any


class StepFailedEvent(Event):
    """A step failed for good, for a step that recovers from it; ``elapsed`` is seconds since its first attempt.

    ``event`` is what the step was called with: an event, or the list of events that a join was given.
    """

    step_name: str
    event: Event | list[Event]
    error_type: str
    message: str
    attempts: int
    elapsed: float


class UsageEvent(Event):
    """What one call of a model cost: counts of tokens, US dollars, milliseconds."""

    model: str = ""
    provider: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    reasoning_tokens: int = 0
    cached_input_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cost_usd: float | None = None
    latency_ms: float | None = None


class ProgressEvent(Event):
    """How far something is: ``current`` of ``total``, in units of its own."""

    current: float
    total: float | None = None
    label: str = ""
    step_name: str | None = None

    @property
    def percent(self) -> float | None:
        """``current`` in percent of ``total``; None if the total is unknown or zero."""
        return self.current / self.total * 100.0 if self.total else None


class LifecycleEvent(Event):
    """What the engine did, for those who watch; ``kind`` is ``step_started``, ``run_completed`` and so on."""

    kind: str
    step_name: str | None = None
    event_type: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]  # as in DynamicEvent
    attempt: int | None = None
    duration_ms: float | None = None
    error: str | None = None


class StreamGap(Event):
    """Stands in a stream for exactly ``missed`` events that this subscriber was too slow to get."""

    missed: int


def require_event(value: object, taker: str) -> None:
    """Refuse what is not an instance of an ``Event`` subclass; ``taker`` names who wants one.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, Event) or type(value) is Event:
        raise TypeError(f"{taker} takes an instance of an Event subclass, not {value!r}")


def is_event_class(value: object) -> TypeGuard[type[Event]]:
    """Whether this is a class of events, ``Event`` itself included."""
    return isinstance(value, type) and issubclass(value, Event)


def is_external(cls: type[Event]) -> bool:
    """Whether clients from outside may send events of this class: ``class Approval(Event, external=True)``."""
    return cls.__event_info__.external


def field_types(cls: type[Event]) -> dict[str, Any]:
    """The types of an event class's fields, text annotations resolved, ``Annotated`` kept.

    Raises:
        TypeError: a name in an annotation cannot be found at run time.
    """
    around: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        around |= base.__event_info__.names_around if isinstance(base, EventMeta) else {}
    try:
        hints = get_type_hints(cls, localns=around, include_extras=True)
    except NameError as unknown:
        raise TypeError(
            f"event class {cls.__name__} has an annotation that cannot be resolved: {unknown}; import the name at run "
            "time (not under TYPE_CHECKING) and define it before the event class"
        ) from unknown
    return {field.name: hints[field.name] for field in attrs.fields(cls)}


def live_fields(cls: type[Event]) -> frozenset[str]:
    """The names of the fields that hold live objects: those annotated ``Live[...]``."""
    return frozenset(name for name, hint in field_types(cls).items() if is_live(hint))


def is_live(hint: object) -> bool:
    """Whether an annotation is ``Live[...]``."""
    return get_origin(hint) is Annotated and _LIVE in cast("tuple[object, ...]", getattr(hint, "__metadata__", ()))
