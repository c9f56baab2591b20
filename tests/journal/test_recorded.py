"""Journals that were recorded once are told again for ever: a run that a crash left behind is read by later versions.

``python -m tests.journal.test_recorded`` records what is missing; what is there is never recorded anew.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blazen_trio import WorkflowSnapshot
from blazen_trio.journal import replay
from tests.engine import programs as durable
from tests.journal.telling import plain
from tests.journal.test_telling import live
from tests.snapshots import programs
from tests.snapshots.interrupting import run_on_mock_clock
from tests.snapshots.programs import Program

RECORDED = Path(__file__).with_name("recorded")

MAKERS: tuple[Callable[[], Program], ...] = (
    programs.nested_joins,
    programs.retries,
    programs.recoveries,
    programs.collectors,
    programs.waits_for_what_steps_take_too,
    programs.inline_questions,
    programs.routed_questions,
    programs.once,
    programs.state_that_is_undone,
    programs.generators,
    programs.paused_now_and_then,
    durable.runs_inside_runs,
)


def file_of(make: Callable[[], Program]) -> Path:
    return RECORDED / f"version-1-{make.__name__.replace('_', '-')}.json"


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_recorded_journal_leads_to_the_same_snapshot(make: Callable[[], Program]) -> None:
    record: dict[str, Any] = json.loads(file_of(make).read_text())
    base, *rows = map(base64.b64decode, (record["base"], *record["rows"]))

    told = replay(make().workflow, base, rows)
    assert plain(told) == plain(WorkflowSnapshot.from_json(record["snapshot"]))


def test_there_is_no_record_that_nobody_reads() -> None:
    assert {file_of(make) for make in MAKERS} == set(RECORDED.iterdir())


def record_of(make: Callable[[], Program]) -> dict[str, Any]:
    """A base from the first third of a run, and the rows up to its last third."""
    story: Any = run_on_mock_clock(live, make())
    begin, end = len(story.rows) // 3, 2 * len(story.rows) // 3
    rows = [base64.b64encode(row).decode() for row in story.rows[begin + 1 : end]]
    base = base64.b64encode(story.bases[begin]).decode()
    return {"base": base, "rows": rows, "snapshot": story.snapshots[end - 1].to_json()}


if __name__ == "__main__":
    RECORDED.mkdir(exist_ok=True)
    for each in MAKERS:
        if not file_of(each).exists():
            file_of(each).write_text(json.dumps(record_of(each), indent=1) + "\n")
