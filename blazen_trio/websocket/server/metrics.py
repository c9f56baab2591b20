"""``/metrics``: the server's statistics in Prometheus' text format. Pure.

Names and keys are our own, and codes in digits, so nothing has to be escaped.
"""

from collections.abc import Iterator, Mapping
from typing import cast


def exposition(statistics: Mapping[str, object]) -> str:
    """Each number as ``blazen_trio_websocket_<name>``; a mapping's entries carry their keys as a label."""
    return "".join(f"{line}\n" for name, value in statistics.items() for line in _lines(name, value))


def _lines(name: str, value: object) -> Iterator[str]:
    metric = f"blazen_trio_websocket_{name}"
    if isinstance(value, Mapping):
        for key, each in cast("Mapping[str, object]", value).items():
            yield f'{metric}{{by="{key}"}} {each}'
    elif isinstance(value, int | float):
        yield f"{metric} {value}"
