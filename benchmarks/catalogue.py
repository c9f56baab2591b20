"""The works by key."""

from collections.abc import Callable
from typing import Final

from benchmarks import broadcast, chain, durable, fan_out, imports, short_runs, sleepers, snapshots, waiting, websocket
from benchmarks.measuring import Case, Scale

WORKS: Final[dict[str, Callable[[Scale], list[Case]]]] = {
    "W1": chain.cases,
    "W2": fan_out.cases,
    "W3": short_runs.cases,
    "W4": broadcast.cases,
    "W5": snapshots.cases,
    "W6": durable.cases,
    "W7": sleepers.cases,
    "W8": waiting.cases,
    "W9": imports.cases,
    "W10": websocket.cases,
}
