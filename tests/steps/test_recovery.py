"""A step that accepts ``StepFailedEvent`` is called instead of the run's failing, and takes the failed call's place."""

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    RetryConfig,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    step,
)

from .stories import TWICE, Done, Item, Other, failure_of, fan_out, gather, one_item, problems_of, result_of, work


class Part(Event):
    total: int


class Lost(Event):
    pass


@step
async def broken(event: Item) -> Done:
    raise ValueError(f"bad item {event.n}")


@step
async def odd_breaks(event: Item) -> Done:
    if event.n % 2:
        raise ValueError("odd")
    return Done(event.n)


@step
async def minus(event: StepFailedEvent) -> Done:
    assert isinstance(event.event, Item)
    return Done(-event.event.n)


async def test_the_recovery_is_told_everything():
    @step(retry=RetryConfig(max_retries=2, jitter=False))
    async def fetch(event: Item) -> StopEvent:
        await trio.sleep(1)
        raise ConnectionError("no route")

    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        return StopEvent(event)

    found = await result_of(one_item, fetch, rescue, start=5)
    assert found == StepFailedEvent("fetch", Item(5), "ConnectionError", "no route", attempts=3, elapsed=6.0)


async def test_what_the_recovery_returns_takes_the_failed_calls_place_in_its_fan_out():
    assert await result_of(fan_out, odd_breaks, minus, gather, start=6) == [0, -1, 2, -3, 4, -5]


async def test_a_recovery_that_returns_none_leaves_the_item_out():
    @step
    async def drop(event: StepFailedEvent) -> None:
        pass

    assert await result_of(fan_out, odd_breaks, drop, gather, start=6) == [0, 2, 4]


async def test_the_join_waits_for_the_recovery():
    @step
    async def slowly(event: StepFailedEvent) -> Done:
        await trio.sleep(100)
        return Done(-1)

    assert await result_of(fan_out, odd_breaks, slowly, gather, start=2) == [0, -1]


async def test_a_recovery_for_a_named_step_is_taken_before_one_for_all():
    @step
    async def general(event: StepFailedEvent) -> StopEvent:
        return StopEvent("general")

    @step(recovers=["broken"])
    async def special(event: StepFailedEvent) -> StopEvent:
        return StopEvent("special")

    assert await result_of(one_item, broken, general, special, events=[Done]) == "special"


async def test_a_recovery_for_another_step_is_not_called():
    @step(recovers=["one_item"])
    async def elsewhere(event: StepFailedEvent) -> StopEvent:
        return StopEvent("wrong")

    failure = await failure_of(one_item, broken, elsewhere, events=[Done])
    assert failure.step_name == "broken"


async def test_retries_come_first():
    attempts = []

    @step(retry=TWICE)
    async def fetch(event: Item, ctx: Context) -> StopEvent:
        attempts.append(ctx.attempt)
        raise OSError

    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        return StopEvent(event.attempts)

    assert await result_of(one_item, fetch, rescue) == 2
    assert attempts == [1, 2]


async def test_a_timeout_is_recovered():
    @step(timeout=3)
    async def slow(event: Item) -> StopEvent:
        await trio.sleep_forever()
        return StopEvent()

    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        return StopEvent((event.error_type, event.elapsed))

    assert await result_of(one_item, slow, rescue) == ("StepTimeoutError", 3)


async def test_a_failing_recovery_fails_the_run():
    @step
    async def clumsy(event: StepFailedEvent) -> StopEvent:
        raise LookupError("clumsy")

    failure = await failure_of(one_item, broken, clumsy, events=[Done])
    assert failure.step_name == "clumsy"
    assert isinstance(failure.__cause__, LookupError)


async def test_a_recovery_may_be_retried_itself():
    @step(retry=TWICE)
    async def second_try(event: StepFailedEvent, ctx: Context) -> StopEvent:
        if ctx.attempt == 1:
            raise LookupError
        return StopEvent((ctx.attempt, event.step_name))

    assert await result_of(one_item, broken, second_try, events=[Done]) == (2, "broken")


@pytest.mark.parametrize(("allowed", "runs"), [(1, 2), (3, 4)])
async def test_a_line_of_descent_is_recovered_only_so_often(allowed, runs):
    """The recovery sends the same event again, which fails again."""
    calls = []

    @step
    async def always_broken(event: Item) -> StopEvent:
        calls.append(event)
        raise ValueError

    @step(max_recoveries=allowed)
    async def again(event: StepFailedEvent) -> Item:
        return Item(0)

    failure = await failure_of(one_item, always_broken, again)
    assert len(calls) == runs
    assert failure.step_name == "always_broken"


async def test_no_recoveries_means_none():
    @step(max_recoveries=0)
    async def never(event: StepFailedEvent) -> StopEvent:
        return StopEvent("wrong")

    assert (await failure_of(one_item, broken, never, events=[Done])).step_name == "broken"


async def test_every_item_is_a_line_of_its_own():
    assert await result_of(fan_out, broken, minus, gather, start=4) == [0, -1, -2, -3]


async def test_a_join_passes_on_how_often_its_items_were_recovered():
    @step
    async def fail_again(items: list[Done]) -> StopEvent:
        raise ValueError("join")

    @step
    async def rescue(event: StepFailedEvent) -> Done:
        return Done(0)

    failure = await failure_of(fan_out, odd_breaks, rescue, fail_again, start=2)
    assert failure.step_name == "fail_again"


