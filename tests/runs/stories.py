"""Words that the stories about runs share: a few events, and workflows of one step."""

import trio

from blazen_trio import Event, StartEvent, StopEvent, Workflow, step


class Item(Event):
    number: int = 0


class Done(Event):
    number: int = 0


class Tick(Event):
    number: int = 0


class Unknown(Event):
    pass


class Crash(Exception):
    """What a user's step raises."""


def solo(function, *, timeout=None, retry=None, **options) -> Workflow:
    """A workflow of one step; `timeout` and `retry` are the step's."""
    return Workflow("solo", [step(timeout=timeout, retry=retry)(function)], **options)


async def wait_for(condition) -> None:
    """Let other tasks run until a condition holds; time does not pass."""
    for _ in range(10_000):
        if condition():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("what the story waits for never came")


@step
async def finish(event: Done) -> StopEvent:
    return StopEvent(event.number)


@step
async def sleep_forever(event: StartEvent) -> StopEvent:
    await trio.sleep_forever()
    return StopEvent()
