"""The strategies give what the codec takes, and need Hypothesis only when they are called."""

import datetime as dt
import decimal
import pathlib
import subprocess
import sys
import uuid
from enum import Enum
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from blazen_trio import EncodeError, Event, Live, StartEvent, StopEvent, Workflow, WorkflowSnapshot, step
from blazen_trio.codec import Codec
from blazen_trio.testing import drive, events, snapshots, state_values
from tests.kit.broken import holds_a_live_object_in_an_event
from tests.snapshots.programs import fan_out, retries


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Place:
    name: str
    values: dict[int, Any]


class Page(Event):
    url: str
    size: int
    weight: float
    price: decimal.Decimal
    at: dt.datetime
    taken: dt.timedelta
    key: uuid.UUID
    path: pathlib.Path
    colour: Colour
    place: Place | None
    tags: frozenset[str]
    pair: tuple[int, bytes]
    more: tuple[str, ...]
    deep: dict[str, list[set[int]]]
    anything: Any


class Connected(Event):
    name: str
    socket: Live[object]


codec = Codec([Page])
WITHOUT_SHRINKING = settings(
    phases=[Phase.generate], max_examples=500, derandomize=True, suppress_health_check=list(HealthCheck)
)


@given(events(Page))
def test_events_come_back_as_they_were(event: Page) -> None:
    assert codec.event_from_plain(codec.event_to_plain(event)) == event


@given(events(Page, url=st.just("https://example.org")))
def test_a_field_may_be_given(event: Page) -> None:
    assert event.url == "https://example.org"


@given(events(StopEvent), events(StartEvent, data=st.integers()))
def test_events_of_the_library_are_made_too(stop: StopEvent, start: StartEvent) -> None:
    assert type(stop) is StopEvent
    assert isinstance(start.data, int)


@given(state_values())
def test_values_of_the_state_come_back_as_they_were(value: Any) -> None:
    assert codec.from_plain(codec.to_plain(value, "state")) == value


@pytest.mark.parametrize("kind", [list, dict, tuple, set, str, bytes, decimal.Decimal, int, bool, type(None)])
def test_values_of_all_kinds_are_there(kind: type) -> None:
    values = state_values().filter(lambda value: type(value) is kind)

    assert type(find(values, lambda _: True, settings=WITHOUT_SHRINKING)) is kind


def test_what_no_strategy_can_be_made_for_is_told() -> None:
    with pytest.raises(TypeError, match="field 'socket' of event class Connected is Live: give a strategy"):
        events(Connected)
    with pytest.raises(TypeError, match="event class Connected has no field 'port'"):
        events(Connected, port=st.integers())
    with pytest.raises(TypeError, match="takes a subclass of Event"):
        events(Event)


@given(events(Connected, socket=st.builds(object)))
def test_live_fields_are_made_as_given(event: Connected) -> None:
    assert type(event.socket) is object


@given(snapshots(fan_out().workflow))
def test_snapshots_are_those_of_runs(snapshot: WorkflowSnapshot) -> None:
    assert WorkflowSnapshot.from_json(snapshot.to_json()) == snapshot


@step
async def echo(event: StartEvent) -> StopEvent:
    return StopEvent(event.data)


@given(snapshots(Workflow("echo", [echo]), st.integers(0, 3)))
def test_snapshots_of_runs_with_inputs(snapshot: WorkflowSnapshot) -> None:
    assert drive(Workflow("echo", [echo]), snapshot.elapsed).result == snapshot.elapsed


def test_snapshots_of_all_points_are_there() -> None:
    taken = snapshots(retries().workflow)
    for is_there in (
        lambda snapshot: snapshot.elapsed == 0,
        lambda snapshot: bool(snapshot.timers),
        lambda snapshot: snapshot.status.is_end,
    ):
        assert is_there(find(taken, is_there, settings=WITHOUT_SHRINKING))


def test_a_run_that_cannot_be_saved_has_no_snapshots() -> None:
    with pytest.raises(EncodeError, match=r"event Holder\.lock"):
        find(snapshots(holds_a_live_object_in_an_event()), lambda _: True)


def test_hypothesis_is_needed_by_the_strategies_only() -> None:
    program = """
import sys
sys.modules["hypothesis"] = sys.modules["hypothesis.strategies"] = None
from blazen_trio.testing import assert_resumable, drive, state_values
try:
    state_values()
except ImportError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "the strategies of blazen_trio.testing need Hypothesis: pip install hypothesis\n"
