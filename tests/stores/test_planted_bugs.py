"""The promises of a store are worth something: each of these bugs breaks the one that is there for it."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
import trio

from blazen_trio import SqliteStore, StoreError
from blazen_trio.abc import RunWrite
from blazen_trio.stores.sqlite import changes, owning, reading
from blazen_trio.stores.sqlite import statements as sql
from blazen_trio.stores.sqlite.rows import RunRow
from blazen_trio.stores.sqlite.session import Session
from blazen_trio.stores.sqlite.writer import Writer
from blazen_trio.testing import STORE_PROMISES, StoreConformanceError, store_conformance

PROMISES = {promise.__name__: promise for promise in STORE_PROMISES}

Patch = pytest.MonkeyPatch
BUGS: list[tuple[Callable[[Patch], None], str]] = []


def breaks(promise: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def note(bug: Callable[[Patch], None]) -> Callable[[Patch], None]:
        BUGS.append((bug, promise))
        return bug

    return note


@breaks("a_write_with_another_fence_is_refused_and_names_the_owner")
def the_fence_is_not_compared(patch: Patch) -> None:
    whole = changes.Batch.take

    def take(self: changes.Batch, write: RunWrite) -> None:
        whole(self, attrs.evolve(write, fence=self._session.known(write.run_id).row.fence))

    patch.setattr(changes.Batch, "take", take)


@breaks("a_refused_write_leaves_no_trace")
def a_write_is_two_transactions(patch: Patch) -> None:
    whole = SqliteStore.write

    async def write(self: SqliteStore, writes: Sequence[RunWrite]) -> list[StoreError | None]:
        await whole(
            self, [attrs.evolve(each, stream=(), stream_floor=0, header=None, release=False) for each in writes]
        )
        return await whole(self, [attrs.evolve(each, entries=(), snapshot=None) for each in writes])

    patch.setattr(SqliteStore, "write", write)


@breaks("a_snapshot_takes_the_place_of_the_journal")
def a_snapshot_leaves_the_journal(patch: Patch) -> None:
    whole = changes.Batch._append

    def append(self: changes.Batch, place: Any, write: RunWrite) -> None:
        first = place.first_entry
        whole(self, place, write)
        place.first_entry = first

    patch.setattr(changes.Batch, "_append", append)


@breaks("a_deleted_run_leaves_nothing_behind")
def a_deleted_run_leaves_its_stream(patch: Patch) -> None:
    patch.setattr(changes, "DELETE_OF_RUN", [each for each in sql.DELETE_OF_RUN if "stream" not in each])


@breaks("a_deleted_run_leaves_nothing_behind")
def a_deleted_run_leaves_its_commands(patch: Patch) -> None:
    patch.setattr(changes, "DELETE_OF_RUN", [each for each in sql.DELETE_OF_RUN if "commands" not in each])


@breaks("who_takes_over_gets_a_higher_fence_and_the_old_one_is_refused")
def a_claim_does_not_raise_the_fence(patch: Patch) -> None:
    patch.setattr(Session, "next_fence", lambda _self, above=1: above)


@breaks("fences_are_never_given_twice")
def fences_are_counted_for_each_run_alone(patch: Patch) -> None:
    patch.setattr(Session, "next_fence", lambda _self, above=0: above + 1)


@breaks("lost_runs_are_told_once")
def nobody_hears_what_was_lost(patch: Patch) -> None:
    patch.setattr(owning, "LOSE_RUN", "SELECT ?, ?")


@breaks("a_run_is_held_until_the_lease_runs_out")
def leases_last_for_ever(patch: Patch) -> None:
    patch.setattr(owning, "_dead_owners", lambda _session, _asked: {})


@breaks("a_process_that_is_gone_holds_nothing")
def only_leases_are_looked_at(patch: Patch) -> None:
    whole = owning._dead_owners

    def dead_owners(session: Session, asked: owning.Claim) -> Any:
        return {name: row for name, row in whole(session, asked).items() if row.lease_until <= asked.now}

    patch.setattr(owning, "_dead_owners", dead_owners)


@breaks("an_engine_takes_what_its_labels_cover")
def labels_are_not_looked_at(patch: Patch) -> None:
    whole = owning.claim

    def claim(session: Session, asked: owning.Claim) -> Any:
        return whole(session, attrs.evolve(asked, wanted=attrs.evolve(asked.wanted, labels=None)))

    patch.setattr(owning, "claim", claim)


@breaks("a_waiting_command_is_a_reason_to_come_back")
def commands_wake_nobody(patch: Patch) -> None:
    patch.setattr(owning, "CLAIM_CALLED", sql.CLAIM_DUE)


@breaks("pages_hold_each_run_once")
def pages_look_at_the_time_alone(patch: Patch) -> None:
    lists = {
        which: text.replace("(created, run_id) < (?, ?)", "created < ? AND ? != ''") for which, text in LISTS.items()
    }
    patch.setattr(reading, "_LISTS", lists)


@breaks("the_floor_never_sinks")
def the_floor_follows_every_write(patch: Patch) -> None:
    whole = changes.Batch._publish

    def publish(self: changes.Batch, place: Any, write: RunWrite, items: Any) -> None:
        whole(self, place, write, items)
        place.stream_floor = write.stream_floor

    patch.setattr(changes.Batch, "_publish", publish)


@breaks("finished_runs_are_not_taken")
def nothing_is_ever_finished(patch: Patch) -> None:
    patch.setattr(RunRow, "is_finished", False)


@breaks("a_call_that_was_cancelled_before_did_nothing")
def a_call_looks_for_a_cancel_when_it_is_over(patch: Patch) -> None:
    whole = Writer.do

    async def do(self: Writer, job: Any, **options: Any) -> Any:
        with trio.CancelScope(shield=True):
            result = await whole(self, job, **options)
        await trio.lowlevel.checkpoint()
        return result

    patch.setattr(Writer, "do", do)


LISTS = dict(reading._LISTS)


@pytest.mark.parametrize(("bug", "promise"), BUGS, ids=[bug.__name__ for bug, _ in BUGS])
async def test_a_planted_bug_breaks_its_promise(bug, promise, tmp_path, monkeypatch):
    async with SqliteStore(tmp_path / "whole.db") as store:
        await PROMISES[promise](store)
    bug(monkeypatch)
    with pytest.raises((AssertionError, StoreError)):
        async with SqliteStore(tmp_path / "broken.db") as store:
            await PROMISES[promise](store)


async def test_the_suite_names_every_promise_that_is_broken(tmp_path, monkeypatch):
    labels_are_not_looked_at(monkeypatch)
    leases_last_for_ever(monkeypatch)
    paths = (tmp_path / f"{number}.db" for number in range(1_000))
    with pytest.raises(StoreConformanceError, match="promises of a store are broken") as caught:
        await store_conformance(lambda: SqliteStore(next(paths)))
    assert "an engine takes what its labels cover" in caught.value.broken
    assert "a run is held until the lease runs out" in caught.value.broken
    assert "blobs are exact" not in caught.value.broken
