"""The snapshot format: its version, and the names in it that more than one file needs."""

from typing import Final

VERSION: Final = 2
"""The format version that is written and read. Version 1 is the JSON of Blazen itself, which ``blazen`` translates."""

ENGINE: Final = "engine"
"""In ``metadata``: the run's counters, its progress and its outcome."""

USER: Final = "user"
"""In ``metadata``: what the caller gave the run to know."""

COUNTERS: Final = ("emitted", "consumed", "late", "outside", "history_seq")
"""Counters of the state that are kept as they are; all others are counted anew."""
