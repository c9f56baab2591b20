"""What stories of engines share: workflows, and stores that a test stops and lets go on."""

from collections.abc import Awaitable, Callable
from typing import Any, final

import trio

from blazen_trio import Context, EngineRun, Event, StartEvent, StopEvent, Workflow, WorkflowRun, step
from blazen_trio.abc import Store
from blazen_trio.engine import Engine
from blazen_trio.testing.stores import _Around


class Item(Event):
    number: int


class Note(Event):
    text: str


@step
async def ask_twice(event: StartEvent, ctx: Context) -> StopEvent:
    ctx.write_event_to_stream(Note("begun"))
    first = await ctx.request_input("first?")
    ctx.write_event_to_stream(Note("half"))
    second = await ctx.request_input("second?")
    return StopEvent([first, second])


asking = Workflow("asking", [ask_twice], events=[Note])


@step
async def sleep_long(event: StartEvent, ctx: Context) -> Item:
    ctx.state["begun"] = ctx.state.get("begun", 0) + 1
    await trio.sleep(float(event.data or 3))
    return Item(1)


@step
async def finish(event: Item) -> StopEvent:
    return StopEvent(event.number)


sleeping = Workflow("sleeping", [sleep_long, finish])


@step
async def wait_for_items(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent([(await ctx.wait_for_event(Item)).number for _ in range(2)])


waiting = Workflow("waiting", [wait_for_items], events=[Item])


@final
class GatedStore(_Around):
    """A store of which a test may hold up the calls of one name, before they happen or after."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.gate: trio.Event | None = None
        self.waiting = 0
        self.is_after = False

    def hold(self, *, is_after: bool = False) -> None:
        """From now on writes wait: before they happen, or after."""
        self.gate, self.is_after = trio.Event(), is_after

    def let_go(self) -> None:
        """Whatever waits goes on, and nothing waits any more."""
        assert self.gate is not None
        self.gate.set()
        self.gate = None

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        is_held = self.gate is not None and "write" in getattr(call, "__qualname__", "")
        if is_held and not self.is_after:
            await self._wait()
        result = await call()
        if is_held and self.is_after:
            await self._wait()
        return result

    async def _wait(self) -> None:
        assert self.gate is not None
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1


async def asked(run: EngineRun | WorkflowRun, prompt: str = "first?") -> str:
    """The id of that question, when the run has asked it."""
    with trio.fail_after(1000):
        while True:
            for question in run.pending_inputs:
                if question.prompt == prompt:
                    return question.request_id
            await trio.sleep(0.01)


async def parked(engine: Engine) -> None:
    """Wait until no run is in memory."""
    while engine.in_memory:  # noqa: ASYNC110 - on a clock that jumps
        await trio.sleep(0.1)


async def started(engine: Engine, name: str, data: object = None) -> EngineRun:
    """A run that is in memory and has begun."""
    run = await engine.start(name, data)
    while not run.statistics().get("running"):  # noqa: ASYNC110 - on a clock that jumps
        await trio.sleep(0.01)
    return run
