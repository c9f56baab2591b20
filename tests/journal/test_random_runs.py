"""Random programs in any order of events, as the machine's model plays them: their journals tell them again."""

from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from blazen_trio.codec import codec_of
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import Effect, Reject
from blazen_trio.core.errors import EncodeError
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import Message
from blazen_trio.core.state import RunState
from blazen_trio.journal import RowWriter, write_live
from blazen_trio.snapshot import take
from tests.budget import share
from tests.journal.telling import Story, is_late
from tests.machine.driver import Driver
from tests.machine.programs import Program
from tests.machine.test_machine_model import MachineModel


class TellingMachine(Machine):
    """Writes the journal of what it is told."""

    def __init__(self, definition: WorkflowDefinition, state: RunState) -> None:
        super().__init__(definition, state)
        self.story = Story(definition)
        self.writer = RowWriter()
        self.last_at = 0.0

    def handle(self, message: Message) -> list[Effect]:
        is_of_no_use = self.state.outcome is not None or is_late(self.state, message)
        row = None if is_of_no_use else self.row(message)
        effects = super().handle(message)
        if row is not None and not (effects and isinstance(effects[0], Reject)):
            self.keep(row, message)
        return effects

    def row(self, message: Message) -> bytes | None:
        """The row of a message; of one that a durable run refuses nothing is told, and the story ends."""
        try:
            return self.writer.write((), codec_of(self.definition), message)
        except EncodeError:
            self.story.is_over = True
            return None

    def keep(self, row: bytes, message: Message) -> None:
        if self.story.is_over:
            return
        self.writer.forget(message)
        now = self.last_at = max(self.last_at, getattr(message, "at", 0.0))
        snapshot = take(self.definition, self.state, codec_of(self.definition), {}, now)
        live = write_live(self.definition, self.state, self.writer, lambda _run: self.is_observed)
        self.story.keep(row, snapshot, live, now)


class TellingDriver(Driver):
    """The model's driver, with that machine."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.machine = self.telling = TellingMachine(program.definition, self.state)


class ToldModel(MachineModel):
    """The model's rules, played for the journal."""

    driver_type: ClassVar[Any] = TellingDriver

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            assert isinstance(self.driver, TellingDriver)
            self.driver.telling.story.check(3)


def test_random_runs_are_told_again() -> None:
    run_state_machine_as_test(ToldModel, settings=settings(stateful_step_count=25, max_examples=60, deadline=None))


@pytest.mark.slow
def test_many_random_runs_are_told_again() -> None:
    many = settings(stateful_step_count=60, max_examples=share(500), deadline=None)
    run_state_machine_as_test(ToldModel, settings=many)
