"""What is printed: text that cannot harm a terminal, and values as JSON."""

import enum
import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import attrs

TEXT_CHARS_MAX: Final = 500
FILE_COLUMNS: Final = 120
"""The width of a table where no terminal says how wide it is."""

DEPTH_MAX: Final = 100
"""Deeper values are cut; the encoder's own recursion would fail at about 1,000."""


def printable(text: object, chars_max: int = TEXT_CHARS_MAX) -> str:
    """One line without control characters: names and messages from outside may hold escape sequences."""
    escaped = "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text)[: chars_max + 1])
    return escaped if len(escaped) <= chars_max else escaped[: chars_max - 3] + "..."


def time_text(seconds: float) -> str:
    """Seconds since the epoch as a time of this place."""
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def print_json(value: object) -> None:
    """Print a value as JSON on stdout, whatever it is: what JSON does not know becomes text."""
    sys.stdout.write(to_json(value))


def to_json(value: object) -> str:
    """A value as ASCII JSON with a newline; see ``print_json``."""
    return json.dumps(_plain(value, DEPTH_MAX), indent=2, allow_nan=False) + "\n"


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return "..." if depth == 0 else _plain_parts(value, depth - 1)


def _plain_parts(value: object, depth: int) -> Any:
    kind: type = type(value)
    if attrs.has(kind):
        return {field.name: _plain(getattr(value, field.name), depth) for field in attrs.fields(kind)}
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {key if isinstance(key, str) else str(key): _plain(each, depth) for key, each in items}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each, depth) for each in cast("list[object]", value)]
    return str(value)
