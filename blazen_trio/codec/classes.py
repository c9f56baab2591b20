"""The classes that one codec knows: found through annotations, named in data, written field by field.

The rules of this file:

* A codec knows the event classes it is given, and every attrs class, dataclass and Enum that the field types of those
  (and of the classes given beside them) mention, at any depth. Data can name these and no other: nothing is imported.
* Events go by their wire name, other classes by their class name. Two classes of one name are a ``ValueError`` that
  names both.
* An object is its fields: all of them must be given to the constructor, or it cannot be rebuilt exactly and is refused
  (``init=False``, ``InitVar``). Reading calls the constructor, so validators and converters run; a field with a default
  may be missing. What an object holds beside its fields is not kept.
"""

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast, get_args, get_type_hints

import attrs

from blazen_trio.codec.plain import INT_MAX, INT_MIN, DecodeError, Plain
from blazen_trio.codec.walkers import Encoder, Loader, Reader, Refused, Writer
from blazen_trio.core.errors import describe_exception
from blazen_trio.core.events import Event, field_types, is_live, live_fields
from blazen_trio.session_refs.keys import SESSION_REF

OBJECT: Final = "__blazen_object__"
EVENT: Final = "__blazen_event__"
ENUM: Final = "__blazen_enum__"

_SHOWN: Final = 60
"""So many characters of a foreign name are repeated in an error."""


@attrs.frozen
class Record:
    """What has to be known of an attrs class or dataclass: its fields, and how the constructor takes them."""

    cls: type
    name: str
    arguments: Mapping[str, str]
    """Constructor arguments by field name."""
    required: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()
    """Fields that hold a live object: written as a session ref."""
    problem: str = ""
    """Why objects of this class cannot be rebuilt exactly, if so."""

    def fields(self, value: object) -> dict[str, object]:
        """The fields of an object, by name."""
        if not self.live:
            return {name: getattr(value, name) for name in self.arguments}
        return {name: LiveValue.of(getattr(value, name), live=name in self.live) for name in self.arguments}

    def check(self, plain: Plain) -> dict[str, Plain]:
        """The fields in plain data, none unknown, none missing; raises ``DecodeError`` that names the first."""
        if type(plain) is not dict:
            raise DecodeError(f"expected the fields of {self.name}, got {type(plain).__name__}")
        if not plain.keys() <= self.arguments.keys():
            name = min(plain.keys() - self.arguments.keys())
            raise DecodeError(f"{self.name} has no such field", f".{name[:_SHOWN]}")
        if not self.required <= plain.keys():
            raise DecodeError(f"{self.name} needs this field", f".{min(self.required - plain.keys())}")
        return plain

    def build(self, fields: Mapping[str, object]) -> object:
        """The object with these fields (checked before); raises ``DecodeError``."""
        try:
            return self.cls(**{self.arguments[name]: value for name, value in fields.items()})
        except Exception as error:  # noqa: BLE001 - a user's validator may raise anything
            raise DecodeError(f"{self.name} cannot be built: {describe_exception(error)}") from None


@attrs.frozen
class LiveValue:
    """Stands for a live object on its way out, so that the walker writes it as a session ref."""

    value: object

    @classmethod
    def of(cls, value: object, *, live: bool) -> object:
        """Mark a field's value if it is live; ``None`` needs no mark."""
        return cls(value) if live and value is not None else value


def encode_live(value: LiveValue, writer: Writer) -> Plain:
    """A live object, by its key in the registry."""
    return {SESSION_REF: writer.live_key(value.value)}


def load_live(plain: Plain, reader: Reader) -> object:
    """The live object that ``encode_live`` wrote, or ``None``."""
    if plain is None:
        return None
    if type(plain) is dict and plain.keys() == {SESSION_REF}:
        return reader.live_value(plain[SESSION_REF])
    raise DecodeError(f"expected a session ref, got {type(plain).__name__}")


def is_record(cls: object) -> bool:
    """Whether this is an attrs class or a dataclass."""
    return isinstance(cls, type) and (attrs.has(cls) or dataclasses.is_dataclass(cls))


def record_of(cls: type[object]) -> Record:
    """Look at an attrs class or dataclass."""
    if attrs.has(cls):
        return _attrs_record(cls)
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{_full_name(cls)} is neither an attrs class nor a dataclass")
    fields = dataclasses.fields(cls)
    arguments = {field.name: field.name for field in fields}
    required = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    hidden = [field.name for field in fields if not field.init] + _init_only(cls, arguments)
    return Record(cls, cls.__name__, arguments, frozenset(required), problem=_hidden_problem(hidden))


def _attrs_record(cls: "type[attrs.AttrsInstance]") -> Record:
    fields = attrs.fields(cls)
    event = cls if issubclass(cls, Event) else None
    return Record(
        cls,
        event.event_type if event else cls.__name__,
        {field.name: field.alias or field.name for field in fields},
        frozenset(field.name for field in fields if field.default is attrs.NOTHING),
        live_fields(event) if event else frozenset(),
        _hidden_problem([field.name for field in fields if not field.init]),
    )


def _hidden_problem(hidden: list[str]) -> str:
    return f"its field {hidden[0]!r} is not a plain constructor argument" if hidden else ""


def _init_only(cls: type[object], arguments: Mapping[str, str]) -> list[str]:
    """Each ``InitVar`` of a dataclass: arguments whose value nobody keeps."""
    hidden = cast("dict[str, dataclasses.Field[Any]]", vars(cls).get("__dataclass_fields__", {}))
    return [name for name, field in hidden.items() if name not in arguments and "InitVar" in repr(field)]


