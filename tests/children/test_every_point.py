"""Whatever a run with runs inside is doing when it is saved, it comes to the same end, and shows the same once."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Workflow, WorkflowSnapshot
from blazen_trio.core.effects import Effect, Publish
from blazen_trio.core.messages import ChildPublished, Message, StreamWritten
from blazen_trio.core.state import RunState
from blazen_trio.runner import Runner
from blazen_trio.testing import assert_resumable
from blazen_trio.testing.living import Answers, People, live
from blazen_trio.testing.watching import begin, go_on
from tests.children.programs import PROGRAMS, Program
from tests.children.stories import Mark

by_name = pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)


def run_on_mock_clock(main: Any, *args: Any) -> Any:
    return trio.run(main, *args, clock=MockClock(autojump_threshold=0))


@by_name
def test_a_run_saved_at_any_point_comes_to_the_same_end(make: Callable[[], Program]) -> None:
    program = make()

    async def main() -> int:
        return await assert_resumable(program.workflow, program.start, answers=program.answers)

    assert run_on_mock_clock(main) > 5


class Watcher:
    """Notes what is shown, and takes a snapshot where all that was written is on the stream."""

    def __init__(self, answers: Answers) -> None:
        self.people = People(answers)
        self.shown: list[str] = []
        self.taken: list[tuple[int, WorkflowSnapshot]] = []

    def __call__(self, runner: Runner, state: RunState, message: Message, effects: Sequence[Effect]) -> None:
        self.people.notice(runner)
        events = [effect.event for effect in effects if isinstance(effect, Publish) and state is runner.state]
        self.shown += [event.text for event in events if isinstance(event, Mark)]
        if not isinstance(message, StreamWritten | ChildPublished):  # else it may be on its way outwards
            self.taken.append((len(self.shown), runner.snapshot()))


async def watch(workflow: Workflow, start: Any, watcher: Watcher) -> None:
    _, block = begin(workflow, start, watcher)
    await live(block, watcher.people, 1e6)


async def watch_on(workflow: Workflow, snapshot: WorkflowSnapshot, watcher: Watcher) -> None:
    _, block = go_on(workflow, snapshot, watcher)
    await live(block, watcher.people, 1e6)


@by_name
def test_what_was_written_to_the_stream_is_shown_once(make: Callable[[], Program]) -> None:
    program = make()
    whole = Watcher(program.answers)
    run_on_mock_clock(watch, program.workflow, program.start, whole)

    for before, snapshot in whole.taken:
        rest = Watcher(program.answers)
        run_on_mock_clock(watch_on, program.workflow, snapshot, rest)
        assert Counter(whole.shown[:before] + rest.shown) == Counter(whole.shown)
