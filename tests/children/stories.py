"""Words that the stories about runs inside runs share: events, small workflows, and what is around them."""

from typing import Any

import trio

from blazen_trio import Context, Event, StartEvent, Step, StopEvent, Workflow, WorkflowRun, step


class Query(Event):
    number: int = 0


class Answer(Event):
    number: int = 0


class Mark(Event):
    """What steps write to the stream."""

    text: str


class Crash(Exception):
    """What a user's step raises."""


def ask_all(count: int) -> Step:
    """Asks as often as said: about the number that the run begins with, and those that follow."""

    @step
    async def ask(event: StartEvent) -> list[Query]:
        return [Query((event.data or 0) + more) for more in range(count)]

    return ask


@step
async def collect(answers: list[Answer]) -> StopEvent:
    return StopEvent(sum(answer.number for answer in answers))


def emits_number(number: int, *, seconds: float = 0) -> Step:
    """The only step of a workflow that gives a number after some time."""

    @step
    async def give(event: StartEvent) -> StopEvent:
        await trio.sleep(seconds)
        return StopEvent({"number": number})

    return give


def child_of(function: Any, **options: Any) -> Workflow:
    """A workflow of one step."""
    return Workflow("child", [step(function)], **options)


def parent_of(child: Workflow, *, count: int = 1, options: Any = None, **as_step: Any) -> Workflow:
    """A workflow that runs another one as its step ``inside``, and gives the sum of its numbers."""
    inside = child.as_step(accepts=Query, emits=Answer, **{"name": "inside", **as_step})
    return Workflow("parent", [ask_all(count), inside, collect], **(options or {}))


async def question_of(run: WorkflowRun, place: int = 0) -> str:
    """The id of an open question, once it is asked."""
    await until(lambda: len(run.pending_inputs) > place)
    return run.pending_inputs[place].request_id


async def until(condition: Any) -> None:
    """Let other tasks run until a condition holds; time does not pass."""
    for _ in range(10_000):
        if condition():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("what the story waits for never came")


async def approve(event: StartEvent, ctx: Context) -> StopEvent:
    """Asks, and gives the answer."""
    return StopEvent({"number": await ctx.request_input("how many?")})
