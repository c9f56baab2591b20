"""``ctx.wait_for_event``: one event goes to one waiter, the one that waits longest; what nobody wants yet is kept."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blazen_trio import Context, Event, RunStatus, StartEvent, StopEvent, Workflow, step

from .stories import TWICE, Done, Item, Other, failure_of, fan_out, gather, one_item, result_of, running, work


class Approval(Event):
    key: str
    by: str = "nobody"


async def test_a_call_waits_until_the_event_comes_from_outside():
    @step
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        approval = await ctx.wait_for_event(Approval)
        return StopEvent((approval, trio.current_time()))

    async with running(wait) as run:
        assert run.status is RunStatus.RUNNING
        await trio.sleep(1000)
        await run.send_event(Approval("a"))
        assert (await run.result()).result == (Approval("a"), 1000)


async def test_a_call_waits_for_what_another_step_returns():
    @step
    async def begin(event: StartEvent) -> list[Item | Approval]:
        return [Item(1), Approval("from a step")]

    @step
    async def wait(event: Item, ctx: Context) -> StopEvent:
        return StopEvent((await ctx.wait_for_event(Approval)).key)

    assert await result_of(begin, wait, events=[Approval]) == "from a step"


async def test_waiters_are_served_in_the_order_in_which_they_came():
    @step
    async def wait(event: Item, ctx: Context) -> Done:
        await trio.sleep(3 - event.n)
        approval = await ctx.wait_for_event(Other)
        return Done(event.n * 100 + approval.n)

    async with running(fan_out, wait, gather, start=3) as run:
        await trio.sleep(10)
        for n in range(3):
            await run.send_event(Other(n))
        assert (await run.result()).result == [2, 101, 200]


async def test_one_event_wakes_one_waiter():
    got = []

    @step
    async def wait(event: Item, ctx: Context) -> Done:
        got.append(await ctx.wait_for_event(Other))
        return Done(event.n)

    async with running(fan_out, wait, gather, start=2) as run:
        await run.send_event(Other(1))
        await wait_all_tasks_blocked()
        assert got == [Other(1)]


async def test_match_leaves_what_it_does_not_want_to_others():
    @step
    async def wait(event: Item, ctx: Context) -> Done:
        found = await ctx.wait_for_event(Other, lambda other: other.n % 3 == event.n)
        return Done(found.n)

    async with running(fan_out, wait, gather, start=3) as run:
        for n in (5, 8, 3, 4):  # nobody wants the 8
            await run.send_event(Other(n))
        assert (await run.result()).result == [3, 4, 5]


async def test_what_came_before_anybody_waited_is_kept_in_order():
    @step
    async def late(event: StartEvent, ctx: Context) -> StopEvent:
        await trio.sleep(5)
        return StopEvent([(await ctx.wait_for_event(Approval)).key for _ in range(3)])

    async with running(late, events=[Approval]) as run:
        for key in "abc":
            await run.send_event(Approval(key))
        assert (await run.result()).result == ["a", "b", "c"]


async def test_a_kept_event_is_found_by_match_behind_others():
    @step
    async def late(event: StartEvent, ctx: Context) -> StopEvent:
        await trio.sleep(5)
        found = await ctx.wait_for_event(Approval, lambda approval: approval.key == "c")
        rest = await ctx.wait_for_event(Approval)
        return StopEvent(found.key + rest.key)

    async with running(late, events=[Approval]) as run:
        for key in "abc":
            await run.send_event(Approval(key))
        assert (await run.result()).result == "ca"


async def test_an_event_of_a_class_that_somebody_waited_for_is_never_one_that_nobody_accepts():
    @step
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        first = await ctx.wait_for_event(Approval)
        await trio.sleep(5)
        second = await ctx.wait_for_event(Approval)
        return StopEvent(first.key + second.key)

    async with running(wait) as run:  # nothing is declared
        await run.send_event(Approval("a"))
        await run.send_event(Approval("b"))
        assert (await run.result()).result == "ab"


async def test_an_event_that_steps_accept_goes_to_them_and_to_a_waiter_that_waits_now():
    @step
    async def wait(event: StartEvent, ctx: Context) -> Other:
        item = await ctx.wait_for_event(Item)
        return Other(item.n)

    @step
    async def end(event: Other, ctx: Context) -> StopEvent:
        await trio.sleep(1)
        return StopEvent((event.n, seen))

    @step
    async def accept(event: Item) -> None:
        seen.append(event.n)

    seen: list[int] = []
    async with running(wait, accept, end, events=[Item]) as run:
        await run.send_event(Item(3))
        await run.send_event(Item(4))
        assert (await run.result()).result == (3, [3, 4])


async def test_only_the_exact_class_is_waited_for():
    class Special(Approval):
        pass

    @step
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent((await ctx.wait_for_event(Approval)).key)

    async with running(wait, events=[Special]) as run:
        await run.send_event(Special("special"))
        await run.send_event(Approval("plain"))
        assert (await run.result()).result == "plain"


async def test_a_waiter_that_gave_up_takes_nothing():
    @step
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.move_on_after(1) as patience:
            await ctx.wait_for_event(Approval)
        await trio.sleep(10)
        return StopEvent((patience.cancelled_caught, (await ctx.wait_for_event(Approval)).key))

    async with running(wait) as run:
        await trio.sleep(5)
        await run.send_event(Approval("late"))
        assert (await run.result()).result == (True, "late")


async def test_a_repeated_call_gets_what_it_received_before():
    @step(retry=TWICE)
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        keys = [(await ctx.wait_for_event(Approval)).key, (await ctx.wait_for_event(Approval)).key]
        if ctx.attempt == 1:
            raise OSError
        return StopEvent((ctx.attempt, keys))

    async with running(wait) as run:
        await run.send_event(Approval("a"))
        await run.send_event(Approval("b"))
        assert (await run.result()).result == (2, ["a", "b"])


async def test_a_match_that_raises_fails_its_step_and_the_event_stays_for_others():
    @step
    async def wait(event: Item, ctx: Context) -> Done:
        if event.n == 0:
            with pytest.raises(ZeroDivisionError):
                await ctx.wait_for_event(Other, lambda other: bool(other.n / 0))
            return Done(-1)
        await trio.sleep(1)
        return Done((await ctx.wait_for_event(Other)).n)

    async with running(fan_out, wait, gather, start=2) as run:
        await run.send_event(Other(7))
        assert (await run.result()).result == [-1, 7]


async def test_a_waiting_call_does_not_stall_the_run_and_a_step_timeout_still_holds():
    @step(timeout=30)
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        await ctx.wait_for_event(Approval)
        return StopEvent()

    failure = await failure_of(wait)
    assert trio.current_time() == 30
    assert "did not end within 30 s" in str(failure.__cause__)


async def test_two_tasks_of_one_call_may_wait():
    @step
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        got = []

        async def one(key: str) -> None:
            got.append((await ctx.wait_for_event(Approval, lambda approval: approval.key == key)).key)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "a")
            nursery.start_soon(one, "b")
        return StopEvent(got)

    async with running(wait) as run:
        await run.send_event(Approval("b"))
        await wait_all_tasks_blocked()
        await run.send_event(Approval("a"))
        assert (await run.result()).result == ["b", "a"]


async def test_a_channel_receives_event_after_event():
    @step
    async def listen(event: StartEvent, ctx: Context) -> StopEvent:
        keys = ""
        async with ctx.receive_events(Approval) as channel:
            async for approval in channel:
                keys += approval.key
                if approval.key == "c":
                    break
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()
        return StopEvent(keys)

    async with running(listen) as run:
        for key in "abcd":
            await run.send_event(Approval(key))
        assert (await run.result()).result == "abc"


async def test_a_channel_keeps_what_comes_before_its_first_receive():
    @step
    async def listen(event: StartEvent, ctx: Context) -> StopEvent:
        async with ctx.receive_events(Approval) as channel:
            await trio.sleep(10)
            return StopEvent((await channel.receive()).key)

    async with running(listen) as run:
        await run.send_event(Approval("early"))
        assert (await run.result()).result == "early"


async def test_a_waiting_call_of_a_fan_out_holds_its_join():
    @step
    async def wait(event: Item, ctx: Context) -> Done:
        return Done((await ctx.wait_for_event(Other)).n if event.n else 0)

    async with running(fan_out, wait, gather, start=2) as run:
        assert run.statistics()["parked"] == 1
        await run.send_event(Other(9))
        assert (await run.result()).result == [0, 9]


async def test_waiting_takes_an_event_class():
    @step
    async def wait(event: Item, ctx: Context) -> Done:
        with pytest.raises(TypeError, match="wait_for_event takes an event class, not 'Item'"):
            await ctx.wait_for_event("Item")  # type: ignore[arg-type]  # the mistake
        with pytest.raises(TypeError, match="receive_events takes an event class, not 3"):
            ctx.receive_events(3)  # type: ignore[arg-type]  # the mistake
        return Done(1)

    @step
    async def end(event: Done) -> StopEvent:
        return StopEvent(event.n)

    assert await result_of(one_item, wait, end) == 1


async def test_a_waiting_call_is_cancelled_by_the_end_of_the_run():
    ended = []

    @step
    async def wait(event: StartEvent, ctx: Context) -> None:
        try:
            await ctx.wait_for_event(Approval)
        finally:
            ended.append(True)

    assert await result_of(fan_out, wait, work, gather, start=1) == [0]
    assert ended == [True]


async def test_who_gets_what_does_not_depend_on_whose_task_runs_first():
    """Each wants any even number; Trio shuffles the tasks, the order of waiting decides."""

    @step
    async def wait(event: Item, ctx: Context) -> Done:
        await trio.sleep(event.n)
        return Done((await ctx.wait_for_event(Other, lambda other: other.n % 2 == 0)).n)

    for _ in range(10):
        async with running(fan_out, wait, gather, start=5) as run:
            await trio.sleep(10)
            for n in range(9):
                await run.send_event(Other(n))
            assert (await run.result()).result == [0, 2, 4, 6, 8]


async def test_a_task_that_is_cancelled_takes_no_event():
    @step
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ctx.wait_for_event(Approval)
        return StopEvent((scope.cancelled_caught, (await ctx.wait_for_event(Approval)).key))

    async with Workflow("story", [wait], events=[Approval]).start() as run:
        await run.send_event(Approval("kept"))
        assert (await run.result()).result == (True, "kept")


async def test_what_an_earlier_attempt_received_is_not_lost_to_a_cancelled_task():
    @step(retry=TWICE)
    async def wait(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.CancelScope() as scope:
            if ctx.attempt == 2:
                scope.cancel()
            await ctx.wait_for_event(Approval)
        if ctx.attempt == 1:
            raise OSError
        return StopEvent((scope.cancelled_caught, (await ctx.wait_for_event(Approval)).key))

    async with running(wait) as run:
        await run.send_event(Approval("first"))
        assert (await run.result()).result == (True, "first")
