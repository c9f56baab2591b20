"""Ids from descent: the same program has the same ids in every interleaving and after every resume.

A call's id is a hash of its parent's id, the place of its event among the parent's emissions, and the step. The hash is
a polynomial in the integers modulo 2**128 with an odd multiplier (Knuth's MMIX generator, twice): 0.12 us. Two
different lines of descent have equal ids with a probability of about 2**-112 (differences are multiples of 2**16). A
prime modulus would also withstand lines of descent made up to collide (Thue-Morse sequences over a thousand
generations), which only the author of a workflow could make, against himself; it costs a division more, 7 % of a step.
"""

from functools import lru_cache
from typing import Final

MASK: Final = (1 << 128) - 1
MULTIPLIER: Final = 0x5851F42D4C957F2D14057B7EF767814F  # two 64-bit multipliers of Knuth's MMIX generator, side by side
_STEP_BITS: Final = 16
IDS_REMEMBERED: Final = 256
ROOT_ID: Final = 1
"""The parent of what comes from outside."""
JOIN_PLACE: Final = (1 << 62) - 1
RECOVERY_PLACE: Final = (1 << 62) - 2
"""Places among a parent's emissions that no emission ever has: what the engine itself derives from a call."""


def derive_id(parent: int, place: int, step: int) -> int:
    """The id of the call of ``step`` for the emission at ``place`` (from 0) of ``parent``."""
    return (parent * MULTIPLIER + (((place + 1) << _STEP_BITS) | step)) & MASK


def format_id(call_id: int) -> str:
    """An id as text: 32 hexadecimal digits."""
    return f"{call_id:032x}"


format_id_again: Final = lru_cache(IDS_REMEMBERED)(format_id)
"""The same, for ids that are needed as text time and again: those of calls that write to the stream."""
