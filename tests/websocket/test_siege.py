"""Clients that read slowly or not at all, and the end of a server with clients of every kind."""

import gc
import ssl
import tracemalloc
from pathlib import Path

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from blazen_trio import RunStatus, open_engine
from blazen_trio.stores import MemoryStore, SqliteStore
from blazen_trio.websocket import WebsocketLimits, open_websocket_server
from tests.budget import BOUNDED_S
from tests.websocket.castle import WORKFLOWS, Castle, Guest, open_castle
from tests.websocket.clients import PING, TEXT, Client, masked, request

PEM = Path(__file__).with_name("localhost.pem")


def holding(castle: Castle) -> Client:
    """A client over a stream that holds nothing: each byte waits for its reader."""
    near, far = lockstep_stream_pair()
    castle.nursery.start_soon(castle.server.serve, far)
    return Client(near)


async def test_a_client_that_subscribes_and_reads_nothing_for_a_minute_holds_up_nobody(autojump_clock, caplog):
    async with open_castle() as castle:
        other, silent = await castle.guest(), holding(castle)
        await castle.engine.start("counting", [600, 1_000, 0.1], run_id="run")
        await silent.shake_hands()
        await silent.frame()
        await silent.say(masked(TEXT, b'{"type":"subscribe","id":1,"run_id":"run"}'))
        assert b'"ok"' in (await silent.frame())[1]
        begun = trio.current_time()
        await other.ask("subscribe", id=1, run_id="run")
        for _ in range(60):
            asked = trio.current_time()
            await other.ask("get", run_id="run")
            assert trio.current_time() - asked < 0.1
            await trio.sleep(1)
            assert castle.server.statistics()["connections"] == (1 if trio.current_time() - begun > 6 else 2) or (
                trio.current_time() - begun < 7
            )
        assert await other.ended(1) is None
        assert other.tally(1) == (601, 0)
        delays = [
            later["timestamp"] - each["timestamp"]
            for each, later in zip(other.items(1), other.items(1)[1:], strict=False)
        ]
        assert len(delays) == 600
        assert castle.server.statistics()["errors"] == 0
    assert not caplog.records


@pytest.mark.parametrize("limits", [WebsocketLimits(), WebsocketLimits(handshake=3.0, send=60.0)])
async def test_who_does_not_even_read_that_he_was_accepted_is_no_error(autojump_clock, caplog, limits):
    async with open_castle(limits=limits) as castle:
        silent = holding(castle)
        await silent.say(request())
        await trio.sleep(6)
        assert castle.is_quiet
    assert not caplog.records


def bytes_held() -> int:
    """By whatever was made since tracing began and can still be reached."""
    gc.collect()  # the state of a run, which is in cycles, stays until then
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize(("verb", "workflow"), [("snapshot", "asking"), ("result", "echoing")])
async def test_who_asks_for_much_and_takes_nothing_costs_one_answer(autojump_clock, verb, workflow):
    async with open_castle(limits=WebsocketLimits(send=60.0)) as castle:
        await castle.engine.start(workflow, list(range(30_000)), run_id="run")
        await trio.sleep(1)
        client = holding(castle)
        await client.shake_hands()
        await client.frame()
        held = []
        tracemalloc.start()
        try:
            for number in range(1, 31):
                await client.say(masked(TEXT, b'{"type":"%s","id":%d,"run_id":"run"}' % (verb.encode(), number)))
                if number in {1, 30}:
                    await trio.sleep(1)
                    held.append(bytes_held())
        finally:
            tracemalloc.stop()
        assert castle.server.statistics()["connections"] == 1
        one, thirty = held
        assert one > 150_000  # the text alone
        assert thirty < 2 * one
        assert b'"ok"' in (await client.frame())[1][:30]


