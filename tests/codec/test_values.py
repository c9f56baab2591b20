"""Values to plain data and back: exact, or refused with the place and the type."""

import collections
import dataclasses
import enum
import json
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.codec import Codec, DecodeError, Plain
from blazen_trio.codec.text import from_json, from_msgpack, to_json, to_msgpack
from blazen_trio.codec.values import TAGS
from blazen_trio.core.errors import EncodeError
from tests.budget import soon
from tests.codec.values_for_tests import Circle, Colour, Level, Moved, Point, Right, Square, Tree, same, values

CODEC = Codec([Moved], [Circle, Square, Colour, Level, Right, Tree])


def is_plain(plain):
    if type(plain) is dict:
        return all(type(key) is str for key in plain) and all(map(is_plain, plain.values()))
    if type(plain) is list:
        return all(map(is_plain, plain))
    return plain is None or type(plain) in (str, bool, float) or (type(plain) is int and -(2**63) <= plain < 2**63)


def mutable_parts(plain):
    if isinstance(plain, (dict, list)):
        yield id(plain)
        for part in plain.values() if isinstance(plain, dict) else plain:
            yield from mutable_parts(part)


@given(values)
def test_every_value_comes_back_equal_and_of_the_same_type(value):
    plain = CODEC.to_plain(value, "value")
    assert is_plain(plain)
    assert same(CODEC.from_plain(plain), value)


@given(values)
def test_json_and_messagepack_change_nothing(value):
    plain = CODEC.to_plain(value, "value")
    assert same(from_json(to_json(plain)), plain)
    assert same(from_json(json.dumps(plain)), plain)
    assert same(from_msgpack(to_msgpack(plain)), plain)


@given(values)
def test_nothing_mutable_is_shared(value):
    plain = CODEC.to_plain(value, "value")
    assert not set(mutable_parts(plain)) & set(mutable_parts(value))
    one, other = CODEC.from_plain(plain), CODEC.from_plain(plain)
    assert not set(mutable_parts(one)) & (set(mutable_parts(plain)) | set(mutable_parts(other)))


@pytest.mark.parametrize(
    "value",
    [
        {"__blazen_set__": [1]},
        {"__blazen_dict__": [[1, 2]]},
        {"__blazen_session_ref__": "x"},
        {"__blazen_new__": None},
        {"__blazen_dict__": {"__blazen_dict__": {}}},
        [{"__blazen_uuid__": "x"}],
    ],
)
def test_a_dict_that_looks_like_a_marker_comes_back_as_it_was(value):
    assert CODEC.from_plain(CODEC.to_plain(value, "value")) == value


def test_equal_sets_are_written_alike():
    assert CODEC.to_plain({8, 0, "a"}, "x") == CODEC.to_plain({"a", 0, 8}, "x")


class Name(str):
    __slots__ = ()


class Pair(NamedTuple):
    a: int
    b: int


class Unknown(enum.IntEnum):
    ONE = 1


class Moment(datetime):
    pass


class Nowhere(tzinfo):
    def utcoffset(self, _):
        return timedelta(0)

    dst = utcoffset

    def tzname(self, _):
        return "nowhere"


@attrs.frozen
class Hidden:
    shown: int
    cached: int = attrs.field(init=False, default=0)


@attrs.frozen
class Dog(Point):
    pass


