"""Which runs are taken."""

from blazen_trio.abc import Command, Store
from blazen_trio.testing.promises.scene import ANN, BOB, LEASE_S, NOON, claim, create, parked


async def the_oldest_are_taken_first_and_no_more_than_asked_for(store: Store) -> None:
    for run_id, workflow, age_s in (("b", "one", 2), ("a", "two", 1), ("d", "two", 4), ("c", "one", 3)):
        await parked(store, run_id, now=NOON - age_s, workflow_name=workflow)
    assert await claim(store, limit=0) == []
    assert await claim(store, limit=3) == ["d", "c", "b"]
    assert await claim(store, limit=3) == ["a"]


async def a_claimed_run_comes_with_its_record(store: Store) -> None:
    await parked(store, "run", labels={"a": "b"}, status="paused")
    (taken,) = await store.claim(BOB, now=NOON, lease_s=LEASE_S, limit=9)
    assert taken == await store.info("run")


async def what_an_owner_holds_is_not_given_again(store: Store) -> None:
    await create(store)
    before = await store.info("run")
    assert await claim(store, ANN, NOON) == []
    assert await claim(store, ANN, NOON + 100) == []
    assert (await store.info("run")).fence == before.fence


async def finished_runs_are_not_taken(store: Store) -> None:
    for status in ("completed", "failed", "timed_out", "aborted"):
        await parked(store, status, status=status)
    assert await claim(store) == []
    assert await claim(store, run_id="failed") == []
    assert await claim(store, statuses=["failed", "running"]) == []


async def one_run_may_be_wanted(store: Store) -> None:
    for run_id in ("a", "b"):
        await parked(store, run_id)
    await create(store, "held")
    assert await claim(store, run_id="b") == ["b"]
    assert await claim(store, run_id="b") == []
    assert await claim(store, run_id="held") == []
    assert await claim(store, run_id="unknown") == []
    assert await claim(store, run_id="") == []


async def runs_of_some_workflows_may_be_wanted(store: Store) -> None:
    for number, workflow in enumerate(("x", "y", "z", "x")):
        await parked(store, f"{number}", workflow_name=workflow)
    assert await claim(store, workflows=[]) == []
    assert await claim(store, workflows=["x", "z", "unknown"]) == ["0", "2", "3"]
    assert await claim(store, workflows=None) == ["1"]


async def runs_of_some_statuses_may_be_wanted(store: Store) -> None:
    for status in ("running", "paused", "awaiting_input"):
        await parked(store, status, status=status)
    assert await claim(store, statuses=[]) == []
    assert await claim(store, statuses=["running", "paused"]) == ["paused", "running"]
    assert await claim(store) == ["awaiting_input"]


async def runs_whose_time_has_come_may_be_wanted(store: Store) -> None:
    await parked(store, "never")
    for wake_s in (-5, 0, 5):
        await parked(store, f"{wake_s:+}", wake_at=NOON + wake_s)
    assert sorted(await claim(store, wake_before=NOON)) == ["+0", "-5"]
    assert await claim(store, wake_before=NOON + 4) == []
    assert await claim(store, wake_before=NOON + 5) == ["+5"]
    assert await claim(store) == ["never"]


async def a_waiting_command_is_a_reason_to_come_back(store: Store) -> None:
    for run_id in ("called", "answered", "left alone"):
        await parked(store, run_id)
    await store.send(Command("called", "1", "pause"))
    await store.send(Command("answered", "2", "pause"))
    await store.done(["2"])
    assert await claim(store, wake_before=NOON) == ["called"]


async def an_engine_takes_what_its_labels_cover(store: Store) -> None:
    await parked(store, "any")
    await parked(store, "gpu", labels={"gpu": "yes"})
    await parked(store, "gpu in eu", labels={"gpu": "yes", "region": "eu"})
    assert await claim(store, labels={}) == ["any"]
    assert await claim(store, labels={"gpu": "no", "region": "eu"}) == []
    assert await claim(store, labels={"gpu": "yes", "disk": "big"}) == ["gpu"]
    assert await claim(store, labels=None) == ["gpu in eu"]


async def conditions_are_joined(store: Store) -> None:
    await parked(store, "all", workflow_name="w", status="paused", wake_at=NOON)
    await parked(store, "other workflow", workflow_name="v", status="paused", wake_at=NOON)
    await parked(store, "other status", workflow_name="w", status="running", wake_at=NOON)
    await parked(store, "later", workflow_name="w", status="paused", wake_at=NOON + 1)
    assert await claim(store, workflows=["w"], statuses=["paused"], wake_before=NOON) == ["all"]


async def conditions_hold_for_runs_of_dead_owners_too(store: Store) -> None:
    await create(store, "w", workflow_name="w")
    await create(store, "v", workflow_name="v", status="paused", labels={"gpu": "yes"})
    late = NOON + LEASE_S
    assert await claim(store, BOB, late, wake_before=late) == []
    assert await claim(store, BOB, late, statuses=["awaiting_input"]) == []
    assert await claim(store, BOB, late, labels={}, workflows=["v"]) == []
    assert await claim(store, BOB, late, workflows=["w"]) == ["w"]
    assert await claim(store, BOB, late, statuses=["paused"], labels={"gpu": "yes"}) == ["v"]
