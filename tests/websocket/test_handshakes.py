"""Handshakes: good ones, hostile ones, slow ones. After each the server lives, and another client notices nothing.

The hostile ones come while a session of another client is idle, streams, is slow, or closes: each is served on as if
nobody else were there, to the millisecond.
"""

from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blazen_trio.websocket import WebsocketLimits
from tests.websocket.clients import KEY, SESSIONS, TEXT, TOKEN, Client, House, is_alive, masked, open_house, request

BAD_BYTES = {
    "nothing": b"",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "zeros": b"\0" * 100,
    "0xff": b"\xff" * 100,
    "a frame": masked(TEXT, b"hello"),
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "smtp": b"EHLO there\r\n\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n\r\n",
    "empty head": b"\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "http/0.9": b"GET / HTTP/0.9\r\nHost: localhost\r\n\r\n",
    "http/3": request(line="GET / HTTP/3.0"),
    "bare lf": request().replace(b"\r\n", b"\n"),
    "bare cr": request(Host="localhost\rX: y"),
    "folded": request(Host="localhost\r\n .evil"),
    "nul": request(Host="local\0host"),
    "non-ascii host": request(Host="h\xf6st"),
    "non-ascii connection": request(Connection="Upgr\xe4de"),
    "non-ascii protocol": request(Sec_WebSocket_Protocol="blazen.v1\xff"),
    "non-ascii extensions": request(Sec_WebSocket_Extensions="permessage\xff"),
    "non-ascii token": request(Authorization="Bearer \xe4\xf6"),
    "non-ascii target": request(line="GET /\xff HTTP/1.1"),
    "non-ascii name": request(more=("X-\xe4: y",)),
    "space before colon": request(more=("X : y",)),
    "no colon": request(more=("X",)),
    "empty name": request(more=(": y",)),
    "two hosts": request(more=("Host: localhost",)),
    "no host": request(without="Host"),
    "empty host": request(Host=""),
    "host with user": request(Host="a@localhost"),
    "host with port of text": request(Host="localhost:http"),
    "hosts in a list": request(Host="localhost,evil"),
    "two keys": request(more=(f"Sec-WebSocket-Key: {KEY}",)),
    "no key": request(without="Sec-WebSocket-Key"),
    "empty key": request(Sec_WebSocket_Key=""),
    "short key": request(Sec_WebSocket_Key="AAAA"),
    "long key": request(Sec_WebSocket_Key="A" * 32),
    "key of no base64": request(Sec_WebSocket_Key="!" * 24),
    "two versions": request(more=("Sec-WebSocket-Version: 13",)),
    "post": request(line="POST / HTTP/1.1"),
    "head": request(line="HEAD / HTTP/1.1"),
    "lower case": request(line="get / HTTP/1.1"),
    "connect": request(line="CONNECT / HTTP/1.1"),
    "http/1.0": request(line="GET / HTTP/1.0"),
    "no connection": request(without="Connection"),
    "connection closes": request(Connection="close"),
    "upgrade to more": request(Upgrade="websocket, h2c"),
    "no upgrade": request(without="Upgrade"),
    "body": request(Content_Length="5") + b"hello",
    "promised body": request(Content_Length="5"),
    "chunks": request(Transfer_Encoding="chunked") + b"0\r\n\r\n",
    "two lengths": request(more=("Content-Length: 0", "Content-Length: 1")),
    "huge length": request(Content_Length="9" * 30),
    "glued frame": request() + masked(TEXT, b"too early"),
    "glued ping": request() + masked(0x9),
    "glued byte": request() + b"\x81",
    "glued 10 MB": request() + b"\0" * 10_000_000,
    "glued request": request() + request(),
    "no subprotocol": request(without="Sec-WebSocket-Protocol"),
    "subprotocol of others": request(Sec_WebSocket_Protocol="graphql-ws"),
    "next version": request(Sec_WebSocket_Protocol="blazen.v2"),
    "upper case version": request(Sec_WebSocket_Protocol="BLAZEN.V1"),
    "two tokens": request(Sec_WebSocket_Protocol="blazen.v1, bearer.a, bearer.b"),
    "two authorizations": request(more=("Authorization: Bearer a", "Authorization: Bearer b")),
    "two origins": request(more=("Origin: http://localhost:8765", "Origin: http://localhost:8765")),
}
REFUSED = {
    "version 8": (426, request(Sec_WebSocket_Version="8")),
    "version 14": (426, request(Sec_WebSocket_Version="14")),
    "version 13 and more": (426, request(Sec_WebSocket_Version="13, 8")),
    "no version of websocket": (426, request(without="Sec-WebSocket-Version")),
    "another path": (404, request(line="GET /ws HTTP/1.1")),
    "whole url": (404, request(line="GET http://localhost/ HTTP/1.1")),
    "asterisk": (404, request(line="GET * HTTP/1.1")),
    "rebinding": (421, request(Host="evil.example:8765")),
    "rebinding with an origin": (421, request(Host="evil.example", Origin="http://evil.example")),
    "number for an address": (421, request(Host="2130706433")),
    "foreign page": (403, request(Origin="https://evil.example")),
    "sandboxed page": (403, request(Origin="null")),
    "page of another port": (403, request(Origin="http://localhost:1")),
    "long head": (431, request(more=("X: " + "x" * 17_000,))),
    "many headers": (431, request(more=tuple(f"X-{n}: y" for n in range(3_000)))),
    "endless line": (431, b"GET /" + b"x" * 20_000),
    "endless header": (431, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000),
}


