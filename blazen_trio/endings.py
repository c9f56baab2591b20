"""What leaves a run that failed: exactly one exception, never a group, and for each who waits a copy."""

import copy
from collections.abc import Iterator
from typing import NoReturn, cast

import trio

from blazen_trio.core.effects import Outcome


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


def alone(error: BaseException) -> BaseException:
    """The exception that a nursery wrapped into groups: exactly one leaves the engine.

    A ``KeyboardInterrupt`` or ``SystemExit`` goes before all others, cancellations come last, and many are one.
    """
    leaves = list(_leaves(error))
    passing = [leaf for leaf in leaves if is_passing(leaf)]
    others = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
    return (passing or others or leaves)[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        for each in group.exceptions:
            yield from _leaves(each)
    else:
        yield error


def is_passing(error: BaseException | None) -> bool:
    """Whether an exception is none of the run's own business but ends the program."""
    return isinstance(error, KeyboardInterrupt | SystemExit)
