"""Events to plain data and back, field by field as annotated; values read as a type."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NewType, Optional, TypedDict, TypeVar, cast
from uuid import UUID

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.codec import Codec, DecodeError, Plain
from blazen_trio.codec.text import from_json, from_msgpack, to_json, to_msgpack
from blazen_trio.core.errors import EncodeError, EventDecodeError
from blazen_trio.core.events import (
    DynamicEvent,
    Event,
    Live,
    ProgressEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    UsageEvent,
)
from tests.codec.values_for_tests import Circle, Colour, Level, Moved, Point, Right, Square, Tree, same, values

if TYPE_CHECKING:
    from typing import Any as OnlyForCheckers

T = TypeVar("T")
Kilo = NewType("Kilo", int)


class Options(TypedDict):
    depth: int


@attrs.frozen
class Box(Generic[T]):
    item: T


@attrs.frozen
class Odd:
    _type: int


class Everything(Event):
    text: str = ""
    number: int = 0
    ratio: float = 0.0
    flag: bool = False
    raw: bytes = b""
    when: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    wait: timedelta = timedelta(1)
    price: Decimal = Decimal("1.50")
    key: UUID = UUID(int=7)
    path: Path = Path("a/b")
    colour: Colour = Colour.GREEN
    level: Level = Level.HIGH
    right: Right = Right.READ | Right.WRITE
    names: list[str] = attrs.field(factory=list)
    ids: set[int] = attrs.field(factory=set)
    row: tuple[int, str] = (1, "a")
    rows: tuple[tuple[int, ...], ...] = ((1, 2), ())
    table: dict[str, list[Point]] = attrs.field(factory=dict)
    by_number: dict[int, str] = attrs.field(factory=dict)
    by_colour: dict[Colour, int] = attrs.field(factory=dict)
    shape: Circle | Square | None = None
    maybe: Optional[Point] = None  # noqa: UP045 - the old spelling works too
    mixed: int | str | list[int] | Point = 0
    mode: Literal["fast", 1] = "fast"
    weight: Kilo = Kilo(1)
    note: Annotated[str, "shown"] = ""
    box: Box[int] = Box(1)
    options: Options = attrs.field(factory=lambda: Options(depth=1))
    items: Sequence[int] = ()
    lookup: Mapping[str, int] = attrs.field(factory=dict)
    tree: Tree | None = None
    odd: Odd | Point = Point(1)
    anything: Any = None


CODEC = Codec([Everything, Moved], [])
NO_POINT: Any = Point(cast("int", "x"))

everything = st.builds(
    Everything,
    number=st.integers(),
    ratio=st.floats() | st.integers(),
    text=st.text(st.characters()),
    names=st.lists(st.text(st.characters(), max_size=3), max_size=3),
    ids=st.sets(st.integers(), max_size=3),
    table=st.dictionaries(
        st.text(max_size=3) | st.just("__blazen_dict__"), st.lists(st.builds(Point, st.integers())), max_size=2
    ),
    by_number=st.dictionaries(st.integers(), st.text(max_size=3), max_size=3),
    by_colour=st.dictionaries(st.sampled_from(Colour), st.integers()),
    shape=st.none()
    | st.builds(Circle, st.just(Point(1)), st.floats())
    | st.builds(Square, st.just(Point(1)), st.floats()),
    mixed=st.integers() | st.text() | st.lists(st.integers()) | st.builds(Point, st.integers()),
    mode=st.sampled_from(["fast", 1]),
    tree=st.just(Tree("a", [Tree("b"), Tree("c", [Tree("d")])])),
    odd=st.sampled_from([Odd(1), Point(2)]),
    items=st.lists(st.integers()) | st.lists(st.integers()).map(tuple),
    anything=values.filter(lambda value: not isinstance(value, (Right, Level, Colour))),
)


@given(everything)
def test_an_event_comes_back_equal_and_its_fields_of_the_same_types(event):
    plain = CODEC.event_to_plain(event)
    for through_text in (plain, from_json(to_json(plain)), from_msgpack(to_msgpack(plain))):
        assert same(CODEC.event_from_plain(through_text), event)


def test_an_event_is_written_as_its_annotations_say():
    event = Moved(Point(1, 2), frozenset({"b", "a"}))
    assert CODEC.event_to_plain(event) == {
        "event_type": "shop.moved",
        "data": {"to": {"x": 1, "y": 2}, "tags": ["a", "b"]},
    }
    data: Any = CODEC.event_to_plain(Everything(shape=Square(Point(1), 2.0)))["data"]
    assert data["shape"] == {"_type": "Square", "corner": {"x": 1, "y": 0}, "side": 2.0}
    assert (data["raw"], data["when"], data["price"], data["colour"], data["row"]) == (
        "",
        "2020-01-01T00:00:00+00:00",
        "1.50",
        "GREEN",
        [1, "a"],
    )


@pytest.mark.parametrize(
    ("fields", "place", "type_name"),
    [
        ({"number": "1"}, "number", "str"),
        ({"number": True}, "number", "bool"),
        ({"number": 1.0}, "number", "float"),
        ({"flag": 1}, "flag", "int"),
        ({"text": None}, "text", "NoneType"),
        ({"names": ("a",)}, "names", "tuple"),
        ({"names": ["a", 1]}, "names[1]", "int"),
        ({"row": (1, 2)}, "row[1]", "int"),
        ({"row": (1,)}, "row", "tuple"),
        ({"ids": frozenset({1})}, "ids", "frozenset"),
        ({"table": {"a": [Point(1), 2]}}, "table['a'][1]", "int"),
        ({"table": {1: []}}, "table[0]", "int"),
        ({"by_number": {"1": "a"}}, "by_number[0]", "str"),
        ({"level": 2}, "level", "int"),
        ({"mode": True}, "mode", "bool"),
        ({"mixed": ["a"]}, "mixed", "list"),
        ({"mixed": 1.5}, "mixed", "float"),
        ({"maybe": Moved(Point(1))}, "maybe", "Moved"),
        ({"maybe": NO_POINT}, "maybe.x", "str"),
        ({"when": "2020"}, "when", "str"),
        ({"anything": [object()]}, "anything[0]", "object"),
        ({"options": [1]}, "options", "list"),
        ({"items": {1}}, "items", "set"),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_event_and_type(fields, place, type_name):
    with pytest.raises(EncodeError) as caught:
        CODEC.event_to_plain(Everything(**fields))
    assert caught.value.where == f"event Everything.{place}"
    assert caught.value.type_name == type_name


@pytest.mark.parametrize(
    ("data", "place", "problem"),
    [
        ({"number": "1"}, "number", "expected int, got str"),
        ({"number": 1.0}, "number", "expected int, got float"),
        ({"number": True}, "number", "expected int, got bool"),
        ({"flag": "false"}, "flag", "expected bool, got str"),
        ({"text": None}, "text", "expected str, got NoneType"),
        ({"names": "abc"}, "names", "expected a list, got str"),
        ({"names": ["a", 1]}, "names[1]", "expected str, got int"),
        ({"row": [1, "a", 2]}, "row", "expected a list of 2"),
        ({"ids": [1, 1]}, "ids", "equal members"),
        ({"table": {"a": [{"x": 1}, {"x": 1, "z": 1}]}}, "table['a'][1].z", "no such field"),
        ({"table": {"a": [{}]}}, "table['a'][0].x", "needs this field"),
        ({"by_number": {"1": "a"}}, "by_number", "expected int, got str"),
        ({"shape": {"x": 1}}, "shape", "expected"),
        ({"shape": {"_type": "Tree", "label": "a"}}, "shape", "not one of Circle, Square"),
        ({"shape": {"_type": ["Circle"]}}, "shape", "not one of Circle, Square"),
        ({"maybe": []}, "maybe", "expected the fields of Point"),
        ({"mixed": None}, "mixed", "expected"),
        ({"when": "2020-13-01"}, "when", "not a valid datetime"),
        ({"level": 2}, "level", "not a member"),
        ({"unheard": 1}, "unheard", "no such field"),
        ({"anything": {"__blazen_what__": 1}}, "anything", "unknown tag"),
    ],
)
def test_data_that_does_not_fit_is_named_with_event_and_field(data, place, problem):
    with pytest.raises(EventDecodeError, match=problem) as caught:
        CODEC.event_from_plain({"event_type": "Everything", "data": data})
    assert (caught.value.event_type, caught.value.field) == ("Everything", place)


@pytest.mark.parametrize("plain", [None, [], {}, {"event_type": 1, "data": {}}, {"event_type": "Moved"}])
def test_what_is_no_event_is_an_error(plain):
    with pytest.raises(EventDecodeError):
        CODEC.event_from_plain(plain)


def test_an_unknown_class_is_an_error_or_a_dynamic_event_if_asked_for():
    plain: Plain = {"event_type": "Elsewhere", "data": {"a": [1]}}
    with pytest.raises(EventDecodeError, match="no event class"):
        CODEC.event_from_plain(plain)
    event = CODEC.event_from_plain(plain, dynamic=True)
    assert event == DynamicEvent("Elsewhere", {"a": [1]})
    assert CODEC.event_from_plain(CODEC.event_to_plain(event)) == event


def test_an_event_of_a_class_that_the_workflow_does_not_know_is_refused():
    class Other(Event):
        pass

    with pytest.raises(EncodeError, match="Other"):
        CODEC.event_to_plain(Other())


def test_a_missing_field_takes_its_default():
    assert CODEC.event_from_plain({"event_type": "Everything", "data": {}}) == Everything()
    assert CODEC.event_from_plain({"event_type": "shop.moved", "data": {"to": {"x": 1}}}) == Moved(Point(1))


@pytest.mark.parametrize(
    "event",
    [
        StartEvent({"urls": ["a"], 1: (2,)}),
        StopEvent({1, 2}),
        UsageEvent(model="m", cost_usd=0.1),
        ProgressEvent(1, 2.5),
        StepFailedEvent("s", Moved(Point(1)), "ValueError", "no", 1, 0.5),
        StepFailedEvent("s", [Moved(Point(1)), StartEvent()], "ValueError", "no", 1, 0.5),
    ],
)
def test_the_events_of_the_library_are_always_known(event):
    assert same(CODEC.event_from_plain(CODEC.event_to_plain(event)), event)


class Opened(Event):
    connection: Live[object]
    spare: Live[object | None] = None


def test_a_live_field_goes_through_the_session_refs():
    codec, lock, kept = Codec([Opened]), object(), {}

    def keep(value):
        kept["k1"] = value
        return "k1"

    for event in (Opened(lock), StepFailedEvent("s", Opened(lock), "E", "", 1, 0.0)):
        plain = codec.event_to_plain(event, keep)
        assert '{"__blazen_session_ref__":"k1"}' in to_json(plain)
        assert codec.event_from_plain(plain, kept.__getitem__) == event
    with pytest.raises(EncodeError, match="live object"):
        codec.event_to_plain(Opened(lock))
    with pytest.raises(EventDecodeError, match="session ref"):
        codec.event_from_plain(codec.event_to_plain(Opened(lock), keep))


def test_a_class_behind_live_is_not_looked_into():
    class Holding(Event):
        done: Live[trio.Event]
        limit: Live[list[trio.CapacityLimiter]]

    event = Holding(trio.Event(), [])
    plain = Codec([Holding]).event_to_plain(event, lambda value: type(value).__name__)
    assert plain["data"] == {"done": {"__blazen_session_ref__": "Event"}, "limit": {"__blazen_session_ref__": "list"}}


def test_a_class_with_annotations_that_mean_nothing_here_is_still_exact():
    @attrs.frozen
    class Foreign:
        x: "OnlyForCheckers"

    class Wrapped(Event):
        foreign: Foreign

    codec = Codec([Wrapped])
    event = Wrapped(Foreign((1, 2)))
    assert same(codec.event_from_plain(codec.event_to_plain(event)), event)


def test_a_subclass_where_its_base_is_annotated_says_what_it_is():
    @attrs.frozen
    class Point3(Point):
        z: int = 0

    event = Moved(Point3(1, 2, 3))
    codec = Codec([Moved], [Point3])
    assert same(codec.event_from_plain(codec.event_to_plain(event)), event)
    with pytest.raises(EncodeError, match="not known"):
        Codec([Moved]).event_to_plain(event)


def test_an_event_that_contains_itself_is_refused():
    tree = Tree("a")
    tree.children.append(tree)
    with pytest.raises(EncodeError, match="64 levels"):
        CODEC.event_to_plain(Everything(tree=tree))
    plain: Plain = {"label": "a"}
    for _ in range(400):
        plain = {"label": "a", "children": [plain]}
    with pytest.raises(EventDecodeError, match="64 levels"):
        CODEC.event_from_plain({"event_type": "Everything", "data": {"tree": plain}})


def test_a_validator_of_the_user_may_refuse_what_was_read():
    class Positive(Event):
        n: int = attrs.field(validator=attrs.validators.gt(0))

    with pytest.raises(EventDecodeError, match="cannot be built"):
        Codec([Positive]).event_from_plain({"event_type": "Positive", "data": {"n": 0}})


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        ([1, 2], list[int], [1, 2]),
        ((1, 2), tuple[int, ...], (1, 2)),
        ({1, 2}, set[int], {1, 2}),
        ([(1, "a")], list[tuple[int, str]], [(1, "a")]),
        ({"x": 1}, Point, Point(1)),
        (Moved(Point(1)), Moved, Moved(Point(1))),
        ({1: Point(2)}, dict[int, Point], {1: Point(2)}),
        (None, int | None, None),
        ("x", int | str, "x"),
        (datetime(2020, 1, 1, tzinfo=UTC), datetime, datetime(2020, 1, 1, tzinfo=UTC)),
        ("2020-01-01T00:00:00Z", datetime, datetime(2020, 1, 1, tzinfo=UTC)),
        (Level.LOW, Level, Level.LOW),
        (b"x", bytes, b"x"),
        ([{"_type": "Point", "x": 1}], list[Point | Square], [Point(1)]),
        (5, object, 5),
    ],
)
def test_a_value_can_be_read_as_a_type(value, type_, expected):
    codec = Codec([Everything, Moved], [Level])
    assert same(codec.structure(codec.to_plain(value, "x"), type_), expected)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("1", int),
        (1.9, int),
        (True, int),
        (1, bool),
        ("false", bool),
        (None, str),
        ("abc", list[str]),
        ((1,), list[int]),
        ({"a": 1}, dict[int, int]),
        ({"x": 1, "q": 2}, Point),
        ({"x": "1"}, Point),
        (1, str | bytes),
        (Level.LOW, int),
        (1, Level),
    ],
)
def test_reading_as_a_type_converts_nothing(value, type_):
    codec = Codec([], [Level])
    with pytest.raises(DecodeError):
        codec.structure(codec.to_plain(value, "x"), type_)
