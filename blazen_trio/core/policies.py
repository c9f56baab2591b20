"""What a snapshot does with the live objects that a run holds: an option of the workflow."""

import enum


class SessionPausePolicy(enum.Enum):
    """What a snapshot does with live session refs. Remote ones are data and always saved."""

    PICKLE_OR_ERROR = "pickle_or_error"
    """Pickle every one; ``SessionRefsNotSerializableError`` if one cannot be."""

    PICKLE_OR_SERIALIZE = "pickle_or_serialize"
    """Save the bytes of those inserted as serializable; the rest is dropped, with a warning."""

    WARN_DROP = "warn_drop"
    """Drop all, with a warning; the snapshot lists their keys."""

    HARD_ERROR = "hard_error"
    """``SessionRefsNotSerializableError`` if there is any."""
