"""A process that is killed while it writes: what was acknowledged is there, and at most one more batch, whole."""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from blazen_trio import SqliteStore
from blazen_trio.abc import Owner
from tests.budget import share

RUNS = ("a", "b", "c")

WRITING = """
import sys, trio
from blazen_trio import SqliteStore
from blazen_trio.abc import NewRun, Owner, RunWrite, StreamRow

async def main():
    owner, path, fold = Owner.here("child"), sys.argv[1], int(sys.argv[2])
    async with SqliteStore(path) as store:
        fences = {name: await store.create(NewRun(name, "flow", 1.0), owner, now=1.0, lease_s=1e9) for name in "abc"}
        number = 0
        while True:
            number += 1
            batch = [
                RunWrite(
                    name, fence, [b"%d" % number], b"%d" % number if number % fold == 0 else None,
                    [StreamRow(number, 1.0, b"%d" % number)], number - 5 if number > 5 else 0,
                )
                for name, fence in fences.items()
            ]
            assert await store.write(batch) == [None] * 3
            print(number, flush=True)

trio.run(main)
"""


async def kill_after(path: Path, acknowledged: int, fold: int) -> int:
    """Let a child write until it has told of so many batches, and kill it; gives the last one it told of."""
    command = [sys.executable, "-c", WRITING, str(path), str(fold)]
    told = b""
    async with trio.open_nursery() as nursery:
        child = await nursery.start(partial(trio.run_process, command, check=False, stdout=subprocess.PIPE))
        async for some in child.stdout:
            told += some
            if told.count(b"\n") >= acknowledged:
                child.send_signal(signal.SIGKILL)
    return int(told.splitlines()[-1] if told.endswith(b"\n") else told.splitlines()[-2])


async def check(path: Path, told: int, fold: int) -> None:
    async with SqliteStore(path) as store:
        lasts = set()
        for name in RUNS:
            run = await store.read(name)
            numbers = [int(entry) for entry in run.entries]
            folded = 0 if run.snapshot is None else int(run.snapshot)
            last = numbers[-1] if numbers else folded
            assert numbers == list(range(folded + 1, last + 1))
            assert folded == last // fold * fold
            page = await store.read_stream(name)
            assert [int(row.blob) for row in page.rows] == list(range(max(last - 5, 0) + 1, last + 1))
            lasts.add(last)
        assert len(lasts) == 1, "a batch is there as a whole, or not"
        assert told <= lasts.pop() <= told + 1
        taken = await store.claim(Owner.here("next"), now=2.0, lease_s=9.0, limit=9)
        assert len(taken) == len(RUNS), "the runs of a process that is gone are taken over at once"


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
async def test_a_killed_process_leaves_what_it_acknowledged_and_at_most_one_batch_more(acknowledged, tmp_path):
    told = await kill_after(tmp_path / "runs.db", acknowledged, fold=10)
    await check(tmp_path / "runs.db", told, fold=10)


@pytest.mark.slow
async def test_many_killed_processes_leave_what_they_acknowledged(tmp_path):
    for number in range(share(60)):
        path = tmp_path / f"{number}.db"
        told = await kill_after(path, 1 + number * 3, fold=2 + number % 7)
        await check(path, told, fold=2 + number % 7)
