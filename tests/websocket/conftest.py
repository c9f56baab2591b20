"""What stories of the websocket share: a look over the server's shoulder."""

from collections.abc import Iterator
from typing import Any

import pytest

from blazen_trio.websocket.server import Connection
from blazen_trio.websocket.server.session import Session
from tests.websocket.schemas import Watch


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """All messages of real servers in this test; afterwards all must have been messages of the AsyncAPI document."""
    noted = Watch()
    receive, send, send_frame = Session.receive, Connection.send, Connection.send_frame

    async def heard(self: Any, text: str) -> None:
        noted.heard(self._connection, text)
        await receive(self, text)

    async def said(self: Connection, payload: bytes) -> None:
        noted.said(self, payload)
        await send(self, payload)

    async def said_frame(self: Connection, frame: bytes) -> None:
        noted.said_frame(self, frame)
        await send_frame(self, frame)

    monkeypatch.setattr(Session, "receive", heard)
    monkeypatch.setattr(Connection, "send", said)
    monkeypatch.setattr(Connection, "send_frame", said_frame)
    yield noted
    assert noted.wrong == []
