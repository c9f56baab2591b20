"""A runner whose messages go into a journal, and that of the runs inside it."""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from trio.lowlevel import enable_ki_protection

from blazen_trio.child_runner import ChildRunner
from blazen_trio.codec import codec_of
from blazen_trio.core.calls import Call
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import StepFailedError
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import Message
from blazen_trio.core.state import RunState
from blazen_trio.durable.journal import Journal
from blazen_trio.runner import Runner

logger: Final = logging.getLogger("blazen_trio")


class DurableChildRunner(ChildRunner):
    """One run inside a durable one: its messages go into the journal of that."""

    __slots__ = ()

    @enable_ki_protection
    def feed(self, message: Message) -> None:
        """Write down what happened, and carry out what need not wait."""
        _journal_of(self.root).feed(self, message)

    def take_unbegun(self) -> tuple[Call, ...]:
        """Take back the calls that no worker has begun, also those whose start is not written yet."""
        return (*super().take_unbegun(), *_journal_of(self.root).take_unbegun(self))

    def suspend(self) -> None:
        """Put back what was not begun, and the tokens that were granted to it."""
        super().suspend()
        if self._tokens is not None:
            self._tokens.withdraw_all()


def _journal_of(root: Runner) -> Journal:
    assert isinstance(root, DurableRunner)
    return root.journal


class DurableRunner(Runner):
    """One durable run on Trio.

    Attributes:
        journal: of this run and those inside it.
    """

    __slots__ = ("journal",)

    child_type: ClassVar[Any] = DurableChildRunner
    is_durable: ClassVar[bool] = True

    def __init__(
        self, definition: WorkflowDefinition, state: RunState, metadata: Mapping[str, Any], journal: Journal
    ) -> None:
        super().__init__(definition, state, codec_of(definition), dict(metadata) if metadata else None)
        self.journal: Journal = journal
        journal.bind(self)

    @enable_ki_protection
    def feed(self, message: Message) -> None:
        """Write down what happened, and carry out what need not wait."""
        self.journal.feed(self, message)

    def take_unbegun(self) -> tuple[Call, ...]:
        """Take back the calls that no worker has begun, also those whose start is not written yet."""
        return (*super().take_unbegun(), *self.journal.take_unbegun(self))

    def tell_resting(self, machine: Machine, message: Message) -> None:
        """Tell a run inside this one that is in none of its calls now."""
        self.journal.tell_resting(machine, message)

    @property
    def is_kept(self) -> bool:
        """Whether what happens now does not count: the store has the run as it was, and it goes on from there."""
        return self.journal.is_closed

    def meet_outage(self, error: StepFailedError) -> None:
        """A server is lost: the run stops here with this error, and what is stored can go on."""
        logger.warning("run %s stopped, it can be resumed: %s", self.run_id, error)
        self.journal.failed(error)

    def leave_block(self) -> None:
        """The program goes away, not the run: the store has it as it is, and it goes on from there."""
        self.journal.drop()
        if self._tokens is not None:
            self._tokens.withdraw_all()
        assert self.nursery is not None
        self.nursery.cancel_scope.cancel()

    def cancelled_from_outside(self) -> None:
        """As for ``leave_block``; its workers are being cancelled."""
        self.journal.drop()

    async def wait_saved(self) -> None:
        """Wait until what happened so far is written; a checkpoint.

        Raises:
            StoreError: it could not be.
        """
        await self.journal.wait_saved()

    def leave(self) -> None:
        """The run goes on elsewhere: whoever waits here for its end, or reads its stream, waits no longer."""
        self.is_over = True
        if self._stream is not None:
            self._stream.close()
        for parking in self._waiting or ():
            parking.set(None)
