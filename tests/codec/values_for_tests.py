"""What the codec's tests share: a comparison that forgives nothing, classes of every kind, strategies for values."""

import dataclasses
import enum
import math
import struct
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import attrs
from hypothesis import strategies as st

from blazen_trio.core.events import Event


class Colour(enum.Enum):
    RED = "red"
    GREEN = (1, 2)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@attrs.frozen
class Point:
    x: int
    y: int = 0


@attrs.define
class Circle:
    centre: Point
    _radius: float
    note: object = None


@dataclasses.dataclass
class Square:
    corner: Point
    side: float


@attrs.define
class Tree:
    label: str
    children: list["Tree"] = attrs.field(factory=list)


class Moved(Event, event_type="shop.moved"):
    to: Point
    tags: frozenset[str] = frozenset()


def same(one: Any, other: Any) -> bool:  # noqa: PLR0911 - one line for each kind of value
    """Whether two values are equal and of the same types at every depth; NaNs and zeros by their bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (set, frozenset)):
        return same(sorted(map(identity, one)), sorted(map(identity, other)))
    if attrs.has(type(one)):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in attrs.fields(type(one)))
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, (datetime, time)):
        return (repr(one), one.fold, one.tzname()) == (repr(other), other.fold, other.tzname())
    return repr(one) == repr(other)


def identity(value: object) -> str:
    """A text that only the same value has."""
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, (tuple, frozenset)):
        parts = map(identity, value)
        return f"{type(value)}{list(parts) if isinstance(value, tuple) else sorted(parts)}"
    return f"{type(value)}{value!r}{getattr(value, 'fold', '')}"


zones = st.one_of(
    st.none(),
    st.just(UTC),
    st.sampled_from(["Europe/Berlin", "America/New_York", "UTC", "Asia/Kathmandu"]).map(ZoneInfo),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), st.text("abc +:", min_size=0)),
)
any_text = st.text(st.characters())  # lone surrogates included
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 2**63, -(2**63) - 1, 2**63 - 1]),
    any_text,
)
leaves = st.one_of(
    st.binary(),
    st.complex_numbers(),
    st.builds(lambda d, z, f: d.replace(tzinfo=z, fold=f), st.datetimes(), zones, st.integers(0, 1)),
    st.builds(lambda d, z, f: d.replace(tzinfo=z, fold=f), st.times(), zones, st.integers(0, 1)),
    st.dates(),
    st.timedeltas(),
    st.decimals(),
    st.sampled_from([Decimal("-0"), Decimal("1E+999"), Decimal("1.500"), Decimal("-NaN12"), Decimal("sNaN")]),
    st.uuids(),
    st.lists(st.text("ab.: ", min_size=1)).map(lambda parts: PurePosixPath(*parts)),
    st.sampled_from([Path("a/b"), Path("/"), PureWindowsPath("C:/x"), PureWindowsPath("//host/share/x")]),
    st.sampled_from([*Colour, *Level, Right.READ, Right.READ | Right.WRITE, Right(0)]),
)
hashables = st.recursive(
    scalars | leaves.filter(lambda v: not (isinstance(v, Decimal) and v.is_snan())),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
look_alikes = st.sampled_from(
    ["__blazen_set__", "__blazen_dict__", "__blazen_session_ref__", "__blazen_", "__blazen_object__", "_type", "x"]
)


def containers(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Everything that can hold other values."""
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(any_text | look_alikes, inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
        st.builds(Point, st.integers(), st.integers()),
        st.builds(Circle, st.builds(Point, st.integers()), st.floats(), inner),
        st.builds(Square, st.builds(Point, st.integers()), st.floats()),
        st.builds(Moved, st.builds(Point, st.integers()), st.frozensets(st.text(max_size=3), max_size=3)),
        st.binary().map(bytearray),
    )


values = st.recursive(scalars | leaves, containers, max_leaves=12)
"""Any value that a codec of these classes takes."""
