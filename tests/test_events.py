"""Events are frozen values, made by annotating the fields of a class."""

import copy
import pickle
import types
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.core.events import (
    DynamicEvent,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    LifecycleEvent,
    Live,
    ProgressEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    StreamGap,
    UsageEvent,
    field_types,
    is_external,
    live_fields,
)


class Page(Event):
    url: str
    words: int = 0


class LongPage(Page):
    chapters: int = 1


class Tagged(Event):
    tags: list[str] = attrs.field(factory=list)


class Ping(Event):
    pass


class Order(StartEvent):
    order_id: int


class Total(StopEvent):
    cents: int


class Done(StopEvent):
    pass


# --- values ----------------------------------------------------------------------------------------------------------


def test_fields_are_given_by_keyword_or_position() -> None:
    assert Page(url="a", words=3) == Page("a", 3)
    assert repr(Page("a", 3)) == "Page(url='a', words=3)"


def test_an_event_is_a_value() -> None:
    assert Page("a") == Page("a")
    assert Page("a") != Page("b")
    assert len({Page("a"), Page("a"), Page("b")}) == 2


def test_events_of_two_classes_are_never_equal() -> None:
    assert LongPage("a") != Page("a")
    assert Ping() == Ping()


def test_an_event_never_changes() -> None:
    page: Any = Page("a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        page.url = "b"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del page.url
    with pytest.raises(AttributeError):
        page.colour = "red"
    assert attrs.evolve(page, url="b") == Page("b")


def test_an_event_with_a_list_has_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Tagged(["x"]))


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [(Page, {"url": "a", "colour": "red"}), (Page, {}), (Page, {"words": 3}), (Ping, {"words": 3}), (Order, {})],
)
def test_unknown_and_missing_fields_are_type_errors(cls: type[Event], arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        cls(**arguments)


def test_each_event_gets_a_default_of_its_own_from_a_factory() -> None:
    assert Tagged().tags == []
    assert Tagged().tags is not Tagged().tags


@given(st.text(), st.integers())
def test_events_pickle_and_copy(url: str, words: int) -> None:
    page = Page(url, words)
    for again in (pickle.loads(pickle.dumps(page)), copy.copy(page), copy.deepcopy(page)):
        assert again == page
        assert type(again) is Page


def test_built_in_events_pickle_and_copy_too() -> None:
    for event in (
        StartEvent({"a": 1}),
        StopEvent([1]),
        Order(7, data=1),
        Done(result=5),
        Ping(),
        DynamicEvent("x", {}),
    ):
        assert pickle.loads(pickle.dumps(event)) == event == copy.deepcopy(event) == copy.copy(event)


# --- classes ---------------------------------------------------------------------------------------------------------


def test_a_class_is_made_once_and_has_slots() -> None:
    assert [cls for cls in Event.__subclasses__() if cls.__name__ == "Ping"][-1] is Ping
    assert not hasattr(Page("a"), "__dict__")


def test_a_subclass_adds_fields() -> None:
    assert LongPage("a", 3, 5) == LongPage(url="a", words=3, chapters=5)


def test_methods_and_super_work() -> None:
    class Shouting(Page):
        def __repr__(self) -> str:
            return super().__repr__().upper()

        @property
        def host(self) -> str:
            return self.url.partition("/")[0]

    assert Shouting("a.org/b").host == "a.org"
    assert repr(Shouting("a")).endswith("SHOUTING(URL='A', WORDS=0)")


def test_a_plain_class_can_be_mixed_in() -> None:
    class Greets:
        url: str

        def greet(self) -> str:
            return f"hello {self.url}"

    class Greeting(Greets, Page):
        pass

    assert Greeting("a").greet() == "hello a"
    assert Greeting("a") == Greeting("a")


def test_validators_and_converters_of_attrs_work() -> None:
    class Counted(Event):
        count: int = attrs.field(converter=int, validator=attrs.validators.ge(0))

    counted: Any = Counted
    assert counted("3").count == 3
    with pytest.raises(ValueError, match="count"):
        counted(-1)


@pytest.mark.parametrize("kind", [list, dict, set, bytearray])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: attrs.field(default=value)])
def test_a_default_that_all_would_share_is_refused(kind: type, wrap) -> None:
    body = {"__annotations__": {"items": kind}, "items": wrap(kind())}
    with pytest.raises(TypeError, match=rf"'items' of event class Bad .* attrs.field\(factory={kind.__name__}\)"):
        types.new_class("Bad", (Event,), exec_body=lambda namespace: namespace.update(body))


def test_a_second_decoration_is_refused() -> None:
    with pytest.raises(ValueError, match="Can't freeze"):  # attrs itself sees it
        attrs.frozen(Page)
    with pytest.raises(TypeError, match="Page is an attrs class already"):
        attrs.define(Page, auto_detect=False)


def test_a_field_without_annotation_is_refused() -> None:
    with pytest.raises(attrs.exceptions.UnannotatedAttributeError, match="url"):

        class Bare(Event):
            url = attrs.field()


# --- names -----------------------------------------------------------------------------------------------------------


def test_the_wire_name_is_the_name_of_the_class_or_the_one_given() -> None:
    class Paid(Event, event_type="shop.paid"):
        cents: int

    assert Page.event_type == Page("a").event_type == "Page"
    assert Paid.event_type == Paid(3).event_type == "shop.paid"


