"""Something wrong in every place of a snapshot, one at a time: an error that names the place, and nothing is begun."""

import json
from collections.abc import Iterator

import pytest
import trio

from blazen_trio import SnapshotCorruptError, SnapshotError, WorkflowSnapshot
from tests.snapshots.every_place import Place, every_place, kind

OTHERS: dict[str, str] = {
    "null": "null",
    "bool": "true",
    "int": "7",
    "float": "0.5",
    "text": '"x"',
    "list": "[1]",
    "object": '{"x":1}',
}

MAY_BE: dict[str, set[str]] = {
    "opener": {"null"},
    "source": {"null"},
    "progress": {"null"},
    "last_step": {"null", "text"},
    "step_name": {"null"},
    "total": {"null"},
}
"""Places that may hold something of another type than they did."""


def is_fitting(place: Place, other: str) -> bool:
    """Whether such a value is right there."""
    is_number = {kind(place.value), other} == {"int", "float"} and place.keys[-1] not in {
        "version",
        "number",
        "numbers",
    }
    return other in MAY_BE.get(place.keys[-1], ()) or (is_number and _takes_fractions(place))


def _takes_fractions(place: Place) -> bool:
    seconds = {"elapsed", "timestamp", "age", "timers"}
    return place.keys[-1] in seconds or place.keys[0] == "usage" or "progress" in place.keys


async def error_of(place: Place, text: str) -> SnapshotError | None:
    """Read it and make it a run, but do not enter that."""
    before = trio.lowlevel.current_statistics().tasks_living
    try:
        place.workflow.resume(WorkflowSnapshot.from_json(text))
    except SnapshotError as error:
        return error
    finally:
        assert trio.lowlevel.current_statistics().tasks_living == before
    return None


def names(error: SnapshotError, place: Place) -> bool:
    """Whether the message says where: the last key on the way, or the one before."""
    return any(key.removesuffix("s") in str(error) for key in place.keys[-2:])


def containers() -> Iterator[Place]:
    for place in every_place():
        if isinstance(place.value, dict):
            yield place


async def test_there_are_places_of_all_kinds() -> None:
    assert len(every_place()) > 250
    assert {kind(place.value) for place in every_place()} == set(OTHERS)


async def test_a_value_of_another_type_is_refused_by_its_place() -> None:
    for place in every_place():
        for other, text in OTHERS.items():
            if other == kind(place.value) or not place.path:
                continue
            error = await error_of(place, place.with_text(text))
            if not place.is_of_users:  # there any value is right, and a broken marker an error
                assert (error is None) is is_fitting(place, other), (place.name, other)
            assert error is None or names(error, place), (place.name, other, str(error))


async def test_a_key_that_stands_twice_is_refused_in_every_object() -> None:
    for place in containers():
        if place.value:
            members = json.dumps(place.value, separators=(",", ":"))[1:-1]
            key = json.dumps(next(iter(place.value)))
            error = await error_of(place, place.with_text(f"{{{members},{key}:0}}"))
            assert isinstance(error, SnapshotCorruptError), place.name
            assert "twice" in str(error)


async def test_an_unknown_key_is_refused_in_every_object_but_users_own() -> None:
    for place in containers():
        if place.is_of_users or place.name == "context_state":
            continue
        error = await error_of(place, place.with_text(json.dumps({**place.value, "zz": 1})))
        assert error is not None, place.name
        assert "zz" in str(error) or names(error, place), (place.name, str(error))


@pytest.mark.parametrize("levels", [200, 1_000, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
async def test_deep_nesting_is_refused_in_every_place(left: str, right: str, levels: int) -> None:
    nested = left * levels + "1" + right * levels
    for place in every_place()[:: 1 if levels < 100_000 else 10]:
        assert await error_of(place, place.with_text(nested)) is not None, place.name


@pytest.mark.parametrize(
    "text", ["NaN", "-Infinity", "1e999", "9" * 4_301, '"\\ud800"', '"\\udfff\\ud800"', "'x'", "01", "undefined"]
)
async def test_what_json_does_not_have_is_refused_in_every_place(text: str) -> None:
    for place in every_place():
        assert isinstance(await error_of(place, place.with_text(text)), SnapshotCorruptError), place.name


async def test_an_int_that_no_run_counts_to_is_refused_wherever_the_engine_counts() -> None:
    for place in every_place():
        if type(place.value) is int and is_counted(place):
            for number in ("-1", "-9223372036854775808", "4611686018427387904", "9" * 25):
                error = await error_of(place, place.with_text(number))
                assert error is not None, (place.name, number)
                assert names(error, place), (place.name, str(error))


def is_counted(place: Place) -> bool:
    return not place.is_of_users and {"number", "numbers", "usage", "progress"}.isdisjoint(place.keys)
