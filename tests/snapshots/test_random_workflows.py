"""Workflows that Hypothesis makes up come to the same end wherever they are interrupted.

The default run tries few, the same each time; the slow one many.
"""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from blazen_trio.testing import assert_resumable, drive
from tests.budget import share
from tests.snapshots.random_workflows import ANSWERS, RandomWorkflow, random_workflows


def check(workflow: RandomWorkflow, seed: int) -> None:
    async def main() -> int:
        return await assert_resumable(workflow.make, answers=ANSWERS, seed=seed, stream=True)

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) >= 2


@given(random_workflows(), st.integers(0, 99))
def test_a_random_workflow_can_be_interrupted_anywhere(workflow: RandomWorkflow, seed: int) -> None:
    check(workflow, seed)


@pytest.mark.slow
@settings(max_examples=share(2000))
@given(random_workflows(), st.integers(0, 99))
def test_a_random_workflow_can_be_interrupted_anywhere_for_long(workflow: RandomWorkflow, seed: int) -> None:
    check(workflow, seed)


@given(random_workflows(), st.integers(0, 99))
def test_a_random_workflow_ends_the_same_in_any_order_of_tasks(workflow: RandomWorkflow, seed: int) -> None:
    one = drive(workflow.make(), seed=seed, answers=ANSWERS)
    assert one.result == drive(workflow.make(), seed=seed + 1, answers=ANSWERS).result
