"""What must hold of every run that is interrupted, whatever its workflow does; how it ends is compared elsewhere.

* What a run has done it does not do again: a call that finished, an attempt that failed, a result that ``once``
  recorded, an answer that somebody gave. The result need not show it: a card is charged twice, a person asked twice.
* The numbers on its stream go on where they were, without a hole.
* The entries of its history stay, and its running time counts on.
* What finished calls wrote to the stream is there, and as often: asked for only, as a step may write what differs each
  time (a duration, the number of the attempt).

The *line* of a resumed run is what the whole run did up to the point of the interruption, and then what the resumed one
did.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import attrs

from blazen_trio.core.calls import Call
from blazen_trio.core.effects import Effect, Publish, Reject
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.ids import format_id
from blazen_trio.core.limits import HISTORY_EVENTS_MAX
from blazen_trio.core.messages import (
    AnswerKept,
    InputAnswered,
    Message,
    OnceRecorded,
    StepFailed,
    StepSucceeded,
    StreamWritten,
)
from blazen_trio.core.state import RunState
from blazen_trio.runner import Runner

_A_LITTLE_S: Final = 1e-6
_SHOWN_MAX: Final = 5
"""So many lines about one law."""

Path: TypeAlias = tuple[tuple[int, int], ...]
"""A call: its id and its attempt (or ``_ANY``), behind those of the calls that its run is inside of."""

_ANY: Final = 0


@attrs.frozen
class Place:
    """How far a run had come: how much of each list of its ``Diary`` was there."""

    deeds: int = 0
    items: int = 0
    seq: int = 0
    entries: int = 0
    elapsed_s: float = 0.0


@attrs.frozen
class Item:
    """Something that a call wrote to the stream."""

    call: Path
    text: str


@attrs.define
class Diary:
    """What a run did, in order.

    Attributes:
        deeds: what must not be done again, in words.
        items: what calls wrote to the stream.
        numbers: of what was published.
        finished: calls that finished, by id.
        seq: the number of the last event on the stream.
        entries: the number of the last entry of the history.
        elapsed_s: running time.
        history: the entries themselves; known when the run is over.
    """

    deeds: list[str] = attrs.Factory(list[str])
    items: list[Item] = attrs.Factory(list[Item])
    numbers: list[int] = attrs.Factory(list[int])
    finished: set[Path] = attrs.Factory(set[Path])
    seq: int = 0
    entries: int = 0
    elapsed_s: float = 0.0
    history: tuple[HistoryEvent, ...] = ()
    _late: dict[RunState, int] = attrs.Factory(dict[RunState, int])

    def note(self, runner: Runner, state: RunState, message: Message, effects: Sequence[Effect]) -> None:
        """Something happened in the run, or in one inside of it, whose state that is."""
        was_late = self._late.get(state, state.late)
        self._late[state] = state.late
        path = path_of(runner.state, state)
        if path is not None and was_late == state.late and not any(isinstance(each, Reject) for each in effects):
            self._note_deed(message, state, path)
        if state is runner.state:
            self.numbers += [each.seq for each in effects if isinstance(each, Publish)]
            self._note_position(runner)

    def _note_position(self, runner: Runner) -> None:
        state, now = runner.state, runner.clock()
        self.seq, self.entries = (self.numbers or [self.seq])[-1], state.history_seq
        self.elapsed_s = state.elapsed_s + now - (now if state.running_since is None else state.running_since)
        if state.outcome is not None:
            self.history = tuple(state.history or ())

    def place(self) -> Place:
        """How far the run has come."""
        return Place(len(self.deeds), len(self.items), self.seq, self.entries, self.elapsed_s)

    def _note_deed(self, message: Message, state: RunState, path: Path) -> None:
        deed = _deed(message, state, path)
        if deed is not None:
            self.deeds.append(deed)
        if isinstance(message, StepSucceeded):
            call = message.call
            self.finished |= {(*path, (call.id, attempt)) for attempt in (call.attempt, _ANY)}
        elif isinstance(message, StreamWritten):
            call = message.call
            self.items.append(Item((*path, (call.id, _ANY)), f"step {call.step_name!r} wrote {message.event!r}"))


def path_of(around: RunState, state: RunState) -> Path | None:
    """The calls that a run is inside of, from the outside in; ``None`` if it is not inside of this one any more."""
    if state is around:
        return ()
    for call, child in (around.children or {}).items():
        path = path_of(child, state)
        if path is not None:
            return ((call.id, call.attempt), *path)
    return None


def _deed(message: Message, state: RunState, path: Path) -> str | None:
    """What a message that counted tells of, if it is something that must not be done again."""
    match message:
        case StepSucceeded(call=call):
            return f"{_words(call, path)} finished"
        case StepFailed(call=call):
            attempt = call.attempt - (call in state.timers)  # it counts the next one already
            return f"attempt {attempt} of {_words(call, path)} failed"
        case OnceRecorded(call=call, name=name):
            return f"{_words(call, path)} did what is recorded as {name!r}"
        case InputAnswered(request_id=request_id) | AnswerKept(request_id=request_id):
            return f"question {request_id} was answered"
        case _:
            return None


def _words(call: Call, path: Path) -> str:
    around = [f", in attempt {attempt} of call {format_id(each)}" for each, attempt in reversed(path)]
    return f"call {format_id(call.id)} of step {call.step_name!r}{''.join(around)}"


# --- The laws ---------------------------------------------------------------------------------------------------------


def broken_laws(whole: Diary, place: Place, resumed: Diary, *, stream: bool) -> list[str]:
    """Lines about each law that was broken by a run that was interrupted at a place of the whole one and resumed."""
    problems = [f"done again: {deed}" for deed in _done_again(whole, place, resumed)]
    problems += _misnumbered(place, resumed)
    problems += [f"gone from the history: {entry}" for entry in _forgotten(whole, place, resumed)]
    if resumed.elapsed_s < place.elapsed_s - _A_LITTLE_S:
        problems.append(f"after {place.elapsed_s:g} s of running time there were {resumed.elapsed_s:g} s at the end")
    if stream:
        problems += _differently_written(whole, place, resumed)
    more = len(problems) - _SHOWN_MAX
    return [*problems[:_SHOWN_MAX], f"and {more} more"] if more > 0 else problems


def _done_again(whole: Diary, place: Place, resumed: Diary) -> list[str]:
    line = Counter(whole.deeds[: place.deeds]) + Counter(resumed.deeds)
    usual = Counter(whole.deeds)  # more than once: a question with an id of the user's own
    return [deed for deed, count in line.items() if count > max(1, usual[deed])]


def _misnumbered(place: Place, resumed: Diary) -> list[str]:
    expected = range(place.seq + 1, place.seq + 1 + len(resumed.numbers))
    wrong = [pair for pair in zip(expected, resumed.numbers, strict=True) if pair[0] != pair[1]]
    return [f"number {right} of the stream has the number {number}" for right, number in wrong[:1]]


def _forgotten(whole: Diary, place: Place, resumed: Diary) -> list[HistoryEvent]:
    kept = {entry.sequence: entry for entry in resumed.history}
    first = min(kept) if len(kept) == HISTORY_EVENTS_MAX else 1  # the oldest are dropped in time
    known = [entry for entry in whole.history if first <= entry.sequence <= place.entries]
    return [entry for entry in known if kept.get(entry.sequence) != entry]


def _differently_written(whole: Diary, place: Place, resumed: Diary) -> list[str]:
    expected = _written(whole.items, whole.finished)
    line = _written([*whole.items[: place.items], *resumed.items], whole.finished | resumed.finished)
    lost, more = expected - line, line - expected
    return [f"not on the stream: {text}" for text in lost.elements()] + [
        f"on the stream, but not in the uninterrupted run: {text}" for text in more.elements()
    ]


def _written(items: Iterable[Item], finished: set[Path]) -> Counter[str]:
    return Counter(item.text for item in items if all(around in finished for around in _around(item.call)))


def _around(path: Path) -> Iterable[Path]:
    """The call itself, and each that it is inside of."""
    return (path[:count] for count in range(1, len(path) + 1))
