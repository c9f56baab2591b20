"""Bounds of the core that are nobody's option, each with its reason: what is beyond one is left out."""

from typing import Final

ERROR_TEXT_CHARS_MAX: Final = 1_000
"""Text kept of a foreign exception: enough to recognise it, too little to bloat journals and streams."""

HISTORY_EVENTS_MAX: Final = 100_000
"""Entries of ``history`` that are kept, the newest; at about 300 bytes each this is 30 MB for a run without end."""
