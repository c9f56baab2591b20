"""More of the programs: what calls keep and tell, joins of other shapes, time that runs out, failures of other kinds.

They are as those in ``programs``: the result is the same wherever they are interrupted.
"""

import datetime as dt
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import attrs
import trio

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    RetryConfig,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    step,
)
from tests.snapshots.programs import QUICK, Done, Group, Item, Program, Signal, answer_all, gather, spread


class Retryable(Exception):
    """Says itself when to try again."""

    retry_after = 2.0


@attrs.define
class Tally:
    total: int = 0
    seen: tuple[int, ...] = ()
    best: Decimal | None = None


@step
async def outer(groups: list[Group]) -> StopEvent:
    return StopEvent([group.numbers for group in groups])


@step
async def inner(done: list[Done]) -> Group:
    return Group([event.number for event in done])


# --- What calls keep and tell -----------------------------------------------------------------------------------------


def typed_state() -> Program:
    @step(retry=QUICK)
    async def work(event: Item, ctx: Context[Tally]) -> Done:
        ctx.state.total += event.number
        await trio.sleep(event.number % 2)
        if ctx.attempt == 1 and event.number % 3 == 0:
            raise OSError
        return Done(event.number)

    @step
    async def tell(done: list[Done], ctx: Context[Tally]) -> StopEvent:
        ctx.state.best, ctx.state.seen = Decimal("1.50"), tuple(event.number for event in done)
        await trio.sleep(1)
        return StopEvent(ctx.state.seen)

    # One call at a time: a sum that several make is theirs only if none of them sleeps in between.
    return Program(Workflow("typed", [spread, work.with_options(max_concurrency=1), tell], state_type=Tally))


def values_of_all_kinds() -> Program:
    @step
    async def work(event: Item, ctx: Context) -> Done:
        kinds: list[Any] = [Decimal("0.10"), dt.timedelta(seconds=5), b"\x00\xff", {1, 2}, {3: (None, 2.0)}, 2**70]
        await trio.sleep(event.number / 2)
        ctx.state[f"kind {event.number}"] = kinds[event.number]
        ctx.state["to delete"] = event.number
        return Done(event.number)

    @step
    async def tell(done: list[Done], ctx: Context) -> StopEvent:
        del ctx.state["to delete"]
        await trio.sleep(1)
        return StopEvent(sorted(ctx.state))

    return Program(Workflow("kinds", [spread, work, tell]))


def keys_that_never_change() -> Program:
    """Who pays with an idempotency key must find the same one however often the call is repeated."""

    @step(retry=QUICK)
    async def pay(event: Item, ctx: Context) -> Done:
        await trio.sleep(event.number % 2)
        ctx.state[f"key {event.number}"] = ctx.idempotency_key
        if ctx.attempt <= event.number % 2:
            raise OSError
        return Done(event.number)

    return Program(Workflow("keys", [spread, pay, gather]))


def attempts_that_are_counted() -> Program:
    """A call that never works is given up after four attempts, however often it is interrupted."""

    @step(retry=QUICK)
    async def work(event: Item) -> Done:
        await trio.sleep(0.25)
        if event.number % 2:
            raise OSError(event.number)
        return Done(event.number)

    @step
    async def recover(event: StepFailedEvent) -> Done:
        await trio.sleep(0.25)
        return Done(1000 + event.attempts)

    return Program(Workflow("attempts", [spread, work, recover, gather]))


def writes_to_the_stream() -> Program:
    @step(retry=QUICK)
    async def work(event: Item, ctx: Context) -> Done:
        for number in range(3):
            ctx.write_event_to_stream(Signal(10 * event.number + number))
            await trio.sleep(0.25)
        if ctx.attempt == 1 and event.number % 2:
            raise OSError
        ctx.report_progress(event.number, 6, "almost")
        return Done(event.number)

    return Program(Workflow("stream", [spread, work, gather], events=[Signal]))


def uses_tokens() -> Program:
    @step(retry=QUICK, max_concurrency=3)
    async def ask(event: Item, ctx: Context) -> Done:
        ctx.emit_usage(UsageEvent(model="m", prompt_tokens=10 + event.number, cost_usd=0.1))
        await trio.sleep(0.5)
        ctx.emit_usage(UsageEvent(model="m", completion_tokens=event.number, total_tokens=1, cost_usd=0.01))
        if ctx.attempt == 1 and event.number % 2:
            raise OSError
        return Done(event.number)

    return Program(Workflow("usage", [spread, ask, gather]))


def one_at_a_time_in_order() -> Program:
    """What waits for a slot gets it in the order in which it came; who was interrupted is the first."""

    @step(max_concurrency=1)
    async def work(event: Item, ctx: Context) -> Done:
        await trio.sleep(0.5)
        ctx.state["order"] = [*ctx.state.get("order", []), event.number]
        return Done(event.number)

    return Program(Workflow("in order", [spread, work, gather]))


