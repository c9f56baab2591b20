"""The statuses of a run."""

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


_ENDS: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.ABORTED})
