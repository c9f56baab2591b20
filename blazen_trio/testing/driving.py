"""``drive``: a whole run as a text that is the same each time, for tests and for reviews."""

import contextlib
import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
import trio
from trio.testing import MockClock

from blazen_trio.core.effects import Effect, Publish
from blazen_trio.core.events import Event, InputRequestEvent, LifecycleEvent
from blazen_trio.core.messages import Message
from blazen_trio.core.state import RunState
from blazen_trio.run import result_of
from blazen_trio.runner import Runner
from blazen_trio.testing.living import NO_ANSWERS, Answers, People, live
from blazen_trio.testing.scheduling import shuffled_by
from blazen_trio.testing.watching import begin
from blazen_trio.workflow import Workflow

_SECONDS_MAX: Final = 1e9
"""Thirty years on the clock that jumps: whatever waits longer waits for ever."""

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


@attrs.frozen
class Transcript:
    """What happened in a run.

    Attributes:
        text: a line for each event on the stream (lifecycle events included), with the seconds since the start, and one
            for the end. ``step#2`` is the second call of ``step`` to appear.
        event: the event that ended the run; ``None`` if it failed.
        error: the error that ended it, if it failed.
    """

    text: str
    event: Event | None
    error: BaseException | None

    @property
    def result(self) -> Any:
        """The result of the run.

        Raises:
            WorkflowError: it failed.
        """
        if self.event is None:
            assert self.error is not None
            raise self.error
        return result_of(self.event)


def drive(workflow: Workflow, input: object = None, *, seed: int = 0, answers: Answers = NO_ANSWERS) -> Transcript:
    """Run a workflow to its end, whichever that is, on a clock that jumps; not a coroutine, so not inside of Trio.

    The same seed gives the same order of tasks and the same random numbers, and so the same text.

    Args:
        workflow: what to run.
        input: as of ``workflow.start``.
        seed: of the order in which Trio runs tasks, and of ``random``.
        answers: what people answer, by the prompt of the question.

    Raises:
        UnansweredError: the run waits for an answer that ``answers`` has not.
        trio.TooSlowError: it waits for something that never comes.
    """
    with shuffled_by(seed):
        return trio.run(_drive, workflow, input, answers, clock=MockClock(autojump_threshold=0))


async def _drive(workflow: Workflow, input: object, answers: Answers) -> Transcript:
    people, writer = People(answers), _Writer(trio.current_time())

    def listen(runner: Runner, state: RunState, _message: Message, effects: Sequence[Effect]) -> None:
        people.notice(runner)
        for effect in effects:
            if isinstance(effect, Publish) and state is runner.state:  # what a run inside publishes comes here, too
                writer.write(effect)

    runner, block = begin(workflow, input, listen)
    with contextlib.closing(runner.subscribe(0, None, lossless=False)):  # somebody watches, so the engine tells
        await live(block, people, _SECONDS_MAX)
    outcome = runner.state.outcome
    assert outcome is not None
    writer.end(outcome.event, outcome.error)
    return Transcript(writer.text(runner.run_id), outcome.event, outcome.error)


class _Writer:
    """Writes the lines, with names for what is different each time."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._lines: list[str] = []
        self._calls: dict[int | str, str] = {}
        self._counts: dict[str, int] = {}
        self._questions: list[str] = []

    def write(self, item: Publish) -> None:
        event = item.event
        if isinstance(event, InputRequestEvent) and event.request_id not in self._questions:
            self._questions.append(event.request_id)
        who = self._name(item)
        self._add(_lifecycle(event, who) if isinstance(event, LifecycleEvent) else f"{who or 'run'}: {event!r}")

    def end(self, event: Event | None, error: BaseException | None) -> None:
        self._add(f"the end: {event!r}" if event is not None else f"the end: {type(error).__name__}: {error}")

    def text(self, run_id: str) -> str:
        text = _ADDRESS.sub("", "\n".join(self._lines)).replace(run_id, "<run>")
        for number, request_id in enumerate(self._questions, 1):
            text = text.replace(repr(request_id), f"<question {number}>")
        return text + "\n"

    def _add(self, line: str) -> None:
        self._lines.append(f"{trio.current_time() - self._began:9.3f}  {line}")

    def _name(self, item: Publish) -> str:
        """The step and which of its calls it is."""
        if item.call_id is None or item.source_step is None:
            return item.source_step or ""
        if item.call_id not in self._calls:
            self._counts[item.source_step] = number = self._counts.get(item.source_step, 0) + 1
            self._calls[item.call_id] = f"{item.source_step}#{number}"
        return self._calls[item.call_id]


def _lifecycle(event: LifecycleEvent, who: str) -> str:
    parts = [event.kind, who or event.step_name or ""]
    parts.append(f"({event.event_type})" if event.event_type else "")
    parts.append(f"attempt {event.attempt}" if (event.attempt or 1) > 1 else "")
    parts.append(f"- {event.error}" if event.error else "")
    return " ".join(part for part in parts if part)
