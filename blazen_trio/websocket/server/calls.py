"""Runs for other servers, and the live objects that stay here with them."""

from collections.abc import Mapping
from typing import Any, Final

from trio.lowlevel import checkpoint

from blazen_trio.core.errors import ProtocolError
from blazen_trio.websocket.protocol import Request
from blazen_trio.websocket.protocol.messages import Call, DerefSessionRef, ReleaseSessionRef
from blazen_trio.websocket.server.authorizing import Caller
from blazen_trio.websocket.server.interfaces import Server


async def refuse(_server: Server, _caller: Caller, _request: Request) -> Any:
    """Say that this server does not do that."""
    await checkpoint()
    raise ProtocolError("not offered here")


CALLS: Final[Mapping[type[Request], Any]] = {Call: refuse, DerefSessionRef: refuse, ReleaseSessionRef: refuse}
