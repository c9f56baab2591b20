"""How a case is measured: baseline and engine in turns, and a goal for their ratio or for the engine's own figure."""

import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import attrs
import trio

Measure = Callable[[], float]
"""Does the work once and gives the figure."""

QUICK_DIVISOR = 20
QUICK_REPETITIONS = 2
REPETITIONS = 5


@attrs.frozen
class Scale:
    """How much is measured: all of it, or a smoke test's worth."""

    is_quick: bool = False

    @property
    def repetitions(self) -> int:
        """How often baseline and engine take turns."""
        return QUICK_REPETITIONS if self.is_quick else REPETITIONS

    def size(self, full: int) -> int:
        """The size of a work whose full size is given."""
        return max(full // QUICK_DIVISOR, 1) if self.is_quick else full


@attrs.frozen
class Goal:
    """What is wanted.

    Attributes:
        limit: the number to reach.
        sense: on which side of the limit is good.
        of: the ratio to the baseline; or the engine's own figure, its median or the worst of all repetitions.
    """

    limit: float
    sense: Literal["below", "at most", "at least"] = "below"
    of: Literal["ratio", "median", "worst"] = "ratio"

    def is_met(self, figures: list[float], ratio: float) -> bool:
        """Whether a measurement reaches the goal."""
        worst = min(figures) if self.sense == "at least" else max(figures)
        number = {"ratio": ratio, "median": statistics.median(figures), "worst": worst}[self.of]
        if self.sense == "at least":
            return number >= self.limit
        return number < self.limit if self.sense == "below" else number <= self.limit

    def __str__(self) -> str:
        return f"{self.of} {self.sense} {self.limit:,g}"


@attrs.frozen
class Case:
    """One figure of a work.

    Attributes:
        baseline: gives the same figure for bare Trio, or for what else ``name`` says.
        is_lasting: whether the ratio is steady enough to be compared with a stored one.
    """

    name: str
    unit: str
    engine: Measure
    baseline: Measure
    goal: Goal | None = None
    is_lasting: bool = True


@attrs.frozen
class Result:
    """What was measured for a case, as it stands in the JSON file.

    Attributes:
        median, min, max: of the engine's figures.
        baseline: the median of the baseline's figures.
        ratio: the median of engine / baseline of neighbouring repetitions; ``None`` where it is mere chance.
        goal: the number to reach; ``None`` if the case is only told.
        rule: the goal in words.
    """

    work: str
    case: str
    unit: str
    median: float
    min: float
    max: float
    baseline: float
    ratio: float | None
    goal: float | None
    rule: str | None
    met: bool | None

    @property
    def is_more_better(self) -> bool:
        """Whether a greater figure is the better one."""
        return self.unit.endswith("/s")


def measure(work: str, case: Case, repetitions: int) -> Result:
    """Measure a case: baseline and engine in turns."""
    baselines: list[float] = []
    figures: list[float] = []
    for _ in range(repetitions):
        for measured, found in ((case.baseline, baselines), (case.engine, figures)):
            gc.collect()
            found.append(measured())
    ratio = statistics.median(figure / base for figure, base in zip(figures, baselines, strict=True))
    goal = case.goal
    return Result(
        work,
        case.name,
        case.unit,
        median=statistics.median(figures),
        min=min(figures),
        max=max(figures),
        baseline=statistics.median(baselines),
        ratio=ratio if case.is_lasting else None,
        goal=None if goal is None else goal.limit,
        rule=None if goal is None else str(goal),
        met=None if goal is None else goal.is_met(figures, ratio),
    )


def us_each(count: int, function: Callable[[int], Awaitable[object]]) -> float:
    """Run ``function(count)`` on Trio: microseconds for each of them, without the start of Trio itself."""
    return seconds(function, count) / count * 1e6


def seconds(function: Callable[..., Awaitable[object]], *args: object) -> float:
    """Seconds that an async function takes, without the start of Trio itself."""

    async def timed() -> float:
        begin = time.perf_counter()
        await function(*args)
        return time.perf_counter() - begin

    return trio.run(timed)


def check(is_right: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence: check(count == 3, "a loss")
    """Refuse a figure that was got by doing the work wrong.

    Raises:
        RuntimeError: it was.
    """
    if not is_right:
        raise RuntimeError(f"the measured work went wrong: {what}")
