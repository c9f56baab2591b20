"""Taking a snapshot after each single thing that happens in a run, and living on from it."""

import contextlib
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from blazen_trio import Workflow, WorkflowError, WorkflowRun, WorkflowSnapshot
from blazen_trio.runner import Runner
from tests.snapshots.programs import Program


@attrs.frozen
class End:
    """How a run ended, in a form that can be compared."""

    outcome: Any
    values: dict[str, Any]
    usage: Any
    cost_usd: float
    numbers: int


def run_on_mock_clock(main: Any, *args: Any) -> Any:
    """Run on a clock that jumps to the next deadline when every task waits."""
    return trio.run(main, *args, clock=MockClock(autojump_threshold=0))


def runner_of(run: WorkflowRun) -> Runner:
    """The runner behind a handle: a snapshot in the midst of things is taken there, without a checkpoint."""
    return run._runner


def snapshot_after_each_message(run: WorkflowRun) -> list[WorkflowSnapshot]:
    """From now on, a snapshot after each message that the machine takes in."""
    runner = runner_of(run)
    handle, taken = runner.machine.handle, [runner.snapshot()]

    def handle_and_take(message: Any) -> Any:
        effects = handle(message)
        taken.append(runner.snapshot())
        return effects

    runner.decide = handle_and_take
    return taken


async def live(program: Program) -> tuple[End, list[WorkflowSnapshot]]:
    """An uninterrupted run, and a snapshot of it at each point."""
    async with program.workflow.start(program.start) as run:
        taken = snapshot_after_each_message(run)
        return await end_of(run, program), taken


async def live_on(program: Program, snapshot: WorkflowSnapshot) -> End:
    """The rest of a run."""
    async with program.workflow.resume(snapshot, deserializers=program.deserializers) as run:
        return await end_of(run, program)


async def end_of(run: WorkflowRun, program: Program) -> End:
    """Let a run come to its end, with the people outside."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.drive, run)
        outcome = await outcome_of(run)
        nursery.cancel_scope.cancel()
    state = runner_of(run).state
    return End(outcome, values_of(program.workflow, run), run.usage_total, run.cost_total_usd, state.emitted)


async def outcome_of(run: WorkflowRun) -> Any:
    """The result of a run, or its error."""
    try:
        return (await run.result()).result
    except WorkflowError as error:
        return type(error).__name__, str(error).replace(run.run_id, "")


def values_of(workflow: Workflow, run: WorkflowRun) -> dict[str, Any]:
    """The values of the run that count."""
    committed = runner_of(run).state.values.committed()
    return {key: workflow.codec.from_plain(plain) for key, plain in sorted(committed.items())}


async def live_a_while(program: Program, snapshot: WorkflowSnapshot, messages: int) -> WorkflowSnapshot:
    """Go on until the machine has taken in so many messages, or the run is over; then a snapshot again."""
    async with (
        program.workflow.resume(snapshot, deserializers=program.deserializers) as run,
        trio.open_nursery() as nursery,
    ):
        taken = snapshot_after_each_message(run)
        nursery.start_soon(program.drive, run)
        while len(taken) <= messages and not run.status.is_end:  # noqa: ASYNC110 - on a clock that jumps
            await trio.sleep(0.125)
        with contextlib.suppress(WorkflowError):
            await run.abort()
            await run.result()
        nursery.cancel_scope.cancel()
    return taken[min(messages, len(taken) - 1)]
