"""Trio with a scheduler that shuffles by a seed.

Trio runs the tasks of one batch in an order that is random on purpose. To try many orders, and the same ones again, the
scheduler's own generator is seeded. It has no public name for that: Hypothesis and pytest-trio reach for the same two
private ones. The generator that draws lots between busy runs and the one that everybody shares (jitter of retries) are
seeded with it. All are as before afterwards.
"""

import random
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_FLAG = "_ALLOW_DETERMINISTIC_SCHEDULING"


@contextmanager
def shuffled_by(seed: int) -> Generator[None]:
    """Let Trio order the tasks of each batch by a shuffle with this seed, and seed what else is random."""
    scheduler: dict[str, Any] = vars(import_module("trio._core._run"))
    slices: dict[str, Any] = vars(import_module("blazen_trio.slices"))
    generators: list[Any] = [scheduler["_r"], slices["_lots"], random]
    before, flag = [each.getstate() for each in generators], scheduler[_FLAG]
    for each in generators:
        each.seed(seed)
    scheduler[_FLAG] = True
    try:
        yield
    finally:
        scheduler[_FLAG] = flag
        for each, state in zip(generators, before, strict=True):
            each.setstate(state)
