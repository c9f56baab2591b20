"""A client opens: what it refuses at once, and what it says when there is no connection."""

import re
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from blazen_trio import PeerError
from blazen_trio.websocket.client import open_websocket_client, wire
from blazen_trio.websocket.client.backoff import FIRST_S, JITTER, LONGEST_S, STEADY_S, Backoff
from blazen_trio.websocket.client.dialling import Address, DialError
from blazen_trio.websocket.client.knowledge import Knowledge
from blazen_trio.websocket.protocol import encode
from blazen_trio.websocket.protocol.messages import Ok, Welcome
from tests.websocket.dialled import dialled
from tests.websocket.fake_server import LIMITS, FakeServer
from tests.websocket.stories import Mark, noting, scene

REFUSALS = [
    (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nwrong", "status 401 .wrong.: .*token="),
    (b"HTTP/1.1 403 Forbidden\r\n\r\nno", "status 403 .no.: .*not allowed"),
    (b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\nblazen.v9", "status 400 .blazen.v9.: .*blazen.v1"),
    (b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n", "status 503: .*too many"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage", "status 200 .page."),
    (b"HTTP/1.1 421 Misdirected\r\n\r\n", "status 421: .*host name"),
    (b"HTTP/1.1 500 \r\nContent-Length: 99999\r\n\r\n\x1b[2Jred", r"status 500 .\[2Jred."),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "no websocket|closed"),
    (b"HTTP/1.1 101 Switching\r\n\r\n", "no websocket|closed"),
    (b"HTTP/1.1 101 \xff\xfe\r\nUpgrade: \xe4\r\n\r\n", "no websocket|closed"),
    (b"\x15\x03\x03\x00\x02\x02\x46", "no websocket|closed"),
    (b"", "closed the connection"),
]


# --- Arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "host:8765",
        "",
        "ws://",
        "ws://:8765",
        "ws://me:secret@host",
        "ws://secret@host",
        "ws://host/?token=secret",
        "ws://host/?",
        "ws://host/#here",
        "ws://host:port",
        "ws://host:99999",
        "ws://host:0/",
        "ws://[::1",
        "ws://höst",
        "ws://host/a b",
        "ws://host/\r\nX: y",
    ],
)
def test_a_url_that_is_none_or_tells_secrets_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"url|URL") as caught:
        open_websocket_client(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"token": 5}, TypeError),
        ({"token": ""}, ValueError),
        ({"token": "a b"}, ValueError),
        ({"token": "a\r\nX: y"}, ValueError),
        ({"token": "ä"}, ValueError),
        ({"patience": 0}, ValueError),
        ({"patience": float("nan")}, ValueError),
        ({"patience": "long"}, TypeError),
        ({"window": 0}, ValueError),
        ({"window": 1.5}, TypeError),
        ({"message_bytes": 0}, ValueError),
        ({"ssl_context": True}, TypeError),
        ({"ssl_context": ssl.create_default_context()}, ValueError),
        ({"workflows": ["noting"]}, TypeError),
        ({"workflows": [noting, type(noting)("noting", noting.steps)]}, ValueError),
    ],
)
def test_bad_arguments_are_refused_before_anything_happens(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        open_websocket_client("ws://host", **options)


def test_a_url_that_is_no_text_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        open_websocket_client(b"ws://host")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "header"),
    [
        ("ws://host", "host", 80, "/", "host"),
        ("wss://host", "host", 443, "/", "host"),
        ("ws://127.0.0.1:8765/", "127.0.0.1", 8765, "/", "127.0.0.1:8765"),
        ("wss://[::1]:443/x", "::1", 443, "/x", "[::1]"),
        ("ws://[::1]:8765", "::1", 8765, "/", "[::1]:8765"),
    ],
)
def test_a_url_says_where_the_server_is(url: str, host: str, port: int, path: str, header: str) -> None:
    address = Address.of(url)
    assert (address.host, address.port, address.path, address.host_header) == (host, port, path, header)
    assert address.is_secure == url.startswith("wss")


# --- The first connection ---------------------------------------------------------------------------------------------


def raw(answer: bytes, *, is_closed: bool) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """Dials a server that says just this, and then closes or is silent."""

    async def dial() -> trio.abc.Stream:
        client, server = memory_stream_pair()
        await server.send_all(answer)
        if is_closed:
            await server.send_eof()
        kept.append(server)
        return client

    kept: list[object] = []
    return dial


async def problem_of(dial: Callable[[], Awaitable[trio.abc.Stream]], **options: Any) -> str:
    """What a client says that cannot connect."""
    begun = trio.current_time()
    with pytest.raises(PeerError) as caught:
        async with dialled(dial, **options):
            raise AssertionError("it opened")
    assert trio.current_time() - begun <= 5
    assert caught.value.peer == "ws://server"
    return caught.value.problem


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize(("answer", "problem"), REFUSALS)
async def test_a_refusal_says_why_and_what_to_do(
    answer: bytes, problem: str, is_closed: bool, autojump_clock: MockClock
) -> None:
    said = await problem_of(raw(answer, is_closed=is_closed))
    expected = problem if is_closed or "status" in problem else f"{problem}|no answer to the handshake within 5 s"
    assert re.search(expected, said), said
    assert "\x1b" not in said


async def test_a_server_that_takes_nothing_at_all(autojump_clock: MockClock) -> None:
    async def dial() -> trio.abc.Stream:
        client, server = memory_stream_pair()
        await server.aclose()
        return client

    assert "closed the connection" in await problem_of(dial)