def keeps_a_history() -> Program:
    @step(retry=QUICK, max_concurrency=2)
    async def work(event: Item, ctx: Context) -> Done:
        await trio.sleep(0.5)
        if ctx.attempt == 1 and event.number % 3 == 1:
            raise OSError("again")
        return Done(event.number)

    return Program(Workflow("history", [spread, work, gather], collect_history=True))


def collects_two_classes() -> Program:
    """Buffers of two classes in one step; which events meet is chance, how many do is not."""

    @step
    async def begin(event: StartEvent) -> list[Item | Signal]:
        return [Item(number) if number % 2 else Signal(number) for number in range(10)]

    @step
    async def pack(event: Item | Signal, ctx: Context) -> Group | None:
        await trio.sleep(event.number % 3)
        kind, count = (Item, 2) if isinstance(event, Item) else (Signal, 3)
        packed = ctx.collect_events(kind, count)
        await trio.sleep(0.5)
        return None if packed is None else Group([len(packed)])

    @step
    async def count(groups: list[Group]) -> StopEvent:
        return StopEvent(sorted(group.numbers for group in groups))

    return Program(Workflow("two buffers", [begin, pack, count]))


# --- Mail and questions -----------------------------------------------------------------------------------------------


def receives_on_a_channel() -> Program:
    @step
    async def begin(event: StartEvent) -> list[Item | Group]:
        return [Group([]), *(Item(number) for number in range(4))]

    @step
    async def listen(event: Group, ctx: Context) -> Done:
        total = 0
        async with ctx.receive_events(Signal) as channel:
            for _ in range(4):
                total += (await channel.receive()).number
                await trio.sleep(0.5)
        return Done(total)

    @step(sends=[Signal])
    async def work(event: Item, ctx: Context) -> Done:
        await trio.sleep(event.number)
        ctx.send_event(Signal(10 + event.number))
        return Done(event.number)

    return Program(Workflow("channel", [begin, listen, work, gather], events=[Signal]))


def waits_for_several_at_once() -> Program:
    """A call waits for two events one after the other, which are sent in the other order."""

    @step(sends=[Signal])
    async def work(event: Item, ctx: Context) -> Done:
        if event.number:
            await trio.sleep(6 - event.number)
            ctx.send_event(Signal(event.number))
            return Done(event.number)
        first = await ctx.wait_for_event(Signal, match=lambda signal: signal.number == 1)
        second = await ctx.wait_for_event(Signal, match=lambda signal: signal.number == 5)
        await trio.sleep(1)
        return Done(10 * first.number + second.number)

    return Program(Workflow("several", [spread, work, gather], events=[Signal]))


def asks_and_does_without() -> Program:
    """Half of the questions are never answered: their calls go on after five seconds."""

    @step
    async def ask(event: Item, ctx: Context) -> Done:
        with trio.move_on_after(5):
            return Done(await ctx.request_input("?" * (event.number % 2) + str(event.number)))
        return Done(-1)

    answers = {str(number): number + 50 for number in (0, 2, 4)}
    return Program(Workflow("without", [spread, ask, gather]), answers=answers)


def asks_twice_and_then_fails_once() -> Program:
    """An answer is asked for once, though the call is repeated."""

    @step(retry=QUICK)
    async def work(event: Item, ctx: Context) -> Done:
        first = await ctx.request_input(str(event.number))
        await trio.sleep(0.5)
        second = await ctx.request_input(str(event.number + 100))
        if ctx.attempt == 1:
            raise OSError
        ctx.state[str(event.number)] = [first, second]
        return Done(first)

    answers = {str(number + more): number - more for number in range(6) for more in (0, 100)}
    return Program(Workflow("twice", [spread, work, gather]), drive=answer_all, answers=answers)


def asks_in_a_fan_out_of_questions() -> Program:
    @step
    async def ask(event: StartEvent) -> list[InputRequestEvent]:
        return [InputRequestEvent(str(number), request_id=f"q{number}") for number in range(4)]

    @step(max_concurrency=1)
    async def hear(event: InputResponseEvent) -> Done:
        await trio.sleep(0.5)
        return Done(event.response)

    answers = {str(number): number * 7 for number in range(4)}
    return Program(Workflow("questions", [ask, hear, gather]), drive=answer_all, answers=answers)


# --- Fan-outs ---------------------------------------------------------------------------------------------------------


