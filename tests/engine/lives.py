"""Lives of one run: engines that die at a call to their store, and one that brings it to its end.

A point says which program, seed and call: the seed shuffles Trio's scheduler, and the same point gives the same lives.
"""

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from blazen_trio import (
    EngineRun,
    LifecycleEvent,
    ProgressEvent,
    RunClosedError,
    RunNotFoundError,
    StoreError,
    UsageEvent,
    WorkflowError,
    open_engine,
)
from blazen_trio.abc import Store
from blazen_trio.durable import Durability
from blazen_trio.engine.infos import told
from blazen_trio.stores import MemoryStore
from blazen_trio.testing import CrashingStore
from blazen_trio.testing.scheduling import shuffled_by
from tests.snapshots.programs import Program

RUN_ID = "run"
REPEATED = (LifecycleEvent, ProgressEvent, UsageEvent)
"""What a repeated call publishes again."""


@attrs.define
class Outside:
    """What was seen outside of the engines: by readers, by those who were promised something, by those who wait."""

    items: dict[int, Any] = attrs.Factory(dict)
    answers: dict[str, Any] = attrs.Factory(dict)
    outcome: Any = None
    values: Any = None

    def see(self, seq: int, content: Any) -> None:
        """A reader got an item."""
        assert self.items.setdefault(seq, content) == content, f"item {seq} was something else before"


@attrs.frozen
class Watched:
    """A run's handle that remembers which answers were taken."""

    run: EngineRun
    outside: Outside

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)

    async def respond_to_input(self, request_id: str, response: Any) -> None:
        await self.run.respond_to_input(request_id, response)
        self.outside.answers[request_id] = response

    async def pause(self, *, interrupt: bool = False) -> None:
        with contextlib.suppress(RunClosedError):  # it is over, but that is not saved yet
            await self.run.pause(interrupt=interrupt)

    async def resume_in_place(self) -> None:
        with contextlib.suppress(RunClosedError):
            await self.run.resume_in_place()


@attrs.frozen
class Point:
    """Where a life ends."""

    make: Callable[[], Program]
    seed: int
    call: int
    happens: bool = False
    again: int | None = None
    """The call at which the second engine dies, too."""
    durability: Durability = "step"
    is_read: bool = True

    def __str__(self) -> str:
        calls = f"call={self.call},{self.again} happens={self.happens}"
        return f"{self.make.__name__} seed={self.seed} {calls} {self.durability}"


async def live(program: Program, store: Store, outside: Outside, point: Point) -> None:
    """One engine's life with the run: to the run's end, or to the store's."""
    async with open_engine(store, [program.workflow], durability=point.durability) as engine:
        try:
            run = await engine.get(RUN_ID)
        except RunNotFoundError:
            run = await engine.start(program.workflow.name, program.start, RUN_ID)
        async with trio.open_nursery() as nursery:
            watched: Any = Watched(run, outside)
            nursery.start_soon(program.drive, watched)
            if point.is_read:
                nursery.start_soon(read, run, outside)
            outside.outcome = await outcome_of(run)
            if point.is_read:
                await read(run, outside)
            nursery.cancel_scope.cancel()


async def outcome_of(run: EngineRun) -> Any:
    """The result of a run, or its error; not that of the store."""
    try:
        return (await run.result()).result
    except StoreError:
        raise
    except WorkflowError as error:
        return type(error).__name__, str(error)


async def read(run: EngineRun, outside: Outside) -> None:
    """Read the stream from its beginning."""
    expected = 1
    async with run.stream_events() as events:
        async for item in events.envelopes():
            assert item.seq == expected, f"a hole before item {item.seq}"
            outside.see(item.seq, (repr(item.event), item.source_step, item.call_id))
            expected += 1


def lives_of(point: Point) -> tuple[Outside, MemoryStore]:
    """All that is seen of a run whose first engines die at the point."""
    inside, program, outside = MemoryStore(), point.make(), Outside()

    async def live_and_die(call: int) -> None:
        try:
            with trio.fail_after(1000):
                await live(program, CrashingStore(inside, call, happens=point.happens), outside, point)
        except* StoreError:
            outside.outcome = None
        async with inside:
            await check_promises(program, inside, outside)
            for lease in list(inside._leases.values()):  # they run out
                await inside.release(lease.owner)

    async def live_on() -> None:
        with trio.fail_after(1000):
            await live(program, inside, outside, point)
        async with inside:
            await look(program, inside, outside)

    with shuffled_by(point.seed):
        for call in (point.call, point.again):
            if call is not None:
                trio.run(live_and_die, call, clock=MockClock(autojump_threshold=0))
        trio.run(live_on, clock=MockClock(autojump_threshold=0))
    return outside, inside


async def check_promises(program: Program, store: Store, outside: Outside) -> None:
    """What somebody saw, or was promised, is in the store."""
    try:
        stored = await store.read(RUN_ID)
    except RunNotFoundError:
        assert not outside.items
        assert not outside.answers
        assert outside.outcome is None
        return
    page = await store.read_stream(RUN_ID, limit=1_000_000)
    assert set(outside.items) <= {row.seq for row in page.rows}, "somebody saw what was not saved"
    snapshot = told(program.workflow, stored)
    if not snapshot.status.is_end:
        assert outside.outcome is None, "somebody was told of an end that was not saved"
        answered: Any = snapshot.input_requests["answered"]
        assert set(outside.answers) <= set(answered), "an answer was taken and lost"


async def look(program: Program, store: Store, outside: Outside) -> None:
    """Look at the run after its end."""
    snapshot = told(program.workflow, await store.read(RUN_ID))
    page = await store.read_stream(RUN_ID, limit=1_000_000)
    assert [row.seq for row in page.rows] == list(range(1, page.last + 1)), "the stream has holes"
    if outside.items:
        assert set(outside.items) == set(range(1, page.last + 1)), "somebody did not see the whole stream"
    usage: Any = snapshot.usage
    outside.values = (snapshot.status, dict(sorted(snapshot.context_state.items())), usage)


def kept(outside: Outside) -> Counter[str]:
    """What steps wrote and asked, which nobody sees twice."""
    repeated = tuple(each.__name__ for each in REPEATED)
    return Counter(event for event, *_ in outside.items.values() if not event.startswith(repeated))


def calls_of(make: Callable[[], Program], seed: int, durability: Durability = "step") -> tuple[int, Outside]:
    """How many calls to the store an uninterrupted life takes, and what is seen of it."""
    program, outside, inside = make(), Outside(), MemoryStore()
    store = CrashingStore(inside, 1_000_000)

    async def main() -> None:
        await live(program, store, outside, Point(make, seed, 0, durability=durability))
        async with inside:
            await look(program, inside, outside)

    with shuffled_by(seed):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    return store.calls, outside


def check(point: Point, whole: Outside) -> None:
    """The run ended as if nobody had died."""
    outside, _ = lives_of(point)
    assert outside.outcome == whole.outcome
    assert outside.values == whole.values
    if point.is_read:
        assert kept(outside) == kept(whole)
