"""``run.open_send_channel()``: a bounded channel into a run."""

import math
from typing import Final, Self

import trio
from trio.lowlevel import checkpoint

from blazen_trio.core.errors import RunClosedError
from blazen_trio.core.events import Event, require_event
from blazen_trio.core.messages import EventReceived, SenderClosed
from blazen_trio.runner import Runner

SEND_ROOM: Final = 1_000
"""Pending events of a run up to which a send channel accepts more: enough to keep all steps busy, little memory."""


class RunSendChannel(trio.abc.SendChannel[Event]):
    """Events into a run, with backpressure."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._is_closed = False

    async def send(self, value: Event) -> None:
        """Wait for room and put an event into the run's queue; a checkpoint.

        Raises:
            trio.BrokenResourceError: the run is over.
            trio.ClosedResourceError: this channel was closed.
        """
        require_event(value, "a run")
        await checkpoint()
        await self._runner.wait_for_room(SEND_ROOM, lambda: self._is_closed)
        if self._is_closed:
            raise trio.ClosedResourceError
        try:
            self._runner.post(EventReceived(value, self._runner.clock()))
        except RunClosedError as error:
            raise trio.BrokenResourceError from error

    def close(self) -> None:
        """Nothing more comes this way."""
        if not self._is_closed:
            self._is_closed = True
            self._runner.admit_senders(math.inf)
            self._runner.post(SenderClosed(self._runner.clock()))

    async def aclose(self) -> None:
        """``close``; a checkpoint."""
        self.close()
        await checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
