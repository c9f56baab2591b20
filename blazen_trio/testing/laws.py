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
from typing import Final

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

    call: int
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
    finished: set[int] = attrs.Factory(set[int])
    seq: int = 0
    entries: int = 0
    elapsed_s: float = 0.0
    history: tuple[HistoryEvent, ...] = ()
    _late: int | None = None

    def note(self, runner: Runner, message: Message, effects: Sequence[Effect]) -> None:
        """Something happened in the run."""
        state = runner.state
        was_late, self._late = self._late, state.late
        if was_late in (None, state.late) and not any(isinstance(each, Reject) for each in effects):
            self._note_deed(message, state)
        self.numbers += [each.seq for each in effects if isinstance(each, Publish)]
        self.seq, self.entries = (self.numbers or [self.seq])[-1], state.history_seq
        since = runner.clock() if state.running_since is None else state.running_since
        self.elapsed_s = state.elapsed_s + runner.clock() - since
        if state.outcome is not None:
            self.history = tuple(state.history or ())

    def place(self) -> Place:
        """How far the run has come."""
        return Place(len(self.deeds), len(self.items), self.seq, self.entries, self.elapsed_s)

    def _note_deed(self, message: Message, state: RunState) -> None:
        deed = _deed(message, state)
        if deed is not None:
            self.deeds.append(deed)
        if isinstance(message, StepSucceeded):
            self.finished.add(message.call.id)
        elif isinstance(message, StreamWritten):
            self.items.append(Item(message.call.id, f"step {message.call.step_name!r} wrote {message.event!r}"))


def _deed(message: Message, state: RunState) -> str | None:
    """What a message that counted tells of, if it is something that must not be done again."""
    match message:
        case StepSucceeded(call=call):
            return f"{_words(call)} finished"
        case StepFailed(call=call):
            attempt = call.attempt - (call in state.timers)  # it counts the next one already
            return f"attempt {attempt} of {_words(call)} failed"
        case OnceRecorded(call=call, name=name):
            return f"{_words(call)} did what is recorded as {name!r}"
        case InputAnswered(request_id=request_id) | AnswerKept(request_id=request_id):
            return f"question {request_id} was answered"
        case _:
            return None


def _words(call: Call) -> str:
    return f"call {format_id(call.id)} of step {call.step_name!r}"


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


def _written(items: Iterable[Item], finished: set[int]) -> Counter[str]:
    return Counter(item.text for item in items if item.call in finished)
