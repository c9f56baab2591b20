"""Shapes: values whose type is known from an annotation, written bare and read strictly.

The rules of this file:

* A ``Shape`` is how one annotation is written and read. Both ways take exactly the types that the annotation names and
  convert nothing: no ``"1"`` for ``int``, no ``1.9`` for ``int``, no ``1`` for ``bool``. One promotion, Python's own:
  an int stands where ``float`` is written, and stays an int.
* What the annotation says is not said again: a ``datetime`` is its text, a set a list, a member of an Enum its name.
  What the annotation leaves open says what it is, as in ``values``.
* A shape also reads its own marked form, so that a value of ``ctx.state`` can be read as a type.
"""

import enum
from collections.abc import Callable, Collection
from typing import Any, Final, cast

import attrs

from blazen_trio.codec.classes import ENUM, LiveValue, dump_member, encode_live, load_live, load_member
from blazen_trio.codec.leaves import Leaf
from blazen_trio.codec.plain import DecodeError, Plain
from blazen_trio.codec.values import DICT, FROZENSET, SET, TUPLE, distinct, encode_dict, encode_set, load_pairs
from blazen_trio.codec.walkers import Encoder, Loader, Reader, Refused, Writer, is_flat


@attrs.frozen
class Shape:
    """How values of one annotation are written and read."""

    dump: Encoder
    load: Loader
    scalar: type | None = None
    """The one class of plain data that this shape is, if so: lists of it are checked and copied in C."""


def refusal(value: object, expected: str) -> Refused:
    """The error for a value that is not what its annotation says."""
    return Refused(value, f"its annotation says {expected}")


def mismatch(plain: object, expected: str) -> DecodeError:
    """The error for data that is not what the annotation says."""
    return DecodeError(f"expected {expected}, got {type(plain).__name__}")


def name_of(annotation: object) -> str:
    """An annotation as a user would write it."""
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def scalar_shape(*kinds: type) -> Shape:
    """``str``, ``int``, ``float``, ``bool``, ``None``: themselves, or their marker where JSON cannot hold them."""
    expected = kinds[0].__name__

    def dump(value: object, writer: Writer) -> Plain:
        if type(value) in kinds:
            return writer.encode(value)
        raise refusal(value, expected)

    def load(plain: Plain, reader: Reader) -> object:
        value = reader.decode(plain) if type(plain) is dict else plain
        if type(value) in kinds:
            return value
        raise mismatch(value, expected)

    return Shape(dump, load, kinds[0] if len(kinds) == 1 else None)


def unmarked(plain: Plain, tag: str) -> Plain:
    """The content of this marker; anything else as it is."""
    return plain[tag] if type(plain) is dict and plain.keys() == {tag} else plain


def leaf_shape(leaf: Leaf) -> Shape:
    """A type with a form of its own: that form, bare."""

    def dump(value: object, _: Writer) -> Plain:
        if type(value) is not leaf.type:
            raise refusal(value, leaf.type.__name__)
        try:
            return leaf.dump(value)
        except ValueError as problem:
            raise Refused(value, str(problem)) from None

    return Shape(dump, lambda plain, _: leaf.load(unmarked(plain, leaf.tag)))


def enum_shape(cls: type[enum.Enum]) -> Shape:
    """An Enum: the name of the member."""

    def dump(value: enum.Enum, _: Writer) -> Plain:
        if type(value) is not cls:
            raise refusal(value, cls.__name__)
        return dump_member(value)

    def load(plain: Plain, _: Reader) -> object:
        content = unmarked(plain, ENUM)
        if type(content) is list and content[:1] == [cls.__name__]:
            content = content[-1]
        return load_member(cls, content)

    return Shape(dump, load)


def open_shape(annotation: object, fits: Callable[[object], bool]) -> Shape:
    """A value that says what it is, of any type that fits."""

    def dump(value: object, writer: Writer) -> Plain:
        if not fits(value):
            raise refusal(value, name_of(annotation))
        return writer.encode(value)

    def load(plain: Plain, reader: Reader) -> object:
        value = reader.decode(plain)
        if not fits(value):
            raise mismatch(value, name_of(annotation))
        return value

    return Shape(dump, load)


