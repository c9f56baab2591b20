"""What the audit says: one ``Entry`` for each distribution, never none and never two."""

import enum
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from blazen_trio.demo.licences import Family


class Status(enum.Enum):
    """How the licence of a distribution became known, if it did."""

    CLASSIFIED = "classified"  # from what the distribution says about itself
    ANSWERED = "answered"  # by a person
    UNDECIDED = "undecided"  # nobody could say
    BROKEN = "broken"  # it could not be read; its problems say why


@attrs.frozen
class Entry:
    """One line of the report; ``source`` is what told the licence, ``problems`` is what was odd, in plain words."""

    name: str
    version: str
    path: Path
    status: Status
    licence: str = ""
    family: Family = Family.UNKNOWN
    source: str = ""
    files: int = 0
    size_bytes: int = 0
    problems: tuple[str, ...] = ()


def as_plain(entries: Iterable[Entry]) -> dict[str, Any]:
    """The report as plain data for JSON: a summary, and the packages."""
    entries = list(entries)
    return {
        "summary": {
            "packages": len(entries),
            "status": counts(entry.status.value for entry in entries),
            "family": counts(entry.family.value for entry in entries),
        },
        "packages": [attrs.asdict(entry, value_serializer=_plain_field) for entry in entries],
    }


def counts(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(Counter(values).most_common())


def _plain_field(_instance: type, _field: "attrs.Attribute[Any]", value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value
