"""Rule 2: a step that fails for good fails the run with one `StepFailedError`, the user's exception as its cause."""

import pytest
import trio

from blazen_trio import (
    Context,
    RetryConfig,
    RunStatus,
    StartEvent,
    StepFailedError,
    StepTimeoutError,
    StopEvent,
    Workflow,
    step,
)
from tests.runs.stories import Crash, Item, solo


async def error_of(workflow: Workflow, cls=StepFailedError):
    with pytest.raises(cls) as caught:
        await workflow.run()
    return caught.value


async def test_the_error_names_step_event_attempts_run_and_cause():
    crash = Crash("no such page")

    async def fetch(event: StartEvent) -> StopEvent:
        raise crash

    error = await error_of(solo(fetch))

    assert error.__cause__ is crash
    assert (error.step_name, error.attempts, error.event_type) == ("fetch", 1, "StartEvent")
    assert error.run_id
    for word in ("fetch", "StartEvent", "1 attempt", "Crash: no such page", error.run_id):
        assert word in str(error)


async def test_siblings_are_cancelled():
    cancelled = []

    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(5)]

    @step
    async def work(event: Item) -> StopEvent:
        if event.number == 4:
            raise Crash
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(event.number)
        return StopEvent()

    await error_of(Workflow("siblings", [fan_out, work]))

    assert sorted(cancelled) == [0, 1, 2, 3]


async def test_of_many_failures_the_first_is_the_one_that_leaves():
    release = trio.Event()

    @step
    async def fan_out(event: StartEvent, ctx: Context) -> list[Item]:
        return [Item(number) for number in range(20)]

    @step
    async def work(event: Item) -> StopEvent:
        if event.number == 19:
            release.set()
        await release.wait()
        raise Crash(event.number)

    async with Workflow("many", [fan_out, work]).start() as run:
        with pytest.raises(StepFailedError) as caught:
            await run.result()
    assert isinstance(caught.value.__cause__, Crash)
    assert run.status is RunStatus.FAILED


async def test_a_time_out_of_the_step_is_the_cause(autojump_clock):
    async def slow(event: StartEvent) -> StopEvent:
        await trio.sleep(10)
        return StopEvent()

    error = await error_of(solo(slow, timeout=3))

    assert isinstance(error.__cause__, StepTimeoutError)
    assert (error.__cause__.step_name, error.__cause__.timeout) == ("slow", 3)
    assert "3 s" in str(error.__cause__)


async def test_attempts_are_counted(autojump_clock):
    seen = []

    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        seen.append(ctx.attempt)
        raise Crash

    error = await error_of(solo(fail, retry=RetryConfig(max_retries=2)))

    assert (error.attempts, seen) == (3, [1, 2, 3])


