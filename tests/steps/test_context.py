"""What else a call knows of its run; and that calls never see each other's context variables."""

import contextvars

import pytest
import trio

from blazen_trio import Context, Event, StartEvent, StopEvent, Workflow, step

from .stories import TWICE, Done, Item, fan_out, gather, one_item, result_of, stop, work

WHO = contextvars.ContextVar("WHO", default="nobody")


async def test_a_call_knows_where_it_is():
    @step(name="look")
    async def function(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent((ctx.run_id, ctx.workflow_name, ctx.step_name, ctx.attempt))

    outcome = await Workflow("places", [function]).run()
    assert outcome.result == (outcome.run_id, "places", "look", 1)
    assert isinstance(outcome.run_id, str)


async def test_runs_have_ids_of_their_own():
    workflow = Workflow("story", [one_item, work, stop])
    assert len({(await workflow.run()).run_id for _ in range(100)}) == 100


async def test_metadata_goes_from_the_caller_to_every_step():
    @step
    async def look(event: Item, ctx: Context) -> StopEvent:
        return StopEvent(ctx.metadata)

    given = {"user": "ann"}
    workflow = Workflow("story", [one_item, look])
    assert (await workflow.run(metadata=given)).result == {"user": "ann"}
    assert (await workflow.run()).result == {}
    async with workflow.start(metadata=given) as run:
        given["user"] = "bob"
        assert (await run.result()).result == {"user": "ann"}


async def test_the_session_holds_live_objects_by_identity_for_one_run():
    @step
    async def put(event: StartEvent, ctx: Context) -> Item:
        assert "lock" not in ctx.session
        ctx.session["lock"] = lock
        return Item(0)

    @step
    async def get(event: Item, ctx: Context) -> StopEvent:
        return StopEvent(ctx.session["lock"] is lock)

    lock = trio.Lock()
    workflow = Workflow("story", [put, get])
    assert [(await workflow.run()).result for _ in range(2)] == [True, True]


async def test_an_event_may_carry_a_live_object():
    class Holder(Event):
        lock: object

    @step
    async def put(event: StartEvent) -> Holder:
        return Holder(lock)

    @step
    async def get(event: Holder) -> StopEvent:
        return StopEvent(event.lock is lock)

    lock = trio.Lock()
    assert await result_of(put, get)


@pytest.mark.parametrize("sleeps", [True, False], ids=["suspending", "never suspending"])
async def test_calls_never_see_each_others_context_variables(sleeps):
    seen: list[str] = []

    @step
    async def set_mine(event: Item) -> Done:
        seen.append(WHO.get())
        WHO.set(f"call {event.n}")
        if sleeps:
            await trio.sleep(1)
        seen.append(WHO.get())
        return Done(event.n)

    await result_of(fan_out, set_mine, gather, start=20)
    assert seen.count("nobody") == 20
    assert sorted(seen[:]) == sorted(["nobody"] * 20 + [f"call {n}" for n in range(20)])


async def test_context_variables_do_not_leak_to_the_next_step_or_the_next_attempt():
    seen: list[str] = []

    @step(retry=TWICE)
    async def first(event: StartEvent, ctx: Context) -> Item:
        seen.append(WHO.get())
        WHO.set("first")
        if ctx.attempt == 1:
            raise OSError
        return Item(0)

    @step
    async def second(event: Item) -> StopEvent:
        seen.append(WHO.get())
        return StopEvent()

    await result_of(first, second)
    assert seen == ["nobody"] * 3
    assert WHO.get() == "nobody"


async def test_generators_and_steps_with_timeouts_keep_their_variables_to_themselves():
    seen: list[str] = []

    @step
    async def produce(event: StartEvent):
        for n in range(3):
            WHO.set(f"produce {n}")
            yield Item(n)
            await trio.sleep(1)
            assert WHO.get() == f"produce {n}"

    @step(timeout=10)
    async def limited(event: Item) -> Done:
        seen.append(WHO.get())
        WHO.set("limited")
        await trio.sleep(0.1)
        assert WHO.get() == "limited"
        return Done(event.n)

    await result_of(produce, limited, gather)
    assert seen == ["nobody"] * 3


async def test_every_call_begins_with_the_variables_of_whoever_started_the_run():
    @step
    async def look(event: Item) -> Done:
        await trio.sleep(1)
        return Done(WHO.get())  # type: ignore[arg-type]  # any value

    async def run_as(name: str) -> None:
        WHO.set(name)
        found.append((name, await result_of(fan_out, look, gather, start=3)))

    found: list[tuple[str, list[str]]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_as, "ann")
        nursery.start_soon(run_as, "bob")
    assert sorted(found) == [("ann", ["ann"] * 3), ("bob", ["bob"] * 3)]


async def test_the_caller_keeps_its_own_variables():
    @step
    async def change(event: StartEvent) -> StopEvent:
        WHO.set("step")
        return StopEvent()

    token = WHO.set("caller")
    try:
        await result_of(change)
        assert WHO.get() == "caller"
    finally:
        WHO.reset(token)


async def test_a_lock_held_by_one_call_is_not_held_by_the_next():
    """Locks belong to tasks; a step that forgets one must not give it to another call."""
    lock = trio.Lock()

    @step
    async def use(event: Item) -> Done:
        async with lock:
            await trio.sleep(1)
        return Done(event.n)

    assert await result_of(fan_out, use, gather, start=3) == [0, 1, 2]
    assert trio.current_time() == 3
