"""A run to its end, with the answers of the people outside."""

import contextlib
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import trio
from trio.testing import MockClock

from blazen_trio.block import RunBlock
from blazen_trio.core.errors import RunClosedError, UnknownInputRequestError, WorkflowError
from blazen_trio.core.status import RunStatus
from blazen_trio.core.steps import StepKind
from blazen_trio.run import WorkflowRun
from blazen_trio.runner import Runner

Answers = Mapping[str, Any]
"""What people answer, by the prompt of the question."""

NO_ANSWERS: Final[Answers] = MappingProxyType({})


_REAL_S: Final = 2.0
"""Seconds of real time that a run has at least to go on."""

_REAL_IN_THREAD_S: Final = 60.0
"""And that a plain step has in its thread: a clock that jumps does not wait for it, and a busy machine may be slow."""

_PATIENCE_S: Final = 10.0
_PATIENCE_MOCK_S: Final = 1e8
"""How long nothing may happen while a question has no answer: three years cost nothing on a clock that jumps."""


class UnansweredError(AssertionError):
    """A run waits for an answer that the test did not give."""

    def __init__(self, prompt: str) -> None:
        super().__init__(f"the run waits for the answer to {prompt!r}: give it with answers={{{prompt!r}: ...}}")
        self.prompt = prompt


class People:
    """Those who answer the questions of one run. They look up whenever something happens while a question is open."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._asked = trio.Event()
        self._runner: Runner | None = None
        self.unanswered: str | None = None

    def notice(self, runner: Runner) -> None:
        """Something happened in the run."""
        self._runner = runner
        if runner.state.questions:
            self._asked.set()

    @property
    def patience_s(self) -> float:
        """How long in truth the run may take at most; longer while a plain step of it is in its thread."""
        state = None if self._runner is None else self._runner.state
        runs = () if state is None else (state, *state.runs_inside())
        is_in_thread = any(call.plan.kind is StepKind.THREAD for each in runs for call in each.running)
        return _REAL_IN_THREAD_S if is_in_thread else _REAL_S

    async def serve(self, run: WorkflowRun) -> None:
        """Answer until there is a question that has no answer, and nothing else goes on."""
        while self.unanswered is None:
            await self._asked.wait()
            self._asked = trio.Event()
            left = await self._answer_all(run)
            if left is not None and run.status is RunStatus.AWAITING_INPUT:
                await self._wait_for_more(left)

    async def _answer_all(self, run: WorkflowRun) -> str | None:
        """Give every answer there is; the prompt of a question that has none."""
        left = None
        for question in run.pending_inputs:
            if question.prompt in self._answers:
                with contextlib.suppress(RunClosedError, UnknownInputRequestError):  # it went on meanwhile
                    await run.respond_to_input(question.request_id, self._answers[question.prompt])
            else:
                left = question.prompt
        return left

    async def _wait_for_more(self, prompt: str) -> None:
        """The call that asks may have a deadline, and go on without an answer."""
        is_mock = isinstance(trio.lowlevel.current_clock(), MockClock)
        with trio.move_on_after(_PATIENCE_MOCK_S if is_mock else _PATIENCE_S) as scope:
            await self._asked.wait()
        if scope.cancelled_caught:
            self.unanswered = prompt


async def live(block: RunBlock, people: People, seconds: float) -> None:
    """Let a run come to its end, whichever that is; a checkpoint.

    Raises:
        trio.TooSlowError: there is none for so many seconds.
        UnansweredError: it waits for an answer that nobody has.
    """
    is_late = False
    async with block as run, trio.open_nursery() as nursery:

        async def serve() -> None:
            await people.serve(run)
            nursery.cancel_scope.cancel()

        async def watch() -> None:
            nonlocal is_late
            await _wait_long(seconds, people)
            is_late = True
            nursery.cancel_scope.cancel()

        nursery.start_soon(serve)
        nursery.start_soon(watch)
        with contextlib.suppress(WorkflowError):
            await run.result()
        nursery.cancel_scope.cancel()
    if people.unanswered is not None:
        raise UnansweredError(people.unanswered)
    if is_late:
        raise trio.TooSlowError(f"the run does not come to an end within {seconds:g} s")


async def _wait_long(seconds: float, people: People) -> None:
    """Wait so long on Trio's clock, and a little in truth: a clock that jumps also jumps while a thread works."""
    begun = time.monotonic()
    await trio.sleep(seconds)
    while time.monotonic() - begun < people.patience_s:  # noqa: ASYNC110 - on a clock that jumps
        await trio.sleep(seconds)