async def hurt(house: House, data: bytes) -> tuple[int, bytes]:
    """What a client gets that sends this and no more: the status and all bytes, 0 if nothing comes."""
    client = house.client()
    with suppress(trio.BrokenResourceError):  # the server has had enough
        await client.say(data)
    if not data:
        await client.stream.aclose()
        return 0, b""
    rest = await client.rest()
    return int(rest.split(b" ", 2)[1]) if rest else 0, rest


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("name", [*BAD_BYTES, *REFUSED])
async def test_a_hostile_handshake_is_refused_and_harms_nobody(autojump_clock, name, kind):
    data = BAD_BYTES.get(name) or REFUSED.get(name, (0, b""))[1]
    async with open_house(SESSIONS[kind]) as house:
        witness = await house.witness(kind)
        got, text = await hurt(house, data)
        assert got == (REFUSED[name][0] if name in REFUSED else 400 if data else 0)
        assert b"101" not in text.split(b"\r\n")[0]
        assert trio.current_time() <= 8
        await trio.sleep(3.05)
        await witness.check()
        assert house.is_quiet(0 if kind == "closing" else 1)
        assert house.server.statistics()["errors"] == 0


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("name", [*BAD_BYTES, *REFUSED])
async def test_a_hostile_handshake_may_also_end_early_or_drip(autojump_clock, name, kind):
    data = (BAD_BYTES.get(name) or REFUSED.get(name, (0, b""))[1])[:2_000]
    async with open_house(SESSIONS[kind]) as house:
        witness = await house.witness(kind)
        for size in (1, len(data) // 2, max(0, len(data) - 1)):
            gone = house.client()
            await gone.say(data[:size])
            await gone.stream.aclose()
        drip = house.client()
        for begin in range(0, len(data), 50):
            await drip.say(data[begin : begin + 50])
            await wait_all_tasks_blocked()
        await drip.stream.aclose()
        await wait_all_tasks_blocked()
        await trio.sleep(8.05)
        await witness.check()
        assert house.is_quiet(0 if kind == "closing" else 1)
        assert house.server.statistics()["errors"] == 0


async def test_a_good_handshake_names_the_version_and_nothing_else(autojump_clock):
    async with open_house() as house:
        client = house.client()
        await client.say(request(Sec_WebSocket_Extensions="permessage-deflate", Sec_WebSocket_Protocol="x, blazen.v1"))
        status, head = await client.answer()
        assert status == 101
        assert "sec-websocket-protocol: blazen.v1" in head.lower()
        assert "extensions" not in head.lower()
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, 1.3
        assert await is_alive(client)


async def test_the_head_may_come_in_pieces(autojump_clock):
    async with open_house() as house:
        client = house.client()
        for byte in request():
            await client.say(bytes([byte]))
            await trio.sleep(0.01)
        assert (await client.answer())[0] == 101


async def test_slowloris_has_five_seconds_in_all(autojump_clock):
    async with open_house() as house:
        other = await house.guest()
        clients = [house.client() for _ in range(100)]
        for number in range(8):
            for client in clients:
                try:
                    await client.say(request()[number : number + 1])
                except trio.BrokenResourceError:
                    assert trio.current_time() >= 5
            await trio.sleep(1)
        assert house.is_quiet(1)
        assert house.server.statistics()["refused"] == {"timeout": 100}
        assert await is_alive(other)


async def test_who_never_says_anything_is_gone_after_five_seconds(autojump_clock):
    async with open_house() as house:
        assert await house.client().rest() == b""
        assert trio.current_time() == pytest.approx(5)
        assert house.is_quiet()


async def test_half_a_head_and_half_closed_is_gone_at_once(autojump_clock):
    async with open_house() as house:
        client = house.client()
        await client.say(request()[:40])
        assert isinstance(client.stream, trio.StapledStream)
        await client.stream.send_eof()
        assert await client.rest() == b""
        assert trio.current_time() == 0


async def test_who_gets_an_answer_and_stays_is_gone_after_two_seconds(autojump_clock):
    async with open_house() as house:
        client = house.client()
        await client.say(b"hello\r\n\r\n")
        await client.rest()
        assert trio.current_time() == pytest.approx(2)
        assert house.is_quiet()


async def test_without_the_token_nobody_comes_in_and_learns_nothing(autojump_clock):
    async with open_house(token=TOKEN.encode()) as house:
        _, wrong = await hurt(house, request(Authorization="Bearer wrong"))
        _, missing = await hurt(house, request(without="Sec-WebSocket-Protocol"))
        assert wrong == missing
        assert wrong.startswith(b"HTTP/1.1 401 ")
        assert b"blazen" not in wrong
        client = house.client()
        await client.shake_hands(request(Sec_WebSocket_Protocol=f"bearer.{TOKEN}, blazen.v1"))
        assert await is_alive(client)


async def page(house: House, target: str, *more: str, method: str = "GET", host: str = "localhost") -> bytes:
    head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *more, "", ""])
    return (await hurt(house, head.encode()))[1]


