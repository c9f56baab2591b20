"""Everything at once: lost calls, engines that die at either end. Each call still has one run, which ends once."""

import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    PeerError,
    RetryConfig,
    StepFailedError,
    StoreError,
    Workflow,
    open_engine,
)
from blazen_trio.stores import MemoryStore
from blazen_trio.testing import CrashingStore, LocalPeer, assert_resumable
from tests.peers.stories import Work, doubling, parent_of, peer_of

COUNT = 3
EXPECTED = 2 * sum(range(1, COUNT + 1))
QUICK = RetryConfig(max_retries=1, initial_delay_ms=100, jitter=False)


class Movable:
    """The address of a server that is opened again and again."""

    name = "there"

    def __init__(self) -> None:
        self.peer: LocalPeer | None = None
        self.calls: list[str] = []

    @property
    def node_id(self) -> str | None:
        return None if self.peer is None else self.peer.node_id

    def _there(self) -> LocalPeer:
        if self.peer is None:
            raise PeerError(self.name, "nobody listens there")
        return self.peer

    async def call(self, workflow: Any, event: Any, *, call_id: str, metadata: Any = None) -> Any:
        self.calls.append(call_id)
        return await self._there().call(workflow, event, call_id=call_id, metadata=metadata)

    async def abort(self, run_id: str, reason: str | None = None) -> None:
        raise AssertionError("nothing here is given up")

    async def deref_session_ref(self, key: Any) -> Any:
        return await self._there().deref_session_ref(key)

    async def release_session_ref(self, key: Any) -> Any:
        return await self._there().release_session_ref(key)


async def serve(store: MemoryStore, workflow: Workflow, address: Movable, chance: random.Random) -> None:
    """A server that is closed and opened again, and loses connections."""
    while True:
        async with open_engine(store, [workflow]) as engine:
            peer = address.peer = LocalPeer(engine)
            for _ in range(chance.randrange(3)):
                peer.lose(chance.choice(("before", "started", "answer")))
            try:
                await trio.sleep(chance.uniform(0.5, 4))
            finally:
                address.peer = None


async def one_life(store: MemoryStore, workflow: Workflow, chance: random.Random) -> Any:
    """An engine here, which may die at a call to its store; the result of the run, if it has one."""
    dying = CrashingStore(store, at=chance.randrange(1, 40))
    try:
        with trio.move_on_after(chance.uniform(0.5, 10)):
            async with open_engine(dying, [workflow]) as engine:
                known = [each.run_id for each in await engine.runs()]
                run = await engine.get("run") if known else await engine.start("parent", run_id="run")
                return (await run.result()).result
    except StepFailedError as error:
        if not isinstance(error.__cause__, PeerError):
            raise
    except StoreError:
        for lease in list(store._leases.values()):  # they run out
            await store.release(lease.owner)
    return None


@pytest.mark.parametrize("seed", range(12))
async def test_each_call_is_one_run_whatever_happens(autojump_clock: MockClock, seed: int) -> None:
    chance, work, address = random.Random(seed), Work(), Movable()
    far, near = MemoryStore(), MemoryStore()
    child = doubling(work, seconds=1)
    workflow: Any = parent_of(doubling(Work()), address, count=COUNT, retry=QUICK if seed % 2 else None)
    result: Any = None
    async with far, near, trio.open_nursery() as nursery:
        nursery.start_soon(serve, far, child, address, chance)
        with trio.fail_after(10_000):
            while result is None:
                result = await one_life(near, workflow, chance)
        nursery.cancel_scope.cancel()
    assert result == EXPECTED
    assert len(set(address.calls)) == COUNT
    assert sorted(work.ended.values()) == [1] * COUNT


async def test_the_kit_finds_nothing_that_is_done_twice(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=1)) as peer:
        await assert_resumable(parent_of(doubling(Work()), peer, count=2), None)
    assert set(work.ended.values()) == {1}
