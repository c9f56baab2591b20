"""The statuses of a run, and how a run inside another one rests."""

import enum
from typing import Final


class RunStatus(enum.Enum):
    """Where a run is. The last four are ends; nothing leads out of them.

    ``AWAITING_INPUT`` is ``RUNNING`` with nothing to do but wait for answers; its clock stands still.
    """

    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_INPUT = "awaiting_input"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    ABORTED = "aborted"

    @property
    def is_end(self) -> bool:
        """Whether the run is over."""
        return self in _ENDS


class Rest(enum.Enum):
    """What a run inside another one keeps that one from.

    ``QUIET``: nothing of it runs, so a pause need not wait for it. ``ASKING``: it has only questions left, so the clock
    of the run around it may stand still.
    """

    BUSY = "busy"
    QUIET = "quiet"
    ASKING = "asking"


_ENDS: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.ABORTED})
