"""Workflows that users write and that cannot be resumed. Each works as long as nobody interrupts it."""

import itertools
import random
from collections.abc import Callable
from threading import Lock
from typing import Any

import trio

from blazen_trio import Context, Event, StartEvent, Step, StopEvent, UsageEvent, Workflow, step


class Item(Event):
    number: int


class Done(Event):
    number: int


class Holder(Event):
    lock: Any


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(4)]


@step
async def add(done: list[Done]) -> StopEvent:
    return StopEvent(sum(event.number for event in done))


def fan_out(work: Step) -> Workflow:
    """A workflow of which only the middle is the user's own."""
    return Workflow("broken", [spread, work, add])


_counter = itertools.count()


def counts_in_a_global() -> Workflow:
    @step
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        return Done(next(_counter))

    return fan_out(work)


def holds_a_live_object_in_an_event() -> Workflow:
    @step
    async def make(event: StartEvent) -> Holder:
        return Holder(Lock())

    @step
    async def use(event: Holder) -> StopEvent:
        await trio.sleep(1)
        return StopEvent(event.lock.locked())

    return Workflow("broken", [make, use])


def does_nothing_the_second_time() -> Workflow:
    seen: set[int] = set()

    @step
    async def work(event: Item) -> Done | None:
        if event.number in seen:
            return None
        seen.add(event.number)
        await trio.sleep(1)
        return Done(event.number)

    return fan_out(work)


def fails_the_second_time() -> Workflow:
    begun: list[int] = []

    @step
    async def work(event: Item) -> Done:
        if event.number in begun:
            raise RuntimeError("begun already")
        begun.append(event.number)
        return Done(event.number)

    return fan_out(work)


def rolls_dice() -> Workflow:
    @step
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        return Done(random.getrandbits(60))

    return fan_out(work)


def looks_at_the_clock() -> Workflow:
    @step
    async def work(event: Item) -> Done:
        return Done(round(1000 * trio.current_time()))

    @step
    async def wait(event: StartEvent) -> list[Item]:
        await trio.sleep(1)
        return [Item(1), Item(2)]

    return Workflow("broken", [wait, work, add])


def passes_values_by_a_closure() -> Workflow:
    """Works in the same process, where the closure is still filled; not in another one."""
    found: dict[int, int] = {}

    @step
    async def work(event: Item) -> Done:
        await trio.sleep(1)
        found[event.number] = 10 * event.number
        return Done(event.number)

    @step
    async def look_up(done: list[Done]) -> StopEvent:
        await trio.sleep(1)
        return StopEvent([found.get(event.number) for event in done])

    return Workflow("broken", [spread, work, look_up])


def waits_for_a_flag_of_its_own() -> Workflow:
    """One call sets a flag for another: interrupted between the two, nobody sets it again."""
    flag = trio.Event()

    @step
    async def work(event: Item) -> Done:
        if event.number == 0:
            flag.set()
        if event.number == 3:
            await flag.wait()
            await trio.sleep(1)
        return Done(event.number)

    return fan_out(work)


def writes_what_it_counts_outside_to_the_state() -> Workflow:
    calls: list[int] = []

    @step
    async def work(event: Item, ctx: Context) -> Done:
        calls.append(event.number)
        ctx.state["calls"] = len(calls)
        return Done(event.number)

    return fan_out(work)


def uses_more_each_time() -> Workflow:
    calls: list[int] = []

    @step
    async def work(event: Item, ctx: Context) -> Done:
        calls.append(event.number)
        ctx.emit_usage(UsageEvent(total_tokens=len(calls)))
        return Done(event.number)

    return fan_out(work)


BROKEN: dict[Callable[[], Workflow], str] = {
    counts_in_a_global: "No call had finished by then",
    holds_a_live_object_in_an_event: "cannot be saved: cannot encode event Holder.lock",
    does_nothing_the_second_time: "another end",
    fails_the_second_time: "begun already",
    rolls_dice: "Look for randomness",
    looks_at_the_clock: "result: ",
    writes_what_it_counts_outside_to_the_state: "state['calls']: ",
    uses_more_each_time: "usage: ",
}
"""Those that show in one process, each with words of what the kit says."""

BROKEN_ELSEWHERE: dict[Callable[[], Workflow], str] = {
    passes_values_by_a_closure: "None",
    waits_for_a_flag_of_its_own: "does not come to an end",
}
"""Those that show only with fresh steps, as in another process."""
