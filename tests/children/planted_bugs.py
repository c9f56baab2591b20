"""Bugs of runs inside runs, planted one at a time; the tests of this folder must catch each: see ``test_planted_bugs``.

Run as ``python -m tests.children.planted_bugs NAME``: the exit code is that of pytest, so 1 if the bug was caught.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blazen_trio.child_runner import ChildRunner
from blazen_trio.core import children, outcomes
from blazen_trio.core.lifetime import Lifetime
from blazen_trio.core.machine import HANDLERS, Machine
from blazen_trio.core.messages import ChildStarted, StepInterrupted
from blazen_trio.core.usage import TokenUsage
from blazen_trio.snapshot.restoring import _Restorer  # pyright: ignore[reportPrivateUsage] - where the bug goes
from blazen_trio.sub_workflow import SubWorkflow

HERE = Path(__file__).parent
QUICK = ["test_questions.py", "test_pauses.py", "test_failures.py", "test_boundary.py", "test_snapshots.py"]


def nothing() -> None:
    """The control: without a bug all tests pass."""


def state_is_dropped_on_interrupt() -> None:
    interrupted = outcomes.interrupted

    def drop(machine: Any, message: StepInterrupted) -> None:
        machine.drop_child(message.call)
        interrupted(machine, message)

    HANDLERS[StepInterrupted] = drop


def usage_is_counted_twice() -> None:
    drop_child = Lifetime.drop_child

    def count_again(self: Any, call: Any) -> Any:
        child = drop_child(self, call)
        self.state.usage += TokenUsage() if child is None else child.usage_total()
        return child

    Lifetime.drop_child = count_again  # type: ignore[method-assign]  # that is the bug


def question_of_a_dropped_child_stays_open() -> None:
    Lifetime.close_questions = staticmethod(lambda run: None)  # type: ignore[method-assign]  # that is the bug


def items_are_published_again_after_a_resume() -> None:
    fill = _Restorer.fill

    def forget(self: Any, definition: Any, codec: Any, snapshot: Any, state: Any) -> Any:
        user = fill(self, definition, codec, snapshot, state)
        for lane in state.lanes if state.nesting is not None else ():
            for call in lane.waiting or ():
                if getattr(call, "record", None) is not None:
                    call.record.written = []
        return user

    _Restorer.fill = forget  # type: ignore[method-assign]  # that is the bug


def rest_is_not_told() -> None:
    Lifetime._tell_rest = lambda self: None  # type: ignore[method-assign]  # that is the bug


def run_begins_anew_after_a_resume() -> None:
    call = SubWorkflow.__call__

    async def begin(self: SubWorkflow, event: Any, ctx: Any) -> Any:
        if ctx.runner.state.children:
            ctx.runner.state.children.pop(ctx.call, None)
        return await call(self, event, ctx)

    SubWorkflow.__call__ = begin  # type: ignore[method-assign]  # that is the bug


def ids_are_new_at_each_attempt() -> None:
    def started(machine: Any, message: ChildStarted) -> None:
        children.child_started(machine, message)
        machine.state.children[message.call].run_id += f".{message.call.attempt}"

    HANDLERS[ChildStarted] = started


def suspended_run_goes_on() -> None:
    ChildRunner.go_on = ChildRunner.__mro__[1].go_on  # type: ignore[method-assign,attr-defined]  # that is the bug


def hold_outlives_an_interruption() -> None:
    begin = ChildRunner.begin

    def keep(self: ChildRunner) -> None:
        was_held, state = self.state.is_held, self.root.state
        is_held, state.is_held = state.is_held, state.is_held or was_held
        begin(self)
        state.is_held = is_held

    ChildRunner.begin = keep  # type: ignore[method-assign]  # that is the bug


def answers_do_not_reach_a_run_that_waits_for_its_turn() -> None:
    handle = Machine.handle

    def only_live(self: Machine, message: Any) -> Any:
        is_away = self.state.nesting is not None and type(message).__name__ == "InputAnswered"
        return [] if is_away and not self.state.running else handle(self, message)

    Machine.handle = only_live  # type: ignore[method-assign]  # that is the bug


BUGS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        nothing,
        state_is_dropped_on_interrupt,
        usage_is_counted_twice,
        question_of_a_dropped_child_stays_open,
        items_are_published_again_after_a_resume,
        rest_is_not_told,
        run_begins_anew_after_a_resume,
        ids_are_new_at_each_attempt,
        suspended_run_goes_on,
        hold_outlives_an_interruption,
        answers_do_not_reach_a_run_that_waits_for_its_turn,
    )
}


if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    shown_once = f"{HERE / 'test_every_point.py'}::test_what_was_written_to_the_stream_is_shown_once"
    sys.exit(
        pytest.main(
            ["-qx", "-p", "no:cacheprovider", *(str(HERE / name) for name in QUICK), f"{shown_once}[generators]"]
        )
    )
