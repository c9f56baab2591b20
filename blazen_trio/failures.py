"""From what user code raised to what the machine is told: exceptions become ``Failure`` values here only."""

from typing import cast

import trio

from blazen_trio.core.calls import Call
from blazen_trio.core.errors import StepResultError, StepTimeoutError, describe_exception
from blazen_trio.core.messages import Failure
from blazen_trio.core.retry import retry_after_of

_PASSING = (KeyboardInterrupt, SystemExit)


def failure_of(call: Call, error: BaseException) -> Failure:
    """What an exception that left a step means for the run."""
    error = _passing_part(error) or error
    name = type(error).__name__
    text = describe_exception(error).removeprefix(name).removeprefix(": ")
    retry = call.plan.retry
    is_violation = isinstance(error, StepResultError)
    return Failure(
        error_type=name,
        text=text,
        exception=error,
        is_retryable=retry is not None and not is_violation and retry.wants(error),
        retry_after_s=retry_after_of(error) if retry is not None else None,
        is_violation=is_violation,
        passes=isinstance(error, _PASSING),
    )


def timeout_failure(call: Call, run_id: str) -> Failure:
    """The failure of a call whose attempt took too long."""
    plan = call.plan
    assert plan.timeout_s is not None
    error = StepTimeoutError(plan.name, plan.timeout_s, call.attempt, run_id)
    return failure_of(call, error)


def split_cancelled(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The part of an exception that is Trio's cancellation, and the rest."""
    if isinstance(error, trio.Cancelled):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)
    return None, error


def _passing_part(error: BaseException) -> BaseException | None:
    """A ``KeyboardInterrupt`` or ``SystemExit`` inside a group."""
    if not isinstance(error, BaseExceptionGroup):
        return None
    part: BaseException | None = cast("BaseExceptionGroup[BaseException]", error).subgroup(_PASSING)
    while isinstance(part, BaseExceptionGroup):
        part = part.exceptions[0]
    return part