class Base(BaseException):
    """Not an `Exception`."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Weird(Exception):
    def __init__(self, one: int, *, two: int) -> None:
        self.one, self.two = one, two


class Uncopyable(Exception):
    def __reduce__(self):
        raise RuntimeError("not for copies")


@pytest.mark.parametrize(
    "raised",
    [
        Crash("text"),
        Base("base"),
        Mute(),
        Weird(1, two=2),
        Uncopyable(),
        ExceptionGroup("group", [Crash("a"), Crash("b")]),
        BaseExceptionGroup("group", [Base("a"), Crash("b")]),
        RecursionError("deep"),
        StopAsyncIteration(),
        TimeoutError(),
        trio.TooSlowError(),
        trio.ClosedResourceError(),
        AssertionError(),
        MemoryError(),
        StepFailedError("another", 7),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("is_suspended", [False, True], ids=["at once", "after a wait"])
async def test_whatever_is_raised_becomes_the_cause_of_one_error(raised, is_suspended):
    async def fail(event: StartEvent) -> StopEvent:
        if is_suspended:
            await trio.lowlevel.checkpoint()
        raise raised

    error = await error_of(solo(fail))

    assert error.__cause__ is raised
    assert (error.step_name, type(raised).__name__ in str(error)) == ("fail", True)


async def test_a_generator_exit_leaves_alone_and_as_it_is():
    async def fail(event: StartEvent) -> StopEvent:
        raise GeneratorExit

    with pytest.raises(GeneratorExit):
        await solo(fail).run()
    with pytest.raises(GeneratorExit):
        async with solo(fail).start() as run:
            await run.result()


async def test_a_stop_iteration_is_a_failure_like_any_other():
    async def fail(event: StartEvent) -> StopEvent:
        raise StopIteration(1)

    async def fail_late(event: StartEvent) -> StopEvent:
        await trio.lowlevel.checkpoint()
        raise StopIteration(1)

    def fail_in_thread(event: StartEvent) -> StopEvent:
        raise StopIteration(1)

    for function in (fail, fail_late, fail_in_thread):
        for timeout in (None, 5):
            error = await error_of(solo(function, timeout=timeout))
            assert "StopIteration" in str(error)


async def test_endless_recursion_is_a_failure_like_any_other():
    def deep(number: int) -> int:
        return deep(number + 1)

    async def fail(event: StartEvent) -> StopEvent:
        return StopEvent(deep(0))

    assert isinstance((await error_of(solo(fail))).__cause__, RecursionError)


async def test_failures_of_a_nursery_inside_a_step_stay_a_group_in_the_cause():
    async def crash() -> None:
        raise Crash

    async def fail(event: StartEvent) -> StopEvent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            nursery.start_soon(crash)
        return StopEvent()

    error = await error_of(solo(fail))

    assert isinstance(error.__cause__, ExceptionGroup)
    assert error.__cause__.subgroup(Crash) is not None


async def test_a_step_that_cancels_a_scope_of_its_own_is_not_disturbed():
    async def cancel(event: StartEvent) -> StopEvent:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.cancel_scope.cancel()
        return StopEvent("fine")

    assert (await solo(cancel).run()).result == "fine"


async def stored_cancelled() -> trio.Cancelled:
    kept = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            kept.append(error)
            raise
    return kept[0]


async def test_a_stored_cancelled_that_is_raised_is_a_failure():
    async def fail(event: StartEvent) -> StopEvent:
        raise await stored_cancelled()

    async def fail_in_group(event: StartEvent) -> StopEvent:
        raise BaseExceptionGroup("both", [await stored_cancelled(), Crash()])

    assert isinstance((await error_of(solo(fail))).__cause__, trio.Cancelled)
    assert isinstance((await error_of(solo(fail_in_group))).__cause__, BaseExceptionGroup)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "soon", None, True, object(), 10**400], ids=repr)
async def test_a_strange_retry_after_is_ignored(value, autojump_clock):
    class Busy(Exception):
        retry_after = value

    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        if ctx.attempt == 1:
            raise Busy
        return StopEvent("second")

    started = trio.current_time()
    config = RetryConfig(max_retries=1, initial_delay_ms=2_000, jitter=False)
    assert (await solo(fail, retry=config).run()).result == "second"
    assert trio.current_time() - started == pytest.approx(2)


async def test_a_retry_after_that_raises_is_ignored(autojump_clock):
    class Busy(Exception):
        @property
        def retry_after(self) -> float:
            raise RuntimeError("broken")

    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        if ctx.attempt == 1:
            raise Busy
        return StopEvent("second")

    assert (await solo(fail, retry=RetryConfig(max_retries=1)).run()).result == "second"


async def test_a_step_that_cannot_encode_its_state_fails_and_names_the_key():
    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["handle"] = object()
        return StopEvent()

    error = await error_of(solo(fail))

    for word in ("fail", "handle", "object"):
        assert word in str(error)


async def test_a_join_that_is_tried_again_gets_all_its_items_again(autojump_clock):
    seen = []

    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        return [Item(number) for number in range(3)]

    @step(retry=RetryConfig(max_retries=1))
    async def join(items: list[Item], ctx: Context) -> StopEvent:
        seen.append(len(items))
        items.clear()
        if ctx.attempt == 1:
            raise Crash
        return StopEvent()

    await Workflow("join", [fan_out, join]).run()

    assert seen == [3, 3]


async def test_a_returned_list_that_the_step_changes_afterwards_does_not_change_the_run():
    shared: list[Item] = []

    @step
    async def fan_out(event: StartEvent) -> list[Item]:
        shared.extend(Item(number) for number in range(5))
        return shared

    @step(max_concurrency=1)
    async def work(event: Item) -> Item | None:
        shared.clear()
        return None

    @step
    async def join(items: list[Item]) -> StopEvent:
        return StopEvent([item.number for item in items])

    assert (await Workflow("shared", [fan_out, work, join]).run()).result == [0, 1, 2, 3, 4]
