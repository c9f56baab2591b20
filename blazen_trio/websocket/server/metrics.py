"""``/metrics``: what server and engine count, in Prometheus' text format. Pure.

* What only grows is a counter, and its name ends in ``_total``; all else is a gauge.
* Names and keys are our own, and codes in digits, so nothing has to be escaped.
"""

from collections.abc import Iterator, Mapping
from typing import Final, cast

COUNTERS: Final = frozenset(
    {
        "bytes_in",
        "bytes_out",
        "closed",
        "connections_total",
        "consumed",
        "emitted",
        "errors",
        "faults",
        "finished",
        "late",
        "messages_in",
        "messages_out",
        "recovered",
        "refused",
        "started",
    }
)
"""Statistics that never sink."""


def exposition(part: str, statistics: Mapping[str, object]) -> str:
    """Each number as ``blazen_trio_<part>_<name>``; a mapping's entries carry their keys as a label."""
    return "".join(f"{line}\n" for name, value in statistics.items() for line in _lines(part, name, value))


def _lines(part: str, name: str, value: object) -> Iterator[str]:
    is_counter = name in COUNTERS
    metric = f"blazen_trio_{part}_{name.removesuffix('_total')}{'_total' if is_counter else ''}"
    values = _values(value)
    if values:
        yield f"# TYPE {metric} {'counter' if is_counter else 'gauge'}"
    for label, number in values.items():
        yield f"{metric}{label} {number}"


def _values(value: object) -> dict[str, float]:
    """The numbers by their labels."""
    if isinstance(value, Mapping):
        numbers = cast("Mapping[str, object]", value)
        return {f'{{by="{key}"}}': each for key, each in numbers.items() if isinstance(each, int | float)}
    return {"": value} if isinstance(value, int | float) else {}
