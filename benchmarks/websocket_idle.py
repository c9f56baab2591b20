"""Memory of idle websocket connections on the server's side, and what a prebuilt frame costs it.

    python -m benchmarks.websocket_idle [CONNECTIONS]

The clients are bare sockets in another process, so that only the server's memory is measured.
"""

import gc
import subprocess
import sys
import time
from pathlib import Path

import trio

from blazen_trio.websocket import WebsocketLimits, WebsocketServer
from blazen_trio.websocket.server import Connection, frame
from blazen_trio.websocket.server.access import Doorkeeper
from blazen_trio.websocket.server.listening import open_reception

CLIENTS = """
import socket, sys
head = (b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
        b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
        b"Sec-WebSocket-Protocol: blazen.v1\\r\\n\\r\\n")
clients = []
for _ in range(int(sys.argv[2])):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    client.sendall(head)
    client.recv(4096)
    clients.append(client)
print("ready", flush=True)
sys.stdin.read()
"""


class Idle:
    """A session that does nothing."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive(self, text: str) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        pass


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


async def measure(count: int) -> None:
    keeper = Doorkeeper(host="127.0.0.1", token=None, origins=frozenset(), hosts=frozenset(), is_open=True)
    server = WebsocketServer(None, keeper, Idle, limits=WebsocketLimits())
    async with open_reception(server, "127.0.0.1", 0):
        await dial(server, 50)  # what is made once
        gc.collect()
        before = resident_bytes()
        await dial(server, count)
        gc.collect()
        print(f"{(resident_bytes() - before) / count / 1000:.1f} kB per idle connection, {count:,} of them")
        await send(server)


async def send(server: WebsocketServer) -> None:
    event = frame(b"x" * 200)
    begun, cpu = time.perf_counter(), time.thread_time()
    rounds = 5
    for _ in range(rounds):
        for connection in server.connections.values():
            await connection.send_frame(event)
    sent = rounds * len(server.connections)
    seconds, cpu = time.perf_counter() - begun, time.thread_time() - cpu
    print(f"{seconds / sent * 1e6:.1f} us per prebuilt frame, {cpu / sent * 1e6:.1f} us of them CPU, with the write")


async def dial(server: WebsocketServer, count: int) -> None:
    wanted = len(server.connections) + count
    command = [sys.executable, "-c", CLIENTS, str(server.port), str(count)]
    await trio.lowlevel.checkpoint()
    clients.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))  # noqa: S603, ASYNC220
    while len(server.connections) < wanted:  # noqa: ASYNC110 - a client in another process says nothing
        await trio.sleep(0.05)
    await trio.sleep(0.2)


clients: list[subprocess.Popen[bytes]] = []

if __name__ == "__main__":
    try:
        trio.run(measure, int(sys.argv[1]) if len(sys.argv) > 1 else 500)
    finally:
        for each in clients:
            each.kill()
