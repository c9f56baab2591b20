"""Checked by mypy and pyright, never run: events are typed as their users see them."""

from typing import Any, assert_type
from uuid import UUID

import attrs

from blazen_trio.core.events import (
    DynamicEvent,
    Event,
    InputRequestEvent,
    LifecycleEvent,
    Live,
    ProgressEvent,
    StartEvent,
    StopEvent,
    live_fields,
)


class Page(Event, event_type="shop.page", external=True):
    """An event with a wire name of its own."""

    url: str
    words: int = 0
    tags: list[str] = attrs.field(factory=list[str])


class Order(StartEvent):
    """A start with a mandatory field of its own."""

    order_id: UUID


class Total(StopEvent):
    """A stop with a mandatory field of its own."""

    cents: int


class Held(Event):
    """An event with a live object."""

    connection: Live[UUID]


def constructors_are_typed(key: UUID) -> None:
    assert_type(Page("a").url, str)
    assert_type(Page(url="a", words=3, tags=["x"]).words, int)
    assert_type(Page.event_type, str)
    assert_type(Page("a").event_type, Any)
    assert_type(Order(key).order_id, UUID)
    assert_type(Order(order_id=key, data={"a": 1}).order_id, UUID)
    assert_type(Total(3, result="x").cents, int)
    assert_type(Held(key).connection, UUID)
    assert_type(live_fields(Page), frozenset[str])
    _ = StartEvent({"a": 1}).data["a"]
    StartEvent(data=None)
    StopEvent(5)
    StopEvent(result=5)
    InputRequestEvent("Approve?", metadata={"a": 1})


def built_in_fields_are_typed() -> None:
    assert_type(DynamicEvent("x", {}).event_type, str)
    assert_type(DynamicEvent.event_type, str)
    assert_type(LifecycleEvent("x").event_type, str | None)
    assert_type(LifecycleEvent.event_type, str)
    assert_type(ProgressEvent(1, 2).percent, float | None)


def mistakes_are_found() -> None:
    Page()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Page(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Page(url="a", colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Page("a").url = "b"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    Order()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