@pytest.mark.parametrize(
    "value",
    [
        Name("x"),
        Pair(1, 2),
        Unknown.ONE,
        collections.OrderedDict(a=1),
        collections.defaultdict(int),
        collections.deque([1]),
        Moment(2020, 1, 1),
        datetime(2020, 1, 1, tzinfo=Nowhere()),
        object(),
        int,
        len,
        range(3),
        ...,
        memoryview(b"x"),
        Dog(1),
        ValueError("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_come_back_exactly_is_refused_with_its_place_and_type(value):
    with pytest.raises(EncodeError) as caught:
        CODEC.to_plain({"seen": [1, (2, value)]}, "state['k']")
    assert caught.value.where == "state['k']['seen'][1][1]"
    assert caught.value.type_name == type(value).__qualname__


@dataclasses.dataclass
class Seeded:
    shown: int
    seed: dataclasses.InitVar[int] = 0


@pytest.mark.parametrize(("value", "field"), [(Hidden(1), "cached"), (Seeded(1), "seed")])
def test_an_object_that_its_constructor_cannot_rebuild_is_refused(value, field):
    with pytest.raises(EncodeError, match=field):
        Codec([], [Hidden, Seeded]).to_plain(value, "x")


def test_cycles_and_deep_values_are_errors_in_little_time():
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    deep: list[Any] = []
    shared: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    for _ in range(60):
        shared = [shared, shared]
    loop = Tree("a")
    loop.children.append(loop)
    for value in (cycle, deep, loop, {"a": {"b": cycle}}):
        with soon(), pytest.raises(EncodeError, match="64 levels"):
            CODEC.to_plain(value, "x")
    with soon(), pytest.raises(EncodeError, match="a shared part counts each time"):
        CODEC.to_plain(shared, "x")


def test_64_levels_of_any_kind_go_through_text_and_back():
    for wrap in (lambda v: [v], lambda v: (v,), lambda v: {1: v}, lambda v: Circle(Point(1), 1.0, v)):
        value: Any = 1
        for _ in range(63):
            value = wrap(value)
        plain = from_json(to_json(CODEC.to_plain(value, "x")))
        assert same(CODEC.from_plain(plain), value)


@pytest.mark.parametrize(
    ("plain", "problem"),
    [
        ({"__blazen_nonsense__": 1}, "unknown tag"),
        ({"__blazen_session_ref__": "x"}, "session ref"),
        ({"__blazen_set__": 1}, "expected a list"),
        ({"__blazen_set__": [1, 1]}, "equal members"),
        ({"__blazen_set__": [[]]}, "not hashable"),
        ({"__blazen_dict__": [[1, 2], [1, 3]]}, "equal keys"),
        ({"__blazen_dict__": [[1, 2, 3]]}, "pair"),
        ({"__blazen_int__": "12"}, "hexadecimal"),
        ({"__blazen_int__": 12}, "string"),
        ({"__blazen_float__": "3ff0000000000000"}, "NaN"),
        ({"__blazen_float__": "zz"}, "not a valid float"),
        ({"__blazen_bytes__": "!"}, "not a valid bytes"),
        ({"__blazen_datetime__": "yesterday"}, "not a valid datetime"),
        ({"__blazen_datetime__": ["2020-01-01T00:00:00", 0, "../../etc/passwd"]}, "not a valid datetime"),
        ({"__blazen_datetime__": ["2020-01-01T00:00:00", 0, "Mars/Olympus"]}, "not a valid datetime"),
        ({"__blazen_datetime__": ["2020-01-01T00:00:00", 7, None]}, "not a valid datetime"),
        ({"__blazen_timedelta__": [0, 0, 10**9]}, "timedelta"),
        ({"__blazen_timedelta__": [0, 0.5, 0]}, "timedelta"),
        ({"__blazen_timedelta__": [2**62, 0, 0]}, "timedelta"),
        ({"__blazen_decimal__": "1_0"}, "decimal"),
        ({"__blazen_uuid__": "{12345678123456781234567812345678}"}, "UUID"),
        ({"__blazen_enum__": ["Colour", "BLUE"]}, "not a member"),
        ({"__blazen_enum__": ["Shade", "RED"]}, "unknown Enum"),
        ({"__blazen_object__": ["os.system", {}]}, "unknown class"),
        ({"__blazen_object__": ["Point", {"x": 1, "z": 2}]}, "no such field"),
        ({"__blazen_object__": ["Point", {}]}, "needs this field"),
        ({"__blazen_object__": "Point"}, "class name"),
        ({"__blazen_event__": ["Moved", {}]}, "unknown class"),
        ((1,), "not plain"),
        ({1, 2}, "not plain"),
    ],
)
def test_wrong_data_is_one_clear_error(plain, problem):
    with pytest.raises(DecodeError, match=problem) as caught:
        CODEC.from_plain({"a": [0, plain]})
    assert caught.value.path.startswith("['a'][1]")


def test_a_set_made_to_collide_is_refused_in_little_time():
    plain: Plain = {"__blazen_set__": [{"__blazen_int__": hex((2**61 - 1) * i)} for i in range(10, 50_000)]}
    with soon(), pytest.raises(DecodeError, match="equal hashes"):
        CODEC.from_plain(plain)


def test_two_classes_of_one_name_are_refused_with_both_names():
    @attrs.frozen
    class Point:
        z: int

    with pytest.raises(ValueError, match=r"values_for_tests\.Point.*<locals>\.Point|<locals>\.Point.*\.Point"):
        Codec([Moved], [Point])


def test_classes_are_found_through_annotations_of_any_depth():
    codec = Codec([Moved])
    assert codec.from_plain(codec.to_plain(Point(1, 2), "x")) == Point(1, 2)
    with pytest.raises(EncodeError, match="not known"):
        Codec().to_plain(Point(1, 2), "x")


def test_a_datetime_keeps_its_zone_and_fold():
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    assert CODEC.to_plain(moment, "x") == {"__blazen_datetime__": "2020-01-01T00:00:00+00:00"}


def test_an_int_of_any_size_is_exact():
    for value in (10**50_000, -(10**50_000), {10**5_000: 1}):
        assert CODEC.from_plain(from_json(to_json(CODEC.to_plain(value, "x")))) == value
    with pytest.raises(EncodeError):
        CODEC.to_plain({10**5_000: object()}, "x")


tags = st.sampled_from([*TAGS, "__blazen_object__", "__blazen_enum__", "__blazen_event__", "__blazen_no__", "a"])
odd_scalars = st.sampled_from(
    [None, True, 0, 7, 2**62, -1, 0.5, "", "Point", "Colour", "RED", "shop.moved", "0x1", "x", "to"]
)
forged = st.recursive(
    odd_scalars | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(tags | st.just("x"), inner, max_size=2),
    max_leaves=10,
)


@given(forged)
def test_forged_data_is_a_value_or_a_decode_error(plain):
    try:
        value = CODEC.from_plain(plain)
    except DecodeError:
        return
    assert same(CODEC.from_plain(CODEC.to_plain(value, "x")), value)
