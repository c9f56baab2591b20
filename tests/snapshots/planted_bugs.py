"""Does ``assert_resumable`` find bugs in snapshots? Plant some, and let it look at workflows without a fault.

``python -m tests.snapshots.planted_bugs`` prints a table and exits with 1 if a bug survives. A bug is planted either in
what is written or in what comes back. Where it can be, it keeps the counters of the run consistent, so that it is not
the reader of snapshots that finds it.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio.core.calls import Batch, Call
from blazen_trio.core.shared_state import SharedState
from blazen_trio.core.state import RunState
from blazen_trio.core.usage import TokenUsage
from blazen_trio.snapshot import restore, taking
from blazen_trio.snapshot.restoring import RestoredRun
from blazen_trio.snapshot.work_writer import WorkWriter
from blazen_trio.testing import NotResumableError, living, watching
from tests.snapshots import more_programs, programs, sub_workflows
from tests.snapshots.every_program import ALONE, Make, check

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]

KEEN: tuple[Make, ...] = (
    programs.state_that_is_undone,
    programs.fan_out_with_limits,
    more_programs.one_at_a_time_in_order,
    programs.retries,
    programs.collectors,
    programs.sends_before_the_end,
    programs.nested_joins,
    programs.once,
    programs.routed_questions,
    more_programs.keys_that_never_change,
    more_programs.keeps_a_history,
    more_programs.waits_long_for_an_attempt,
    more_programs.recoveries_that_run_out,
    more_programs.lists_where_one_might_be,
    programs.waits,
    sub_workflows.a_run_for_each_item,
)
"""Programs that find much; they are tried first."""

APT: Mapping[str, Make] = {
    "an idempotency key is another one": more_programs.keys_that_never_change,
    "recoveries are counted from none": more_programs.recoveries_that_run_out,
    "the wait before an attempt starts anew": more_programs.waits_long_for_an_attempt,
    "a result of once is lost": programs.once,
    "an answer that a call got is lost": programs.answered_by_a_handler,
    "what a call sent is forgotten": programs.sends_before_the_end,
    "how much a call sent is forgotten": programs.sends_before_the_end,
    "what a call wrote to the stream is forgotten": programs.sends_before_the_end,
    "what a call was waiting for and got is lost": programs.waits,
    "a join is called twice": programs.nested_joins,
    "a fan-out forgets which joins ran inside of it": more_programs.lists_where_one_might_be,
    "a fan-out forgets which joins it shall call": programs.nested_joins,
    "what a running call took out of a collector is not put back": programs.collectors,
    "a run inside another one begins anew": sub_workflows.a_run_for_each_item,
    "a question is lost": programs.routed_questions,
    "mail that nobody has claimed is lost": programs.waits,
    "the history is lost": more_programs.keeps_a_history,
}
"""For some bugs, the program that is tried before all others: the others see nothing of them, and take their time."""

NOTHING = "nothing is planted (all programs are resumable)"
BUGS: dict[str, Plant] = {NOTHING: lambda _patch: None}


def bug(name: str) -> Callable[[Plant], Plant]:
    """Name a function that plants a bug."""

    def register(plant: Plant) -> Plant:
        BUGS[name] = plant
        return plant

    return register


def restored(name: str) -> Callable[[Callable[[RunState], None]], None]:
    """A bug that changes the state of a run that comes back."""

    def register(change: Callable[[RunState], None]) -> None:
        @bug(name)
        def plant(patch: Patch) -> None:
            def restore_and_change(*args: Any) -> RestoredRun:
                run = restore(*args)
                if run.state.outcome is None:
                    change(run.state)
                return run

            patch.setattr(watching, "restore", restore_and_change)

    return register


def written(name: str, owner: Any, verb: str) -> Callable[[Callable[..., Any]], None]:
    """A bug that changes what a part of a snapshot is: it is called with that part, and with what it was made of."""

    def register(change: Callable[..., Any]) -> None:
        @bug(name)
        def plant(patch: Patch) -> None:
            write = getattr(owner, verb)
            patch.setattr(owner, verb, lambda *args: change(write(*args), *args))

    return register


def without(name: str, verb: str, key: str) -> None:
    """A bug that leaves a field of calls or of their records out."""

    @written(name, WorkWriter, verb)
    def leave_out(plain: dict[str, Any], *_: Any) -> dict[str, Any]:
        return {each: value for each, value in plain.items() if each != key}


def waiting(state: RunState) -> Iterator[Call]:
    """The calls that wait; those that ran are among them, each the first of its step."""
    for lane in state.lanes:
        yield from (work for work in list(lane.waiting or ()) if isinstance(work, Call))


def scopes(state: RunState) -> set[Any]:
    """The fan-outs in which something waits."""
    works = [work for lane in state.lanes for work in lane.waiting or ()]
    inner = {work.scope for work in works} | {call.scope for call in state.timers}
    fan_outs = {call.fan_out for call in [*waiting(state), *state.timers]} - {None}
    return inner | fan_outs


def add(state: RunState, call: Call, call_id: int) -> None:
    """One more call like this one."""
    twin = Call(call.lane, call.event, call_id, call.scope, call.order, call.recoveries)
    call.lane.push(twin)
    call.scope.active += 1
    state.alive += 1


# --- Work -------------------------------------------------------------------------------------------------------------


@restored("a call that was running is lost")
def _(state: RunState) -> None:
    for call in list(waiting(state))[:1]:
        assert call.lane.waiting is not None
        call.lane.waiting.remove(call)
        call.scope.active -= 1
        state.alive -= 1


@restored("what waits between two attempts is lost")
def _(state: RunState) -> None:
    for call in state.timers:
        call.scope.active -= 1
        state.alive -= 1
    state.timers.clear()


@restored("an event is doubled, under another id")
def _(state: RunState) -> None:
    for call in list(waiting(state))[:1]:
        add(state, call, call.id + 1)


@restored("an event is doubled, under the same id")
def _(state: RunState) -> None:
    for call in list(waiting(state))[:1]:
        add(state, call, call.id)


@restored("an idempotency key is another one")
def _(state: RunState) -> None:
    for call in waiting(state):
        call.id += 1


@restored("the order of what waits is reversed")
def _(state: RunState) -> None:
    for lane in state.lanes:
        if lane.waiting:
            lane.waiting.reverse()


@restored("items of a fan-out that wait together come back from the last to the first")
def _(state: RunState) -> None:
    for lane in state.lanes:
        for work in lane.waiting or ():
            if isinstance(work, Batch):
                work.events = list(work.events)[::-1]


@written("what ran stands behind what waited", WorkWriter, "_lane")
def _(works: list[Any], *_: Any) -> list[Any]:
    return works[1:] + works[:1]


# --- Attempts and time ------------------------------------------------------------------------------------------------

without("the number of the attempt starts anew", "_call", "attempt")
without("recoveries are counted from none", "_call", "recoveries")


@restored("the wait before an attempt starts anew")
def _(state: RunState) -> None:
    for call in state.timers:
        assert call.plan.retry is not None
        state.timers[call] = call.plan.retry.delay_s(call.attempt - 2, 0.0)


@restored("the running time starts anew")
def _(state: RunState) -> None:
    state.elapsed_s = 0.0


# --- What calls did ---------------------------------------------------------------------------------------------------

without("a result of once is lost", "_record", "once")
without("an answer that a call got is lost", "_record", "answers")
without("what a call sent is forgotten", "_record", "sent")
without("how much a call sent is forgotten", "_record", "emissions")
without("what a call wrote to the stream is forgotten", "_record", "written")
without("what a call was waiting for and got is lost", "_record", "received")
without("that a call has collected its event is forgotten", "_record", "collected")


@bug("what unfinished calls wrote to the state is not undone")
def _(patch: Patch) -> None:
    def committed(values: SharedState) -> dict[str, Any]:
        return dict(values.visible)

    patch.setattr(SharedState, "committed", committed)


@bug("what unfinished calls used is counted, and then again")
def _(patch: Patch) -> None:
    usage = taking._usage

    def usage_so_far(state: RunState, codec: Any) -> Any:
        return usage(attrs.evolve(state, usage=state.usage_total()), codec)

    patch.setattr(taking, "_usage", usage_so_far)


@restored("usage is lost")
def _(state: RunState) -> None:
    state.usage = TokenUsage()


@restored("costs are lost")
def _(state: RunState) -> None:
    state.cost_usd = 0.0


# --- Fan-outs and collectors ------------------------------------------------------------------------------------------


@restored("a join is called twice")
def _(state: RunState) -> None:
    for call in [call for call in waiting(state) if call.plan.is_join]:
        add(state, call, call.id + 1)


@restored("an item that waits for its join is lost")
def _(state: RunState) -> None:
    for scope in scopes(state):
        for collection in (scope.collected or {}).values():
            if collection.events:
                collection.events.pop()
                collection.ids.pop()
                collection.columns()[2].pop()
                state.kept -= 1


@restored("the places of items that wait for their join are lost")
def _(state: RunState) -> None:
    for scope in scopes(state):
        for collection in (scope.collected or {}).values():
            orders = collection.columns()[2]
            orders[:] = [(0,)] * len(orders)


@written("a fan-out forgets which joins ran inside of it", WorkWriter, "_scope")
def _(plain: dict[str, Any], *_: Any) -> dict[str, Any]:
    return {**plain, "joined_inside": []}


@written("a fan-out forgets which joins it shall call", WorkWriter, "_scope")
def _(plain: dict[str, Any], *_: Any) -> dict[str, Any]:
    return {**plain, "expected": []} if "expected" in plain else plain


@restored("an entry of a collector is lost")
def _(state: RunState) -> None:
    for entries in state.collectors.values():
        if entries:
            entries.pop()
            state.kept -= 1


@bug("what a running call took out of a collector is not put back")
def _(patch: Patch) -> None:
    def buffers(writer: Any) -> Any:
        return {key: list(entries) for key, entries in writer._state.collectors.items()}

    patch.setattr(WorkWriter, "_buffers", buffers)


@restored("a run inside another one begins anew")
def _(state: RunState) -> None:
    state.children = None


# --- Mail and questions -----------------------------------------------------------------------------------------------


@restored("a question is lost")
def _(state: RunState) -> None:
    for name, question in list(state.questions.items())[:1]:
        if question.call is None:
            del state.questions[name]
            question.origin.scope.active -= 1
            state.alive -= 1
            state.asking -= 1


@restored("mail that nobody has claimed is lost")
def _(state: RunState) -> None:
    state.mailbox = None


# --- What is told -----------------------------------------------------------------------------------------------------


@restored("the numbers of the stream start anew")
def _(state: RunState) -> None:
    state.seq = 0


@restored("a number of the stream is left out")
def _(state: RunState) -> None:
    state.seq += 1


@restored("the history is lost")
def _(state: RunState) -> None:
    if state.history is not None:
        state.history = deque(maxlen=state.history.maxlen)


# --- Looking ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Find:
    """A program that is not resumable, and what is said about it."""

    program: str
    words: str


def look(name: str) -> Find | None:
    """Plant one bug, and look for it with one program after the other, until one finds it."""
    with pytest.MonkeyPatch.context() as patch:
        BUGS[name](patch)
        patch.setattr(living, "_REAL_S", 0.1)  # for a run that waits for what is lost: no thread works here for long
        first = [APT[name]] if name in APT else []
        for make in dict.fromkeys((*first, *KEEN, *ALONE)):
            found = _look_with(make)
            if found is not None:
                return Find(make.__name__, found)
    return None


def _look_with(make: Make) -> str | None:
    try:
        trio.run(check, make, clock=MockClock(autojump_threshold=0))
    except NotResumableError as error:
        return str(error)
    return None


def main() -> int:
    """Look for every bug; give the exit code."""
    survivors = 0
    for name in BUGS:
        begun = time.monotonic()
        found = look(name)
        survivors += (found is None) != (name == NOTHING)
        lines = [] if found is None else [line.strip() for line in found.words.splitlines()]
        said = "nothing found" if found is None else f"{found.program}: {lines[min(1, len(lines) - 1)][:80]}"
        sys.stdout.write(f"{name:<75} {time.monotonic() - begun:4.1f} s  {said}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(BUGS) - survivors} of {len(BUGS)} as it should be\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
