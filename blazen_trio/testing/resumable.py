"""``assert_resumable``: whatever a run is doing when it is interrupted, it comes to the same end.

Rules of this file:

* A point is reached after each message that the machine takes in: a call ended, an event was sent, a value was
  written, a timer fired. A snapshot is taken at each, of one and the same run, which goes on undisturbed to its end.
* So a resumed run finds everything outside of runs (globals, closures) as the whole run left it. What a step keeps
  there shows as another result.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from blazen_trio.core.calls import Call
from blazen_trio.core.effects import Effect
from blazen_trio.core.errors import EncodeError, SessionRefError, SnapshotError
from blazen_trio.core.ids import format_id
from blazen_trio.core.messages import Message
from blazen_trio.core.state import RunState
from blazen_trio.runner import Runner
from blazen_trio.session_refs.saving import Deserializers
from blazen_trio.snapshot import WorkflowSnapshot
from blazen_trio.testing.ends import End, differences, end_of
from blazen_trio.testing.laws import Diary, Place, broken_laws
from blazen_trio.testing.living import NO_ANSWERS, Answers, People, UnansweredError, live
from blazen_trio.testing.scheduling import shuffled_by
from blazen_trio.testing.watching import begin, go_on
from blazen_trio.workflow import Workflow

_TIMES_AS_LONG: Final = 10
_SECONDS_MORE: Final = 60.0
"""A resumed run may take ten times as long as the whole one, and a minute: else it does not come to an end."""


class NotResumableError(AssertionError):
    """A workflow does not come to the same end when it is interrupted.

    Attributes:
        point: where it was interrupted, from 1.
        snapshot: taken there; ``None`` if none could be taken.
    """

    def __init__(self, message: str, point: int, snapshot: WorkflowSnapshot | None) -> None:
        super().__init__(message)
        self.point = point
        self.snapshot = snapshot


@attrs.frozen
class Point:
    """One instant of a run: what had just happened, and what was saved then (or why nothing could be)."""

    number: int
    happened: str
    consumed: int
    saved: WorkflowSnapshot | EncodeError | SessionRefError
    place: Place


@attrs.define
class Recording:
    """The points of a run, what it did, and how it ended."""

    points: list[Point] = attrs.Factory(list[Point])
    diary: Diary = attrs.Factory(Diary)
    end: End | None = None
    seconds: float = 0.0

    def take(self, runner: Runner, message: Message) -> None:
        """Save the run as it is now, unless it is as it was."""
        saved: WorkflowSnapshot | EncodeError | SessionRefError
        try:
            saved = runner.snapshot()
        except (EncodeError, SessionRefError) as error:
            saved = error
        if not self.points or saved != self.points[-1].saved:
            point = Point(len(self.points) + 1, happened(message), runner.state.consumed, saved, self.diary.place())
            self.points.append(point)


@attrs.frozen
class Conditions:
    """What each run of one check has in common."""

    make: Callable[[], Workflow]
    answers: Answers
    deserializers: Deserializers | None
    stream: bool


async def assert_resumable(
    workflow: Workflow | Callable[[], Workflow],
    input: object = None,
    *,
    answers: Answers = NO_ANSWERS,
    seed: int = 0,
    only: int | None = None,
    stream: bool = False,
    deserializers: Deserializers | None = None,
) -> int:
    """Interrupt a run at every point, resume it, and compare result, state and usage with the uninterrupted run.

    Also nothing may be done again that was done: calls, failed attempts, ``ctx.once``, answers; and stream numbers,
    history and running time go on where they were.

    Each snapshot goes through JSON and MessagePack. It all happens on Trio's clock: on one that jumps
    (``MockClock(autojump_threshold=0)``, or the fixture ``autojump_clock`` of pytest-trio) waits take no time. Gives
    the number of points; a checkpoint.

    Args:
        workflow: or a function that makes one, so that each resumed run has steps of its own, as in another process.
        input: as of ``workflow.start``.
        answers: what people answer, by the prompt of the question.
        seed: of the order in which Trio runs tasks.
        only: resume at this point alone: to look at one that failed.
        stream: compare what finished calls wrote to the stream, too. Not for steps that write what differs each time.
        deserializers: as of ``workflow.resume``.

    Raises:
        EncodeError: the end of the run cannot be saved, and thus not be compared.
        NotResumableError: at some point the run cannot be saved or resumed, or comes to another end; it says which.
        UnansweredError: the run waits for an answer that ``answers`` has not.
        ValueError: there is no point ``only``.
    """
    make: Callable[[], Workflow] = (lambda: workflow) if isinstance(workflow, Workflow) else workflow
    conditions = Conditions(make, answers, deserializers, stream)
    with shuffled_by(seed):
        whole = await record(make(), input, answers)
        count = len(whole.points)
        if only is not None and not 1 <= only <= count:
            raise ValueError(f"only={only}: the run has the points 1 to {count}")
        for point in whole.points if only is None else [whole.points[only - 1]]:
            problem = await _problem_at(point, whole, conditions)
            if problem is not None:
                raise _failure(point, count, problem, seed)
    return count


async def record(workflow: Workflow, input: object, answers: Answers) -> Recording:
    """An uninterrupted run, saved at each point."""
    people, recording = People(answers), Recording()

    def listen(runner: Runner, state: RunState, message: Message, effects: Sequence[Effect]) -> None:
        people.notice(runner)
        recording.diary.note(runner, state, message, effects)
        recording.take(runner, message)

    began = trio.current_time()
    runner, block = begin(workflow, input, listen)
    await live(block, people, math.inf)
    recording.seconds = trio.current_time() - began
    if any(not isinstance(each.saved, WorkflowSnapshot) for each in recording.points):
        return recording  # the first of them is told before any end is compared
    recording.end = end_of(runner)
    return recording


# --- One point --------------------------------------------------------------------------------------------------------


async def _problem_at(point: Point, whole: Recording, conditions: Conditions) -> str | None:
    """What is wrong with a run that was interrupted there; a checkpoint."""
    if not isinstance(point.saved, WorkflowSnapshot):
        return f"the run cannot be saved: {point.saved}"
    if whole.end is None:
        return None  # a later point cannot be saved, and will say so
    try:
        diary = Diary()
        end = await _live_on(_sent_around(point.saved), conditions, diary, whole.seconds)
    except trio.TooSlowError:
        return "the resumed run does not come to an end"
    except (SnapshotError, UnansweredError, EncodeError, SessionRefError) as error:
        return f"{type(error).__name__}: {error}"
    if end != whole.end:
        hint = [_HINT] if point.consumed == 0 else []
        return "\n".join(["the resumed run comes to another end:", *differences(whole.end, end), *hint])
    problems = broken_laws(whole.diary, point.place, diary, stream=conditions.stream)
    return "\n  ".join(["the resumed run does not go on where it was:", *problems]) if problems else None


_HINT: Final = (
    "No call had finished by then: the workflow comes to another end whenever it runs. Look for randomness, clocks, "
    "and values that are kept outside of the run."
)


def _sent_around(snapshot: WorkflowSnapshot) -> WorkflowSnapshot:
    """The snapshot, read from JSON and then from MessagePack."""
    by_json = WorkflowSnapshot.from_json(snapshot.to_json())
    by_both = WorkflowSnapshot.from_msgpack(by_json.to_msgpack())
    assert by_both == snapshot, "a snapshot is the same after a round trip; please report this as a bug of blazen_trio"
    return by_both


async def _live_on(snapshot: WorkflowSnapshot, conditions: Conditions, diary: Diary, seconds: float) -> End:
    """The rest of a run, written to the diary; ``seconds`` is how long the whole one took."""
    people = People(conditions.answers)

    def listen(runner: Runner, state: RunState, message: Message, effects: Sequence[Effect]) -> None:
        people.notice(runner)
        diary.note(runner, state, message, effects)

    runner, block = go_on(conditions.make(), snapshot, listen, conditions.deserializers)
    await live(block, people, seconds * _TIMES_AS_LONG + _SECONDS_MORE)
    return end_of(runner)


# --- Words ------------------------------------------------------------------------------------------------------------


def happened(message: Message) -> str:
    """A message in words: its name, and whose it is."""
    call = getattr(message, "call", None)
    if not isinstance(call, Call):
        return type(message).__name__
    return f"{type(message).__name__} of step {call.step_name!r} (call {format_id(call.id)}, attempt {call.attempt})"


def _failure(point: Point, count: int, problem: str, seed: int) -> NotResumableError:
    saved = point.saved if isinstance(point.saved, WorkflowSnapshot) else None
    lines = [
        f"interrupted at point {point.number} of {count}, after {point.happened}: {problem}",
        f"To see it again: await assert_resumable(workflow, input, seed={seed}, only={point.number})",
    ]
    if saved is not None:
        lines.append("or resume the snapshot itself, which is the attribute `snapshot` of this error.")
    return NotResumableError("\n".join(lines), point.number, saved)