class Trickle:
    """Reads so many bytes at a time from a socket, and rests in between."""

    def __init__(self, client: Client, size: int, rest_s: float) -> None:
        self.client, self.size, self.rest_s = client, size, rest_s
        self.inner = client.stream
        client.stream = self  # type: ignore[assignment]

    async def send_all(self, data: bytes) -> None:
        await self.inner.send_all(data)

    async def receive_some(self, _max: int) -> bytes:
        await trio.sleep(self.rest_s)
        return bytes(await self.inner.receive_some(self.size))


async def test_to_a_slow_reader_on_a_real_socket_what_came_and_what_is_missing_is_all_there_was():
    count = 20_000
    async with open_castle(limits=WebsocketLimits(window=500, window_bytes=200_000)) as castle:
        fast = await castle.guest(await castle.caller())
        caller = await castle.caller()
        slow_socket = caller.stream
        assert isinstance(slow_socket, trio.SocketStream)
        slow_socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 16_384)
        slow = await castle.guest(caller)
        trickle = Trickle(slow.client, 65_536, 0.1)
        run = await castle.engine.start("counting", [count, 300, 0.0], run_id="run")
        await run.pause(interrupt=True)  # else it could be over before anybody reads, and all would come from the store
        for each in (fast, slow):
            await each.ask("subscribe", id=1, run_id="run", window=500)
        await run.resume_in_place()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(acknowledge, fast)
                nursery.start_soon(acknowledge, slow)
                await run.result()
                await fast.ended(1)
                trickle.rest_s = 0.0
                await slow.ended(1)
                nursery.cancel_scope.cancel()
        assert sum(fast.tally(1)) == sum(slow.tally(1)) == count + 1
        assert slow.tally(1)[1] > 0
        seqs = [each["seq"] for each in slow.items(1)]
        assert seqs == sorted(set(seqs))


async def acknowledge(guest: Guest) -> None:
    """Say now and then how far it is."""
    while True:
        await trio.sleep(0.002)
        await guest.received(1, guest.reached.get(1, 0))


# --- TLS --------------------------------------------------------------------------------------------------------------


def tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    return context


async def tls_client(castle: Castle) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_ssl_over_tcp_stream(
        "localhost",
        castle.server.port,
        ssl_context=ssl.create_default_context(cafile=str(PEM)),
        https_compatible=True,
    )
    castle.sockets.append(stream.transport_stream)
    await stream.do_handshake()
    return stream


async def test_tls_in_bad_hands(caplog):
    limits = WebsocketLimits(handshake=1.0, close=0.2, send=1.0, ping=0.5, pong=3.0)  # honest ones need far less
    async with open_castle(ssl_context=tls(), limits=limits) as castle:
        other = await castle.guest(Client(await tls_client(castle)))
        stalled = await castle.caller()  # begins a handshake and stops
        await stalled.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100)
        plain = await castle.caller()
        await plain.say(request())
        await tls_client(castle)  # and says nothing
        half = await tls_client(castle)
        await half.send_all(request()[:50])
        rude = Client(await tls_client(castle))
        await rude.shake_hands()
        assert isinstance(rude.stream, trio.SSLStream)
        await rude.stream.transport_stream.aclose()  # without close_notify
        odd = await castle.guest(Client(await tls_client(castle)))
        assert isinstance(odd.client.stream, trio.SSLStream)
        await odd.client.stream.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + b"\xff" * 32)  # no record of ours
        blocked = Client(await tls_client(castle))
        await blocked.shake_hands()
        await castle.engine.start("counting", [300, 100_000, 0.0], run_id="run")
        await blocked.say(masked(TEXT, b'{"type":"subscribe","id":1,"run_id":"run"}'))
        assert b"HTTP/1.1 1" not in await plain.rest()
        assert await stalled.rest() == b""
        with trio.fail_after(BOUNDED_S):
            while castle.server.statistics()["streams"] > 1:  # noqa: ASYNC110 - they end in many ways
                await trio.sleep(0.02)
        assert (await other.ask("runs"))[0]["run_id"] == "run"
        counts = castle.server.statistics()
        assert (counts["connections"], counts["streams"], counts["errors"]) == (1, 1, 0)
    assert not caplog.records


