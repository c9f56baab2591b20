"""Stores compared with a plain model, in any order of calls that Hypothesis thinks of."""

import tempfile
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from blazen_trio import MemoryStore, SqliteStore, StoreError
from blazen_trio.abc import Command, NewRun, Owner, RunHeader, RunWrite, Store, StreamRow, Wanted
from tests.budget import share
from tests.stores.model import LEASE_S, Model

T = TypeVar("T")

OWNERS = {name: Owner(name, f"the host of {name}", 1) for name in ("ann", "bob")}
STATUSES = ("running", "paused", "awaiting_input", "completed", "failed")
run_ids = st.sampled_from(["a", "b", "c"])
owners = st.sampled_from(sorted(OWNERS))
statuses = st.sampled_from(STATUSES)
workflows = st.sampled_from(["x", "y"])
some = st.none() | st.lists(run_ids, unique=True)


class Trio:
    """A ``trio.run`` in a thread, for tests that are not async."""

    def __init__(self) -> None:
        started = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main, started))
        self._thread.start()
        started.wait()

    async def _main(self, started: threading.Event) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._end = trio.Event()
        started.set()
        await self._end.wait()

    def run(self, call: Callable[..., Awaitable[T]], *args: Any) -> T:
        return trio.from_thread.run(call, *args, trio_token=self._token)

    def close(self) -> None:
        trio.from_thread.run_sync(self._end.set, trio_token=self._token)
        self._thread.join()


