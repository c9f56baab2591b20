"""``WorkflowStateMachine``: Hypothesis decides when a run is interrupted, saved, answered; your rules do the rest.

Rules of this file:

* Between two rules the run is nothing but a snapshot, as JSON. Each rule resumes it, does something, and saves it
  again; unfinished calls are repeated. So whatever is found holds for runs that live in pieces.
* All happens on a clock that jumps, each piece in a Trio of its own.
"""

import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trio.testing import MockClock

from blazen_trio.block import RunBlock
from blazen_trio.core.effects import Effect
from blazen_trio.core.errors import WorkflowError
from blazen_trio.core.messages import Message
from blazen_trio.core.state import RunState
from blazen_trio.endings import Ending
from blazen_trio.run import WorkflowRun
from blazen_trio.runner import Runner
from blazen_trio.snapshot import WorkflowSnapshot
from blazen_trio.testing.ends import End, differences, end_of
from blazen_trio.testing.living import NO_ANSWERS, People, live
from blazen_trio.testing.watching import Listener, begin
from blazen_trio.testing.watching import go_on as resumed
from blazen_trio.workflow import Workflow

T = TypeVar("T")
Action: TypeAlias = Callable[[WorkflowRun], Awaitable[object]]
_Make: TypeAlias = Callable[[Listener], tuple[Runner, RunBlock]]

MESSAGES_MAX: Final = 20
"""What a run takes in before it is interrupted again: few, so that it is interrupted often."""


