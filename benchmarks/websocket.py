"""W10: events to clients of a websocket server, beside a bare trio-websocket loop that sends the same texts.

The server is a process of its own (``benchmarks.websocket_server``), all clients are in this one. A client here does as
little as possible: it reads from its socket and counts, so that what is measured is the server.
"""

import base64
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, Final

import attrs
from wsproto.frame_protocol import FrameProtocol

from benchmarks.measuring import Case, Goal, Scale, check
from benchmarks.websocket_server import SUBSCRIPTION, allow_sockets

MARK: Final = b'{"seq":'
"""Stands once in the text of each item."""

MADE: Final = b'"made":'
RECEIVE_BYTES: Final = 256 * 1024
PATIENCE_S: Final = 120.0

EVENTS: Final = {1: 20_000, 10: 5_000, 100: 1_000, 1_000: 100}
BARE_DELIVERIES: Final = 200_000
"""So many deliveries of the bare server are enough for its rate: 2,000,000 would take a minute."""

BURSTS: Final = {1: 20_000, 10: 20_000, 100: 20_000, 1_000: 4_000}


def cases(scale: Scale) -> list[Case]:
    most, paced = scale.size(1_000), scale.size(100)
    one_by_one = [
        _case("one", clients, scale.size(events), Goal(0.8, "at least"))
        for clients, events in EVENTS.items()
        if clients <= most
    ]
    in_bursts = [
        _case("burst", clients, scale.size(events), Goal(10, "at least"))
        for clients, events in BURSTS.items()
        if clients <= most
    ]
    delay = Case(
        f"p99 delay of 10 events/s to {most:,} clients",
        "ms",
        partial(delay_ms, "ours", most, paced),
        partial(delay_ms, "bare", most, paced),
    )
    memory = Case(
        f"memory of each of {most:,} idle connections; of a bare one",
        "kB",
        partial(idle_kb, "ours", most),
        partial(idle_kb, "bare", most),
        Goal(40, "at most", of="median"),
    )
    return [*one_by_one, *in_bursts, delay, memory]


def _case(mode: str, clients: int, events: int, goal: Goal) -> Case:
    how = {"one": "one by one", "burst": "in bursts"}[mode]
    plural = "" if clients == 1 else "s"
    return Case(
        f"{events:,} events {how} to {clients:,} client{plural}; bare trio-websocket",
        "deliveries/s",
        engine=partial(deliveries_per_s, "ours", mode, clients, events),
        baseline=partial(deliveries_per_s, "bare", mode, clients, min(events, BARE_DELIVERIES // clients)),
        goal=goal,
    )


# --- The server -------------------------------------------------------------------------------------------------------


@attrs.define
class Server:
    """A server process, as its clients see it."""

    port: int
    run_id: str
    process: "subprocess.Popen[str]"

    def ask(self, line: str) -> Any:
        """Give it a line; what it prints then, if it is idle."""
        self.go(line)
        return json.loads(_pipe(self.process.stdout).readline())

    def go(self, line: str = "go") -> None:
        """Give it a line."""
        pipe = _pipe(self.process.stdin)
        pipe.write(line + "\n")
        pipe.flush()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@contextmanager
def server(kind: str, mode: str, events: int) -> Generator[Server]:
    command = [sys.executable, "-m", "benchmarks.websocket_server", kind, mode, str(events)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            facts = json.loads(_pipe(process.stdout).readline())
            yield Server(facts["port"], facts["run_id"], process)
        finally:
            process.kill()


# --- Clients ----------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Client:
    """One socket that counts the items it reads."""

    socket: socket.socket
    items: int = 0
    tail: bytes = b""
    delays_ms: list[float] = attrs.field(factory=list)

    @classmethod
    def connected(cls, server: Server) -> "Client":
        """Connect, and shake hands."""
        sock = socket.create_connection(("127.0.0.1", server.port))
        key = base64.b64encode(os.urandom(16)).decode()
        head = {
            "Host": f"127.0.0.1:{server.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "blazen.v1",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        sock.sendall(f"GET / HTTP/1.1\r\n{lines}\r\n".encode())
        client = cls(sock)
        client.read_until(b"\r\n\r\n")
        return client

    def subscribe(self, server: Server) -> None:
        """Subscribe to the run, and wait for the answer."""
        request = {"type": "subscribe", "id": SUBSCRIPTION, "run_id": server.run_id, "window": 100_000}
        self.socket.sendall(FrameProtocol(client=True, extensions=[]).send_data(json.dumps(request)))
        self.read_until(b'"type":"ok"')

    def read_until(self, mark: bytes) -> None:
        """Read until this stands in what was read."""
        while mark not in self.tail:
            data = self.socket.recv(RECEIVE_BYTES)
            check(bool(data), "the server closed the connection")
            self.tail += data
        self.tail = self.tail.partition(mark)[2]

    def receive(self, *, is_timed: bool) -> None:
        """Take what is there, and count it."""
        now = time.monotonic()
        data = self.socket.recv(RECEIVE_BYTES)
        check(bool(data), "the server closed the connection")
        text = self.tail + data
        self.items += text.count(MARK)
        if is_timed:
            self.delays_ms += [(now - float(each.split(b"}")[0])) * 1e3 for each in text.split(MADE)[1:]]
        last = text.rfind(MARK)
        self.tail = text[-(len(MARK) - 1) :] if last < len(text) - len(MARK) + 1 else b""


def read_all(clients: list[Client], items: int, *, is_timed: bool = False) -> None:
    """Read until each client has so many items."""
    poll = select.epoll()
    waiting = {each.socket.fileno(): each for each in clients}
    for number in waiting:
        poll.register(number, select.EPOLLIN)
    while waiting:
        ready = poll.poll(PATIENCE_S)
        check(bool(ready), "the server fell silent")
        for number, _ in ready:
            client = waiting[number]
            client.receive(is_timed=is_timed)
            if client.items >= items:
                poll.unregister(number)
                del waiting[number]


@contextmanager
def clients_of(server: Server, count: int) -> Generator[list[Client]]:
    allow_sockets()
    clients = [Client.connected(server) for _ in range(count)]
    try:
        yield clients
    finally:
        for each in clients:
            each.socket.close()


# --- Figures ----------------------------------------------------------------------------------------------------------


def deliveries_per_s(kind: str, mode: str, count: int, events: int) -> float:
    with server(kind, mode, events) as peer, clients_of(peer, count) as clients:
        for each in clients:
            each.subscribe(peer)
        peer.go()
        begin = time.monotonic()
        read_all(clients, events)
        return count * events / (time.monotonic() - begin)


def delay_ms(kind: str, count: int, events: int) -> float:
    """The delay in milliseconds that 99 of 100 deliveries do not exceed."""
    with server(kind, "paced", events) as peer, clients_of(peer, count) as clients:
        for each in clients:
            each.subscribe(peer)
        peer.go()
        read_all(clients, events, is_timed=True)
        delays = [delay for each in clients for delay in each.delays_ms]
        check(len(delays) == count * events, "an event came without its time")
        return statistics.quantiles(delays, n=100)[-1]


def idle_kb(kind: str, count: int) -> float:
    """Kilobytes that the server process grows by for each connection that says nothing."""
    with server(kind, "idle", 0) as peer:
        with clients_of(peer, 10):
            before = peer.ask("warm")["resident"]
        with clients_of(peer, count):
            resident: int = peer.ask("measure")["resident"]
            return float(resident - before) / count / 1e3
