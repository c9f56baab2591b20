"""From annotations to shapes: which shape an annotation has, and records as the fields they are made of.

The rules of this file:

* A record (attrs class, dataclass, event) is written as an object of its fields, each in the shape of its annotation.
  A field with a default may be missing when it is read; an unknown field is an error.
* Where a record is annotated but an instance of a subclass stands, that says what it is, as in ``values``.
* A union of records is written as the fields and ``_type``, the class's name (the wire name of an event). In a union of
  anything else a value says what it is; ``T | None`` is ``T`` or null.
* What an annotation cannot check at run time (a type variable, a protocol, the items of a ``Sequence[int]``) is left
  open: the value says what it is, so it stays exact.
* A shape is made when it is first needed and kept: a record may mention itself.
"""

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, cast, get_args, get_origin, is_typeddict

from blazen_trio.codec.classes import EVENT, OBJECT, Record, is_record, record_of, types_of
from blazen_trio.codec.leaves import LEAVES
from blazen_trio.codec.plain import MARKER_PREFIX, DecodeError, Plain
from blazen_trio.codec.shapes import (
    ANYTHING,
    LIVE,
    Shape,
    dict_shape,
    enum_shape,
    leaf_shape,
    list_shape,
    mismatch,
    name_of,
    open_shape,
    optional_shape,
    refusal,
    row_shape,
    scalar_shape,
    set_shape,
    tuple_shape,
)
from blazen_trio.codec.values import DICT
from blazen_trio.codec.walkers import Reader, Refused, Writer
from blazen_trio.core.events import Event, is_live

Scratch: TypeAlias = Callable[[], Writer]
"""Makes a writer whose work is thrown away: whether a value fits is whether it can be written."""

UNION_TAG: Final = "_type"
"""The key that names the class, among the fields of a record in a union."""

_SIMPLE: Final[Mapping[object, Shape]] = {
    Any: ANYTHING,
    object: ANYTHING,
    None: scalar_shape(NoneType),
    NoneType: scalar_shape(NoneType),
    str: scalar_shape(str),
    int: scalar_shape(int),
    bool: scalar_shape(bool),
    float: scalar_shape(float, int),
    **{leaf.type: leaf_shape(leaf) for leaf in LEAVES},
    Path: next(leaf_shape(leaf) for leaf in LEAVES if leaf.type is type(Path())),
}


class RecordShape:
    """An attrs class, a dataclass or an event, as its fields."""

    def __init__(self, record: Record, shapes: "Shapes") -> None:
        self.record = record
        self._shapes = shapes
        self._fields: dict[str, Shape] | None = None

    @property
    def fields(self) -> dict[str, Shape]:
        """The shape of each field, made late: a record may mention itself."""
        if self._fields is None:
            types = types_of(self.record.cls)
            self._fields = {name: self._shapes.of(types[name]) for name in self.record.arguments}
        return self._fields

    def dump(self, value: object, writer: Writer) -> Plain:
        """The object's fields; a subclass's object says what it is."""
        if type(value) is self.record.cls:
            return self.dump_fields(value, writer)
        if isinstance(value, self.record.cls):
            return writer.encode(value)
        raise refusal(value, self.record.name)

    def dump_fields(self, value: object, writer: Writer) -> dict[str, Plain]:
        """Every field in its shape; raises ``Refused``."""
        if self.record.problem:
            raise Refused(value, self.record.problem)
        fields = self.fields
        writer.enter(fields)
        written: dict[str, Plain] = {}
        name = ""
        try:
            for name, shape in fields.items():
                written[name] = shape.dump(getattr(value, name), writer)
        except Refused as refused:
            raise refused.within(f".{name}") from None
        writer.leave()
        return written

    def load(self, plain: Plain, reader: Reader) -> object:
        """The object with these fields; raises ``DecodeError``."""
        if type(plain) is dict and len(plain) == 1:
            (tag,) = plain
            if tag.startswith(MARKER_PREFIX):
                return self._load_marked(plain, tag, reader)
        return self.load_fields(plain, reader)

    def _load_marked(self, plain: dict[str, Plain], tag: str, reader: Reader) -> object:
        content = plain[tag]
        if tag in (OBJECT, EVENT) and type(content) is list and content[:-1] == [self.record.name]:
            return self.load_fields(content[-1], reader)
        value = reader.decode(plain)
        if isinstance(value, self.record.cls):
            return value
        raise mismatch(value, self.record.name)

    def load_fields(self, plain: Plain, reader: Reader) -> object:
        """The object with these fields; raises ``DecodeError``."""
        given = self.record.check(plain)
        fields = self.fields
        reader.enter()
        read: dict[str, object] = {}
        name = ""
        try:
            for name, part in given.items():
                read[name] = fields[name].load(part, reader)
        except DecodeError as error:
            raise error.within(f".{name}") from None
        reader.leave()
        return self.record.build(read)