async def test_the_console_page_is_a_shell_that_anybody_may_have_who_knows_the_name(autojump_clock):
    async with open_house(token=TOKEN.encode()) as house:
        text = await page(house, "/")
        assert text.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Security-Policy: default-src 'none'; " in text
        assert b"frame-ancestors 'none'" in text
        assert b"nosniff" in text
        assert b"'unsafe-inline'" not in text.split(b"\r\n\r\n")[0]
        assert b"<!doctype html>" in text
        assert (await page(house, "/", method="HEAD")).endswith(b"\r\n\r\n")
        assert (await page(house, "/", host="evil.example")).startswith(b"HTTP/1.1 421 ")


async def test_health_says_only_that(autojump_clock):
    async with open_house(token=TOKEN.encode()) as house:
        assert (await page(house, "/health")).endswith(b'\r\n\r\n{"status":"ok"}')
        assert (await page(house, "/health", host="evil.example")).startswith(b"HTTP/1.1 421 ")


async def test_metrics_need_the_token(autojump_clock):
    async with open_house(token=TOKEN.encode()) as house:
        assert (await page(house, "/metrics")).startswith(b"HTTP/1.1 401 ")
        text = await page(house, "/metrics", f"Authorization: Bearer {TOKEN}")
        assert (
            b"\n# TYPE blazen_trio_websocket_connections gauge\nblazen_trio_websocket_connections 0\n" in b"\n" + text
        )
        assert (
            b'\n# TYPE blazen_trio_websocket_refused_total counter\nblazen_trio_websocket_refused_total{by="401"} 1\n'
            in text
        )
        assert b"\nblazen_trio_engine_held 3\n" in text
        assert b"\nblazen_trio_engine_finished_total 7\n" in text


async def test_metrics_of_a_server_for_this_machine_alone_need_none(autojump_clock):
    async with open_house() as house:
        assert (await page(house, "/metrics")).startswith(b"HTTP/1.1 200 ")


async def test_with_a_hook_and_no_token_nobody_gets_the_metrics(autojump_clock):
    async with open_house(is_open=False) as house:
        assert (await page(house, "/metrics")).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [("/nowhere", "GET", 404), ("/../etc/passwd", "GET", 404), ("/", "POST", 405), ("/health", "DELETE", 405)],
)
async def test_other_pages_and_methods_are_not_there(autojump_clock, target, method, status):
    async with open_house() as house:
        text = await page(house, target, method=method)
        assert text.startswith(b"HTTP/1.1 %d " % status)
        assert (b"Allow: GET, HEAD" in text) == (status == 405)


async def test_a_client_that_does_not_read_its_page_is_gone_after_the_deadline(autojump_clock):
    async with open_house(limits=WebsocketLimits(send=1.0)) as house:
        near, far = trio.testing.lockstep_stream_pair()
        house.nursery.start_soon(house.server.serve, far)
        await Client(near).say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await trio.sleep(1.1)
        assert house.is_quiet()