async def told(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call gives, or the name of the error it raises."""
    try:
        return await call()
    except StoreError as error:
        return type(error).__name__


class Stores(RuleBasedStateMachine):
    """Each call goes to the model and to both stores; what they give must be the same."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.model = Model()
        self.directory = tempfile.TemporaryDirectory()
        self.trio = Trio()
        self.stores: list[Store] = [MemoryStore(), SqliteStore(Path(self.directory.name, "runs.db"))]
        self.fences: list[dict[int, int]] = [{}, {}]  # of the model to those of each store
        for store in self.stores:
            self.trio.run(store.open)

    def teardown(self) -> None:
        for store in self.stores:
            self.trio.run(store.aclose)
        self.trio.close()
        self.directory.cleanup()

    def on_each(self, call: Callable[[Store], Awaitable[Any]]) -> Any:
        """What both stores give."""
        memory, sqlite = (self.trio.run(told, partial(call, store)) for store in self.stores)
        assert memory == sqlite
        return memory

    def learn_fences(self) -> None:
        for store, fences in zip(self.stores, self.fences, strict=True):
            for run_id, run in self.model.runs.items():
                fences[run.fence] = self.trio.run(store.info, run_id).fence

    @rule(seconds=st.sampled_from([1.0, 5.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(run_id=run_ids, workflow=workflows, owner=owners)
    def create(self, run_id: str, workflow: str, owner: str) -> None:
        run = NewRun(run_id, workflow, self.now)
        expected = self.model.create(run_id, workflow, owner, self.now)
        for store in self.stores:
            create = partial(store.create, run, OWNERS[owner], now=self.now, lease_s=LEASE_S)
            given = self.trio.run(told, create)
            assert (given == "RunExistsError") == (expected == "exists")

    @rule(data=st.data(), ids=st.lists(run_ids, min_size=1, max_size=3))
    def write(self, data: st.DataObject, ids: list[str]) -> None:
        planned = [data.draw(self.a_write(run_id), label="write") for run_id in ids]
        batches = [
            [RunWrite(each.run_id, fences.get(each.fence, -1), *written(each)) for each in planned]
            for fences in self.fences
        ]
        expected = [self.model.write(each) for each in planned]
        for store, batch in zip(self.stores, batches, strict=True):
            given = self.trio.run(store.write, batch)
            assert [None if problem is None else type(problem).__name__ for problem in given] == expected

    def a_write(self, run_id: str) -> st.SearchStrategy[RunWrite]:
        run = self.model.runs.get(run_id)
        fence, old, last = (0, 0, 0) if run is None else (run.fence, run.old_fence, run.last)
        row = st.builds(StreamRow, st.integers(last, last + 4), st.just(1.0), st.binary(max_size=2))
        header = st.builds(
            RunHeader, statuses, st.just(self.now), wake_at=st.none() | st.just(self.now + 5), error=st.none()
        )
        return st.builds(
            RunWrite,
            st.just(run_id),
            st.sampled_from([fence, fence, fence, old]),
            st.lists(st.binary(max_size=2), max_size=2),
            st.none() | st.none() | st.binary(max_size=2),
            st.lists(row, max_size=2),
            st.integers(0, last + 2),
            st.none() | header,
            st.sampled_from([False, False, True]),
        )

    @rule(
        owner=owners,
        limit=st.integers(0, 3),
        wanted=st.builds(
            Wanted,
            st.none() | run_ids,
            st.none() | st.lists(workflows),
            st.none() | st.lists(statuses),
        ),
    )
    def claim(self, owner: str, limit: int, wanted: Wanted) -> None:
        self._claim(owner, limit, wanted)

    @rule(owner=owners)
    def claim_what_is_due(self, owner: str) -> None:
        self._claim(owner, 9, Wanted(wake_before=self.now))

    def _claim(self, owner: str, limit: int, wanted: Wanted) -> None:
        async def claim(store: Store) -> list[str]:
            taken = await store.claim(OWNERS[owner], now=self.now, lease_s=LEASE_S, limit=limit, wanted=wanted)
            return [each.run_id for each in taken]

        assert self.on_each(claim) == self.model.claim(owner, self.now, limit, wanted)

    @rule(owner=owners)
    def renew(self, owner: str) -> None:
        given = self.on_each(lambda store: store.renew(OWNERS[owner], now=self.now, lease_s=LEASE_S))
        assert given == self.model.renew(owner, self.now)

    @rule(owner=owners, ids=some)
    def release(self, owner: str, ids: list[str] | None) -> None:
        self.on_each(lambda store: store.release(OWNERS[owner], ids))
        self.model.release(owner, ids)

    @rule(run_id=run_ids)
    def delete(self, run_id: str) -> None:
        assert (self.on_each(lambda store: store.delete(run_id)) or "deleted") == self.model.delete(run_id)

    @rule()
    def delete_finished(self) -> None:
        old = self.model.where(lambda _id, run: run.header.is_finished and run.header.updated < self.now)
        given = self.on_each(lambda store: store.delete_finished(older_than=self.now))
        assert given == self.model.forget(old)

    @rule(run_id=run_ids, command_id=st.sampled_from("1234"))
    def send(self, run_id: str, command_id: str) -> None:
        given = self.on_each(lambda store: store.send(Command(run_id, command_id, "pause")))
        assert (given or "sent") == self.model.send(run_id, command_id)

    @rule(command_ids=st.lists(st.sampled_from("1234")))
    def done(self, command_ids: list[str]) -> None:
        self.on_each(lambda store: store.done(command_ids))
        for command_id in command_ids:
            self.model.commands.pop(command_id, None)

    @rule()
    def reopen(self) -> None:
        for store in self.stores:
            self.trio.run(store.aclose)
            self.trio.run(store.open)

    @invariant()
    def everything_reads_the_same(self) -> None:
        self.learn_fences()
        for run_id in ("a", "b", "c"):
            assert self.on_each(partial(seen, run_id=run_id)) == self.model.seen(run_id)
        for status in (None, "running", "completed"):
            given = self.on_each(partial(listed, status=status))
            assert given == self.model.listed(status)

    @invariant()
    def commands_wait_for_their_holders(self) -> None:
        for name, owner in OWNERS.items():
            given = self.on_each(partial(commands, owner=owner))
            waiting = [
                (command_id, run_id)
                for command_id, run_id in self.model.commands.items()
                if self.model.runs[run_id].owner == name
            ]
            assert [(each.command_id, each.run_id) for each in given] == waiting


def written(write: RunWrite) -> tuple[Any, ...]:
    """What of a write is not its run and fence."""
    return write.entries, write.snapshot, write.stream, write.stream_floor, write.header, write.release


async def seen(store: Store, run_id: str) -> Any:
    run, page = await store.read(run_id), await store.read_stream(run_id)
    owner = None if run.owner is None else run.owner.engine_id
    lease = run.lease_until
    whole = (run.workflow_name, run.created, run.header, owner, lease, run.snapshot, run.entries)
    assert (run.stream_floor, run.stream_last) == (page.floor, page.last)
    return whole, (page.floor, page.last, tuple((row.seq, row.blob) for row in page.rows))


async def commands(store: Store, owner: Owner) -> list[Command]:
    return await store.commands(owner)


async def listed(store: Store, status: str | None) -> list[str]:
    return [run.run_id for run in await store.list_runs(status=status)]


def test_the_stores_do_what_the_model_does():
    run_state_machine_as_test(Stores, settings=settings(max_examples=25, stateful_step_count=25))


@pytest.mark.slow
def test_the_stores_do_what_the_model_does_for_long():
    run_state_machine_as_test(Stores, settings=settings(max_examples=share(400), stateful_step_count=60))


extend = MemoryStore._extend

BUGS: dict[str, Callable[..., Any]] = {
    "_let_go": lambda _store, _run: None,
    "_forget": lambda _store, _run_ids: None,
    "_extend": lambda store, owner, _until: extend(store, owner, 0.0),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_model_finds_a_planted_bug(bug, monkeypatch):
    monkeypatch.setattr(MemoryStore, bug, BUGS[bug])
    looking = settings(max_examples=100, stateful_step_count=25, phases=[Phase.generate], print_blob=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Stores, settings=looking)
