"""Runs that end because another server is lost: what they had to do is kept, since it can be done later.

The rules of this file:

* A lost server is a failure like any other as long as somebody retries or recovers it, at any level. Only if the whole
  run would end with it, the run is kept as it was just before: the failed call's event is pending there.
* A run in memory then ends, and its snapshot is the one that was kept. A durable run stops as if its store had failed:
  what is stored is where it goes on. See ``Runner.meet_outage``.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from blazen_trio.core.calls import Call
from blazen_trio.core.errors import PeerError, StepFailedError, SubWorkflowError, describe_exception
from blazen_trio.core.messages import Failure
from blazen_trio.core.outcomes import error_of, may_retry, recovery_of
from blazen_trio.failures import failure_of, timeout_failure

if TYPE_CHECKING:
    from blazen_trio.child_runner import ChildRunner
    from blazen_trio.runner import Runner


def is_outage(error: BaseException | None) -> bool:
    """Whether an error is that a peer is lost, or that a run inside failed with that."""
    while isinstance(error, (StepFailedError, SubWorkflowError)):
        error = error.__cause__
    return isinstance(error, PeerError)


def notice_outage(runner: "Runner", call: Call, failure: Failure) -> None:
    """A call is about to fail: if that is an outage with which the whole run would end, the run is kept."""
    root = runner.root
    is_over = root.state.outcome is not None or call not in runner.state.running
    if is_over or root.is_kept or not is_outage(failure.exception):  # kept: by a call inside this one
        return
    error = end_with(runner, call, failure)
    if error is not None:
        root.meet_outage(error)


def end_with(runner: "Runner", call: Call, failure: Failure) -> StepFailedError | None:
    """The error of the whole run if this call fails so; ``None`` if it is retried or recovered, at any level."""
    while not may_retry(call, failure) and recovery_of(runner.definition, call, failure) is None:
        error = error_of(call, failure, runner.run_id)
        error.__cause__ = failure.exception
        if runner.root is runner:
            return error
        inside = cast("ChildRunner", runner)
        runner, call = inside.parent, inside.call
        around = SubWorkflowError(call.step_name, inside.definition.name, describe_exception(error))
        around.__cause__ = error
        failure = failure_of(call, around)
    return None


def is_given_up(runner: "Runner", call: Call) -> bool:
    """Whether a call that is being cancelled now will not be repeated: nobody asks for its result again.

    If a run inside has failed it may be begun anew, with calls of the same ids: then nothing is given up yet.
    """
    root = runner.root
    if root.is_kept:
        return False
    levels = tuple(_levels(runner, call))
    if root.state.outcome is not None or any(_has_result(each) for each, _ in levels):
        return True
    workers = [(each, its, worker) for each, its in levels for worker in each.workers if worker.call is its]
    cancelled = [level for level in workers if level[2].is_cancelled]
    if not cancelled:  # from outside: a run in memory is over then, a durable one goes on later
        return not root.is_durable
    return any(
        worker.is_timed_out and end_with(each, its, timeout_failure(its, each.run_id)) is not None
        for each, its, worker in cancelled
    )


def _has_result(runner: "Runner") -> bool:
    outcome = runner.state.outcome
    return outcome is not None and outcome.event is not None


def _levels(runner: "Runner", call: Call) -> "Iterator[tuple[Runner, Call]]":
    """The call in its run, and the calls around it in theirs, from the inside out."""
    yield runner, call
    while runner.root is not runner:
        inside = cast("ChildRunner", runner)
        runner, call = inside.parent, inside.call
        yield runner, call
