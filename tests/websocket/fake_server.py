"""A server for tests of the client: it speaks ``blazen.v1`` over memory streams, and does what a test wants.

* ``Model`` is what the server has: runs with streams. It outlives connections.
* ``FakeServer.cut_at`` cuts the connection at one message of the session, counted over both directions: with
  ``(7, "before")`` the seventh is lost, with ``(7, "after")`` it arrives and nothing behind it does.
* ``FakeServer.script`` may answer a message in the model's place; what it gives is sent, bytes as they are.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import attrs
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from blazen_trio import RunExistsError, RunNotFoundError, RunStatus
from blazen_trio.groups import alone
from blazen_trio.websocket.client.dialling import DialError
from blazen_trio.websocket.protocol import VERSION, Fault, encode, read_from_client, write_error
from blazen_trio.websocket.protocol import messages as said
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.messages import Ended, Error, Events, Ok, Request, ServerMessage, Welcome
from blazen_trio.websocket.protocol.views import (
    InfoView,
    ItemView,
    LimitsView,
    NodeView,
    QuestionView,
    ResultView,
    RunView,
    WorkflowView,
)

BATCH = 2
BYTES = 1_000_000
LIMITS = LimitsView(message_bytes=BYTES, window=8, requests=8)


class Cut(Exception):
    """The connection is cut here."""


@attrs.define
class FakeRun:
    view: RunView
    items: list[ItemView] = attrs.field(factory=list)

    def publish(self, event_type: str = "Note", **data: object) -> None:
        number = len(self.items) + 1
        self.items.append(ItemView(seq=number, timestamp=float(number), event=EventData(event_type, data)))


@attrs.define
class Model:
    """What the server has, and how often it did what."""

    runs: dict[str, FakeRun] = attrs.field(factory=dict)
    done: list[str] = attrs.field(factory=list)
    floor: int = 0

    def run(self, run_id: str = "run") -> FakeRun:
        """A run that is there."""
        if run_id not in self.runs:
            self.runs[run_id] = FakeRun(RunView(run_id=run_id, workflow="noting", status=RunStatus.RUNNING))
        return self.runs[run_id]

    def ask(self, run_id: str = "run") -> None:
        """The run asks a question."""
        view = self.run(run_id).view
        view.status, view.questions = RunStatus.AWAITING_INPUT, [QuestionView("how?", "q1")]

    def end(self, run_id: str = "run") -> None:
        """The run is over."""
        self.run(run_id).view.status = RunStatus.COMPLETED

    def answer(self, request: Request) -> object:
        """What is done, and the value of the answer; ``None`` of a type that has no value yet."""
        self.done.append(said.verb(request))
        if isinstance(request, said.Start):
            return self._start(request)
        if isinstance(request, said.Runs):
            return [self._info(each) for each in self.runs.values()]
        if isinstance(request, said.Statistics):
            return {"done": len(self.done)}
        if isinstance(request, said.Workflows):
            return [WorkflowView(name="noting", nodes=[NodeView("note", "step")], edges=[])]
        return self._of_run(request)

    def _start(self, request: said.Start) -> RunView:
        assert request.run_id is not None
        if request.run_id in self.runs:
            raise RunExistsError(request.run_id)
        self.run(request.run_id).publish(number=0)
        return self.run(request.run_id).view

    def _of_run(self, request: Request) -> object:
        run_id = getattr(request, "run_id", "")
        if run_id not in self.runs:
            raise RunNotFoundError(run_id)
        run = self.runs[run_id]
        match request:
            case said.SendEvent():
                run.publish("Note", number=len(run.items))
            case said.RespondToInput():
                run.view.questions, run.view.status = [], RunStatus.RUNNING
                run.publish("Mark")
            case said.Pause():
                run.view.status = RunStatus.PAUSED
            case said.Resume():
                run.view.status = RunStatus.RUNNING
            case said.Abort():
                run.view.status = RunStatus.ABORTED
            case _:
                return self._told(request, run)
        return run.view

    def _told(self, request: Request, run: FakeRun) -> object:
        """What is asked of a run and changes nothing, but for its end."""
        match request:
            case said.Delete(run_id=run_id):
                del self.runs[run_id]
                return None
            case said.Info():
                return self._info(run)
            case said.History():
                return []
            case said.Result():
                return ResultView(run=run.view, event=EventData("StopEvent", {"result": len(run.items)}))
            case _:
                return run.view

    def _info(self, run: FakeRun) -> InfoView:
        view = run.view
        return InfoView(run_id=view.run_id, workflow=view.workflow, status=view.status, created=1.0, updated=2.0)


@attrs.define
class Reader:
    """A subscription, on the server's side."""

    id: int
    run_id: str
    sent: int
    taken: int
    types: list[str] | None
    window: int


Script = Callable[[Any], "Iterable[ServerMessage | bytes] | None"]