def types_of(cls: type[object]) -> dict[str, Any]:
    """The field types of an attrs class or dataclass.

    A text annotation that cannot be resolved is a ``TypeError`` in an event class, and ``Any`` in other classes: those
    may be a stranger's, and their objects are exact without annotations too.
    """
    if issubclass(cls, Event):
        return field_types(cls)
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - evaluating a stranger's annotations may raise anything
        hints = {}
    return {name: hints.get(name, Any) for name in record_of(cls).arguments}


def mentioned(roots: Iterable[object]) -> list[type]:
    """All event classes, records and Enums that these annotations reach, each once."""
    found: dict[type, None] = {}
    waiting = list(roots)
    while waiting:
        annotation = waiting.pop()
        if is_live(annotation):
            continue
        waiting.extend(get_args(annotation))
        origin = getattr(annotation, "__origin__", annotation)
        cls = getattr(origin, "__supertype__", origin)  # a NewType
        if cls is not origin:
            waiting.append(cls)
        elif isinstance(cls, type) and cls not in found and cls is not Event and _is_known_kind(cls):
            found[cls] = None
            waiting.extend(types_of(cls).values() if is_record(cls) else ())
    return list(found)


def _is_known_kind(cls: type[object]) -> bool:
    return is_record(cls) or (issubclass(cls, enum.Enum) and bool(cls.__members__))


def dump_member(value: enum.Enum) -> Plain:
    """A member of an Enum by name; flags that have no name of their own by value."""
    if type(value).__members__.get(value.name) is value:
        return value.name
    number = value.value
    if isinstance(value, enum.Flag) and type(number) is int and INT_MIN <= number <= INT_MAX:
        return number
    raise Refused(value, "it is not a named member of its Enum")


def load_member(cls: type[enum.Enum], plain: Plain) -> enum.Enum:
    """The member that ``dump_member`` wrote."""
    member = cls.__members__.get(plain) if type(plain) is str else None
    if member is not None:
        return member
    if type(plain) is int and issubclass(cls, enum.Flag):
        try:
            return cls(plain)
        except ValueError:
            pass
    raise DecodeError(f"{str(plain)[:_SHOWN]!r} is not a member of {cls.__name__}")


class Classes:
    """The classes of one codec, by what they are and by name."""

    def __init__(self, events: Iterable[type[Event]], classes: Iterable[type]) -> None:
        self.events: dict[str, Record] = {}
        self.objects: dict[str, Record] = {}
        self.enums: dict[str, type[enum.Enum]] = {}
        self._names: dict[tuple[bool, str], type] = {}
        for cls in mentioned([*events, *classes]):
            self._add(cls)

    def _add(self, cls: type[object]) -> None:
        if issubclass(cls, enum.Enum):
            self._claim(cls, cls.__name__)
            self.enums[cls.__name__] = cls
            return
        record = record_of(cls)
        self._claim(cls, record.name)
        (self.events if issubclass(cls, Event) else self.objects)[record.name] = record

    def _claim(self, cls: type[object], name: str) -> None:
        other = self._names.setdefault((issubclass(cls, Event), name), cls)
        if other is not cls:
            raise ValueError(f"two classes are named {name!r} in saved data: {_full_name(other)} and {_full_name(cls)}")

    def encoders(self) -> dict[type, Encoder]:
        """How values of these classes are written."""
        return {
            LiveValue: encode_live,
            **dict.fromkeys(self.enums.values(), _encode_enum),
            **{record.cls: _object_encoder(record, OBJECT) for record in self.objects.values()},
            **{record.cls: _object_encoder(record, EVENT) for record in self.events.values()},
        }

    def tags(self) -> dict[str, Loader]:
        """How the markers of these classes are read."""
        return {
            ENUM: self._read_enum,
            OBJECT: lambda content, reader: _read_object(content, reader, self.objects),
            EVENT: lambda content, reader: _read_object(content, reader, self.events),
        }

    def _read_enum(self, content: Plain, _: Reader) -> object:
        name, member = _named(content)
        if name not in self.enums:
            raise DecodeError(f"unknown Enum {name[:_SHOWN]!r}")
        return load_member(self.enums[name], member)


def _full_name(cls: type[object]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _encode_enum(value: enum.Enum, _: Writer) -> Plain:
    return {ENUM: [type(value).__name__, dump_member(value)]}


def _object_encoder(record: Record, tag: str) -> Encoder:
    name, problem = record.name, record.problem

    def encode(value: object, writer: Writer) -> Plain:
        if problem:
            raise Refused(value, problem)
        return {tag: [name, writer.fields(record.fields(value))]}

    return encode


def _named(content: Plain) -> tuple[str, Plain]:
    if type(content) is not list or len(content) != 2 or type(content[0]) is not str:  # noqa: PLR2004 - a pair
        raise DecodeError("expected a class name and its content")
    return content[0], content[1]


def _read_object(content: Plain, reader: Reader, records: Mapping[str, Record]) -> object:
    name, fields = _named(content)
    record = records.get(name)
    if record is None:
        raise DecodeError(f"unknown class {name[:_SHOWN]!r}")
    plain = record.check(fields)
    if not record.live:
        return record.build(reader.fields(plain))
    live = {field: load_live(plain[field], reader) for field in record.live & plain.keys()}
    others = {field: part for field, part in plain.items() if field not in live}
    return record.build({**reader.fields(others), **live})