async def test_a_dial_that_fails_or_hangs(autojump_clock: MockClock) -> None:
    async def fail() -> trio.abc.Stream:
        raise DialError("cannot connect: refused")

    async def hang() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    assert await problem_of(fail) == "cannot connect: refused"
    assert "no connection within 5 s" in await problem_of(hang)


@pytest.mark.parametrize(
    ("greeting", "problem"),
    [
        (None, "within 5 s"),
        (encode(Ok(1)), "welcome"),
        (b"{", "welcome"),
        (encode(Welcome("blazen.v9", "fake", "node", LIMITS)), "chose blazen.v1.*blazen.v9"),
    ],
)
async def test_a_server_must_welcome_its_client(greeting: bytes, problem: str, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)
        server.greeting = greeting
        assert re.search(problem, await problem_of(server.dial))
        nursery.cancel_scope.cancel()


async def test_the_version_that_the_server_chose_is_spoken(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "VERSIONS", ("blazen.v2", "blazen.v1"))
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)
        for version in ("blazen.v1", "blazen.v2"):
            server.version, server.greeting = version, encode(Welcome(version, "fake", "node", LIMITS))
            async with dialled(server.dial) as engine:
                assert engine.protocol_version == version
        server.version = "blazen.v1"
        assert "the server chose blazen.v1, and then it speaks 'blazen.v2'" in await problem_of(server.dial)
        nursery.cancel_scope.cancel()


async def test_the_handshake_offers_the_version_and_shows_the_token(autojump_clock: MockClock) -> None:
    client, server = memory_stream_pair()

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return client

    async with trio.open_nursery() as nursery:
        nursery.start_soon(problem_of, dial)
        head = bytes(await server.receive_some())
        await server.aclose()
    assert head.startswith(b"GET / HTTP/1.1\r\n")
    assert b"host: server\r\n" in head.lower()
    assert b"Sec-WebSocket-Protocol: blazen.v1\r\n" in head
    assert b"Authorization" not in head
    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: problem_of(dial, token="s3cret"))
        head = bytes(await server.receive_some())
        await server.aclose()
    assert b"Authorization: Bearer s3cret\r\n" in head


# --- Real sockets -----------------------------------------------------------------------------------------------------


async def free_port() -> int:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = int(listener.socket.getsockname()[1])
    await listener.aclose()
    return port


async def test_nobody_listens_there() -> None:
    with pytest.raises(PeerError, match=r"cannot connect: .*refused.*does the server run"):
        async with open_websocket_client(f"ws://127.0.0.1:{await free_port()}"):
            pass


async def serving(handler, *, context: ssl.SSLContext | None = None, task_status=trio.TASK_STATUS_IGNORED) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    listeners: list[Any] = [listener if context is None else trio.SSLListener(listener, context, https_compatible=True)]
    async with trio.open_nursery() as nursery:
        task_status.started(port)
        nursery.start_soon(trio.serve_listeners, handler, listeners)


async def test_one_that_speaks_no_tls() -> None:
    async def hang_up(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some(10)

    async with trio.open_nursery() as nursery:
        port = await nursery.start(serving, hang_up)
        with pytest.raises(PeerError, match=r"TLS failed.*ssl_context="):
            async with open_websocket_client(f"wss://127.0.0.1:{port}"):
                pass
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that only those trust who are told to, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test"]
    options += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *options, "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


async def test_tls_with_a_certificate_that_is_trusted_and_with_one_that_is_not(certificate: tuple[Path, Path]) -> None:
    serving_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving_context.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)

        async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                return
            await server._serve(stream)

        port = await nursery.start(lambda task_status: serving(serve, context=serving_context, task_status=task_status))
        url = f"wss://127.0.0.1:{port}"
        with pytest.raises(PeerError, match=r"TLS failed.*certificate"):
            async with open_websocket_client(url):
                pass
        async with open_websocket_client(url, ssl_context=trusting) as engine:
            assert (await engine.start("noting")).workflow_name == "noting"
        nursery.cancel_scope.cancel()


# --- Dialling again ---------------------------------------------------------------------------------------------------


def test_pauses_grow_and_are_cut_by_chance_and_begin_anew_after_a_good_connection() -> None:
    backoff = Backoff()
    longest = [min(FIRST_S * 2**number, LONGEST_S) for number in range(12)]
    for each in longest:
        assert each * (1 - JITTER) <= backoff.pause_s() <= each
    backoff.note_held(STEADY_S - 1)
    assert backoff.pause_s() >= LONGEST_S * (1 - JITTER)
    backoff.note_held(STEADY_S)
    assert backoff.pause_s() <= FIRST_S
    assert len({Backoff().pause_s() for _ in range(10)}) > 1


async def test_a_server_that_is_gone_for_an_hour_is_found_again(autojump_clock: MockClock) -> None:
    async with scene() as story:
        await trio.sleep(10)
        story.server.refusals = ["down"] * 100_000
        await story.server.cut()
        await trio.sleep(3_600)
        assert 3_600 / LONGEST_S <= story.server.dials <= 3_600 / LONGEST_S * 2 + 20
        story.server.refusals = []
        await trio.sleep(LONGEST_S)
        assert story.engine.statistics()["connected"]
        assert story.engine.statistics()["reconnects"] == 1


def test_what_is_known_includes_the_workflows_inside() -> None:
    from tests.engine.programs import runs_inside

    outer = runs_inside().workflow
    knowledge = Knowledge([outer])
    names = knowledge.type_names((Mark,), "noting")
    assert names is None  # of an unknown workflow nothing is known
    inner = next(iter(outer.children.values()))
    signal = inner.event_classes["Signal"]
    assert knowledge.type_names((signal,), "outer") == ["Signal"]
