"""One connection after another: dials, speaks, and dials again; what is said is decided at the desk.

Rules of this file:

* The first connection must succeed, or the client does not open. Later ones are tried for ever, with pauses.
* A connection is over when any of its tasks says so: the reader, the writer, or the one that listens for silence.
* No close code is final: the next connection may mend what 1008 or 1002 says, as when a server has counted too many
  faults. If it does not, who waits loses patience, and is told the code and the reason.
"""

from typing import Any, Final

import trio
from wsproto.frame_protocol import CloseReason

from blazen_trio.core.errors import PeerError, ProtocolError
from blazen_trio.groups import alone
from blazen_trio.websocket.client.backoff import STEADY_S, Backoff
from blazen_trio.websocket.client.desk import Desk
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.client.violations import ViolationError
from blazen_trio.websocket.client.wire import Hello, LostError, Wire, open_wire
from blazen_trio.websocket.protocol import Request

CLOSED: Final = "the client was closed"


class Link:
    """A client's connections to its server. ``run`` it in a nursery; whoever asks waits at the desk."""

    def __init__(self, hello: Hello, desk: Desk) -> None:
        self._hello = hello
        self._backoff = Backoff()
        self._wire: Wire | None = None
        self._opened = trio.Event()
        self._first_problem: LostError | None = None
        self._connections = 0
        self._messages_in = self._messages_out = 0
        self._bytes_in = self._bytes_out = 0
        self._round_trip_s: float | None = None
        self.desk: Desk = desk
        self.node_id: str = ""
        self.version: str = ""

    # --- For those who want something ---------------------------------------------------------------------------------

    def new_id(self) -> int:
        """An id for a request."""
        return self.desk.new_id()

    async def ask(self, request: Request, *, is_repeatable: bool | None = None) -> Any:
        """The answer to a request; a checkpoint. Raises what the server answers, or ``PeerError``."""
        return await self.answer(Asked(request, request.is_repeatable if is_repeatable is None else is_repeatable))

    async def answer(self, asked: Asked) -> Any:
        """As ``ask``."""
        await trio.lowlevel.checkpoint_if_cancelled()  # a cancelled call asks nothing
        asked = self.desk.ask(asked)
        try:
            return await asked.outcome()
        finally:
            self.desk.leave(asked)

    # --- Connections --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect and speak, until the client is closed."""
        lost = await self._connect()
        if not self._connections:
            self._first_problem = lost
            self._opened.set()
            return
        while self.desk.failure is None:
            await trio.sleep(self._backoff.pause_s())
            await self._connect()

    async def wait_open(self) -> None:
        """Wait for the first connection; a checkpoint. Raises ``PeerError`` if there is none."""
        await self._opened.wait()
        if self._first_problem is not None:
            raise PeerError(self.desk.peer, self._first_problem.problem) from self._first_problem

    async def _connect(self) -> LostError:
        """One connection, from dialling to its loss; gives why it was lost."""
        begun_at = trio.current_time()
        try:
            async with open_wire(self._hello) as wire:
                begun_at = trio.current_time()
                await self._speak(wire)
        except BaseException as error:  # noqa: ASYNC103, BLE001 - a group; what is none of ours is raised again, alone
            lost = alone(error)
            if not isinstance(lost, LostError):
                raise lost from lost.__cause__  # noqa: ASYNC104 - as above
        else:
            lost = LostError(CLOSED)
        self._note_lost(lost, trio.current_time() - begun_at)
        return lost

    async def _speak(self, wire: Wire) -> None:
        self._wire, self.node_id, self.version = wire, wire.welcome.node_id, wire.version
        self._connections += 1
        self.desk.connected(wire.welcome.limits)
        self._opened.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, wire)
            nursery.start_soon(self._write, wire)
            nursery.start_soon(wire.keep_alive)
            nursery.start_soon(self._prove)

    async def _read(self, wire: Wire) -> None:
        while True:
            message = await wire.receive()
            self._messages_in += 1
            try:
                self.desk.take(message)
            except ViolationError as violation:
                await wire.close(CloseReason.PROTOCOL_ERROR)  # noqa: ASYNC120 - who is cancelled is leaving anyway
                raise LostError(str(violation), is_violation=True) from None

    async def _write(self, wire: Wire) -> None:
        while True:
            self.desk.listen()
            while (text := self.desk.next_text()) is not None:
                self._messages_out += 1
                await wire.send(text)
            await self.desk.wait_for_more()

    async def _prove(self) -> None:
        await trio.sleep(STEADY_S)
        self.desk.note_steady()

    def _note_lost(self, lost: LostError, held_s: float) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            self._backoff.note_held(held_s)
            self._bytes_in += wire.tap.bytes_in
            self._bytes_out += wire.tap.bytes_out
            self._round_trip_s = self._last_round_trip_s(wire)
        if lost.is_violation:
            self.desk.refuse(ProtocolError(lost.problem), lost.addressee)
        self.desk.lost(lost.problem)

    async def close(self) -> None:
        """All that is under way ends, and the server is told; a checkpoint."""
        self.desk.give_up(CLOSED)
        if self._wire is not None:
            await self._wire.close()
        self._note_lost(LostError(CLOSED), 0.0)
        await trio.lowlevel.checkpoint()

    # --- What it holds ------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, Any]:
        """Counts: of connections, messages and bytes; what is under way; the last round trip of a ping in seconds."""
        wire = self._wire
        return {
            "connected": self.desk.is_connected,
            "reconnects": max(0, self._connections - 1),
            "messages_in": self._messages_in,
            "messages_out": self._messages_out,
            "bytes_in": self._bytes_in + (0 if wire is None else wire.tap.bytes_in),
            "bytes_out": self._bytes_out + (0 if wire is None else wire.tap.bytes_out),
            "round_trip_s": self._last_round_trip_s(wire),
            **self.desk.statistics(),
        }

    def _last_round_trip_s(self, wire: Wire | None) -> float | None:
        return self._round_trip_s if wire is None or wire.round_trip_s is None else wire.round_trip_s
