"""A module with ``from __future__ import annotations``: every annotation is text, and steps are found all the same."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator

from blazen_trio import Context, Event, StartEvent, StopEvent, step

from .stories import Done, Item, result_of


@step
async def begin(event: StartEvent) -> AsyncIterator[Item]:
    yield Item(1)
    yield Item(2)


@step
def double(ctx: Context, event: Item) -> Done | None:
    return Done(event.n * 2)


@step
async def total(items: list[Done | Late]) -> StopEvent:
    return StopEvent(sum(item.n for item in items))


class Late(Event):
    n: int


@step
async def late(event: Done) -> Late:
    return Late(100)


async def test_steps_of_the_module_are_found_and_so_are_classes_defined_below_them():
    assert await result_of(begin, double, late, total) == 206


async def test_methods_and_classes_local_to_a_function_are_found():
    class Local(Event):
        n: int

    class Flow:
        @step
        async def first(self, event: StartEvent) -> Local:
            return Local(event.data)

        @step
        async def last(self, event: Local, ctx: Context) -> StopEvent:
            return StopEvent((event.n, ctx.step_name))

    flow = Flow()
    assert await result_of(flow.first, flow.last, start=5) == (5, "last")


async def test_partials_are_read_through():
    async def add(amount: int, event: StartEvent) -> StopEvent:
        return StopEvent(event.data + amount)

    assert await result_of(step(functools.partial(add, 3)), start=1) == 4


def steps_made_far_from_here():
    class Hidden(Event):
        n: int

    @step
    async def hide(event: StartEvent) -> Hidden:
        return Hidden(9)

    @step
    async def show(event: Hidden) -> StopEvent:
        return StopEvent(event.n)

    return hide, show


async def test_a_factory_of_steps_may_keep_its_classes_to_itself():
    assert await result_of(*steps_made_far_from_here()) == 9
