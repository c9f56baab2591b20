"""Plain data: what JSON can hold, and the markers that stand for everything else.

The rules of this file:

* *Plain* is a tree of exactly ``dict`` (with ``str`` keys), ``list``, ``str``, ``int`` (64 bits, signed), finite
  ``float``, ``bool`` and ``None``. No subclass of these is plain.
* A *marker* is a dict with exactly one key, and that key starts with ``__blazen_``. Nothing else is a marker, so most
  of a user's dicts are told apart by their length alone. A user's own dict of that look is written as ``DICT``.
* Each reading limit is a constant here, with its reason.
"""

from typing import Final, TypeAlias

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""A tree of JSON data; see the rules of this file."""

MARKER_PREFIX: Final = "__blazen_"
"""The one key of a marker starts with this."""

DEPTH_MAX: Final = 64
"""Levels of nesting in one value. A cycle runs into it; Python's own stack (1,000 frames) is never in reach."""

READ_DEPTH_MAX: Final = 2 * DEPTH_MAX
"""Levels in one value as it is read; more than were written, so that what was written can be read."""

VALUES_MAX: Final = 10_000_000
"""Values in one value, a shared part counted each time: 60 lists ``[a, a]`` inside each other are 2**60 values."""

CONTAINER_COST: Final = 10
"""A list or dict costs as much time to walk as this many values, and is counted so."""

HASH_COLLISIONS_MAX: Final = 1_000
"""Equal hashes in one set or dict that is read. 100,000 ints made to collide would take minutes to insert."""

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
"""What JSON readers and MessagePack hold exactly; other ints are written as a marker."""


class DecodeError(ValueError):
    """Plain data does not have the shape it should have.

    ``problem`` says what is wrong; ``path`` leads from the outside to the place (``['seen'][3]``).
    Whoever knows what was being read turns it into an ``EventDecodeError`` or a ``SnapshotCorruptError``.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path

    def within(self, step: str) -> "DecodeError":
        """The same error, seen from one level further out."""
        return DecodeError(self.problem, step + self.path)

    def __str__(self) -> str:
        """The problem, and where it is."""
        return f"{self.problem} (at {self.path})" if self.path else self.problem
