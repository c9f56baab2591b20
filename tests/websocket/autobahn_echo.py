"""The server with an echo in it, for the Autobahn test-suite, which is a client: see docs/guide/websocket.md.

    python -m tests.websocket.autobahn_echo

The limits are wider than the usual ones, since group 9 sends messages of 16 MiB, and one of 65,536 fragments.
"""

from typing import Any, Final

import trio

from blazen_trio.websocket import WebsocketLimits, WebsocketServer
from blazen_trio.websocket.server.listening import open_reception
from blazen_trio.websocket.server.server import ServerOptions
from tests.websocket.clients import NO_ENGINE, Echo, alone, doorkeeper

PORT: Final = 9_001
LIMITS: Final[dict[str, Any]] = {
    "message_bytes": 20_000_000,
    "inbox_bytes": 64_000_000,
    "fragments": 70_000,
}


async def main() -> None:
    server = WebsocketServer(NO_ENGINE, doorkeeper(), alone(Echo), ServerOptions(limits=WebsocketLimits(**LIMITS)))
    async with open_reception(server, "127.0.0.1", PORT):
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
