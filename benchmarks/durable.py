"""W6: durable runs on SQLite with ``synchronous=FULL``, each in a new file.

A chain of dependent steps needs a commit for each; beside it stands a bare thread that commits rows of the same size,
one when the one before is on disk. Many chains share their commits: beside them stands one chain. With
``durability="group"`` a chain runs ahead of the disk by a commit. And a step costs the same after many steps, and with
much in the state: beside it stands a step of a run that is young, or holds little; both with ``"group"``, where the
disk hides nothing. What is timed begins when the values of a run are on disk: they are written as rows, then as a base.
"""

import queue
import tempfile
import threading
from functools import partial
from pathlib import Path
from time import perf_counter

import apsw
import trio

from benchmarks.measuring import Case, Goal, Scale, check
from blazen_trio import Context, Event, SqliteStore, StartEvent, StopEvent, Workflow, open_engine, step
from blazen_trio.durable import Durability

ROW_BYTES = 170
"""What the row of a step of this chain takes."""

VALUE = "v" * 1_000


class Begin(StartEvent):
    keys: int
    steps: int
    timed: int


class Tick(Event):
    left: int
    timed: int


@step
async def begin(event: Begin, ctx: Context) -> Tick:
    for number in range(event.keys):
        ctx.state[f"key {number}"] = VALUE
    return Tick(event.steps, event.timed)


@step
async def tick(event: Tick, ctx: Context) -> Tick | StopEvent:
    if event.left == event.timed:
        ctx.session["begun"] = perf_counter()
    if event.left == 0:
        return StopEvent(perf_counter() - ctx.session["begun"])
    return Tick(event.left - 1, event.timed)


WORKFLOW = Workflow("chain", [begin, tick])


def cases(scale: Scale) -> list[Case]:
    steps, runs, keys, long = scale.size(1_000), scale.size(100), scale.size(20_000), scale.size(100_000)
    one = partial(steps_per_s, 1, steps, "step")
    many = partial(steps_per_s, runs, steps // 5, "step")
    grouped = partial(steps_per_s, 1, steps * 20, "group")
    old, young = (partial(us_per_step, count, 1) for count in (long, 100))
    rich, poor = (partial(us_per_step, long, count) for count in (keys, 1))
    bare = partial(bare_rows_per_s, steps)
    flat = Goal(1.3, "at most")
    return [
        Case(f"a durable chain of {steps:,} steps; a bare writer", "steps/s", one, bare, Goal(0.85, "at least")),
        Case(f"{runs:,} durable chains at once; one chain", "steps/s", many, one, Goal(20, "at least")),
        Case('a chain with durability="group"; with "step"', "steps/s", grouped, one, Goal(50, "at least")),
        Case(f"a step after {long:,}; after 100", "us/step", old, young, flat),
        Case(f"a step with {keys:,} keys of 1 KB; with 1", "us/step", rich, poor, flat),
    ]


def steps_per_s(runs: int, steps: int, durability: Durability) -> float:
    """Steps of so many chains at once, by the second."""
    with tempfile.TemporaryDirectory() as folder:
        return runs * steps / trio.run(_live, Path(folder) / "runs.db", runs, Begin(0, steps, steps), durability)


async def _live(path: Path, runs: int, start: Begin, durability: Durability) -> float:
    async with open_engine(SqliteStore(path), [WORKFLOW], durability=durability) as engine:

        async def chain() -> None:
            await (await engine.start("chain", start)).result()

        begun = perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(runs):
                nursery.start_soon(chain)
        return perf_counter() - begun


def us_per_step(before: int, keys: int, steps: int = 2_000) -> float:
    """Microseconds for each of so many steps, in a run that has done others before and holds so many values."""

    async def live(path: Path) -> float:
        async with open_engine(SqliteStore(path), [WORKFLOW], durability="group") as engine:
            run = await engine.start("chain", Begin(keys, before + steps, steps))
            seconds: float = (await run.result()).result
            return seconds

    with tempfile.TemporaryDirectory() as folder:
        return trio.run(live, Path(folder) / "runs.db") / steps * 1e6


# --- A bare writer ----------------------------------------------------------------------------------------------------


def bare_rows_per_s(rows: int) -> float:
    """Rows by the second that a thread of its own commits for a Trio task, which waits for each."""
    with tempfile.TemporaryDirectory() as folder:
        orders: queue.SimpleQueue[trio.Event | None] = queue.SimpleQueue()
        return rows / trio.run(_wait_for_each, Path(folder) / "bare.db", rows, orders)


async def _wait_for_each(path: Path, rows: int, orders: "queue.SimpleQueue[trio.Event | None]") -> float:
    token = trio.lowlevel.current_trio_token()
    writer = threading.Thread(target=_write, args=(path, orders, token))
    writer.start()
    begun = perf_counter()
    for _ in range(rows):
        written = trio.Event()
        orders.put(written)
        await written.wait()
    seconds = perf_counter() - begun
    orders.put(None)
    await trio.to_thread.run_sync(writer.join)
    return seconds


def _write(path: Path, orders: "queue.SimpleQueue[trio.Event | None]", token: trio.lowlevel.TrioToken) -> None:
    connection = apsw.Connection(str(path))
    for pragma in ("journal_mode = wal", "synchronous = full", "wal_autocheckpoint = 1000"):
        connection.execute(f"pragma {pragma}").fetchall()
    connection.execute("create table rows (run text, number integer, row blob, primary key (run, number))").fetchall()
    number = 0
    while (written := orders.get()) is not None:
        with connection:
            connection.execute("insert into rows values ('run', ?, ?)", (number, bytes(ROW_BYTES))).fetchall()
        number += 1
        token.run_sync_soon(written.set)
    found = connection.execute("select count(*) from rows").fetchall()
    check(found == [(number,)], "a row was lost")
    connection.close()
