"""How a run ended, for those who want its result: an event, or an error, of which each gets a copy."""

import copy
from typing import NoReturn

from blazen_trio.core.effects import Outcome
from blazen_trio.core.events import Event
from blazen_trio.core.state import RunState


class Ending:
    """How a run ended, and whether anybody took notice: an untaken failure is raised when the run's block ends."""

    __slots__ = ("_state", "is_taken")

    def __init__(self, state: RunState) -> None:
        self._state = state
        self.is_taken: bool = False

    @property
    def error(self) -> BaseException | None:
        """The error that ended the run, if it is over and failed."""
        return None if self._state.outcome is None else self._state.outcome.error

    def take(self) -> Event:
        """The event that ended the run, which is over.

        Raises:
            BaseException: the error that ended it; a copy.
        """
        self.is_taken = True
        outcome = self._state.outcome
        assert outcome is not None
        if outcome.event is None:
            raise_outcome(outcome)
        return outcome.event


def raise_outcome(outcome: Outcome) -> NoReturn:
    """Raise the error of a run: a copy, since one exception object would collect the tracebacks of all who wait.

    Raises:
        BaseException: always.
    """
    error = outcome.error
    assert error is not None
    try:
        error = copy.copy(error)
    except Exception:  # noqa: BLE001 - a KeyboardInterrupt or SystemExit of strange make
        error = outcome.error
    assert error is not None
    if outcome.cause is not None:
        raise error from outcome.cause
    raise error