# --- The end ----------------------------------------------------------------------------------------------------------


async def crowd(castle: Castle) -> dict[str, Guest]:
    """Clients of every kind, and some that are nobody's guests."""
    await castle.engine.start("counting", [10_000, 1_000, 0.01], run_id="run")
    await castle.engine.start("asking", 1, run_id="question")
    guests = {kind: await castle.guest() for kind in ("idle", "streaming", "asking", "waiting for credit", "half")}
    await guests["streaming"].ask("subscribe", id=1, run_id="run")
    await guests["waiting for credit"].ask("subscribe", id=1, run_id="run", window=1)
    for number in range(1, 50):
        await guests["asking"].say("result", id=number, run_id="question")
    await guests["half"].client.say(masked(TEXT, b"x" * 1_000)[:500])
    blocked = holding(castle)
    await blocked.shake_hands()
    await blocked.frame()
    await blocked.say(masked(TEXT, b'{"type":"subscribe","id":1,"run_id":"run"}'))
    await blocked.frame()
    await castle.stranger().say(request()[:30])
    castle.stranger()
    deaf = holding(castle)
    await deaf.say(request())
    pinging = castle.stranger()
    await pinging.shake_hands()
    await pinging.say(masked(PING) * 50)
    return guests


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_leaving_is_quick_whoever_is_there_and_parks_the_runs(store, caplog, tmp_path):
    kept = MemoryStore() if store == "memory" else SqliteStore(tmp_path / "runs.db")
    limits = WebsocketLimits(handshake=60.0, send=60.0, close=0.3, ping=60.0, pong=60.0)
    async with trio.open_nursery() as nursery:
        async with open_engine(kept, WORKFLOWS) as engine:
            async with open_websocket_server(engine, port=0, limits=limits) as server:
                guests = await crowd(Castle(server, engine, nursery))
                await trio.sleep(0.2)
                begun = trio.current_time()
            assert trio.current_time() - begun < BOUNDED_S  # only `close` counts: the next deadline is a minute
            await trio.sleep(0.1)  # those over streams in memory are not in the server's nursery
            assert server.statistics()["connections"] == server.subscriptions == 0
            for kind, each in guests.items():
                assert await each.closed() == 1001, kind
            assert (await engine.get("run")).status is RunStatus.RUNNING
            await engine.abort("run")
            assert (await engine.get("question")).status is RunStatus.AWAITING_INPUT
        nursery.cancel_scope.cancel()
    assert server.statistics()["errors"] == 0
    assert not caplog.records
    if store == "sqlite":
        async with open_engine(SqliteStore(tmp_path / "runs.db"), WORKFLOWS) as engine:
            with trio.fail_after(10):
                run = await engine.get("question")
                while not run.pending_inputs:  # noqa: ASYNC110 - it is claimed by a sweep
                    await trio.sleep(0.05)
                    await run.refresh()
            await run.respond_to_input(run.pending_inputs[0].request_id, "yes")
            assert (await run.result()).result == "yes"


async def test_who_comes_while_it_closes_is_turned_away(autojump_clock):
    codes: list[int] = []

    async def come(client: Client) -> None:
        await trio.sleep(0.5)
        await client.say(request()[40:])
        codes.append((await client.answer())[0])

    async with trio.open_nursery() as nursery:
        async with (
            open_engine(MemoryStore(), WORKFLOWS) as engine,
            open_websocket_server(engine, port=0) as server,
        ):
            castle = Castle(server, engine, nursery)
            await castle.stranger().shake_hands()  # it says no goodbye: the server waits two seconds for that
            early = castle.stranger()
            await early.say(request()[:40])
            nursery.start_soon(come, early)
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert codes == [503]
    assert server.statistics()["closed"] == {"1001": 1}
