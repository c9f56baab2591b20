"""What stories of clients share: a client of a fake server, and what a stream gave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from blazen_trio import DynamicEvent, Event, StartEvent, StopEvent, StreamItem, Workflow, step
from blazen_trio.websocket.client import RemoteEngine, RemoteRun, RemoteSubscription
from blazen_trio.websocket.protocol.views import LimitsView
from tests.websocket.dialled import dialled
from tests.websocket.fake_server import LIMITS, FakeServer, Model


class Note(Event):
    number: int = 0


class Mark(Event):
    pass


class LoudMark(Mark):
    pass


@step
async def note(event: StartEvent) -> Note:
    return Note()


@step
async def finish(event: Note) -> StopEvent:
    return StopEvent()


noting = Workflow("noting", [note, finish], events=[Mark, LoudMark])

ANY = DynamicEvent("Note", {})


@attrs.frozen
class Scene:
    """A client and its server."""

    server: FakeServer
    engine: RemoteEngine

    @property
    def model(self) -> Model:
        """What the server has."""
        return self.server.model

    async def run(self, run_id: str = "run") -> RemoteRun:
        """A handle of a run that is there."""
        self.model.run(run_id)
        return await self.engine.get(run_id)

    def heard(self, kind: type[Any]) -> list[Any]:
        """What the server heard of this kind."""
        return [each for each in self.server.heard if isinstance(each, kind)]


@asynccontextmanager
async def scene(model: Model | None = None, limits: LimitsView = LIMITS, **options: Any) -> AsyncIterator[Scene]:
    """A client of a fake server, for some hours at most: a story that waits for ever fails."""
    with trio.fail_after(20_000):
        async with _scene(model, limits, options) as story:
            yield story


@asynccontextmanager
async def _scene(model: Model | None, limits: LimitsView, options: dict[str, Any]) -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery, model, limits)
        async with dialled(server.dial, **{"workflows": [noting], **options}) as engine:
            yield Scene(server, engine)
        nursery.cancel_scope.cancel()


async def take(subscription: RemoteSubscription, count: int) -> list[StreamItem]:
    """So many items, soon."""
    items: list[StreamItem] = []
    with trio.fail_after(1_000):
        while len(items) < count:
            items.append(await subscription.receive_item())
    return items


async def numbers(subscription: RemoteSubscription, count: int) -> list[int]:
    """The numbers of so many items."""
    return [each.seq for each in await take(subscription, count)]


async def outcome_of(call, outcomes: list[Any]) -> None:
    """What comes of a call: its value or its error."""
    try:
        outcomes.append(await call())
    except Exception as error:
        outcomes.append(error)
