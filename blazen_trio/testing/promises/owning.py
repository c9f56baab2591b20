"""Fences, leases, taking over."""

import trio

from blazen_trio.abc import Owner, Store
from blazen_trio.core.errors import RunLockedError
from blazen_trio.testing.promises.scene import (
    ANN,
    BOB,
    LEASE_S,
    NOON,
    claim,
    create,
    gone_process,
    header_of,
    parked,
    refused,
    write,
)


async def a_write_with_another_fence_is_refused_and_names_the_owner(store: Store) -> None:
    fence = await create(store)
    for stale in (fence - 1, fence + 1, 0, -1):
        problem = await refused(store, "run", stale, entries=[b"stale"])
        assert isinstance(problem, RunLockedError)
        assert (problem.run_id, problem.owner) == ("run", ANN.engine_id)
    assert (await store.read("run")).entries == ()


async def who_takes_over_gets_a_higher_fence_and_the_old_one_is_refused(store: Store) -> None:
    old = await create(store, entries=[b"ann"])
    (taken,) = await store.claim(BOB, now=NOON + LEASE_S, lease_s=LEASE_S, limit=1)
    assert taken.fence > old
    assert (taken.owner, taken.lease_until) == (BOB, NOON + 2 * LEASE_S)
    problem = await refused(store, "run", old, entries=[b"ann, late"])
    assert isinstance(problem, RunLockedError)
    assert problem.owner == BOB.engine_id
    await write(store, "run", taken.fence, entries=[b"bob"])
    assert (await store.read("run")).entries == (b"ann", b"bob")


async def a_released_run_is_held_by_nobody_and_not_written(store: Store) -> None:
    fence = await create(store)
    await store.release(ANN, ["run"])
    info = await store.info("run")
    assert (info.owner, info.lease_until) == (None, None)
    problem = await refused(store, "run", fence, entries=[b"late"])
    assert isinstance(problem, RunLockedError)
    assert problem.owner is None


async def a_last_write_may_release_the_run(store: Store) -> None:
    fence = await create(store)
    await write(store, "run", fence, entries=[b"last"], release=True)
    stored = await store.read("run")
    assert (stored.owner, stored.entries) == (None, (b"last",))
    assert isinstance(await refused(store, "run", fence), RunLockedError)
    assert await claim(store) == ["run"]


async def only_the_holder_releases(store: Store) -> None:
    fence = await create(store)
    await store.release(BOB, ["run"])
    await store.release(BOB)
    await store.release(ANN, ["unknown"])
    await write(store, "run", fence)
    assert (await store.info("run")).owner == ANN


async def an_engine_that_closes_releases_all_its_runs(store: Store) -> None:
    for run_id in ("a", "b"):
        await create(store, run_id)
    await create(store, "of bob", BOB)
    await store.release(ANN)
    assert sorted(await claim(store, BOB)) == ["a", "b"]
    assert (await store.info("of bob")).owner == BOB


async def releasing_some_keeps_the_others(store: Store) -> None:
    fences = [await create(store, run_id) for run_id in ("a", "b")]
    await store.release(ANN, ["a"])
    await write(store, "b", fences[1])
    assert await claim(store, BOB) == ["a"]


async def fences_are_never_given_twice(store: Store) -> None:
    seen: list[int] = []
    for _ in range(3):
        seen.append(await create(store))
        await store.release(ANN, ["run"])
        (taken,) = await store.claim(BOB, now=NOON, lease_s=LEASE_S, limit=1)
        seen.append(taken.fence)
        await write(store, "run", taken.fence, header=header_of("completed"))
        await store.delete("run")
    assert seen == sorted(set(seen))


async def a_run_is_held_until_the_lease_runs_out(store: Store) -> None:
    await create(store)
    assert await claim(store, BOB, NOON + LEASE_S - 0.25) == []
    assert await claim(store, BOB, NOON + LEASE_S) == ["run"]


async def a_renewed_lease_holds_all_runs_of_the_owner(store: Store) -> None:
    for run_id in ("a", "b", "c"):
        await create(store, run_id)
    assert await store.renew(ANN, now=NOON + 9, lease_s=LEASE_S) == frozenset()
    assert (await store.info("a")).lease_until == NOON + 9 + LEASE_S
    assert await claim(store, BOB, NOON + 18) == []
    assert sorted(await claim(store, BOB, NOON + 19)) == ["a", "b", "c"]


async def creating_and_claiming_renew_the_lease_too(store: Store) -> None:
    await create(store, "a")
    await create(store, "b", now=NOON + 5)
    assert (await store.info("a")).lease_until == NOON + 5 + LEASE_S
    await claim(store, ANN, NOON + 8)
    assert await claim(store, BOB, NOON + 17) == []


async def an_expired_lease_is_still_renewed_while_nobody_took_the_runs(store: Store) -> None:
    fence = await create(store)
    assert await store.renew(ANN, now=NOON + 100, lease_s=LEASE_S) == frozenset()
    await write(store, "run", fence)
    assert await claim(store, BOB, NOON + 101) == []


async def lost_runs_are_told_once(store: Store) -> None:
    for run_id in ("a", "b", "c"):
        await create(store, run_id)
    assert len(await claim(store, BOB, NOON + 20, limit=2)) == 2
    lost = await store.renew(ANN, now=NOON + 21, lease_s=LEASE_S)
    assert lost == {"a", "b"}
    assert await store.renew(ANN, now=NOON + 22, lease_s=LEASE_S) == frozenset()
    assert await store.renew(BOB, now=NOON + 22, lease_s=LEASE_S) == frozenset()


async def a_run_that_was_taken_back_is_not_lost(store: Store) -> None:
    await create(store)
    await claim(store, BOB, NOON + 20)
    await store.release(BOB, ["run"])
    assert await claim(store, ANN, NOON + 21) == ["run"]
    assert await store.renew(ANN, now=NOON + 22, lease_s=LEASE_S) == frozenset()


async def a_process_that_is_gone_holds_nothing(store: Store) -> None:
    dead = gone_process()
    if dead is not None:
        await create(store, owner=dead)
        assert await claim(store, BOB, NOON) == ["run"]


async def a_process_that_lives_holds_until_its_lease_runs_out(store: Store) -> None:
    await create(store, owner=Owner.here("this one"))
    assert await claim(store, BOB, NOON) == []
    assert await claim(store, BOB, NOON + LEASE_S) == ["run"]


async def claims_at_once_never_share_a_run(store: Store) -> None:
    for number in range(20):
        await parked(store, f"{number:02}")
    taken: list[str] = []

    async def take(owner: Owner) -> None:
        while some := await claim(store, owner, limit=3):
            taken.extend(some)

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c", "d"):
            nursery.start_soon(take, Owner(name, "somewhere", 1))
    assert sorted(taken) == [f"{number:02}" for number in range(20)]