class UnionShape:
    """A union: records by ``_type``, all else by saying what it is."""

    def __init__(self, annotation: object, records: list[RecordShape], others: list[Shape], scratch: Scratch) -> None:
        self._annotation = annotation
        self._by_class = {shape.record.cls: shape for shape in records}
        self._by_name = {shape.record.name: shape for shape in records}
        self._others = others
        self._scalars = frozenset(shape.scalar for shape in others)
        self._scratch = scratch

    def dump(self, value: object, writer: Writer) -> Plain:
        """The fields and ``_type``, or the value saying what it is."""
        shape = self._by_class.get(type(value))
        if shape is not None:
            return {UNION_TAG: shape.record.name, **shape.dump_fields(value, writer)}
        self._check(value)
        plain = writer.encode(value)
        if type(plain) is dict and UNION_TAG in plain:  # a user's dict of that look
            return {DICT: [[key, part] for key, part in plain.items()]}
        return plain

    def load(self, plain: Plain, reader: Reader) -> object:
        """The value that ``dump`` wrote; raises ``DecodeError``."""
        if type(plain) is dict and UNION_TAG in plain and self._by_name:
            name = plain[UNION_TAG]
            if type(name) is not str or name not in self._by_name:
                raise DecodeError(f"{str(name)[:60]!r} is not one of {', '.join(sorted(self._by_name))}")
            return self._by_name[name].load_fields({k: v for k, v in plain.items() if k != UNION_TAG}, reader)
        value = reader.decode(plain)
        if type(value) in self._by_class:
            return value
        try:
            self._check(value)
        except Refused:
            raise mismatch(value, name_of(self._annotation)) from None
        return value

    def _check(self, value: object) -> None:
        """Whether one of the other members takes the value; raises ``Refused``."""
        if type(value) in self._scalars:
            return
        for shape in self._others:
            try:
                shape.dump(value, self._scratch())
            except Refused:
                continue
            return
        raise refusal(value, name_of(self._annotation))


class Shapes:
    """The shape of any annotation, for one codec."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._made: dict[object, Shape] = {}
        self._records: dict[type, RecordShape] = {}

    def record(self, cls: type) -> RecordShape:
        """The shape of an attrs class, a dataclass or an event class."""
        shape = self._records.get(cls)
        if shape is None:
            shape = self._records[cls] = RecordShape(record_of(cls), self)
        return shape

    def of(self, annotation: object) -> Shape:
        """The shape of an annotation; made once."""
        try:
            shape = self._made.get(annotation)
        except TypeError:  # not hashable: Literal[...] or Annotated[...] of something that is not
            return self._make(annotation)
        if shape is None:
            shape = self._made[annotation] = self._make(annotation)
        return shape

    def _make(self, annotation: object) -> Shape:
        alias = getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)
        if alias is not None:  # a NewType, or a `type` statement
            return self.of(alias)
        origin, parts = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return LIVE if is_live(annotation) else self.of(parts[0])
        if origin is Union or origin is UnionType:
            return self._union(annotation, parts)
        if origin is Literal:
            return open_shape(annotation, lambda value: any(type(value) is type(p) and value == p for p in parts))
        return self._container(origin, parts) or self._class(origin or annotation)

    def _container(self, origin: object, parts: tuple[Any, ...]) -> Shape | None:
        if origin is tuple:
            if len(parts) == 2 and parts[1] is Ellipsis:  # noqa: PLR2004 - tuple[T, ...]
                return row_shape(self.of(parts[0]))
            return tuple_shape([self.of(part) for part in parts])
        if origin is list:
            return list_shape(self.of(parts[0]))
        if origin is dict:
            return dict_shape(self.of(parts[0]), self.of(parts[1]))
        if origin is set or origin is frozenset:
            return set_shape(origin, self.of(parts[0]))
        return None

    def _class(self, cls: object) -> Shape:
        """A class by itself, or what an annotation that is not looked into any further is an instance of."""
        if cls in _SIMPLE:
            return _SIMPLE[cls]
        return self._shape_of_class(cast("type[object]", cls)) if isinstance(cls, type) else ANYTHING

    def _shape_of_class(self, cls: type[object]) -> Shape:
        if _is_tagged(cls):
            record = self.record(cls)
            return Shape(record.dump, record.load)
        if issubclass(cls, enum.Enum) and cls.__members__:
            return enum_shape(cls)
        return open_shape(cls, _instance_check(cls))

    def _union(self, annotation: object, parts: tuple[Any, ...]) -> Shape:
        members = [part for part in parts if part is not NoneType]
        if len(members) == 1:
            return optional_shape(self.of(members[0]))
        classes = [get_origin(member) or member for member in members]
        records = [self.record(cls) for cls in classes if _is_tagged(cls)]
        if not _can_be_tagged(records):
            records = []
        tagged = {shape.record.cls for shape in records}
        others = [self.of(part) for part in parts if (get_origin(part) or part) not in tagged]
        union = UnionShape(annotation, records, others, self._scratch)
        return Shape(union.dump, union.load)


def _is_tagged(cls: object) -> bool:
    return cls is not Event and is_record(cls)


def _can_be_tagged(records: list[RecordShape]) -> bool:
    """Whether ``_type`` tells these apart, and is not the name of a field."""
    names = {shape.record.name for shape in records}
    return len(names) == len(records) and not any(UNION_TAG in shape.record.arguments for shape in records)


def _instance_check(cls: type[object]) -> Callable[[object], bool]:
    if is_typeddict(cls):
        return lambda value: type(value) is dict
    if getattr(cls, "_is_protocol", False):  # whether it can be checked depends on how it is declared
        return lambda _: True
    return lambda value: isinstance(value, cls)