def _dump_live(value: object, writer: Writer) -> Plain:
    return None if value is None else encode_live(LiveValue(value), writer)


ANYTHING: Final = Shape(lambda value, writer: writer.encode(value), lambda plain, reader: reader.decode(plain))
"""``Any`` and ``object``: the value says what it is."""

LIVE: Final = Shape(_dump_live, load_live)
"""``Live[T]``: a session ref, or ``None``."""


def optional_shape(item: Shape) -> Shape:
    """``T | None``."""

    def dump(value: object, writer: Writer) -> Plain:
        return None if value is None else item.dump(value, writer)

    def load(plain: Plain, reader: Reader) -> object:
        return None if plain is None else item.load(plain, reader)

    return Shape(dump, load)


def list_shape(item: Shape) -> Shape:
    """``list[T]``."""
    one_kind = frozenset({item.scalar})

    def dump(value: list[Any], writer: Writer) -> Plain:
        if type(value) is not list:
            raise refusal(value, "list")
        if frozenset(map(type, value)) == one_kind and is_flat(value):
            return value.copy()
        return writer.items(value, item.dump)

    def load(plain: Plain, reader: Reader) -> object:
        if type(plain) is list and one_kind.issuperset(map(type, plain)):
            return plain.copy()
        return reader.items(plain, item.load)

    return Shape(dump, load)


def row_shape(item: Shape) -> Shape:
    """``tuple[T, ...]``."""

    def dump(value: tuple[Any, ...], writer: Writer) -> Plain:
        if type(value) is not tuple:
            raise refusal(value, "tuple")
        return writer.items(value, item.dump)

    return Shape(dump, lambda plain, reader: tuple(reader.items(unmarked(plain, TUPLE), item.load)))


def tuple_shape(items: list[Shape]) -> Shape:
    """``tuple[A, B]``: each place has its own shape."""

    def dump(value: tuple[Any, ...], writer: Writer) -> Plain:
        if type(value) is not tuple or len(value) != len(items):
            raise refusal(value, f"a tuple of {len(items)}")
        shapes = iter(items)
        return writer.items(value, lambda part, writer: next(shapes).dump(part, writer))

    def load(plain: Plain, reader: Reader) -> object:
        content = unmarked(plain, TUPLE)
        if type(content) is not list or len(content) != len(items):
            raise mismatch(content, f"a list of {len(items)}")
        shapes = iter(items)
        return tuple(reader.items(content, lambda part, reader: next(shapes).load(part, reader)))

    return Shape(dump, load)


def set_shape(kind: type[Any], item: Shape) -> Shape:
    """``set[T]`` or ``frozenset[T]``."""
    tag = {"set": SET, "frozenset": FROZENSET}[kind.__name__]

    def dump(value: object, writer: Writer) -> Plain:
        if type(value) is not kind:
            raise refusal(value, kind.__name__)
        return encode_set(cast("Collection[Any]", value), writer, item.dump)

    def load(plain: Plain, reader: Reader) -> object:
        return kind(distinct(reader.items(unmarked(plain, tag), item.load)))

    return Shape(dump, load)


def dict_shape(key: Shape, item: Shape) -> Shape:
    """``dict[K, V]``: an object if all keys are texts, else pairs behind a marker."""
    any_text = key.scalar is str

    def dump(value: dict[Any, Any], writer: Writer) -> Plain:
        if type(value) is not dict:
            raise refusal(value, "dict")
        keys = [] if any_text and set(map(type, value)) <= {str} else list(value)
        writer.items(keys, key.dump)  # that each key is what the annotation says
        return encode_dict(value, writer, key.dump, item.dump)

    def load(plain: Plain, reader: Reader) -> object:
        if type(plain) is dict and plain.keys() == {DICT}:
            return load_pairs(plain[DICT], reader, key.load, item.load)
        read = reader.fields(plain, item.load)
        return read if any_text else _with_keys(read, key, reader)

    return Shape(dump, load)


def _with_keys(read: dict[str, Any], key: Shape, reader: Reader) -> dict[Any, Any]:
    """The same dict, its keys read as what they are said to be."""
    renamed = {key.load(name, reader): value for name, value in read.items()}
    if len(renamed) != len(read):
        raise DecodeError("a dict with equal keys")
    return renamed
