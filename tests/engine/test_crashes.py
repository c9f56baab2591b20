"""An engine dies at any call to its store: the run ends as if nobody had died, and no promise is broken.

``CRASH_POINTS=100000 python -m pytest -m slow tests/engine/test_crashes.py`` tries that many points.
"""

import os
import random
from collections.abc import Callable
from functools import cache

import pytest

from tests.engine.lives import Outside, Point, calls_of, check
from tests.engine.programs import PROGRAMS as DURABLE
from tests.snapshots.programs import PROGRAMS as ALL
from tests.snapshots.programs import Program, threads

POINTS_SLOW = int(os.environ.get("CRASH_POINTS", "0")) or 2_000

PROGRAMS = [*DURABLE, *(each for each in ALL if each is not threads)]
"""Real threads take real time, which a clock that jumps does not wait for."""

by_name = pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)


@cache
def whole(make: Callable[[], Program], seed: int) -> tuple[int, Outside]:
    return calls_of(make, seed)


def try_points(make: Callable[[], Program], count: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(count):
        calls, uninterrupted = whole(make, chance.randrange(3))
        point = Point(
            make,
            seed=chance.randrange(1_000_000),
            call=chance.randint(1, calls),
            happens=chance.random() < 0.5,
            again=chance.randint(1, calls) if chance.random() < 0.3 else None,
            durability="step" if chance.random() < 0.7 else "group",
            is_read=chance.random() < 0.7,
        )
        try:
            check(point, uninterrupted)
        except BaseException as error:
            error.add_note(f"at {point}")
            raise


@by_name
def test_a_run_survives_its_engine(make: Callable[[], Program]) -> None:
    try_points(make, 12, seed=1)


@pytest.mark.slow
@by_name
def test_a_run_survives_its_engine_at_many_points(make: Callable[[], Program]) -> None:
    try_points(make, POINTS_SLOW // len(PROGRAMS) + 1, seed=2)
