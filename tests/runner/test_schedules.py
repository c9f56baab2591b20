"""A program gives the same in every order in which Trio may run its tasks: results, times, call ids, stream numbers."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio import Context, Event, RetryConfig, StartEvent, StopEvent, Workflow, step
from tests.budget import share
from tests.runner.observing import observe
from tests.runner.programs import PROGRAMS
from tests.runner.seeds import run_shuffled

Program = Callable[[], Awaitable[Any]]
by_name = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)


@by_name
def test_a_program_gives_the_same_in_twenty_schedules(program: Program) -> None:
    compare_schedules(program, 20)


@pytest.mark.slow
@by_name
def test_a_program_gives_the_same_in_hundreds_of_schedules(program: Program) -> None:
    compare_schedules(program, share(500))


def compare_schedules(program: Program, count: int) -> None:
    expected = run_shuffled(program, 0)
    for seed in range(1, count):
        assert run_shuffled(program, seed) == expected, f"seed {seed}"


@by_name
def test_a_program_gives_what_it_gives_with_trios_own_scheduler(program: Program) -> None:
    plain = trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
    assert plain == run_shuffled(program, 0)


# --- Programs made up by Hypothesis -----------------------------------------------------------------------------------

Tree = tuple[Any, ...]
"""``(sleep, failures, timed-out attempts)`` for a leaf; ``(sleep, [trees])`` for what fans out."""

TIMES = st.sampled_from([0.0, 0.0, 1.0, 2.5])
LEAVES: st.SearchStrategy[Any] = st.tuples(TIMES, st.integers(0, 2), st.integers(0, 1))
TREES = st.recursive(LEAVES, lambda trees: st.tuples(TIMES, st.lists(trees, max_size=4)), max_leaves=12)


class Visit(Event):
    tree: Any
    path: tuple[int, ...]


class Seen(Event):
    paths: Any
    depth: int


@step
async def begin(event: StartEvent) -> list[Visit]:
    return [Visit(event.data, ())]


@step(timeout=4, retry=RetryConfig(max_retries=3, initial_delay_ms=100, jitter=False))
async def visit(event: Visit, ctx: Context) -> list[Visit] | Seen:
    sleep = event.tree[0]
    if sleep:
        await trio.sleep(sleep)
    if isinstance(event.tree[1], list):
        return [Visit(tree, (*event.path, place)) for place, tree in enumerate(event.tree[1])]
    _, failures, hangs = event.tree
    if ctx.attempt <= failures:
        raise OSError(event.path)
    if ctx.attempt <= failures + hangs:
        await trio.sleep_forever()
    return Seen([event.path], len(event.path))


@step
async def join(seen: list[Seen], ctx: Context) -> Seen | StopEvent:
    paths = [path for each in seen for path in each.paths]
    depth = min((each.depth for each in seen), default=1)
    is_outermost = ctx.call.scope.parent is None
    return StopEvent(paths) if is_outermost else Seen(paths, depth - 1)


def leaves_of(tree: Tree, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    if not isinstance(tree[1], list):
        return [path]
    return [leaf for place, each in enumerate(tree[1]) for leaf in leaves_of(each, (*path, place))]


@given(TREES, st.integers(0, 1_000_000))
def test_any_tree_of_fan_outs_is_joined_in_its_order_in_any_schedule(tree: Tree, seed: int) -> None:
    async def program() -> Any:
        return await observe(Workflow("tree", [begin, visit, join]), tree)

    one, other = run_shuffled(program, seed), run_shuffled(program, seed + 1)
    assert one == other
    assert one.result == leaves_of(tree)
