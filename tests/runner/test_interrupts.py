"""Control-C: a real SIGINT at any moment ends the program with exactly ``KeyboardInterrupt``; nothing hangs."""

import functools
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import blazen_trio
from blazen_trio import Context, Event, StartEvent, StopEvent, Workflow, step
from tests.budget import share
from tests.runner.seeds import run_shuffled
from tests.runner.test_leaks import tasks_below

ENGINE = str(Path(blazen_trio.__file__).parent)


class Item(Event):
    number: int


class Done(Event):
    number: int


@pytest.fixture(autouse=True)
def _default_handler() -> Iterator[None]:
    """Trio handles SIGINT if Python's own handler is in place; another test's may be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    return run_shuffled(main, seed=7)


# --- In user code -----------------------------------------------------------------------------------------------------


def interrupting_steps() -> dict[str, Any]:
    """Steps of every make that are interrupted in their own code, and would never end by themselves."""

    def strike() -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the interrupt did not strike at once")

    async def function(event: StartEvent) -> StopEvent:
        strike()
        return StopEvent()

    async def with_context(event: StartEvent, ctx: Context) -> StopEvent:
        strike()
        return StopEvent()

    async def later(event: StartEvent) -> StopEvent:
        await trio.sleep(1)
        strike()
        return StopEvent()

    async def generator(event: StartEvent) -> AsyncIterator[StopEvent]:
        strike()
        yield StopEvent()

    async def partial(number: int, event: StartEvent) -> StopEvent:
        strike()
        return StopEvent()

    class Holder:
        async def method(self, event: StartEvent) -> StopEvent:
            strike()
            return StopEvent()

        async def __call__(self, event: StartEvent) -> StopEvent:
            strike()
            return StopEvent()

    return {
        "function": step(function),
        "with a context": step(with_context),
        "with a time-out": step(timeout=5)(function),
        "after it slept": step(later),
        "with a time-out, after it slept": step(timeout=5)(later),
        "generator": step(generator),
        "method": step(Holder().method),
        "callable": step(name="callable")(Holder()),
        "partial": step(functools.partial(partial, 1)),
    }


@pytest.mark.parametrize("name", interrupting_steps())
def test_an_interrupt_strikes_inside_a_step(name: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Workflow("interrupted", [interrupting_steps()[name]]).run)


def test_an_interrupt_inside_a_step_ends_a_block_whose_body_would_wait_for_ever() -> None:
    ended: list[str] = []

    async def main() -> None:
        async with Workflow("interrupted", [interrupting_steps()["after it slept"]]).start():
            try:
                await trio.sleep_forever()
            finally:
                ended.append("the body")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert ended == ["the body"]


def test_a_body_that_handles_the_interrupt_of_a_step_may_do_so() -> None:
    async def main() -> str:
        try:
            await Workflow("interrupted", [interrupting_steps()["function"]]).run()
        except KeyboardInterrupt:
            await trio.sleep(1)
            return "handled"
        return "lost"

    assert run(main) == "handled"


# --- At any moment ----------------------------------------------------------------------------------------------------


@step
async def begin(event: StartEvent) -> list[Item]:
    return [Item(0), Item(1), Item(2)]


@step(max_concurrency=2)
async def work(event: Item, ctx: Context) -> Done:
    ctx.state["number"] = event.number
    return Done(event.number)


@step(timeout=5)
async def wait(done: list[Done], ctx: Context) -> Item:
    await trio.sleep(1)
    return Item(9)


@step
async def end(event: Done) -> StopEvent | None:
    return StopEvent("done") if event.number == 9 else None


at_any_moment = Workflow("any moment", [begin, work, wait, end], timeout=100)


class Interrupter:
    """Sends a SIGINT to this process at the n-th line of the engine or of these steps that is run."""

    def __init__(self, moment: float) -> None:
        self.moment = moment
        self.lines = 0

    def __call__(self, frame: FrameType, kind: str, _argument: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith((ENGINE, __file__)) or code is run_and_look.__code__:
            return None  # between an ``async with`` and its body there is a gap that only the interpreter can close
        if kind == "line":
            self.lines += 1
            if self.lines == self.moment:
                signal.raise_signal(signal.SIGINT)
        return self

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            return run(main)
        finally:
            sys.settrace(before)


async def run_and_look() -> object:
    """A run, after which no task is left whatever happened."""
    try:
        limiter = trio.CapacityLimiter(2)
        workflow = Workflow("limited", [begin, work.with_options(limiter=limiter), wait, end])
        result = await workflow.run()
        assert limiter.borrowed_tokens == 0
        async with at_any_moment.start() as block:
            assert (await block.result()).result == result.result
        return result.result
    finally:
        assert not [task for task in tasks_below(trio.lowlevel.current_root_task()) if "Worker" in task.name]


def check_moments(moments: range) -> None:
    for moment in moments:
        interrupter = Interrupter(moment)
        try:
            interrupter.run(run_and_look)
        except KeyboardInterrupt:
            continue
        assert interrupter.lines < moment, "lost"  # how many lines there are differs a little with the slices of time


def count_of_moments() -> int:
    run(run_and_look)  # so that what is made once is there
    counter = Interrupter(moment=float("inf"))
    assert counter.run(run_and_look) == "done"
    return counter.lines


def test_an_interrupt_at_some_lines_of_the_engine_leaves_as_it_is() -> None:
    check_moments(range(1, count_of_moments(), 37))


@pytest.mark.slow
def test_an_interrupt_at_every_third_line_of_the_engine_leaves_as_it_is() -> None:
    moments = range(1, count_of_moments(), 3)
    check_moments(moments[:: len(moments) // share(len(moments))])


class WhenAllSleep(trio.abc.Instrument):
    """Sends a SIGINT when Trio has nothing to do but to wait for the n-th time."""

    def __init__(self, times: int) -> None:
        self.times = times

    def before_io_wait(self, timeout: float) -> None:
        self.times -= 1
        if self.times == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("times", range(1, 12))
def test_an_interrupt_while_steps_sleep_ends_the_program(times: int) -> None:
    begun: list[int] = []
    ended: list[int] = []

    @step
    async def sleep(event: Item) -> Done:
        begun.append(event.number)
        try:
            await trio.sleep(event.number + 1)
        finally:
            ended.append(event.number)
        return Done(event.number)

    @step
    async def never(done: list[Done]) -> StopEvent:
        await trio.sleep_forever()
        return StopEvent()

    async def main() -> None:
        async with Workflow("asleep", [begin, sleep, never], timeout=1e10).start() as block:
            await block.result()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0.0001), instruments=[WhenAllSleep(times)])
    assert sorted(ended) == sorted(begun)


def test_an_interrupt_of_a_chain_that_never_suspends_ends_it() -> None:
    @step
    async def start(event: StartEvent) -> Item:
        return Item(0)

    @step
    async def go_on(event: Item) -> Item | StopEvent:
        return Item(event.number + 1)

    async def main() -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(signal.raise_signal, signal.SIGINT)
        await Workflow("endless", [start, go_on]).run()

    with pytest.raises(KeyboardInterrupt):
        run(main)


# --- Other ways out ---------------------------------------------------------------------------------------------------


def test_a_step_that_breaks_trios_scopes_is_told_by_trios_own_error_whatever_the_body_does() -> None:
    """A scope that is entered and never left is a defect that Trio finds when the worker ends: it must not get lost."""

    @step
    async def corrupt(event: Done) -> None:
        trio.CancelScope().__enter__()

    @step
    async def wait_longer(event: Done) -> StopEvent:
        await trio.sleep(1_000)
        return StopEvent()

    @step
    async def start(event: StartEvent) -> Done:
        return Done(0)

    async def main() -> None:
        async with Workflow("corrupted", [start, corrupt, wait_longer]).start() as block:
            with trio.move_on_after(5):
                await block.result()
            raise LookupError("the body's own")

    with pytest.raises((RuntimeError, LookupError)) as caught:
        run(main)
    assert isinstance(caught.value, RuntimeError)
    assert "Cancel scope stack corrupted" in str(caught.value)