def empty_fan_outs() -> Program:
    """Nothing at all, a branch that ends in nothing, and one that ends in something."""

    @step
    async def split(event: Item) -> list[Signal]:
        await trio.sleep(event.number % 2)
        return [Signal(event.number)] * (event.number % 3)

    @step
    async def heed(event: Signal) -> Done | None:
        await trio.sleep(0.5)
        return Done(event.number) if event.number > 2 else None

    return Program(Workflow("empty", [spread, split, heed, inner, outer]))


def joins_of_two_classes() -> Program:
    """One join of a union, and another one of one of its classes, in the same fan-out."""

    @step
    async def work(event: Item) -> Done | Signal:
        await trio.sleep(event.number % 3)
        return Done(event.number) if event.number % 2 else Signal(event.number)

    @step
    async def both(events: list[Done | Signal], ctx: Context) -> StopEvent:
        await trio.sleep(5)
        return StopEvent([type(event).__name__ + str(event.number) for event in events])

    @step
    async def one(signals: list[Signal], ctx: Context) -> None:
        await trio.sleep(1)
        ctx.state["signals"] = [signal.number for signal in signals]

    return Program(Workflow("union", [spread, work, both, one]))


def three_levels_of_joins() -> Program:
    class Deep(Event):
        path: tuple[int, ...]

    class Found(Event):
        paths: list[tuple[int, ...]]
        depth: int

    @step
    async def begin(event: StartEvent) -> list[Deep]:
        return [Deep((number,)) for number in range(2)]

    @step(max_concurrency=3)
    async def dig(event: Deep) -> list[Deep] | Found:
        await trio.sleep(sum(event.path) % 3)
        if len(event.path) == 3:
            return Found([event.path], 3)
        return [Deep((*event.path, number)) for number in range(2)]

    @step
    async def rise(found: list[Found]) -> Found | StopEvent:
        await trio.sleep(0.5)
        depth = min(each.depth for each in found) - 1
        paths = [path for each in found for path in each.paths]
        return Found(paths, depth) if depth else StopEvent(paths)

    return Program(Workflow("three levels", [begin, dig, rise]))


def lists_where_one_might_be() -> Program:
    """Each item fans out once more, so the join ran inside and is not called with nothing in the outer fan-out."""

    @step
    async def work(event: Item) -> list[Done] | Done:
        await trio.sleep(event.number % 3)
        return [Done(event.number)]

    @step
    async def join(done: list[Done], ctx: Context) -> Group:
        ctx.state[ctx.idempotency_key] = numbers = [event.number for event in done]
        return Group(numbers)

    @step
    async def end(groups: list[Group]) -> StopEvent:
        await trio.sleep(5)
        return StopEvent([group.numbers for group in groups])

    return Program(Workflow("lists", [spread, work, join, end]))


def generators_that_fail() -> Program:
    """What was yielded before the failure is not yielded twice."""

    @step(retry=QUICK)
    async def produce(event: Item, ctx: Context) -> AsyncIterator[Done]:
        for number in range(3):
            yield Done(10 * event.number + number)
            await trio.sleep(0.25)
            if number == 1 and ctx.attempt <= event.number % 3:
                raise OSError

    return Program(Workflow("generators", [spread, produce, inner, outer]))


def sends_and_returns() -> Program:
    """Sent events and the returned list are one fan-out, also when the call is repeated."""

    @step(sends=[Done], retry=QUICK)
    async def work(event: Item, ctx: Context) -> list[Done]:
        ctx.send_event(Done(100 * event.number))
        await trio.sleep(event.number % 2)
        ctx.send_event(Done(100 * event.number + 1))
        if ctx.attempt == 1:
            raise OSError
        return [Done(100 * event.number + 2)]

    return Program(Workflow("both", [spread, work, inner, outer]))


def several_steps_at_one_limiter() -> Program:
    limiter = trio.CapacityLimiter(2)

    @step(limiter=limiter)
    async def first(event: Item) -> Signal:
        await trio.sleep(1)
        return Signal(event.number)

    @step(limiter=limiter, max_concurrency=1)
    async def second(event: Signal) -> Done:
        await trio.sleep(0.5)
        return Done(event.number)

    return Program(Workflow("limiter", [spread, first, second, gather]))


# --- Time and failures ------------------------------------------------------------------------------------------------


def runs_out_of_its_time() -> Program:
    """Twelve seconds of work and 10.5 to do it in: no interruption gives it more."""

    @step
    async def go_on(event: StartEvent | Item) -> Item | StopEvent:
        number = event.number if isinstance(event, Item) else 0
        await trio.sleep(1)
        return Item(number + 1) if number < 12 else StopEvent("in time")

    return Program(Workflow("too long", [go_on], timeout=10.5))