class FakeServer:
    """Serves a model to clients that ``dial``."""

    def __init__(self, nursery: trio.Nursery, model: Model | None = None, limits: LimitsView = LIMITS) -> None:
        self.nursery = nursery
        self.model = model or Model()
        self.limits = limits
        self.heard: list[said.ClientMessage] = []
        self.refusals: list[str] = []
        self.greeting: bytes | None = encode(Welcome(VERSION, "fake", "node", limits))
        self.cut_at: tuple[int, str] | None = None
        self.messages = 0
        self.dials = 0
        self.script: Script = lambda _: None
        self.version = VERSION
        self.connections: list[FakeConnection] = []

    async def dial(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dials += 1
        if self.refusals:
            raise DialError(self.refusals.pop(0))
        client, server = memory_stream_pair()
        self.nursery.start_soon(self._serve, server)
        return client

    async def _serve(self, stream: trio.abc.Stream) -> None:
        connection = FakeConnection(self, stream)
        try:
            await connection.serve()
        except Exception as error:
            if not isinstance(alone(error), Cut | ConnectionClosed):
                raise
        finally:
            if connection in self.connections:
                self.connections.remove(connection)
            await trio.aclose_forcefully(stream)

    async def cut(self) -> None:
        """Cut all connections, and let everybody notice."""
        for each in list(self.connections):
            await each.cut()

    async def close(self, code: int, reason: str) -> None:
        """Close the last connection as a server does."""
        connection = self.connections[-1]
        connection.is_closing = True
        await connection.socket.aclose(code, reason)

    async def publish(self, count: int = 1, run_id: str = "run", event_type: str = "Note") -> None:
        """The run publishes, and all hear of it."""
        for _ in range(count):
            self.model.run(run_id).publish(event_type, **{} if event_type.endswith("Mark") else {"number": 0})
        await self.tell()

    async def tell(self) -> None:
        """Send what there is to everybody."""
        for each in list(self.connections):
            try:
                await each.pump()
            except (Cut, ConnectionClosed):
                await each.cut()

    async def say(self, *messages: ServerMessage | bytes) -> None:
        """Say something, just so."""
        for message in messages:
            await self.connections[-1].send(message)


class FakeConnection:
    """One connection."""

    def __init__(self, server: FakeServer, stream: trio.abc.Stream) -> None:
        self.server = server
        self.stream = stream
        self.readers: dict[int, Reader] = {}
        self.outbox: list[ServerMessage | bytes] = []
        self.is_closing = False
        self.socket: WebSocketConnection

    async def serve(self) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, self.stream)
            self.socket = await request.accept(subprotocol=self.server.version)
            self.server.connections.append(self)
            if self.server.greeting is not None:
                await self.send(self.server.greeting)
            try:
                while True:
                    await self._hear(await self.socket.get_message())
            except ConnectionClosed:
                if self.is_closing:
                    await trio.sleep(0.01)  # noqa: ASYNC120 - trio-websocket's reader has to live until the client said goodbye, too
                raise

    async def _hear(self, text: str | bytes) -> None:
        message = read_from_client(text, bytes_max=BYTES)
        assert not isinstance(message, Fault), message
        await self._counted(partial(self._take, message))
        await self.pump()

    async def cut(self) -> None:
        await trio.aclose_forcefully(self.stream)

    async def _counted(self, act) -> None:
        self.server.messages += 1
        cut = self.server.cut_at
        if cut == (self.server.messages, "before"):
            raise Cut
        await act()
        if cut == (self.server.messages, "after"):
            raise Cut

    async def send(self, message: ServerMessage | bytes) -> None:
        text = message if isinstance(message, bytes) else encode(message)
        await self._counted(partial(self.socket.send_message, text.decode()))

    async def _take(self, message: said.ClientMessage) -> None:
        await trio.lowlevel.checkpoint()
        self.server.heard.append(message)
        answers = self.server.script(message)
        self.outbox += self._answers(message) if answers is None else answers  # `pump` sends them: each counts

    def _answers(self, message: said.ClientMessage) -> Iterable[ServerMessage]:
        model = self.server.model
        match message:
            case said.Received(subscription=id, seq=seq):
                if id in self.readers:
                    self.readers[id].taken = seq
            case said.Unsubscribe(id=id, subscription=subscription):
                self.readers.pop(subscription, None)
                yield Ok(id)
            case said.Subscribe(run_id=run_id) if run_id not in model.runs:
                yield Error(message.id, write_error(RunNotFoundError(run_id)))
            case said.Subscribe(id=id, run_id=run_id, after=after, types=types, window=window):
                assert id not in self.readers
                self.readers[id] = Reader(id, run_id, after, after, types, window or 1)
                yield Ok(id)
            case Request(id=id):
                try:
                    yield Ok(id, model.answer(message))
                except Exception as error:
                    yield Error(id, write_error(error))

    async def pump(self) -> None:
        """Send answers, and what the subscriptions have room for."""
        while self.outbox:
            await self.send(self.outbox.pop(0))
        for reader in list(self.readers.values()):
            run = self.server.model.runs[reader.run_id]
            while (message := self._events(reader, run)) is not None:
                await self.send(message)
            if run.view.status.is_end and reader.sent >= len(run.items) and reader.id in self.readers:
                del self.readers[reader.id]
                await self.send(Ended(reader.id))

    def _events(self, reader: Reader, run: FakeRun) -> Events | None:
        if reader.sent < self.server.model.floor:
            floor = self.server.model.floor
            gap = ItemView(floor, 0.0, EventData("StreamGap", {"missed": floor - reader.sent}))
            reader.sent = floor
            return Events(reader.id, floor, [gap])
        until = min(reader.sent + BATCH, reader.taken + reader.window, len(run.items))
        if until <= reader.sent:
            return None
        items = [
            each for each in run.items[reader.sent : until] if not reader.types or each.event.event_type in reader.types
        ]
        reader.sent = until
        return Events(reader.id, until, items)
