"""Runs with runs inside, paused, interrupted, saved and resumed at any instant, come to the same end."""

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import RunClosedError, WorkflowRun, WorkflowSnapshot
from blazen_trio.testing.scheduling import shuffled_by
from tests.budget import share
from tests.children.programs import PROGRAMS, Program
from tests.children.test_pauses import RACES, answer_all

LIVES_MAX = 5
TROUBLES_MAX = 20
"""Then a run is left alone, so that calls which always begin again come to an end."""

MAKERS = [make for make in PROGRAMS if make not in RACES]


async def make_trouble(run: WorkflowRun, random: Random, saved: list[WorkflowSnapshot]) -> None:
    """Pause, with or without interrupting, give that up halfway, go on, and in the end save the run."""
    with contextlib.suppress(RunClosedError):
        for number in range(TROUBLES_MAX):
            await wait_a_little(random, number)
            with trio.move_on_after(random.choice([0.2, 1e6])):
                match random.randrange(5):
                    case 0:
                        await run.pause()
                    case 1:
                        await run.pause(interrupt=True)
                    case 2 if number > 3:
                        saved.append(await run.snapshot())
                        return
                    case _:
                        await run.resume_in_place()
        await run.resume_in_place()


async def wait_a_little(random: Random, number: int) -> None:
    if random.random() < 0.5:
        await trio.sleep(random.choice([0.3, 0.5, 1, 2, 3]) * (1 + number / 8))
    for _ in range(random.randrange(6)):
        await trio.lowlevel.checkpoint()


async def live(program: Program, random: Random | None) -> Any:
    """A run in several lives; without ``random`` in one."""
    snapshot: WorkflowSnapshot | None = None
    for number in range(LIVES_MAX):
        saved: list[WorkflowSnapshot] = []
        is_troubled = random is not None and number < LIVES_MAX - 1
        end = await one_life(program, snapshot, random if is_troubled else None, saved)
        if not saved:
            return end
        snapshot = WorkflowSnapshot.from_json(saved[0].to_json())
    raise AssertionError("the last life is left alone")


async def one_life(
    program: Program, snapshot: WorkflowSnapshot | None, random: Random | None, saved: list[WorkflowSnapshot]
) -> Any:
    workflow = program.workflow
    async with workflow.start(program.start) if snapshot is None else workflow.resume(snapshot) as run:
        with trio.fail_after(1e6):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_all, run, program.answers)
                if random is not None:
                    await make_trouble(run, random, saved)
                result = None if saved else await run.result()
                nursery.cancel_scope.cancel()
    return None if result is None else (result.result, result.usage_total, result.cost_total_usd)


def run_shuffled(seed: int, program: Program, random: Random | None) -> Any:
    with shuffled_by(seed):
        return trio.run(live, program, random, clock=MockClock(autojump_threshold=0))


def try_seeds(make: Callable[[], Program], seeds: range) -> None:
    expected = run_shuffled(0, make(), None)
    for seed in seeds:
        assert run_shuffled(seed, make(), Random(seed)) == expected, f"seed {seed}"


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_trouble_changes_no_end(make: Callable[[], Program]) -> None:
    try_seeds(make, range(10))


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_much_trouble_changes_no_end(make: Callable[[], Program]) -> None:
    try_seeds(make, range(1_000, 1_000 + share(300)))
