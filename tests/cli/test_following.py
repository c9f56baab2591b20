"""Following a run whose state is known a little later than its events, as that of a run far away is."""

from typing import Any, cast

import attrs
import trio
from rich.console import Console
from trio.testing import MockClock

from blazen_trio import InputRequestEvent, RunStatus, WorkflowRun
from blazen_trio.cli.following import Audience, follow
from blazen_trio.cli.view import PlainView, View
from tests.cli.workflows_for_tests import asking

LATE_S = 1.0


@attrs.define
class KnownLate:
    """A run whose questions are known some time after their events came."""

    run: Any
    known: tuple[InputRequestEvent, ...] = ()

    @property
    def pending_inputs(self) -> tuple[InputRequestEvent, ...]:
        return tuple(each for each in self.run.pending_inputs if each in self.known)

    @property
    def status(self) -> RunStatus:
        is_known = self.pending_inputs == self.run.pending_inputs
        return cast("RunStatus", self.run.status) if is_known else RunStatus.RUNNING

    async def learn(self) -> None:
        while True:
            now_open = self.run.pending_inputs
            await trio.sleep(LATE_S)
            self.known = now_open

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)


async def test_a_question_that_is_known_later_than_its_event_is_asked(autojump_clock: MockClock) -> None:
    async def answer(question: InputRequestEvent, view: View) -> str:
        await trio.lowlevel.checkpoint()
        return question.prompt

    async with asking.start() as run, trio.open_nursery() as nursery:
        late = KnownLate(run)
        nursery.start_soon(late.learn)
        with trio.fail_after(100):
            ended = await follow(cast("WorkflowRun", late), Audience(PlainView(Console()), answer))
        nursery.cancel_scope.cancel()
    assert ended.result is not None
    assert ended.result.result == ["First?", "Second?"]
