"""From what user code raised to what the machine is told: exceptions become ``Failure`` values here only."""

from blazen_trio.core.calls import Call
from blazen_trio.core.errors import StepResultError, StepTimeoutError, describe_exception
from blazen_trio.core.messages import Failure
from blazen_trio.core.retry import retry_after_of
from blazen_trio.groups import is_passing, leaves


def failure_of(call: Call, error: BaseException) -> Failure:
    """What an exception that left a step means for the run."""
    error = next(filter(is_passing, leaves(error)), error)
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
        passes=is_passing(error),
    )


def timeout_failure(call: Call, run_id: str) -> Failure:
    """The failure of a call whose attempt took too long."""
    plan = call.plan
    assert plan.timeout_s is not None
    error = StepTimeoutError(plan.name, plan.timeout_s, call.attempt, run_id)
    return failure_of(call, error)
