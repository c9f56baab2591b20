"""The server on real sockets: options, addresses, TLS, accept, leaving the block."""

import errno
import os
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import open_websocket

from blazen_trio.websocket import WebsocketLimits, WebsocketServer, open_websocket_server
from blazen_trio.websocket.server import Connection, SessionLike, text_frame
from blazen_trio.websocket.server.listening import PatientListener, open_reception
from blazen_trio.websocket.server.server import ServerOptions
from tests.websocket.castle import open_castle
from tests.websocket.clients import CLOSE, PING, TEXT, Client, Echo, Idle, alone, doorkeeper, is_alive, masked, request

PEM = Path(__file__).with_name("localhost.pem")
ANY: Any = None


@asynccontextmanager
async def open_server(
    session=Echo, host: str | None = "127.0.0.1", ssl_context: ssl.SSLContext | None = None, **limits: Any
) -> AsyncGenerator[WebsocketServer, None]:
    server = WebsocketServer(ANY, doorkeeper(), alone(session), ServerOptions(limits=WebsocketLimits(**limits)))
    async with open_reception(server, host, 0, ssl_context):
        yield server


_dialled: list[trio.SocketStream] = []


@pytest.fixture(autouse=True)
def _hang_up():
    yield
    while _dialled:
        if (number := _dialled.pop().socket.detach()) != -1:
            os.close(number)  # Trio is no longer there


async def dial(server: WebsocketServer, host: str = "127.0.0.1") -> Client:
    _dialled.append(await trio.open_tcp_stream(host, server.port))
    return Client(_dialled[-1])


async def guest(server: WebsocketServer) -> Client:
    client = await dial(server)
    await client.shake_hands()
    return client


async def settle(server: WebsocketServer, streams: int = 0) -> None:
    """Wait until no more than so many streams are left."""
    with trio.fail_after(5):
        while server.statistics()["streams"] > streams:  # noqa: ASYNC110 - they end in many ways
            await trio.sleep(0.005)


# --- Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [None, "0.0.0.0", "::", "192.0.2.1", "example.com", ""])  # noqa: S104 - the subject
async def test_strangers_are_not_let_in_by_mistake(host):
    with pytest.raises(ValueError, match="give it a token= or authorize="):
        open_websocket_server(ANY, host, 0)


@pytest.mark.parametrize("options", [{"limits": None}, {"limits": {"requests": 1}}, {"authorize": True}])
async def test_options_of_another_type_are_refused_at_once(options):
    with pytest.raises(TypeError, match=next(iter(options))):
        open_websocket_server(ANY, port=0, **options)


