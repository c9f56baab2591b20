"""Exceptions in groups: what a nursery wrapped, taken apart again."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def open_users_nursery() -> AsyncGenerator[trio.Nursery, None]:
    """A nursery around a block of the user's: one exception leaves it, and his own just as it is, a group included.

    Only an error of the other tasks goes before his.
    """
    raised: BaseException | None = None
    body: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                body = error
                raise
    except BaseException as error:  # noqa: ASYNC103, BLE001 - raised again below, where it gets no other context
        raised = error
    if raised is not None and body is not None and _is_all(raised, body):
        raise body
    if raised is not None:
        lone = alone(raised)
        raise lone from lone.__cause__


def _is_all(raised: BaseException, body: BaseException) -> bool:
    """Whether a block's own error is all that was raised in its nursery, and more than a cancellation."""
    own = {id(leaf) for leaf in leaves(body) if not isinstance(leaf, trio.Cancelled)}
    others = [leaf for leaf in leaves(raised) if id(leaf) not in own and not isinstance(leaf, trio.Cancelled)]
    return bool(own) and not others


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
