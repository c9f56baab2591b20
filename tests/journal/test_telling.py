"""Told again from any base, a run is what it was."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from blazen_trio.block import RunBlock
from blazen_trio.core.children import queue_start
from blazen_trio.core.state import new_state
from blazen_trio.sub_workflow import start_event
from tests.engine.programs import PROGRAMS as DURABLE
from tests.journal.telling import Story, ToldRunner
from tests.snapshots.interrupting import outcome_of, run_on_mock_clock
from tests.snapshots.programs import PROGRAMS, Program

by_name = pytest.mark.parametrize("make", [*PROGRAMS, *DURABLE], ids=lambda make: make.__name__)


async def live(program: Program) -> Story:
    """A run from its beginning to its end, with the people outside."""
    state = new_state(program.workflow, "run")
    queue_start(state, start_event(program.start))
    runner = ToldRunner(program.workflow, state, {})
    async with RunBlock(program.workflow, runner, None) as run, trio.open_nursery() as nursery:
        nursery.start_soon(program.drive, run)
        await outcome_of(run)
        nursery.cancel_scope.cancel()
    return runner.story


@by_name
def test_a_run_is_told_again_from_any_base(make: Callable[[], Program]) -> None:
    story: Any = run_on_mock_clock(live, make())

    assert len(story.rows) > 5
    story.check(30)
