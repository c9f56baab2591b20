"""W5: a run's values to JSON and back, beside msgspec with the same data; and what taking a snapshot costs.

Reading checks what msgspec lets pass (doubled keys, nesting), which is where the time over msgspec's goes: least with
plain ASCII texts, more with texts full of newlines and quotes. Small snapshots are written and read several times in a
repetition, as short chains are run.

The lateness is that of the heartbeat of W2 while one snapshot of a run with many waiting events is taken; beside it
stands ``attrs.asdict`` of as many events. And a snapshot costs what is in the run, not what has been.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import attrs
import msgspec
import trio
from trio.lowlevel import checkpoint
from trio.testing import wait_all_tasks_blocked

from benchmarks.heartbeat import worst_lateness_ms
from benchmarks.measuring import Case, Goal, Scale, check
from blazen_trio import Context, Event, StartEvent, StopEvent, Workflow, WorkflowRun, WorkflowSnapshot, step

KEYS_MIN = 20_000
TEXT_CHARS = 1_000
TEXTS = {
    "": "Plain words, one behind the other, and 12 numbers or so. ",
    ", with newlines and quotes": '"Is that so?", she asked,\nand "No" was all that he had to say to it.\n',
}
SNAPSHOTS = 500


@step
async def remember(event: StartEvent, ctx: Context) -> StopEvent:
    for key, text in event.data.items():
        ctx.state[key] = text
    return StopEvent()


REMEMBERING = Workflow("remembering", [remember])


def cases(scale: Scale) -> list[Case]:
    counts = scale.size(1_000), scale.size(20_000)
    round_trips = [_round_trip(count, kind, scale.size(KEYS_MIN)) for kind in TEXTS for count in counts]
    return [*round_trips, _lateness(scale.size(10_000)), _age(scale.size(100_000))]


# --- To JSON and back -------------------------------------------------------------------------------------------------


def _round_trip(count: int, kind: str, keys_min: int) -> Case:
    snapshot = trio.run(snapshot_of_values, make_values(count, TEXTS[kind]))
    plain = msgspec.json.decode(snapshot.to_json())
    check(len(plain["context_state"]) == count, "the snapshot does not hold every value")
    check(WorkflowSnapshot.from_json(snapshot.to_json()) == snapshot, "what came back is not what was written")
    times = max(1, keys_min // count)
    return Case(
        f"{count:,} keys of 1 KB to JSON and back{kind}",
        "ms",
        engine=partial(ms_each, times, partial(write_and_read, snapshot)),
        baseline=partial(ms_each, times, partial(encode_and_decode, plain)),
        goal=Goal(1.5, "at most"),
    )


def make_values(count: int, words: str) -> dict[str, str]:
    """Texts of which no two are the same."""
    text = words * (TEXT_CHARS // len(words) + 1)
    return {f"key {number}": f"{number:06d}{text}"[:TEXT_CHARS] for number in range(count)}


async def snapshot_of_values(values: dict[str, str]) -> WorkflowSnapshot:
    """A snapshot of a run with these values."""
    async with REMEMBERING.start(values) as run:
        await run.result()
        return await run.snapshot()


def write_and_read(snapshot: WorkflowSnapshot) -> None:
    """The engine's way: with every check."""
    WorkflowSnapshot.from_json(snapshot.to_json())


def encode_and_decode(plain: object) -> None:
    """Msgspec alone: no checks, and bytes rather than text."""
    msgspec.json.decode(msgspec.json.encode(plain))


def ms_each(times: int, function: Callable[[], None]) -> float:
    """Milliseconds that one of so many takes."""
    begin = perf_counter()
    for _ in range(times):
        function()
    return (perf_counter() - begin) / times * 1e3


# --- Many waiting events ----------------------------------------------------------------------------------------------


class Item(Event):
    number: int
    name: str


@step(sends=[Item])
async def send(event: StartEvent, ctx: Context) -> None:
    for number in range(event.data):
        ctx.send_event(Item(number, f"item {number}"))


@step(max_concurrency=1)
async def work(event: Item) -> StopEvent:
    await trio.sleep_forever()
    return StopEvent()


CROWD = Workflow("crowd", [send, work])


def _lateness(count: int) -> Case:
    return Case(
        f"lateness of another task during a snapshot with {count:,} waiting events",
        "ms",
        engine=partial(trio.run, lateness_of_snapshot, count),
        baseline=partial(trio.run, worst_lateness_ms, partial(to_dicts, count)),
        goal=Goal(50.0, "at most", of="worst"),
        is_lasting=False,
    )


async def lateness_of_snapshot(count: int) -> float:
    async with CROWD.start(count) as run:
        await wait_all_tasks_blocked()
        taken: list[WorkflowSnapshot] = []
        lateness_ms = await worst_lateness_ms(partial(_take, run, taken))
    pending: Any = taken[0].pending_events["steps"]
    check(len(pending["work"]) == count, "the snapshot does not hold every event")
    return lateness_ms


async def _take(run: WorkflowRun, taken: list[WorkflowSnapshot]) -> None:
    taken.append(await run.snapshot())


async def to_dicts(count: int) -> None:
    """As little as can be done with so many events."""
    events = [Item(number, f"item {number}") for number in range(count)]
    await checkpoint()
    check(len([attrs.asdict(event) for event in events]) == count, "an event was lost")


# --- Long runs --------------------------------------------------------------------------------------------------------


class Tick(Event):
    left: int


@step
async def set_out(event: StartEvent) -> Tick:
    return Tick(event.data)


@step
async def tick(event: Tick, ctx: Context) -> Tick | StopEvent:
    if event.left:
        return Tick(event.left - 1)
    return StopEvent(await ctx.request_input("Go on?"))


CHAIN = Workflow("long", [set_out, tick])


def _age(steps: int) -> Case:
    return Case(
        f"a snapshot after {steps:,} steps against one after 10",
        "us",
        engine=partial(us_of_snapshot, steps),
        baseline=partial(us_of_snapshot, 10),
        goal=Goal(1.3, "at most"),
    )


def us_of_snapshot(steps: int) -> float:
    """Microseconds that a snapshot takes after so many steps."""
    return trio.run(_us_of_snapshot, steps)


async def _us_of_snapshot(steps: int) -> float:
    async with CHAIN.start(steps) as run:
        await wait_all_tasks_blocked()
        check(len(run.pending_inputs) == 1, "the run does not wait at its end")
        begin = perf_counter()
        for _ in range(SNAPSHOTS):
            await run.snapshot()
        return (perf_counter() - begin) / SNAPSHOTS * 1e6