async def test_a_failing_join_is_recovered_with_its_list():
    @step
    async def fail(items: list[Done]) -> StopEvent:
        raise ValueError("join")

    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        assert isinstance(event.event, list)
        return StopEvent([(type(item).__name__, item.n) for item in event.event if isinstance(item, Done)])

    assert await result_of(fan_out, work, fail, rescue, start=3) == [("Done", 0), ("Done", 1), ("Done", 2)]


async def test_a_failing_inner_join_is_recovered_in_the_outer_fan_out():
    @step
    async def split(event: Item) -> list[Other]:
        return [Other(n) for n in range(event.n)]

    @step
    async def sum_up(items: list[Other]) -> Done:
        if len(items) == 2:
            raise ValueError
        return Done(len(items))

    @step
    async def rescue(event: StepFailedEvent) -> Done:
        return Done(-1)

    assert await result_of(fan_out, split, sum_up, rescue, gather, start=4) == [0, 1, -1, 3]


async def test_a_fan_out_that_broke_off_is_taken_over():
    """What was yielded before the failure stays, what the recovery emits joins it, and the join runs once."""

    @step
    async def produce(event: StartEvent):
        yield Item(1)
        yield Item(2)
        raise ConnectionError

    @step
    async def go_on(event: StepFailedEvent) -> list[Item]:
        return [Item(3), Item(4)]

    assert await result_of(produce, go_on, work, gather) == [1, 2, 3, 4]


async def test_a_fan_out_that_broke_off_is_joined_though_the_recovery_adds_nothing():
    @step
    async def produce(event: StartEvent):
        yield Item(1)
        await trio.sleep(5)
        raise ConnectionError

    @step
    async def give_up(event: StepFailedEvent) -> None:
        await trio.sleep(5)

    assert await result_of(produce, give_up, work, gather) == [1]


async def test_a_failed_fan_out_may_be_replaced_as_a_whole():
    @step
    async def begin(event: StartEvent) -> list[Item]:
        raise ConnectionError

    @step
    async def instead(event: StepFailedEvent) -> list[Item]:
        return [Item(n) for n in range(3)]

    assert await result_of(begin, instead, work, gather) == [0, 1, 2]


async def test_a_recovery_of_the_first_step_knows_the_input():
    @step
    async def begin(event: StartEvent) -> StopEvent:
        raise ConnectionError

    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        assert isinstance(event.event, StartEvent)
        return StopEvent(event.event.data)

    assert await result_of(begin, rescue, start="input") == "input"


async def test_a_recovery_is_a_call_of_its_own():
    @step
    async def fetch(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["wrote"] = True
        keys.append(ctx.idempotency_key)
        raise OSError

    @step
    async def rescue(event: StepFailedEvent, ctx: Context) -> StopEvent:
        keys.append(ctx.idempotency_key)
        return StopEvent((ctx.step_name, ctx.attempt, "wrote" in ctx.state))

    keys: list[str] = []
    assert await result_of(fetch, rescue) == ("rescue", 1, False)
    assert len(set(keys)) == 2


async def test_a_group_of_exceptions_is_named_as_a_group():
    @step
    async def fetch(event: StartEvent) -> StopEvent:
        async def fail() -> None:
            raise OSError

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(fail)
        return StopEvent()

    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        return StopEvent(event.error_type)

    assert await result_of(fetch, rescue) == "ExceptionGroup"


def test_recoveries_are_checked_when_the_workflow_is_built():
    class End(Event):
        pass

    @step
    async def one(event: StepFailedEvent) -> StopEvent:
        raise NotImplementedError

    @step(recovers=["nobody"])
    async def two(event: StepFailedEvent) -> StopEvent:
        raise NotImplementedError

    @step(recovers=["one"])
    async def three(event: StepFailedEvent) -> StopEvent:
        raise NotImplementedError

    @step
    async def four(event: StepFailedEvent) -> StopEvent:
        raise NotImplementedError

    ends = work.with_options(recovers=["one_item"])
    found = "\n".join(problems_of(one_item, ends, gather_one, one, two, three, four))
    assert "steps one, four all recover every failure" in found
    assert "step 'two': recovers= names 'nobody', which is no step of this workflow" in found
    assert "step 'three': recovers= names 'one', a recovery step" in found
    assert "step 'work': recovers= is for a step that accepts StepFailedEvent" in found


@step
async def gather_one(event: Done) -> StopEvent:
    return StopEvent(event.n)


@pytest.mark.parametrize("recovers", [None, ["sum_up"]])
async def test_a_recovery_for_the_outer_fan_out_does_not_run_its_join_for_every_inner_one(recovers):
    @step
    async def split(event: Item) -> list[Other]:
        return [Other(event.n), Other(event.n)]

    @step
    async def double(event: Other) -> Done:
        return Done(event.n * 2)

    @step
    async def sum_up(items: list[Done]) -> Part:
        await trio.sleep(1)
        if items[0].n == 2:
            raise OSError
        return Part(sum(item.n for item in items))

    @step(recovers=recovers)
    async def recover(event: StepFailedEvent) -> Lost:
        return Lost()

    @step
    async def end(parts: list[Part | Lost]) -> StopEvent:
        return StopEvent(parts)

    steps = (fan_out, split, double, sum_up, recover, end)
    assert await result_of(*steps, start=3) == [Part(0), Lost(), Part(8)]


async def test_a_join_of_failures_alone_runs_with_nothing_when_nothing_fails():
    @step
    async def recover(event: StepFailedEvent) -> Lost:
        return Lost()

    @step
    async def all_done(items: list[Done]) -> None:
        return None

    @step
    async def failures(lost: list[Lost]) -> StopEvent:
        return StopEvent(lost)

    assert await result_of(fan_out, work, recover, all_done, failures, start=3) == []
