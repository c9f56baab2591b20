"""Watching a run from its start to its end: show it, answer its questions, say how it ended."""

import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import attrs
import trio

from blazen_trio import (
    EngineRun,
    InputRequestEvent,
    RunClosedError,
    RunStatus,
    StreamGap,
    UnknownInputRequestError,
    WorkflowError,
    WorkflowResult,
    WorkflowRun,
)
from blazen_trio.cli.exits import Exit
from blazen_trio.cli.output import printable
from blazen_trio.cli.questions import NO_ANSWER, Answerer
from blazen_trio.cli.view import View, logging_to
from blazen_trio.groups import alone

if TYPE_CHECKING:
    from blazen_trio.websocket import RemoteRun

STATUS_POLL_S: Final = 0.1
"""That a run came to wait for nothing but answers has no event of its own."""

T = TypeVar("T")

Run: TypeAlias = "WorkflowRun | EngineRun | RemoteRun"


@attrs.frozen
class Audience:
    """Who follows a run: what shows it, and who answers its questions."""

    view: View
    answerer: Answerer

    @contextlib.contextmanager
    def attending(self) -> Generator[None]:
        """The time in which the run is shown, and with it what the library logs."""
        with self.view.running(), logging_to(self.view):
            yield


@attrs.frozen
class Ending:
    """How a run ended for this command: with a result, an error, open questions, or because somebody stopped it.

    Attributes:
        run_id: its id; empty if it had not begun.
        result: what came of it.
        error: why it failed, or cannot be followed.
        is_open: the error did not end it: a server that it needs is lost.
        is_lost: the error says only why it cannot be followed any more; it goes on elsewhere.
        questions: those that nobody here answers; it waits for them.
        stopped: the exit code of the signal that stopped the command; the run was kept if there is a ``way_on``.
        not_kept: why a run that was stopped is lost, if it could not be saved.
        answered: what becomes of a run that was only answered here.
        way_on: the command line that goes on with the run.
    """

    run_id: str = ""
    result: WorkflowResult | None = None
    error: WorkflowError | None = None
    questions: tuple[InputRequestEvent, ...] = ()
    stopped: Exit | None = None
    not_kept: str = ""
    answered: str = ""
    way_on: str = ""
    is_open: bool = False
    is_lost: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the run ended, or waits for an answer; not if somebody stopped it."""
        return self.result is not None or self.error is not None or bool(self.questions)


def run_trio(function: Callable[[], Awaitable[T]]) -> T:
    """``trio.run``; the error that a nursery put into a group comes out alone."""
    try:
        return trio.run(function)
    except BaseExceptionGroup as group:
        raise alone(group) from None


async def follow(run: Run, audience: Audience, after: int = 0) -> Ending:
    """Watch a run from a number of its stream to its end, or to where nobody answers its questions; a checkpoint."""
    try:
        questions = await _watch(run, audience, after)
        if questions:
            return Ending(run.run_id, questions=questions)
        return Ending(run.run_id, result=await run.result())
    except WorkflowError as error:
        return Ending(run.run_id, error=error, is_open=not run.status.is_end)


async def _watch(run: Run, audience: Audience, after: int) -> tuple[InputRequestEvent, ...]:
    """Until the run ends; the open questions, if it waits for answers that nobody gives."""
    unanswered: set[str] = set()
    bell, rings = trio.open_memory_channel[None](1)
    bell.send_nowait(None)  # a run that goes on may have questions already
    try:
        async with run.stream_events(after) as events, trio.open_nursery() as nursery:
            nursery.start_soon(_answer_questions, run, rings, audience, unanswered)
            nursery.start_soon(_look_again, run, bell, unanswered, nursery.cancel_scope)
            async for event in events:
                audience.view.show(event)
                if isinstance(event, (InputRequestEvent, StreamGap)):  # in a gap there may have been questions
                    _ring(bell)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise alone(group) from None
    return run.pending_inputs


async def _answer_questions(
    run: Run, rings: trio.MemoryReceiveChannel[None], audience: Audience, unanswered: set[str]
) -> None:
    """One question at a time, the oldest first."""
    async for _ in rings:
        while question := next((each for each in run.pending_inputs if each.request_id not in unanswered), None):
            answer = await audience.answerer(question, audience.view)
            if answer is NO_ANSWER:
                unanswered.add(question.request_id)
            elif not await _respond(run, question, answer):
                audience.view.say(f"(nobody asks that any more: {printable(question.prompt)})")


async def _respond(run: Run, question: InputRequestEvent, answer: object) -> bool:
    try:
        await run.respond_to_input(question.request_id, answer)
    except (RunClosedError, UnknownInputRequestError):  # or somebody else gave another answer
        return False
    return True


async def _look_again(
    run: Run, bell: trio.MemorySendChannel[None], unanswered: set[str], scope: trio.CancelScope
) -> None:
    """Give up a run that waits in vain; ring for what a run far away was not known to ask when its event came."""
    while not _waits_in_vain(run, unanswered):
        await trio.sleep(STATUS_POLL_S)
        if any(each.request_id not in unanswered for each in run.pending_inputs):
            _ring(bell)
    scope.cancel()


def _ring(bell: trio.MemorySendChannel[None]) -> None:
    with contextlib.suppress(trio.WouldBlock):  # it rings already
        bell.send_nowait(None)


def _waits_in_vain(run: Run, unanswered: set[str]) -> bool:
    open_ids = {question.request_id for question in run.pending_inputs}
    return run.status is RunStatus.AWAITING_INPUT and open_ids <= unanswered
