"""W8: memory of runs that wait for input, beside a bare nursery with one sleeping task; each in a fresh interpreter.

Each run has a task of the program's own that holds it open (``async with workflow.start()``) and waits for its result,
as a server would have it, and so has each bare nursery. Under an engine nobody holds it, and it leaves memory. One task
with an ``AsyncExitStack`` cannot hold so many: Trio walks nested nurseries recursively, and Python's recursion limit
ends the program.

``tracemalloc`` counts what Python allocated, exactly; "resident" is what the operating system gave for that, which is
only told, and only where ``/proc`` tells it.

As a program: ``python -m benchmarks.waiting traced|resident bare|routed|inline|engine COUNT`` prints kB each.
"""

import gc
import os
import sys
import tempfile
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.fresh import figure_of
from benchmarks.measuring import Case, Goal, Scale, check
from blazen_trio import (
    Context,
    Engine,
    InputRequestEvent,
    InputResponseEvent,
    RunStatus,
    SqliteStore,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRun,
    open_engine,
    step,
)

STATM: Final = Path("/proc/self/statm")
GOAL: Final = Goal(8.0, "at most", of="median")
ENGINE_GOAL: Final = Goal(1.0, "at most", of="median")

Runs = list[WorkflowRun]
Hold = Callable[[Runs], Awaitable[None]]


@step
async def ask(event: StartEvent) -> InputRequestEvent:
    return InputRequestEvent(prompt="Go on?")


@step
async def finish(event: InputResponseEvent) -> StopEvent:
    return StopEvent(event.response)


@step
async def ask_inline(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent(await ctx.request_input("Go on?"))


async def hold_run(workflow: Workflow, runs: Runs) -> None:
    async with workflow.start() as run:
        runs.append(run)
        await run.result()


async def hold_nursery(_runs: Runs) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()


ROUTED: Final = Workflow("routed", [ask, finish])

HOLDS: Final[dict[str, Hold]] = {
    "bare": hold_nursery,
    "routed": partial(hold_run, ROUTED),
    "inline": partial(hold_run, Workflow("inline", [ask_inline])),
}


def cases(scale: Scale) -> list[Case]:
    count, few = scale.size(10_000), scale.size(2_000)
    found = [
        _case(f"{count:,} runs waiting for input", "traced", "routed", count, GOAL),
        _case(f"{few:,} runs waiting in request_input", "traced", "inline", few),
        _case(f"{count:,} runs of an engine waiting for input", "traced", "engine", count, ENGINE_GOAL),
    ]
    if STATM.exists():
        found.append(_case(f"{count:,} runs waiting for input, resident", "resident", "routed", count))
    return found


def _case(name: str, meter: str, held: str, count: int, goal: Goal | None = None) -> Case:
    def figure(what: str) -> float:
        return figure_of("-m", "benchmarks.waiting", meter, what, str(count))

    return Case(name, "kB/run", engine=partial(figure, held), baseline=partial(figure, "bare"), goal=goal)


# --- In the fresh interpreter -----------------------------------------------------------------------------------------


def traced_bytes() -> int:
    """What Python has allocated since tracing began."""
    return tracemalloc.get_traced_memory()[0]


def resident_bytes() -> int:
    """What the operating system gave to this process."""
    return int(STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def kb_each(hold: Hold, count: int, used_bytes: Callable[[], int]) -> float:
    """Hold ``count`` of them open: kB for each."""
    runs: Runs = []
    async with trio.open_nursery() as nursery:
        await _hold_open(nursery, hold, 1, runs)  # what is made once is none of theirs
        before = used_bytes()
        await _hold_open(nursery, hold, count, runs)
        each = (used_bytes() - before) / count / 1_000
        check(all(run.status is RunStatus.AWAITING_INPUT for run in runs), "a run does not wait for input")
        nursery.cancel_scope.cancel()
    return each


async def _hold_open(nursery: trio.Nursery, hold: Hold, count: int, runs: Runs) -> None:
    for _ in range(count):
        nursery.start_soon(hold, runs)
    await wait_all_tasks_blocked()
    gc.collect()


async def kb_each_of_engine(count: int, used_bytes: Callable[[], int]) -> float:
    """Let an engine on a file hold ``count`` of them, until all have left memory: kB for each."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_engine(SqliteStore(Path(folder) / "runs.db"), [ROUTED]) as engine:
            await _let_engine_hold(engine, 100)  # as much as is made once
            before = used_bytes()
            await _let_engine_hold(engine, count)
            return (used_bytes() - before) / count / 1_000


async def _let_engine_hold(engine: Engine, count: int) -> None:
    held = engine.statistics()["held"]
    for _ in range(count):
        await engine.start(ROUTED.name)
    while engine.statistics()["in_memory"] or engine.statistics()["queued"]:  # noqa: ASYNC110 - they leave by and by
        await trio.sleep(0.1)
    gc.collect()
    check(engine.statistics()["held"] == held + count, "the engine does not hold every run")


def main(meter: str, held: str, count: str) -> None:
    if meter == "traced":
        tracemalloc.start()
    used_bytes = traced_bytes if meter == "traced" else resident_bytes
    if held == "engine":
        print(trio.run(kb_each_of_engine, int(count), used_bytes))
    else:
        print(trio.run(kb_each, HOLDS[held], int(count), used_bytes))


if __name__ == "__main__":
    main(*sys.argv[1:])