def waits_long_for_an_attempt() -> Program:
    """Ten seconds until the next attempt, and a time-out that leaves no more than two for delays."""

    @step
    async def begin(event: StartEvent) -> list[Item | Signal]:
        return [Item(0), Signal(1)]

    @step(retry=RetryConfig(max_retries=1, initial_delay_ms=10_000, jitter=False))
    async def work(event: Item, ctx: Context) -> Done:
        if ctx.attempt == 1:
            raise OSError
        return Done(event.number)

    @step
    async def tick(event: Signal) -> Signal | Done:
        await trio.sleep(1)
        return Signal(event.number + 1) if event.number < 9 else Done(event.number)

    return Program(Workflow("long wait", [begin, work, tick, gather], timeout=12))


def errors_that_name_a_time() -> Program:
    @step(retry=QUICK)
    async def work(event: Item, ctx: Context) -> Done:
        await trio.sleep(0.5)
        if ctx.attempt <= event.number % 2:
            raise Retryable
        return Done(event.number)

    return Program(Workflow("retry after", [spread, work, gather]))


def recoveries_that_fail_too() -> Program:
    """A recovery whose result fails is recovered once more; one that names its step is asked first."""

    @step
    async def work(event: Item) -> Done:
        await trio.sleep(event.number % 3)
        if event.number % 2:
            raise ValueError(event.number)
        return Done(event.number)

    @step(recovers=["work"], max_recoveries=2)
    async def try_otherwise(event: StepFailedEvent) -> Signal:
        await trio.sleep(0.5)
        assert isinstance(event.event, Item)
        return Signal(event.event.number)

    @step
    async def heed(event: Signal) -> Done:
        await trio.sleep(0.5)
        if event.number == 3:
            raise LookupError(event.number)
        return Done(-event.number)

    @step(max_recoveries=2)
    async def give_up(event: StepFailedEvent) -> Done:
        return Done(1000 + len(event.step_name))

    return Program(Workflow("recoveries", [spread, work, try_otherwise, heed, give_up, gather]))


def recoveries_that_run_out() -> Program:
    """What a recovery leads to fails again, and a line is recovered no more than once: the run fails."""

    @step
    async def work(event: Item) -> Done:
        await trio.sleep(event.number)
        if event.number in (2, 102):
            raise ValueError(event.number)
        return Done(event.number)

    @step
    async def try_again(event: StepFailedEvent) -> Item:
        await trio.sleep(0.5)
        assert isinstance(event.event, Item)
        return Item(event.event.number + 100)

    return Program(Workflow("run out", [spread, work, try_again, gather]))


def the_first_answer_wins() -> Program:
    @step
    async def race(event: Item, ctx: Context) -> StopEvent:
        await trio.sleep(1 if event.number == 2 else 1000)
        return StopEvent(event.number)

    return Program(Workflow("race", [spread, race]))


def stalls() -> Program:
    @step
    async def work(event: Item) -> None:
        await trio.sleep(event.number)

    @step
    async def never(event: Done) -> StopEvent:
        raise AssertionError(event)

    return Program(Workflow("stalls", [spread, work, never], events=[Done]))


def many_steps_in_turn() -> Program:
    """Six items through three steps with limits, each of which fails, sleeps and writes in its own way."""

    @step(max_concurrency=2)
    async def first(event: Item, ctx: Context) -> Signal:
        ctx.state[f"first {event.number}"] = True
        await trio.sleep(0.25 * event.number)
        return Signal(event.number)

    @step(retry=QUICK, timeout=1)
    async def second(event: Signal, ctx: Context) -> Group:
        await trio.sleep(0.5 if ctx.attempt > event.number % 2 else 10)
        return Group([await ctx.once("twice", lambda: 2 * event.number)])

    @step(max_concurrency=1)
    async def third(event: Group, ctx: Context) -> Done:
        ctx.emit_usage(UsageEvent(total_tokens=1))
        return Done(event.numbers[0])

    return Program(Workflow("in turn", [spread, first, second, third, gather]))


MORE_PROGRAMS: tuple[Callable[[], Program], ...] = (
    typed_state,
    values_of_all_kinds,
    keys_that_never_change,
    attempts_that_are_counted,
    writes_to_the_stream,
    uses_tokens,
    one_at_a_time_in_order,
    keeps_a_history,
    collects_two_classes,
    receives_on_a_channel,
    waits_for_several_at_once,
    asks_and_does_without,
    asks_twice_and_then_fails_once,
    asks_in_a_fan_out_of_questions,
    empty_fan_outs,
    joins_of_two_classes,
    three_levels_of_joins,
    lists_where_one_might_be,
    generators_that_fail,
    sends_and_returns,
    several_steps_at_one_limiter,
    runs_out_of_its_time,
    waits_long_for_an_attempt,
    errors_that_name_a_time,
    recoveries_that_fail_too,
    recoveries_that_run_out,
    the_first_answer_wins,
    stalls,
    many_steps_in_turn,
)
