"""Each event is in exactly one of three places: consumed by a call that finished, pending, or collected."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from blazen_trio import WorkflowSnapshot
from tests.snapshots import programs
from tests.snapshots.interrupting import live, run_on_mock_clock
from tests.snapshots.programs import Program

ONE_JOIN = (
    programs.fan_out,
    programs.fan_out_with_limits,
    programs.shared_limiter,
    programs.retries,
    programs.time_outs,
    programs.once,
    programs.state_that_is_undone,
    programs.sends_before_the_end,
    programs.inline_questions,
    programs.threads,
)
"""Programs in which each event goes to one step, and one join ends the run."""


def works_of(data: Any) -> list[Any]:
    """All calls and batches."""
    pending: dict[str, Any] = data["pending_events"]
    retrying: list[Any] = pending["retrying"]
    return [work for works in pending["steps"].values() for work in works] + retrying


def pending_count(data: Any) -> int:
    """Events that are queued, wait, or are being worked on; a join's call holds several."""
    queued = sum(len(emission["events"]) for emission in data["pending_events"]["queue"])
    return queued + sum(len(work.get("items") or work.get("events") or [work["event"]]) for work in works_of(data))


def collected_count(data: Any) -> int:
    """Events that wait for a join."""
    scopes = data["collected_events"]["scopes"]
    return sum(len(items["events"]) for scope in scopes for items in scope["collected"].values())


@pytest.mark.parametrize("make", ONE_JOIN, ids=lambda make: make.__name__)
def test_no_event_is_lost_or_doubled_at_any_point(make: Callable[[], Program]) -> None:
    taken: list[WorkflowSnapshot] = run_on_mock_clock(live, make())[1]
    for snapshot in taken:
        data = json.loads(snapshot.to_json())
        engine = data["metadata"]["engine"]
        if not snapshot.status.is_end:
            assert engine["emitted"] == engine["consumed"] + pending_count(data) + collected_count(data)


@pytest.mark.parametrize("make", programs.PROGRAMS, ids=lambda make: make.__name__)
def test_every_id_is_there_once(make: Callable[[], Program]) -> None:
    taken: list[WorkflowSnapshot] = run_on_mock_clock(live, make())[1]
    for snapshot in taken:
        ids = [work["id"] for work in works_of(json.loads(snapshot.to_json())) if "id" in work]
        assert len(set(ids)) == len(ids)
        assert set(snapshot.timers) <= set(ids)


def test_a_snapshot_costs_what_is_in_the_run_not_how_long_it_ran() -> None:
    taken: list[WorkflowSnapshot] = run_on_mock_clock(live, programs.chain())[1]
    lengths = [len(snapshot.to_json()) for snapshot in taken if snapshot.pending_events["steps"]]
    assert max(lengths) - min(lengths) < 200