@pytest.mark.parametrize("options", [{"token": ""}, {"token": "a b"}, {"origins": "http://a"}, {"hosts": ["a:1"]}])
async def test_bad_options_are_refused_at_once(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        open_websocket_server(ANY, port=0, **options)


@pytest.mark.parametrize(
    "limits", [{"send": 0}, {"ping": float("nan")}, {"fragments": 0}, {"inbox": 1.5}, {"close": True}]
)
def test_limits_are_numbers_that_bound_something(limits):
    with pytest.raises(ValueError, match=next(iter(limits))):
        WebsocketLimits(**limits)


@pytest.mark.parametrize("port", [-1, 65_536, 99_999, True, "8765", 1.5, None])
async def test_what_is_no_port_is_refused(port):
    with pytest.raises(ValueError, match="port= must be"):
        async with open_websocket_server(ANY, port=port):
            pass


async def test_a_port_that_is_taken_is_an_error():
    async with open_websocket_server(ANY, port=0) as server:
        with pytest.raises(OSError, match="in use"):
            async with open_websocket_server(ANY, port=server.port):
                pass


async def test_with_a_token_it_may_listen_everywhere_on_one_port():
    async with open_websocket_server(ANY, None, 0, token="t") as server:
        assert {port for _, port in server.addresses} == {server.port}


async def test_localhost_is_all_loopback_addresses_on_one_port():
    async with open_server(host="localhost", close=0.1) as server:
        for host, _ in server.addresses:
            client = await dial(server, host)
            await client.shake_hands()
            assert await is_alive(client)


# --- Clients ----------------------------------------------------------------------------------------------------------


async def test_a_client_of_the_library_is_served():
    async with (
        open_server() as server,
        open_websocket("127.0.0.1", server.port, "/", use_ssl=False, subprotocols=["blazen.v1"]) as websocket,
    ):
        assert websocket.subprotocol == "blazen.v1"
        await websocket.send_message("grüße" * 30_000)
        assert await websocket.get_message() == "grüße" * 30_000
        await websocket.ping(b"there?")


async def test_tls_is_spoken():
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(PEM)
    client_side = ssl.create_default_context(cafile=str(PEM))
    async with open_server(ssl_context=server_side) as server:
        async with open_websocket(
            "localhost", server.port, "/", use_ssl=client_side, subprotocols=["blazen.v1"]
        ) as websocket:
            await websocket.send_message("hello" * 100_000)
            assert await websocket.get_message() == "hello" * 100_000
            assert next(iter(server.connections.values())).remote.startswith("127.0.0.1:")
        plain = await dial(server)
        await plain.say(request())
        await plain.rest()
        garbage = await dial(server)
        await garbage.say(b"\x16\x03\x01\xff\xff" + b"\xff" * 1_000)
        await garbage.rest()
        cut = await dial(server)
        await cut.say(b"\x16\x03\x01")
        await cut.stream.aclose()
        await settle(server)
        assert server.statistics()["errors"] == 0


async def test_a_tls_handshake_has_the_same_deadline():
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(PEM)
    async with open_server(ssl_context=server_side, handshake=0.1) as server:
        assert await (await dial(server)).rest() == b""
        assert server.statistics()["refused"] == {"timeout": 1}


async def test_hostile_bytes_on_real_sockets_harm_nobody():
    async with open_server(close=0.1) as server:
        other = await guest(server)
        for data in (b"\xff" * 5_000, request() + masked(TEXT, b"x"), request(Host="h\xf6st")):
            client = await dial(server)
            await client.say(data)
            assert b" 101 " not in await client.rest()
        for data in (masked(3), masked(TEXT, b"\xff"), masked(PING) * 300, masked(CLOSE) + masked(PING)):
            client = await guest(server)
            await client.say(data)
            assert await client.end() != 1006
        assert await is_alive(other)
        await settle(server, 1)


async def test_resets_at_any_time_harm_nobody():
    async with open_server(close=0.1) as server:
        other = await guest(server)
        for data in (b"", b"GET", request(), request() + b"\x81"):
            client = await dial(server)
            await client.say(data)
            assert isinstance(client.stream, trio.SocketStream)
            client.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
            await client.stream.aclose()  # with a reset
        assert await is_alive(other)
        await settle(server, 1)
        assert server.statistics()["errors"] == 0


async def test_a_thousand_connect_and_close():
    async with open_server() as server:
        other = await guest(server)
        limiter = trio.CapacityLimiter(50)

        async def come_and_go() -> None:
            async with limiter:
                await (await dial(server)).stream.aclose()

        async with trio.open_nursery() as nursery:
            for _ in range(1_000):
                nursery.start_soon(come_and_go)
        assert await is_alive(other)
        with trio.fail_after(20):
            while server.statistics()["refused"] != {"left": 1_000}:  # noqa: ASYNC110 - they come one by one
                await trio.sleep(0.01)
        await settle(server, 1)


class Flooding(Idle):
    """Sends as much as goes, until it does not."""

    async def open(self) -> None:
        self.connection.nursery.start_soon(self._flood)

    async def _flood(self) -> None:
        long = text_frame(b"x" * 60_000)
        while True:
            await self.connection.send_frame(long)


async def test_a_full_socket_gets_the_rest_of_a_frame_and_then_the_deadline():
    async with open_server(
        lambda connection: (Flooding if connection.number == 1 else Echo)(connection), send=0.3
    ) as server:
        client = await guest(server)
        other = await guest(server)
        for _ in range(500):
            assert await client.frame() == (TEXT, b"x" * 60_000)
        assert await is_alive(other)
        await settle(server, 1)  # now that nobody reads
        while (got := await client.frame())[0] == TEXT:
            assert got[1] == b"x" * 60_000
        assert got == (-1, b"")


# --- Accept -----------------------------------------------------------------------------------------------------------


class Unlucky(trio.abc.Listener[trio.abc.Stream]):
    """Fails a few times in every way that a system knows."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.numbers:
            number = self.numbers.pop()
            raise OSError(number, errno.errorcode[number])
        return memory_stream_pair()[0]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_errors_of_accept_do_not_end_the_server(autojump_clock, caplog):
    listener = PatientListener(Unlucky(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EPERM, errno.EINVAL, errno.EIO))
    assert isinstance(await listener.accept(), trio.abc.Stream)
    assert trio.current_time() == pytest.approx(0.6)
    assert len(caplog.records) == 1


# --- Leaving the block ------------------------------------------------------------------------------------------------


async def test_leaving_closes_all_connections_with_1001(autojump_clock):
    async with open_server() as server:
        guests = [await guest(server) for _ in range(20)]
        begun = trio.current_time()
        for each in guests:
            await each.say(masked(CLOSE, b"\x03\xe9"))  # the answer, as if it had crossed the question
    assert trio.current_time() - begun < 0.5
    for each in guests:
        assert await each.end() == 1001
    assert server.statistics()["closed"] == {"1001": 20}
    with pytest.raises(OSError, match="connect"):
        await dial(server)


async def test_who_does_not_answer_is_left_after_the_deadline(autojump_clock):
    async with open_server() as server:
        clients = [await guest(server) for _ in range(10)]
        dial_only = await dial(server)
        await wait_all_tasks_blocked()
        begun = trio.current_time()
    assert trio.current_time() - begun <= 2.5
    for client in clients:
        assert await client.end() == 1001
    assert await dial_only.rest() == b""


async def test_what_the_block_raises_comes_out_as_it_is():
    with pytest.raises(KeyError, match="mine"):
        async with open_server(close=0.1) as server:
            await guest(server)
            raise KeyError("mine")


async def test_a_cancelled_block_says_goodbye_too():
    with trio.CancelScope() as scope:
        async with open_server(close=0.2) as server:
            client = await guest(server)
            scope.cancel()
            await trio.sleep_forever()
    assert await client.end() == 1001


async def test_a_session_that_begins_something_at_the_end_holds_nobody(autojump_clock):
    class Stubborn(Echo):
        async def open(self) -> None:
            self.connection.nursery.start_soon(self._stay)

        async def _stay(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

    def session(connection: Connection) -> SessionLike:
        return Stubborn(connection)

    async with open_server(session) as server:
        await guest(server)
        begun = trio.current_time()
    assert trio.current_time() - begun < 3


async def test_a_server_whose_clients_say_goodbye_is_closed_at_that_moment(autojump_clock):
    async with open_castle() as castle:
        guests = [await castle.guest() for _ in range(3)]
        left_at = trio.current_time()
        castle.server.close_all()
        await castle.server.wait_empty()
        assert trio.current_time() == left_at
        assert [await each.closed() for each in guests] == [1001] * 3
