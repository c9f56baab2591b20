"""Ways to end that no step should choose, and contexts used after their call: nothing hangs and nothing leaks."""

import pytest
import trio

from blazen_trio import Context, RetryConfig, StartEvent, StopEvent, Workflow, step

from .stories import Done, Item, Other, failure_of, fan_out, gather, result_of, running, streamed, work


class Strange(BaseException):
    pass


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration, Strange, AssertionError])
@pytest.mark.parametrize("form", ["async", "thread", "generator", "timeout"])
async def test_whatever_a_step_raises_is_one_failed_step(error, form):
    async def fail_async(event: StartEvent) -> StopEvent:
        raise error("odd")

    def fail_thread(event: StartEvent) -> StopEvent:
        raise error("odd")

    async def fail_generator(event: StartEvent):
        raise error("odd")
        yield StopEvent()

    made = {
        "async": step(fail_async),
        "thread": step(fail_thread),
        "generator": step(fail_generator),
        "timeout": step(timeout=3)(fail_async),
    }
    assert (await failure_of(made[form])).attempts == 1


async def test_an_odd_exception_is_not_retried():
    @step(retry=RetryConfig())
    async def fail(event: StartEvent) -> StopEvent:
        raise Strange

    assert (await failure_of(fail)).attempts == 1


async def test_a_text_that_cannot_be_shown_does_not_hide_the_failure():
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @step
    async def fail(event: StartEvent) -> StopEvent:
        raise Mute

    assert (await failure_of(fail)).error.startswith("Mute")


async def test_a_context_that_outlives_its_call_changes_nothing():
    kept = []

    @step
    async def keep(event: StartEvent, ctx: Context) -> Item:
        kept.append(ctx)
        return Item(1)

    @step
    async def misuse(event: Item) -> Done:
        (ctx,) = kept
        ctx.state["late"] = True
        ctx.send_event(Other(1))
        ctx.write_event_to_stream(Other(2))
        return Done(1)

    @step
    async def end(event: Done, ctx: Context) -> StopEvent:
        await trio.sleep(1)
        return StopEvent(dict(ctx.state))

    async with running(keep, misuse, end) as run:
        assert (await run.result()).result == {}
        assert await streamed(run, Other) == []
        assert run.statistics()["late"] >= 3


async def test_a_run_may_begin_with_its_end():
    @step
    async def never(event: StartEvent) -> StopEvent:
        raise AssertionError

    assert await result_of(never, start=StopEvent("at once")) == "at once"


async def test_a_stop_sent_by_hand_ends_the_run_and_the_call_that_sent_it():
    ended = []

    @step
    async def send(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.send_event(StopEvent("sent"))
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)
        return StopEvent("returned")

    assert await result_of(send) == "sent"
    assert ended == [True]


async def test_what_a_step_does_after_it_sent_the_stop_counts_no_more():
    @step
    async def send(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.send_event(StopEvent("sent"))
        ctx.send_event(Item(1))
        return StopEvent("returned")

    assert await result_of(send) == "sent"


async def test_steps_may_run_other_workflows_by_hand():
    inner = Workflow("inner", [fan_out, work, gather])

    @step
    async def outer(event: StartEvent) -> StopEvent:
        return StopEvent((await inner.run(3)).result)

    assert await result_of(outer) == [0, 1, 2]


async def test_a_huge_chain_does_not_grow_the_stack():
    @step
    async def count(event: Item) -> Item | StopEvent:
        return Item(event.n + 1) if event.n < 5000 else StopEvent(event.n)

    @step
    async def begin(event: StartEvent) -> Item:
        return Item(0)

    assert await result_of(begin, count) == 5000


async def test_deep_nests_of_fan_outs_do_not_grow_the_stack():
    @step
    async def begin(event: StartEvent) -> list[Item]:
        return [Item(3000)]

    @step
    async def deeper(event: Item) -> list[Item] | Done:
        return [Item(event.n - 1)] if event.n else Done(1)

    @step
    async def join(items: list[Done], ctx: Context) -> Done | StopEvent:
        ctx.state["joins"] = count = ctx.state.get("joins", 0) + 1
        return StopEvent(count) if count == 3001 else Done(sum(item.n for item in items))

    assert await result_of(begin, deeper, join) == 3001
