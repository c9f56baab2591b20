"""What stories of peers share: workflows that run there, what is around them here, and a peer in this process."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from blazen_trio import Context, Event, Peer, StartEvent, StopEvent, UsageEvent, Workflow, open_engine, step
from blazen_trio.abc import Store
from blazen_trio.stores import MemoryStore
from blazen_trio.testing import LocalPeer


class Query(Event):
    number: int = 0


class Answer(Event):
    number: int = 0


class Found(StopEvent):
    number: int = 0


class Crash(Exception):
    """What a user's step raises."""


@attrs.define
class Model:
    """A live object that knows its own bytes."""

    weights: bytes = b"w"
    blazen_type_tag: str = "model"

    def blazen_serialize(self) -> bytes:
        return self.weights


@attrs.define
class Work:
    """Counts what the steps of a workflow did: on whichever machine they run."""

    begun: Counter[str] = attrs.Factory(Counter)
    ended: Counter[str] = attrs.Factory(Counter)
    model: Model = attrs.Factory(Model)


def doubling(work: Work, *, seconds: float = 0, **options: Any) -> Workflow:
    """Doubles the number it is given, for some tokens, and leaves a model behind."""

    @step
    async def double(event: StartEvent, ctx: Context) -> StopEvent:
        work.begun[ctx.run_id] += 1
        ctx.emit_usage(UsageEvent(model="m", total_tokens=3, cost_usd=0.5))
        await trio.sleep(seconds)
        await ctx.once("key", ctx.session_refs.insert_serializable, work.model)
        work.ended[ctx.run_id] += 1
        return StopEvent({"number": 2 * event.data["number"]})

    return Workflow("doubling", [double], **options)


def crashing() -> Workflow:
    @step
    async def crash(event: StartEvent) -> StopEvent:
        raise Crash("no such page")

    return Workflow("crashing", [crash])


def ask_all(count: int) -> Any:
    @step
    async def ask(event: StartEvent) -> list[Query]:
        return [Query(number) for number in range(1, count + 1)]

    return ask


@step
async def collect(answers: list[Answer]) -> StopEvent:
    return StopEvent(sum(answer.number for answer in answers))


def parent_of(child: Workflow, peer: Peer, *, count: int = 1, options: Any = None, **as_step: Any) -> Workflow:
    """A workflow that runs another one on a peer as its step ``inside``, and gives the sum of its numbers."""
    inside = child.as_step(accepts=Query, emits=Answer, peer=peer, **{"name": "inside", **as_step})
    return Workflow("parent", [ask_all(count), inside, collect], **(options or {}))


@asynccontextmanager
async def peer_of(*workflows: Workflow, store: Store | None = None, **options: Any) -> AsyncGenerator[LocalPeer]:
    """A peer that has these workflows."""
    async with open_engine(store or MemoryStore(), workflows) as engine:
        yield LocalPeer(engine, **options)


async def until(condition: Callable[[], object], seconds: float = 100) -> None:
    """Wait until it holds, on a clock that jumps."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)
