"""Workflows that the command runs in its tests."""

import math

import attrs
import trio

from blazen_trio import Context, Event, InputRequestEvent, InputResponseEvent, StartEvent, StopEvent, Workflow, step


@step
async def echo(event: StartEvent) -> StopEvent:
    return StopEvent(event.data)


@step
async def fail(event: StartEvent) -> StopEvent:
    raise ValueError("no luck \x1b[31mtoday")


@step
async def ask(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent([await ctx.request_input("First?", {"default": "x"}), await ctx.request_input("Second?")])


@step
async def ask_by_event(event: StartEvent) -> InputRequestEvent:
    return InputRequestEvent("Routed?", request_id="q1")


@step
async def take_answer(event: InputResponseEvent) -> StopEvent:
    return StopEvent(event.response)


class Side(Event):
    prompt: str


@step
async def both_sides(event: StartEvent) -> list[Side]:
    return [Side("Left?"), Side("Right?")]


class Answered(Event):
    text: str


@step
async def ask_side(event: Side, ctx: Context) -> Answered:
    return Answered(f"{event.prompt}: {await ctx.request_input(event.prompt)}")


@step
async def put_together(answers: list[Answered]) -> StopEvent:
    return StopEvent([each.text for each in answers])


@attrs.frozen
class Point:
    x: float
    tags: frozenset[str]


@step
async def odd_values(event: StartEvent) -> StopEvent:
    return StopEvent({"point": Point(math.nan, frozenset({"a"})), 5: b"raw", "huge": 2**70})


class Item(Event):
    number: int


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(10)]


@step
async def work(event: Item, ctx: Context) -> None:
    ctx.report_progress(event.number + 1, 10, "items")


@step
async def count(items: list[Item]) -> StopEvent:
    return StopEvent(len(items))


@step
async def wait_for_ever(event: StartEvent, ctx: Context) -> StopEvent:
    ctx.report_progress(5, 5, "steps of waiting begun")
    await trio.sleep_forever()
    return StopEvent()


class Handle(Event):
    stream: object


@step
async def open_something(event: StartEvent) -> Handle:
    return Handle(trio.Event())


@step
async def hold(event: Handle, ctx: Context) -> StopEvent:
    ctx.report_progress(1, 1, "handles held")
    await trio.sleep_forever()
    return StopEvent()


class Grown(Event):
    text: str


@step
async def grow(event: StartEvent | Grown, ctx: Context) -> Grown | StopEvent:
    times = ctx.state.get("times", 0) + 1
    ctx.state["times"] = times
    await trio.lowlevel.checkpoint()
    return Grown(f"{times}" * 10_000) if times < 50 else StopEvent(times)


@step
async def linger(event: StartEvent) -> StopEvent:
    await trio.sleep(0.2)
    return StopEvent("came to an end")


@step
async def ask_meanwhile(event: StartEvent, ctx: Context) -> None:
    await ctx.request_input("Still there?")


class Verdict(StopEvent):
    text: str


@step
async def judge(event: StartEvent) -> Verdict:
    return Verdict("guilty")


echoing = Workflow("echoing", [echo])
failing = Workflow("failing", [fail])
asking = Workflow("asking", [ask])
routing = Workflow("routing", [ask_by_event, take_answer])
two = Workflow("two", [both_sides, ask_side, put_together])
silent = Workflow("silent", [ask], publish_lifecycle=False)
odd = Workflow("odd", [odd_values])
many = Workflow("many", [spread, work, count])
endless = Workflow("endless", [wait_for_ever])
ending = Workflow("ending", [linger, ask_meanwhile])
growing = Workflow("growing", [grow])
unsavable = Workflow("unsavable", [open_something, hold])
meeting = Workflow("meeting", [wait_for_ever, ask])
judging = Workflow("judging", [judge])
no_workflow = "just text"
