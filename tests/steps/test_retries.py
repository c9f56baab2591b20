"""A failed call is tried again when its step or workflow asks for it, after exact waits, outside of every limit."""

import pytest
import trio

from blazen_trio import Context, RetryConfig, StartEvent, StepFailedError, StopEvent, step

from .stories import TWICE, Done, Item, failure_of, fan_out, gather, one_item, result_of, stop, work


def failing_step(log, times=100, error=OSError, **options):
    """Notes when each attempt begins; the first attempts fail."""

    async def fetch(event: StartEvent, ctx: Context) -> StopEvent:
        log.append(trio.current_time())
        if ctx.attempt <= times:
            raise error
        return StopEvent(ctx.attempt)

    return step(**options)(fetch)


@pytest.mark.parametrize(
    ("config", "begins"),
    [
        (RetryConfig(jitter=False), [0, 1, 3, 7]),
        (
            RetryConfig(max_retries=5, initial_delay_ms=500, max_delay_ms=2000, jitter=False),
            [0, 0.5, 1.5, 3.5, 5.5, 7.5],
        ),
        (RetryConfig(max_retries=3, initial_delay_ms=100, multiplier=10, jitter=False), [0, 0.1, 1.1, 11.1]),
        (RetryConfig(max_retries=2, initial_delay_ms=0, jitter=False), [0, 0, 0]),
        (RetryConfig(max_retries=0), [0]),
    ],
)
async def test_the_waits_between_attempts_are_exact(config, begins):
    log: list[float] = []
    failure = await failure_of(failing_step(log, retry=config))
    assert log == pytest.approx(begins)
    assert (failure.step_name, failure.attempts) == ("fetch", len(begins))


async def test_jitter_adds_at_most_a_quarter():
    waits = []
    for _ in range(50):
        log: list[float] = []
        await failure_of(failing_step(log, retry=RetryConfig(max_retries=1, initial_delay_ms=1000)))
        waits.append(log[1] - log[0])
    assert all(1 <= wait <= 1.25 for wait in waits)
    assert len(set(waits)) > 10


async def test_the_wait_counts_from_the_failure():
    log = []

    @step(retry=TWICE)
    async def slow(event: StartEvent, ctx: Context) -> StopEvent:
        log.append(trio.current_time())
        await trio.sleep(10)
        raise OSError

    await failure_of(slow)
    assert log == [0, 11]


class Busy(Exception):
    retry_after = 42


async def test_an_exception_may_set_the_wait():
    log: list[float] = []
    assert await result_of(failing_step(log, 1, Busy, retry=TWICE)) == 2
    assert log == [0, 42]


async def test_the_wish_of_an_exception_may_be_ignored():
    log: list[float] = []
    config = RetryConfig(max_retries=1, jitter=False, honor_retry_after=False)
    assert await result_of(failing_step(log, 1, Busy, retry=config)) == 2
    assert log == [0, 1]


async def test_only_the_named_exceptions_are_retried():
    log: list[float] = []
    config = RetryConfig(retry_on=(ConnectionError, TimeoutError), jitter=False)
    assert await result_of(failing_step(log, 1, BrokenPipeError, retry=config)) == 2  # a ConnectionError
    failure = await failure_of(failing_step(log, 1, ValueError, retry=config))
    assert failure.attempts == 1


async def test_a_step_is_not_retried_when_nobody_asks_for_it():
    log: list[float] = []
    assert (await failure_of(failing_step(log))).attempts == 1


async def test_the_workflows_retry_is_for_steps_without_one():
    log: list[float] = []
    assert await result_of(failing_step(log, 1), retry=TWICE) == 2


async def test_the_steps_retry_is_stronger_than_the_workflows_and_counts_as_a_whole():
    log: list[float] = []
    mine = RetryConfig(max_retries=1, initial_delay_ms=7000, jitter=False)
    theirs = RetryConfig(max_retries=9, initial_delay_ms=1, max_delay_ms=1)
    failure = await failure_of(failing_step(log, retry=mine), retry=theirs)
    assert (log, failure.attempts) == ([0, 7], 2)


async def test_a_step_may_refuse_the_workflows_retry():
    log: list[float] = []
    never = RetryConfig(max_retries=0)
    assert (await failure_of(failing_step(log, retry=never), retry=TWICE)).attempts == 1


async def test_attempts_are_numbered_from_one_and_anew_for_each_call():
    attempts: dict[int, list[int]] = {}

    @step(retry=RetryConfig(max_retries=5, initial_delay_ms=1))
    async def fetch(event: Item, ctx: Context) -> Done:
        attempts.setdefault(event.n, []).append(ctx.attempt)
        if ctx.attempt <= event.n:
            raise OSError
        return Done(event.n)

    await result_of(fan_out, fetch, gather, start=4)
    assert attempts == {0: [1], 1: [1, 2], 2: [1, 2, 3], 3: [1, 2, 3, 4]}