def test_a_wire_name_is_not_inherited() -> None:
    class Paid(Event, event_type="shop.paid"):
        pass

    class PaidTwice(Paid):
        pass

    assert PaidTwice.event_type == "PaidTwice"


def test_a_field_may_be_called_event_type() -> None:
    event = DynamicEvent("shop.paid", {"cents": 3})
    assert (event.event_type, DynamicEvent.event_type) == ("shop.paid", "DynamicEvent")
    assert (LifecycleEvent("x").event_type, LifecycleEvent.event_type) == (None, "LifecycleEvent")


@pytest.mark.parametrize(
    ("name", "kind"), [("", ValueError), (" a", ValueError), ("a\n", ValueError), (5, TypeError), (b"a", TypeError)]
)
def test_a_bad_wire_name_is_refused(name: object, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="event_type of event class Bad"):
        types.new_class("Bad", (Event,), {"event_type": name})


def test_an_unknown_keyword_of_a_class_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        types.new_class("Bad", (Event,), {"colour": "red"})


def test_a_class_is_external_only_if_it_says_so_itself() -> None:
    class Approval(Event, external=True):
        pass

    class SecretApproval(Approval):
        pass

    assert is_external(Approval)
    assert not is_external(SecretApproval)
    assert not is_external(Page)


# --- start and stop --------------------------------------------------------------------------------------------------


def test_start_and_stop_take_their_value_either_way() -> None:
    assert StartEvent({"a": 1}) == StartEvent(data={"a": 1})
    assert StopEvent(5) == StopEvent(result=5)
    assert (StartEvent().data, StopEvent().result) == (None, None)


def test_a_start_or_stop_may_have_mandatory_fields() -> None:
    assert (Order(7).order_id, Order(7).data) == (7, None)
    assert Order(order_id=7, data="x").data == "x"
    assert (Total(3).cents, Total(3, result="x").result) == (3, "x")


def test_a_stop_without_fields_of_its_own_is_made_like_a_stop() -> None:
    done: Any = Done  # type checkers allow the keyword only
    assert done(5) == Done(result=5)
    assert type(done(5)) is Done
    assert done(5) != StopEvent(5)


def test_mandatory_fields_may_follow_any_inherited_default() -> None:
    body = {"__annotations__": {"cents": int}}  # as a class statement, type checkers would want kw_only=True
    expensive: Any = types.new_class("Expensive", (InputRequestEvent,), exec_body=lambda space: space.update(body))
    event = expensive("Pay?", 500, request_id="q1")
    assert (event.prompt, event.cents, event.request_id, event.metadata) == ("Pay?", 500, "q1", {})


# --- built in --------------------------------------------------------------------------------------------------------


def test_each_question_has_its_own_id() -> None:
    one, two = InputRequestEvent("Approve?"), InputRequestEvent("Approve?")
    assert one.request_id != two.request_id
    assert str(UUID(one.request_id)) == one.request_id
    assert InputRequestEvent("Approve?", "q1", {"a": 1}).request_id == "q1"
    assert InputResponseEvent("q1", True).response is True


@pytest.mark.parametrize(
    ("current", "total", "percent"), [(1, 4, 25.0), (0, 4, 0.0), (4, 4, 100.0), (3, None, None), (0, 0, None)]
)
def test_progress_in_percent(current: float, total: float | None, percent: float | None) -> None:
    assert ProgressEvent(current, total).percent == percent


def test_built_in_events_take_their_fields_in_the_order_of_the_contract() -> None:
    assert StepFailedEvent("fetch", [Ping()], "ValueError", "no", 3, 1.5).attempts == 3
    assert UsageEvent("m", "p", 1, 2, 3).total_tokens == 3
    assert LifecycleEvent("step_failed", "fetch", "Page", 2, 0.5, "no").error == "no"
    assert StreamGap(3).missed == 3


# --- types of fields -------------------------------------------------------------------------------------------------


class Held(Event):
    connection: Live[object]
    name: str


def test_live_fields_are_known() -> None:
    assert live_fields(Held) == {"connection"}
    assert live_fields(Page) == frozenset()


def test_a_live_object_is_passed_by_identity() -> None:
    connection = object()
    assert Held(connection, "a").connection is connection


def test_text_annotations_are_resolved_inside_functions_too() -> None:
    class Basket:
        pass

    class Bought(Event):
        basket: "Live[Basket]"
        pages: "list[Page]"

    def subclass() -> type[Event]:
        class Card:
            pass

        class BoughtByCard(Bought):
            card: "Card | None"

        return BoughtByCard

    assert field_types(Bought) == {"basket": Live[Basket], "pages": list[Page]}
    assert live_fields(subclass()) == {"basket"}


def test_a_module_with_text_annotations_works() -> None:
    source = """
from __future__ import annotations
from typing import ClassVar
from blazen_trio.core.events import Event, Live

class Note(Event):
    limit: ClassVar[int] = 3
    text: str
    parent: Live[Note | None] = None
"""
    module = types.ModuleType("notes")
    exec(source, vars(module))  # noqa: S102 - the __future__ import must stand in a module of its own
    assert module.Note("a").parent is None
    assert module.Note.limit == 3


def test_an_annotation_that_cannot_be_resolved_is_named() -> None:
    body = {"__annotations__": {"thing": "Nowhere"}}
    lost: Any = types.new_class("Lost", (Event,), exec_body=lambda space: space.update(body))
    assert lost(3).thing == 3
    with pytest.raises(TypeError, match=r"Lost has an annotation .*'Nowhere'"):
        field_types(lost)
