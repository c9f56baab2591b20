"""Snapshots of this format that were recorded once are read for ever: each run goes on to its end.

``python -m tests.snapshots.test_recorded`` records what is missing; what is there is never recorded anew.
"""

from collections.abc import Callable
from pathlib import Path

from blazen_trio import WorkflowSnapshot
from tests.snapshots import more_programs, programs, sub_workflows
from tests.snapshots.every_program import by_name
from tests.snapshots.interrupting import live, live_on, run_on_mock_clock
from tests.snapshots.programs import Program

RECORDED = Path(__file__).with_name("recorded")

MAKERS: tuple[Callable[[], Program], ...] = (
    programs.nested_joins,
    programs.recoveries,
    programs.collectors,
    programs.waits_for_what_steps_take_too,
    programs.inline_questions,
    programs.routed_questions,
    programs.once,
    programs.sends_before_the_end,
    more_programs.values_of_all_kinds,
    sub_workflows.a_run_inside_that_asks,
    sub_workflows.a_run_inside_a_run_inside_a_run,
    sub_workflows.a_run_inside_that_is_tried_again,
)


def file_of(make: Callable[[], Program]) -> Path:
    return RECORDED / f"version-2-in-{make.__name__.replace('_', '-')}.json"


@by_name(MAKERS)
def test_a_recorded_run_goes_on_to_its_end(make: Callable[[], Program]) -> None:
    text = file_of(make).read_text().strip()
    snapshot = WorkflowSnapshot.from_json(text)
    assert snapshot.to_json() == text

    expected, _ = run_on_mock_clock(live, make())
    assert run_on_mock_clock(live_on, make(), snapshot) == expected


def test_there_is_no_record_that_nobody_reads() -> None:
    assert {file_of(make) for make in MAKERS} == set(RECORDED.glob("version-2-in-*.json"))


def record(make: Callable[[], Program]) -> None:
    """Record a run in its midst."""
    _, taken = run_on_mock_clock(live, make())
    file_of(make).write_text(taken[len(taken) // 2].to_json() + "\n")


if __name__ == "__main__":
    for each in MAKERS:
        if not file_of(each).exists():
            record(each)
