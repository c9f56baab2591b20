"""Exceptions in groups: what a nursery wrapped, taken apart again."""

from collections.abc import Iterator
from typing import cast

import trio


def alone(error: BaseException) -> BaseException:
    """The exception that a nursery wrapped into groups: exactly one leaves the engine.

    A ``KeyboardInterrupt`` or ``SystemExit`` goes before all others, cancellations come last, and many are one.
    """
    each = list(leaves(error))
    passing = [leaf for leaf in each if is_passing(leaf)]
    others = [leaf for leaf in each if not isinstance(leaf, trio.Cancelled)]
    return (passing or others or each)[0]


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, at any depth; of an exception that is no group, itself."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        for each in group.exceptions:
            yield from leaves(each)
    else:
        yield error


def is_passing(error: BaseException | None) -> bool:
    """Whether an exception is none of the run's own business but ends the program."""
    return isinstance(error, KeyboardInterrupt | SystemExit)


def split_cancelled(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The part of an exception that is Trio's cancellation, and the rest."""
    if isinstance(error, trio.Cancelled):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)
    return None, error