async def test_a_retried_item_keeps_its_place_in_the_fan_out():
    @step(retry=TWICE)
    async def fetch(event: Item, ctx: Context) -> Done:
        if event.n == 1 and ctx.attempt == 1:
            raise OSError
        return Done(event.n)

    assert await result_of(fan_out, fetch, gather, start=4) == [0, 1, 2, 3]


async def test_the_idempotency_key_is_the_same_for_all_attempts_and_different_for_all_calls():
    keys: dict[tuple[str, int], set[str]] = {}

    def fetcher(name):
        async def fetch(event: Item, ctx: Context) -> Done:
            keys.setdefault((name, event.n), set()).add(ctx.idempotency_key)
            if ctx.attempt == 1:
                raise OSError
            return Done(event.n)

        return step(name=name, retry=TWICE)(fetch)

    for _ in range(2):
        await result_of(fan_out, fetcher("a"), fetcher("b"), gather, start=10)
    first_and_second_run = 2
    assert [len(found) for found in keys.values()] == [first_and_second_run] * 20
    assert len(set().union(*keys.values())) == 40


async def test_calls_of_a_loop_have_different_keys():
    keys = []

    @step
    async def loop(event: Item, ctx: Context) -> Item | StopEvent:
        keys.append(ctx.idempotency_key)
        return Item(event.n + 1) if event.n < 100 else StopEvent()

    await result_of(one_item, loop)
    assert len(set(keys)) == len(keys) == 101


async def test_a_waiting_retry_holds_no_slot():
    """One at a time, and the second goes on while the first waits."""
    log = []

    @step(max_concurrency=1, retry=TWICE)
    async def fetch(event: Item, ctx: Context) -> Done:
        log.append((trio.current_time(), event.n, ctx.attempt))
        if event.n == 0 and ctx.attempt == 1:
            raise OSError
        await trio.sleep(0.25)
        return Done(event.n)

    await result_of(fan_out, fetch, gather, start=3)
    assert log == [(0, 0, 1), (0, 1, 1), (0.25, 2, 1), (1, 0, 2)]


async def test_a_plain_function_is_retried():
    @step(retry=TWICE)
    def fetch(event: StartEvent, ctx: Context) -> StopEvent:
        if ctx.attempt == 1:
            raise OSError
        return StopEvent(ctx.attempt)

    assert await result_of(fetch) == 2


async def test_a_join_is_retried_with_the_same_list():
    lists = []

    @step(retry=TWICE)
    async def join(items: list[Done], ctx: Context) -> StopEvent:
        lists.append([item.n for item in items])
        if ctx.attempt == 1:
            items.clear()
            raise OSError
        return StopEvent()

    await result_of(fan_out, work, join, start=3)
    assert lists == [[0, 1, 2], [0, 1, 2]]


async def test_the_failure_names_the_last_exception_as_its_cause():
    errors = [ValueError("first"), ValueError("last")]

    @step(retry=TWICE)
    async def fetch(event: Item, ctx: Context) -> Done:
        raise errors[ctx.attempt - 1]

    failure = await failure_of(one_item, fetch, stop)
    assert failure.__cause__ is errors[1]
    assert isinstance(failure, StepFailedError)
    assert (failure.event_type, failure.attempts, failure.error) == ("Item", 2, "ValueError: last")
    assert "step 'fetch'" in str(failure)


async def test_a_failure_cancels_the_siblings():
    ended = []

    @step
    async def fetch(event: Item) -> Done:
        try:
            await trio.sleep(event.n)
        finally:
            ended.append(trio.current_time())
        if event.n == 1:
            raise OSError
        return Done(event.n)

    await failure_of(fan_out, fetch, gather, start=10)
    assert ended == [0] + [1] * 9


async def test_what_can_never_be_an_exception_of_the_step_passes_as_it_is():
    @step(retry=TWICE)
    async def leave(event: StartEvent) -> StopEvent:
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        await result_of(leave)
    assert caught.value.code == 3


async def test_the_retry_for_calls_that_a_step_makes_itself_is_resolved_through_all_levels():
    step_retry, workflow_retry, call_retry = (RetryConfig(max_retries=n) for n in (1, 2, 5))
    found = []

    async def look(event: StartEvent, ctx: Context) -> StopEvent:
        found.append((ctx.resolved_retry(), ctx.resolved_retry(call_retry)))
        return StopEvent()

    await result_of(step(look))
    await result_of(step(look), retry=workflow_retry)
    await result_of(step(retry=step_retry)(look), retry=workflow_retry)
    assert found == [(RetryConfig(), call_retry), (workflow_retry, call_retry), (step_retry, call_retry)]


async def test_a_call_whose_wait_is_over_goes_before_those_that_never_began():
    log = []

    @step(max_concurrency=1, retry=TWICE)
    async def fetch(event: Item, ctx: Context) -> Done:
        log.append((event.n, ctx.attempt))
        if event.n == 0 and ctx.attempt == 1:
            raise OSError
        await trio.sleep(0.75)
        return Done(event.n)

    await result_of(fan_out, fetch, gather, start=4)
    assert log == [(0, 1), (1, 1), (2, 1), (0, 2), (3, 1)]
