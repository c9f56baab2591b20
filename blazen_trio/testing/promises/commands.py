"""What is left for a run that somebody else holds."""

from blazen_trio.abc import Command, Store
from blazen_trio.testing.promises.scene import ANN, BOB, LEASE_S, NOON, claim, create, parked


async def commands_wait_in_the_order_they_were_sent(store: Store) -> None:
    for run_id in ("a", "b"):
        await create(store, run_id)
    sent = [Command("b", "z", "pause", b"\0\xff"), Command("a", "y", "answer", b""), Command("b", "x", "resume")]
    for each in sent:
        await store.send(each)
    assert await store.commands(ANN) == sent


async def commands_are_for_the_holder_alone(store: Store) -> None:
    await create(store, "a", ANN)
    await create(store, "b", BOB)
    await parked(store, "parked")
    for run_id in ("a", "b", "parked"):
        await store.send(Command(run_id, f"to {run_id}", "pause"))
    assert [each.run_id for each in await store.commands(ANN)] == ["a"]
    assert [each.run_id for each in await store.commands(BOB)] == ["b"]


async def a_command_stays_until_it_is_done(store: Store) -> None:
    await create(store)
    for command_id in ("1", "2", "3"):
        await store.send(Command("run", command_id, "pause"))
    assert await store.commands(ANN) == await store.commands(ANN)
    await store.done(["2", "unknown", "3"])
    assert [each.command_id for each in await store.commands(ANN)] == ["1"]
    await store.done([])
    await store.done(["1", "1"])
    assert await store.commands(ANN) == []


async def a_command_that_is_sent_again_waits_once(store: Store) -> None:
    await create(store)
    for payload in (b"first", b"second"):
        await store.send(Command("run", "id", "answer", payload))
    assert await store.commands(ANN) == [Command("run", "id", "answer", b"first")]


async def commands_follow_their_run_to_the_next_holder(store: Store) -> None:
    await create(store)
    await store.send(Command("run", "id", "pause"))
    await claim(store, BOB, NOON + LEASE_S)
    assert await store.commands(ANN) == []
    assert await store.commands(BOB) == [Command("run", "id", "pause")]


async def commands_for_a_parked_run_wait_for_its_holder(store: Store) -> None:
    await parked(store, "run")
    await store.send(Command("run", "id", "answer", b"42"))
    await claim(store, BOB)
    assert await store.commands(BOB) == [Command("run", "id", "answer", b"42")]
