"""What happened in a run, for people: history entries (kept with the run) and lifecycle events (streamed)."""

from typing import Any, Final

import attrs

LIFECYCLE_KINDS: Final[dict[str, str]] = {
    "event_received": "event_routed",
    "step_dispatched": "step_started",
    "step_completed": "step_completed",
    "step_failed": "step_failed",
    "step_retried": "step_retrying",
    "workflow_paused": "run_paused",
    "workflow_resumed": "run_resumed",
    "input_requested": "input_requested",
    "workflow_completed": "run_completed",
    "workflow_failed": "run_failed",
    "workflow_timed_out": "run_failed",
    "workflow_aborted": "run_failed",
}
"""The lifecycle event of each kind of history entry; kinds that are not here have none."""


@attrs.frozen
class HistoryEvent:
    """One entry of a run's history.

    Attributes:
        sequence: from 1, without holes, kept over resumes.
        timestamp: seconds since the epoch.
        kind: ``workflow_started, event_received, step_dispatched, step_completed, step_failed, step_retried,
            workflow_paused, workflow_resumed, input_requested, input_received, workflow_completed, workflow_failed,
            workflow_timed_out`` or ``workflow_aborted``.
        duration_ms: how long the attempt took, for the ends of calls.
        error: type and text of an exception.
        data: more, by kind: ``attempt`` for steps, ``request_id`` for questions.
    """

    sequence: int
    timestamp: float
    kind: str
    step_name: str | None = None
    event_type: str | None = None
    duration_ms: float | None = None
    error: str | None = None
    data: dict[str, Any] = attrs.field(factory=dict[str, Any])
