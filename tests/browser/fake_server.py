"""A small server of the console page and of ``blazen.v1`` on a real engine, for the browser's tests.

It answers the verbs that the page uses and trusts everybody who has the token: no limits, no deadlines.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

import blazen_trio
from blazen_trio import Engine, EngineRun
from blazen_trio.core.status import RunStatus
from blazen_trio.websocket.protocol import Fault, encode, encode_item, events_message, read_from_client, write_error
from blazen_trio.websocket.protocol import messages as m
from blazen_trio.websocket.protocol.errors import ErrorView
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.views import (
    InfoView,
    ItemView,
    LimitsView,
    ProgressView,
    QuestionView,
    ResultView,
    RunView,
    UsageView,
    WorkflowView,
)

PAGE: Final = Path(blazen_trio.__file__).parent / "websocket" / "server" / "console.html"
WINDOW: Final = 5_000
BATCH: Final = 200
BYTES_MAX: Final = 4 * 1024**2


def policy(page: bytes, host: str) -> str:
    """What the page may do: run its one script, show its one style, speak with this server. Nothing else."""

    def allowed(tag: bytes) -> str:
        (content,) = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"

    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {allowed(b'script')}",
            f"style-src {allowed(b'style')}",
            "img-src data:",
            f"connect-src 'self' ws://{host} wss://{host}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


@attrs.define
class FakeServer:
    """A server that can be taken away and come back at the same port."""

    engine: Engine
    token: str | None
    nursery: trio.Nursery
    port: int = 0
    scope: trio.CancelScope | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def open(self) -> None:
        self.scope = trio.CancelScope()
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        self.nursery.start_soon(self._serve, listeners, self.scope)

    async def _serve(self, listeners: list[trio.SocketListener], scope: trio.CancelScope) -> None:
        with scope:
            await trio.serve_listeners(partial(_serve_stream, self), listeners)

    def close(self) -> None:
        """Go away without a word: every connection is cut."""
        assert self.scope is not None
        self.scope.cancel()


@asynccontextmanager
async def open_fake_server(engine: Engine, token: str | None = None) -> AsyncIterator[FakeServer]:
    async with trio.open_nursery() as nursery:
        server = FakeServer(engine, token, nursery)
        await server.open()
        yield server
        nursery.cancel_scope.cancel()


# --- HTTP -------------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Begun(trio.abc.Stream):
    """A stream of which something was read already."""

    stream: trio.SocketStream
    read: bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.read:
            data, self.read = self.read, b""
            return data
        return bytes(await self.stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


async def _serve_stream(server: FakeServer, stream: trio.SocketStream) -> None:
    try:
        head = b""
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some()
            if not data:
                return
            head += data
        if b"upgrade: websocket" in head.lower():
            await _serve_websocket(server, _Begun(stream, head))
        else:
            await _serve_page(server, stream, head)
    except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
        pass


def _is_allowed(server: FakeServer, head: bytes) -> bool:
    token = server.token
    return token is None or any(f"{before}{token}".encode() in head for before in ("Bearer ", "bearer."))


async def _serve_page(server: FakeServer, stream: trio.SocketStream, head: bytes) -> None:
    page = PAGE.read_bytes()
    if head.startswith(b"GET / "):
        fields = "Content-Type: text/html; charset=utf-8\r\n"
        fields += f"Content-Security-Policy: {policy(page, f'127.0.0.1:{server.port}')}\r\n"
        answer = _http("200 OK", fields, page)
    elif head.startswith(b"GET /metrics "):
        answer = _http("200 OK" if _is_allowed(server, head) else "401 Unauthorized", "", b"")
    else:
        answer = _http("404 Not Found", "", b"")
    await stream.send_all(answer)
    await stream.aclose()


def _http(status: str, fields: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def _serve_websocket(server: FakeServer, stream: _Begun) -> None:
    if not _is_allowed(server, stream.read):
        await stream.send_all(_http("401 Unauthorized", "", b""))
        return
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, stream, max_message_size=BYTES_MAX)
        assert m.VERSION in request.proposed_subprotocols
        socket = await request.accept(subprotocol=m.VERSION)
        try:
            await Session(server.engine, socket, nursery).serve()
        finally:
            nursery.cancel_scope.cancel()


# --- The protocol -----------------------------------------------------------------------------------------------------


@attrs.define
class Reader:
    """A subscription: how far its client says it is, and how to end it."""

    seq: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    moved: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Session:
    """One connection."""

    engine: Engine
    socket: WebSocketConnection
    nursery: trio.Nursery
    readers: dict[int, Reader] = attrs.field(factory=dict)

    async def serve(self) -> None:
        limits = LimitsView(message_bytes=BYTES_MAX, window=WINDOW, requests=100)
        await self.send(m.Welcome(version=m.VERSION, library="blazen_trio", node_id="node-1", limits=limits))
        while True:
            message = read_from_client(await self.socket.get_message(), bytes_max=BYTES_MAX)
            if isinstance(message, m.Received):
                if (reader := self.readers.get(message.subscription)) is not None:
                    reader.seq = message.seq
                    reader.moved.set()
            elif isinstance(message, Fault):
                error = ErrorView(type="ProtocolError", message=message.problem)
                await self.send(m.Error(id=message.request_id, error=error))
            else:
                self.nursery.start_soon(self._answer, message)

    async def send(self, message: Any) -> None:
        await self.socket.send_message(encode(message).decode())

    async def _answer(self, request: Any) -> None:
        verb: Callable[[Any], Awaitable[Any]] = getattr(self, m.verb(request))
        try:
            value = await verb(request)
        except (ConnectionClosed, trio.ClosedResourceError):
            return
        except Exception as error:
            await self._try_send(m.Error(id=request.id, error=write_error(error)))
        else:
            await self._try_send(m.Ok(id=request.id, value=value))

    async def _try_send(self, message: Any) -> None:
        try:
            await self.send(message)
        except ConnectionClosed:
            return

    async def _view(self, run_id: str) -> RunView:
        return run_view(await self.engine.get(run_id))

    async def start(self, request: m.Start) -> RunView:
        codec = self.engine.workflow(request.workflow).codec
        run = await self.engine.start(request.workflow, codec.event_from_plain(request.event.plain()), request.run_id)
        return run_view(run)

    async def get(self, request: m.Get) -> RunView:
        return await self._view(request.run_id)

    async def runs(self, request: m.Runs) -> list[InfoView]:
        found = await self.engine.runs(
            status=request.status, workflow=request.workflow, limit=request.limit, after=request.after
        )
        return [_info(each) for each in found]

    async def info(self, request: m.Info) -> InfoView:
        return _info(await (await self.engine.get(request.run_id)).info())

    async def respond_to_input(self, request: m.RespondToInput) -> RunView:
        await self.engine.respond_to_input(request.run_id, request.request_id, request.response)
        return await self._view(request.run_id)

    async def send_event(self, request: m.SendEvent) -> RunView:
        run = await self.engine.get(request.run_id)
        await run.send_event(run.workflow.codec.event_from_plain(request.event.plain()))
        return await self._view(request.run_id)

    async def pause(self, request: m.Pause) -> RunView:
        await self.engine.pause(request.run_id, interrupt=request.interrupt)
        return await self._view(request.run_id)

    async def resume(self, request: m.Resume) -> RunView:
        await self.engine.resume(request.run_id)
        return await self._view(request.run_id)

    async def abort(self, request: m.Abort) -> RunView:
        await self.engine.abort(request.run_id, request.reason)
        return await self._view(request.run_id)

    async def delete(self, request: m.Delete) -> None:
        await self.engine.delete(request.run_id)

    async def result(self, request: m.Result) -> ResultView:
        run = await self.engine.get(request.run_id)
        result = await run.result()
        plain = run.workflow.codec.event_to_plain(result.event)
        return ResultView(run=run_view(run), event=_event(plain))

    async def workflows(self, request: m.Workflows) -> list[WorkflowView]:
        return [WorkflowView.of(each.describe()) for each in self.engine.workflows.values()]

    async def subscribe(self, request: m.Subscribe) -> None:
        run = await self.engine.get(request.run_id)
        reader = self.readers[request.id] = Reader(request.after)
        self.nursery.start_soon(self._deliver, run, request, reader)

    async def unsubscribe(self, request: m.Unsubscribe) -> None:
        reader = self.readers.pop(request.subscription, None)
        if reader is not None:
            reader.scope.cancel()

    async def _deliver(self, run: EngineRun, request: m.Subscribe, reader: Reader) -> None:
        window = min(request.window or WINDOW, WINDOW)
        try:
            with reader.scope:
                async with trio.open_nursery() as nursery, run.stream_events(request.after) as events:
                    nursery.start_soon(self._watch, run)
                    envelopes = events.envelopes()
                    is_over = False
                    while not is_over:
                        items, is_over = await _some(envelopes)
                        while items and items[-1].seq - reader.seq > window:
                            reader.moved = trio.Event()
                            await reader.moved.wait()
                        if items:
                            views = [encode_item(_item(run, each)) for each in items]
                            text = events_message(request.id, items[-1].seq, views).decode()
                            await self.socket.send_message(text)
                    nursery.cancel_scope.cancel()
                await self.send(m.Run(run=run_view(await self.engine.get(run.run_id))))
                await self.send(m.Ended(subscription=request.id))
        except* ConnectionClosed:
            pass

    async def _watch(self, run: EngineRun) -> None:
        told: Any = None
        while True:
            view = run_view(run)
            if told != (view.status, view.questions):
                told = (view.status, view.questions)
                await self.send(m.Run(run=view))
            await trio.sleep(0.05)


async def _some(envelopes: Any) -> tuple[list[Any], bool]:
    """What is there of the next items, and whether it was the end."""
    items: list[Any] = []
    try:
        items.append(await envelopes.receive())
        with trio.move_on_after(0.005):
            while len(items) < BATCH:
                items.append(await envelopes.receive())
    except trio.EndOfChannel:
        return items, True
    return items, False


def _event(plain: dict[str, Any]) -> EventData:
    return EventData(plain["event_type"], plain["data"])


def _item(run: EngineRun, item: Any) -> ItemView:
    if type(item.event) is blazen_trio.StreamGap:
        event = EventData("StreamGap", {"missed": item.event.missed})
    else:
        event = _event(run.workflow.codec.event_to_plain(item.event))
    return ItemView(item.seq, item.timestamp, event, item.source_step)


def _info(info: Any) -> InfoView:
    return InfoView(
        run_id=info.run_id,
        workflow=info.workflow_name,
        status=info.status,
        created=info.created,
        updated=info.updated,
        questions=[QuestionView.of(each) for each in info.pending_inputs],
        error=info.error,
    )


def run_view(run: EngineRun) -> RunView:
    """What the server knows of a run."""
    held = run._engine.held.get(run.run_id)
    state = None if held is None else held.seen.state
    running = Counter(call.step_name for call in state.running) if state is not None else {}
    return RunView(
        run_id=run.run_id,
        workflow=run.workflow.name,
        status=run.status,
        questions=[QuestionView.of(each) for each in run.pending_inputs],
        usage=UsageView.of(run.usage_total),
        cost_usd=run.cost_total_usd,
        progress=None if run.progress is None else ProgressView.of(run.progress),
        running=dict(running) if run.status in {RunStatus.RUNNING, RunStatus.AWAITING_INPUT} else {},
    )
