"""Whatever a run is doing when it is saved, it comes to the same end: at every point, of every program.

The harness here is the tests' own (``interrupting``); ``assert_resumable``, which is made for users, is looked at in
``tests/kit``. People outside pause and answer while all this goes on.
"""

from collections.abc import Callable

from blazen_trio import WorkflowSnapshot
from tests.snapshots.every_program import EVERY_PROGRAM, by_name
from tests.snapshots.interrupting import live, live_a_while, live_on, run_on_mock_clock
from tests.snapshots.programs import Program


@by_name(EVERY_PROGRAM)
def test_a_run_saved_at_any_point_comes_to_the_same_end(make: Callable[[], Program]) -> None:
    program = make()
    expected, taken = run_on_mock_clock(live, program)
    assert len(taken) > 3

    for number, snapshot in enumerate(taken):
        copy = WorkflowSnapshot.from_json(snapshot.to_json())
        assert copy == snapshot
        end = run_on_mock_clock(live_on, program, copy)
        assert end == expected, f"interrupted at point {number} of {len(taken)}"


@by_name(EVERY_PROGRAM)
def test_messagepack_holds_the_same_as_json(make: Callable[[], Program]) -> None:
    _, taken = run_on_mock_clock(live, make())

    assert [WorkflowSnapshot.from_msgpack(each.to_msgpack()) for each in taken] == taken


@by_name(EVERY_PROGRAM)
def test_a_run_that_is_saved_and_resumed_over_and_over_comes_to_the_same_end(make: Callable[[], Program]) -> None:
    program = make()
    expected, taken = run_on_mock_clock(live, program)

    snapshot, messages = taken[1], 0
    while not snapshot.status.is_end:
        messages += 2  # more each time, so that calls which always begin again come to an end
        again = WorkflowSnapshot.from_msgpack(snapshot.to_msgpack())
        snapshot = run_on_mock_clock(live_a_while, program, again, messages)
    assert run_on_mock_clock(live_on, program, snapshot) == expected
