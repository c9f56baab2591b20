"""W4: stream events written by one step, read by 1, 10 and 100 subscribers; bare Trio has a memory channel for each.

The step writes 1,000 events between two checkpoints. Without any checkpoint it would write all 20,000 before a reader
ran once, and a stream keeps 10,000 (``stream_buffer``); a step that awaits now and then, as any real one does, lets its
readers keep up. Time runs from the start of the run until the last subscriber has read the last event: writing counts.
"""

import math
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from trio.lowlevel import checkpoint

from benchmarks.measuring import Case, Goal, Scale, check, seconds
from blazen_trio import Context, Event, StartEvent, StopEvent, Workflow, WorkflowRun, step

BURST = 1_000
GOALS = {1: 1_000_000, 10: 2_000_000, 100: 2_000_000}


class Word(Event):
    number: int


def make_words(count: int) -> list[Word]:
    return [Word(number) for number in range(count)]


async def write_in_bursts(write: Callable[[Word], object], words: list[Word]) -> None:
    for begin in range(0, len(words), BURST):
        for word in words[begin : begin + BURST]:
            write(word)
        await checkpoint()


@step
async def write(event: StartEvent, ctx: Context) -> StopEvent:
    await write_in_bursts(ctx.write_event_to_stream, event.data)
    return StopEvent()


WORKFLOW = Workflow("broadcast", [write], publish_lifecycle=False)


def cases(scale: Scale) -> list[Case]:
    words = make_words(scale.size(20_000))
    return [_case(words, subscribers, goal) for subscribers, goal in GOALS.items()]


def _case(words: list[Word], subscribers: int, goal: int) -> Case:
    plural = "" if subscribers == 1 else "s"
    return Case(
        f"{len(words):,} stream events to {subscribers} subscriber{plural}",
        "deliveries/s",
        engine=partial(_deliveries_per_s, stream_to, words, subscribers),
        baseline=partial(_deliveries_per_s, channel_to, words, subscribers),
        goal=Goal(goal, "at least", of="median"),
    )


async def stream_to(subscribers: int, words: list[Word], copies: list[list[Event]]) -> None:
    """The engine's way: one run, its stream, a subscription each."""
    async with WORKFLOW.start(words) as run, trio.open_nursery() as nursery:
        for _ in range(subscribers):
            nursery.start_soon(_read_stream, run, copies)


async def _read_stream(run: WorkflowRun, copies: list[list[Event]]) -> None:
    async with run.stream_events() as events:
        copy = [event async for event in events]
    check(isinstance(copy.pop(), StopEvent), "a stream did not end with the StopEvent")
    copies.append(copy)


async def channel_to(subscribers: int, words: list[Word], copies: list[list[Event]]) -> None:
    """Bare Trio's way: a memory channel each; without a bound, since a reader takes one event at each pass of Trio."""
    senders: list[trio.MemorySendChannel[Word]] = []
    async with trio.open_nursery() as nursery:
        for _ in range(subscribers):
            sender, receiver = trio.open_memory_channel[Word](math.inf)
            senders.append(sender)
            nursery.start_soon(_read_channel, receiver, copies)
        await write_in_bursts(partial(_send_to_all, senders), words)
        for sender in senders:
            sender.close()


def _send_to_all(senders: list[trio.MemorySendChannel[Word]], word: Word) -> None:
    for sender in senders:
        sender.send_nowait(word)


async def _read_channel(receiver: trio.MemoryReceiveChannel[Word], copies: list[list[Event]]) -> None:
    copies.append([event async for event in receiver])


Broadcast = Callable[[int, list[Word], list[list[Event]]], Awaitable[None]]


def _deliveries_per_s(broadcast: Broadcast, words: list[Word], subscribers: int) -> float:
    """Deliver ``words`` to each subscriber, and check what arrived when the clock has stopped."""
    copies: list[list[Event]] = []
    taken_s = seconds(broadcast, subscribers, words, copies)
    check(len(copies) == subscribers and all(copy == words for copy in copies), "a subscriber missed events")
    return len(words) * subscribers / taken_s
