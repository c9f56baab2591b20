"""Watching a run from its start to its end: show it, answer its questions, say how it ended."""

import contextlib
from typing import Any, Final

import attrs
import trio

from blazen_trio import (
    InputRequestEvent,
    RunClosedError,
    RunStatus,
    StreamGap,
    UnknownInputRequestError,
    Workflow,
    WorkflowError,
    WorkflowResult,
    WorkflowRun,
)
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.output import printable
from blazen_trio.cli.questions import NO_ANSWER, Answerer
from blazen_trio.cli.view import View, describe_progress

STATUS_POLL_S: Final = 0.1
"""That a run came to wait for nothing but answers has no event of its own."""


@attrs.frozen
class Ending:
    """How a run ended: with a result, with an error, or (neither) with open questions."""

    run_id: str
    result: WorkflowResult | None = None
    error: WorkflowError | None = None
    questions: tuple[InputRequestEvent, ...] = ()


def follow(workflow: Workflow, data: Any, answerer: Answerer, view: View) -> Ending:
    """Run a workflow to its end, or to where nobody can answer its questions.

    Raises:
        CommandError: Ctrl-C; it says how far the run was.
    """
    is_interrupted = False
    ending: Ending | None = None
    try:
        ending = trio.run(_follow, workflow, data, answerer, view)
    except* KeyboardInterrupt:  # in a group, if it struck inside a nursery
        is_interrupted = True
    if ending is None or is_interrupted:
        done = f" after {describe_progress(view.progress)}" if view.progress is not None else ""
        raise CommandError(f"interrupted{done}; there is no result", Exit.INTERRUPTED)
    return ending


async def _follow(workflow: Workflow, data: Any, answerer: Answerer, view: View) -> Ending:
    with view.running():
        async with workflow.start(data) as run:
            questions = await _watch(run, answerer, view)
            if questions:
                return Ending(run.run_id, questions=questions)
            try:
                return Ending(run.run_id, result=await run.result())
            except WorkflowError as error:
                return Ending(run.run_id, error=error)


async def _watch(run: WorkflowRun, answerer: Answerer, view: View) -> tuple[InputRequestEvent, ...]:
    """Until the run ends; the open questions, if it waits for answers that nobody gives."""
    unanswered: set[str] = set()
    bell, rings = trio.open_memory_channel[None](1)
    async with run.stream_events() as events, trio.open_nursery() as nursery:
        nursery.start_soon(_answer_questions, run, rings, answerer, view, unanswered)
        nursery.start_soon(_give_up_waiting, run, unanswered, nursery.cancel_scope)
        async for event in events:
            view.show(event)
            if isinstance(event, (InputRequestEvent, StreamGap)):  # in a gap there may have been questions
                with contextlib.suppress(trio.WouldBlock):  # it rings already
                    bell.send_nowait(None)
        nursery.cancel_scope.cancel()
    return run.pending_inputs


async def _answer_questions(
    run: WorkflowRun, rings: trio.MemoryReceiveChannel[None], answerer: Answerer, view: View, unanswered: set[str]
) -> None:
    """One question at a time, the oldest first."""
    async for _ in rings:
        while question := next((each for each in run.pending_inputs if each.request_id not in unanswered), None):
            answer = await answerer(question, view)
            if answer is NO_ANSWER:
                unanswered.add(question.request_id)
            elif not await _respond(run, question, answer):
                view.say(f"(the question was withdrawn: {printable(question.prompt)})")


async def _respond(run: WorkflowRun, question: InputRequestEvent, answer: object) -> bool:
    try:
        await run.respond_to_input(question.request_id, answer)
    except (RunClosedError, UnknownInputRequestError):
        return False
    return True


async def _give_up_waiting(run: WorkflowRun, unanswered: set[str], scope: trio.CancelScope) -> None:
    while not _waits_in_vain(run, unanswered):  # noqa: ASYNC110 - STATUS_POLL_S says why
        await trio.sleep(STATUS_POLL_S)
    scope.cancel()


def _waits_in_vain(run: WorkflowRun, unanswered: set[str]) -> bool:
    open_ids = {question.request_id for question in run.pending_inputs}
    return run.status is RunStatus.AWAITING_INPUT and open_ids <= unanswered