class WorkflowStateMachine(RuleBasedStateMachine):
    """A rule-based machine over one run of a workflow; ``TestX = X.TestCase`` makes a test of your subclass.

    A subclass says which ``workflow`` it is, and may say its ``input``, the ``answers`` of people by the prompt of the
    question, and what holds at any time (``check``) and at the end (``check_end``). Rules of its own, made with
    Hypothesis' ``rule``, do things to the run with ``self.act(action)``.

    The rules that are here let the run go on for a while, interrupt it, pause it and answer its questions. At the end
    it is let go on undisturbed; then its result, values, usage and cost are those of a run that nobody interrupted,
    unless ``has_same_end`` is false.

    Attributes:
        input: as of ``workflow.start``.
        answers: by prompt.
        has_same_end: whether what rules do leaves the end as it is; with rules that send events it is not.
        snapshot: the run as it is between two rules.
    """

    input: ClassVar[Any] = None
    answers: ClassVar[Mapping[str, Any]] = NO_ANSWERS
    has_same_end: ClassVar[bool] = True
    snapshot: WorkflowSnapshot

    def workflow(self) -> Workflow:
        """The workflow; made anew for each piece of the run, as in another process."""
        raise NotImplementedError("a WorkflowStateMachine says which workflow it runs: def workflow(self) -> Workflow")

    def check(self, snapshot: WorkflowSnapshot) -> None:
        """What holds at any time."""

    def check_end(self, run: WorkflowRun) -> None:
        """What holds at the end."""

    # --- What rules do ------------------------------------------------------------------------------------------------

    def act(self, action: Action | None = None, *, messages: int = MESSAGES_MAX, seconds: float = 0.0) -> None:
        """Resume the run, do something to it, let it go on, and save it.

        Args:
            action: gets the run; what it raises fails the test.
            messages: the run is saved when so many things more have happened in it,
            seconds: or when it has gone on for so long.
        """
        self._live_piece(partial(resumed, self.workflow(), self.snapshot), action, messages, seconds)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.snapshot.status.is_end

    # --- The rules that are here --------------------------------------------------------------------------------------

    @initialize()
    def start(self) -> None:
        """The run begins."""
        self._live_piece(partial(begin, self.workflow(), self.input), None, 1, 0.0)

    @rule(messages=st.integers(1, MESSAGES_MAX), seconds=st.sampled_from([0.0, 0.5, 10.0]))
    def go_on(self, messages: int, seconds: float) -> None:
        """The run goes on for a while, and is interrupted at an instant that nobody chose; over, it stays so."""
        self.act(messages=messages, seconds=seconds)

    @precondition(lambda self: not self.is_over and self.snapshot.input_request() is not None)
    @rule()
    def answer(self) -> None:
        """Somebody answers the oldest question that has an answer."""
        self.act(self._answer_one)

    @precondition(lambda self: not self.is_over)
    @rule(interrupt=st.booleans())
    def pause(self, interrupt: bool) -> None:  # noqa: FBT001 - Hypothesis passes it by name
        """The run is paused, and goes on in the same process."""

        async def pause_and_resume(run: WorkflowRun) -> None:
            with trio.move_on_after(1.0):  # a call may run for longer
                await run.pause(interrupt=interrupt)
            if not run.status.is_end:
                await run.resume_in_place()

        self.act(pause_and_resume)

    @invariant()
    def holds(self) -> None:
        """Whatever must hold at any time."""
        if hasattr(self, "snapshot"):
            self.check(self.snapshot)

    def teardown(self) -> None:
        """The run is let go on to its end."""
        if hasattr(self, "snapshot"):
            end = self._live_on()
            whole = self._live_whole() if self.has_same_end else end
            if end != whole:
                lines = ["the run comes to another end than without interruptions:", *differences(whole, end)]
                raise AssertionError("\n".join(lines))

    # --- Pieces -------------------------------------------------------------------------------------------------------

    async def _answer_one(self, run: WorkflowRun) -> None:
        for question in run.pending_inputs:
            if question.prompt in self.answers:
                await run.respond_to_input(question.request_id, self.answers[question.prompt])
                return

    def _live_piece(self, make: _Make, action: Action | None, messages: int, seconds: float) -> None:
        piece = _Piece(messages)

        async def main() -> None:
            runner, block = make(piece.listen)
            with contextlib.suppress(WorkflowError):  # how the run ends is told at the end
                async with block as run:
                    await _act(run, action)
                    with trio.move_on_after(seconds):
                        await piece.wait_long_enough(run)
                    piece.save(runner)
                    await run.abort()

        _run(main)
        assert piece.saved is not None
        self.snapshot = WorkflowSnapshot.from_json(piece.saved.to_json())

    def _live_on(self) -> End:
        return self._live_to_end(partial(resumed, self.workflow(), self.snapshot), self.check_end)

    def _live_whole(self) -> End:
        return self._live_to_end(partial(begin, self.workflow(), self.input), None)

    def _live_to_end(self, make: _Make, check: Callable[[WorkflowRun], None] | None) -> End:
        people = People(self.answers)

        def listen(runner: Runner, _state: RunState, _message: Message, _effects: Sequence[Effect]) -> None:
            people.notice(runner)

        async def main() -> End:
            runner, block = make(listen)
            await live(block, people, math.inf)
            if check is not None:
                check(WorkflowRun(runner.definition, runner, Ending(runner.state)))
            return end_of(runner)

        return _run(main)


class _Piece:
    """One piece of a run: it lasts for so many messages."""

    def __init__(self, messages: int) -> None:
        self._left = messages
        self._is_enough: trio.Event | None = None
        self.saved: WorkflowSnapshot | None = None

    def listen(self, runner: Runner, _state: RunState, _message: Message, _effects: Sequence[Effect]) -> None:
        """Something happened; at the last thing the run is saved, in that very instant."""
        self._left -= 1
        if self._left == 0:
            self.save(runner)
            if self._is_enough is not None:
                self._is_enough.set()

    def save(self, runner: Runner) -> None:
        """Save the run, if that was not done before."""
        if self.saved is None:
            self.saved = runner.snapshot()

    async def wait_long_enough(self, run: WorkflowRun) -> None:
        """Wait for the last message, or for the end of the run; a checkpoint."""
        self._is_enough = trio.Event()
        if self.saved is not None or run.status.is_end:
            await trio.lowlevel.checkpoint()
        else:
            await self._is_enough.wait()


async def _act(run: WorkflowRun, action: Action | None) -> None:
    if action is not None:
        await action(run)
    await trio.lowlevel.checkpoint()


def _run(main: Callable[[], Awaitable[T]]) -> T:
    """One piece, on a clock that jumps."""
    return trio.run(main, clock=MockClock(autojump_threshold=0))
