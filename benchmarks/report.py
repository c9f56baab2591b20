"""Results for people and for programs: tables, the JSON file, and the comparison with a stored one.

The file is ``{"machine": {...}, "results": [{"work", "case", "unit", "median", "min", "max", "baseline", "ratio",
"goal", "rule", "met"}, ...]}``; see ``Result``. ``ratio``, ``goal``, ``rule`` and ``met`` may be null.
"""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import attrs

import blazen_trio
from benchmarks.measuring import Result

THRESHOLD_PERCENT = 15.0
"""A ratio that is worse by more than this is a loss. Two runs on a shared machine differ by up to 10 %."""

HEADINGS = ("work", "case", "unit", "median", "min", "max", "bare Trio", "ratio", "goal", "met")
MARKDOWN_HEADINGS = ("work", "case", "blazen_trio", "bare Trio", "ratio", "goal")

Key = tuple[str, str]


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": version("trio"),
        "blazen_trio": blazen_trio.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }


def row(result: Result) -> tuple[str, ...]:
    """A result as the cells of its row."""
    return (
        result.work,
        result.case,
        result.unit,
        *map(figure, (result.median, result.min, result.max, result.baseline)),
        "" if result.ratio is None else f"{result.ratio:.3f}",
        result.rule or "",
        {True: "yes", False: "NO", None: ""}[result.met],
    )


def figure(number: float) -> str:
    """A number with about three digits that mean something."""
    if number >= 1_000:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 100 else f"{number:.3g}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, the first row as headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown(results: Iterable[Result]) -> str:
    """The results as a Markdown table."""
    rows = [MARKDOWN_HEADINGS, ("---",) * len(MARKDOWN_HEADINGS), *map(_markdown_row, results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _markdown_row(result: Result) -> tuple[str, ...]:
    work, case, unit, median, low, high, baseline, ratio, goal, met = row(result)
    judged = f"{goal}: {met}" if goal else ""
    return (work, case, f"{median} {unit} ({low} to {high})", f"{baseline} {unit}", ratio, judged)


# --- The file ---------------------------------------------------------------------------------------------------------


def write(path: Path, results: Iterable[Result]) -> None:
    """Write the JSON file."""
    data = {"machine": machine(), "results": [attrs.asdict(result) for result in results]}
    path.write_text(json.dumps(data, indent=2) + "\n", "utf-8")


def read_ratios(path: Path) -> dict[Key, float]:
    """The ratios of a JSON file, by work and case.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a file.
    """
    data = json.loads(path.read_text("utf-8"))
    try:
        ratios = {(entry["work"], entry["case"]): entry["ratio"] for entry in data["results"]}
        return {key: float(ratio) for key, ratio in ratios.items() if ratio is not None}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a result of these benchmarks ({error!r})") from error


@attrs.frozen
class Change:
    """A ratio beside the stored one.

    Attributes:
        worse_percent: by how much it is worse; negative if it is better.
    """

    result: Result
    before: float
    worse_percent: float

    def row(self, threshold_percent: float) -> tuple[str, ...]:
        """The cells of its row."""
        verdict = "LOST" if self.worse_percent > threshold_percent else ""
        words = "worse" if self.worse_percent > 0 else "better"
        ratio = self.result.ratio or 0.0
        change = f"{abs(self.worse_percent):.1f} % {words}"
        return (self.result.work, self.result.case, f"{self.before:.3f}", f"{ratio:.3f}", change, verdict)


CHANGE_HEADINGS = ("work", "case", "ratio before", "ratio now", "change", "")


def changes(results: Iterable[Result], before: dict[Key, float]) -> list[Change]:
    """Every ratio that was stored before, with its change."""
    return [
        Change(result, old, _worse_percent(result, result.ratio, old))
        for result in results
        if (old := before.get((result.work, result.case))) and result.ratio
    ]


def _worse_percent(result: Result, ratio: float, before: float) -> float:
    quotient = before / ratio if result.is_more_better else ratio / before
    return (quotient - 1) * 100
