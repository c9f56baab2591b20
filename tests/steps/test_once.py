"""``await ctx.once(name, function, *args)``: done once for a call, however often the call is repeated."""

import attrs
import pytest
import trio

from blazen_trio import Context, StartEvent, StopEvent, step

from .stories import TWICE, Done, Item, failure_of, fan_out, gather, result_of


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_repeated_call_gets_the_recorded_result(is_async):
    done: list[str] = []

    def buy(what: str, count: int) -> str:
        done.append(what)
        return f"{count} {what} no. {len(done)}"

    async def buy_slowly(what: str, count: int) -> str:
        await trio.sleep(1)
        return buy(what, count)

    @step(retry=TWICE)
    async def shop(event: StartEvent, ctx: Context) -> StopEvent:
        receipt = await ctx.once("buy", buy_slowly if is_async else buy, "apples", 3)
        if ctx.attempt == 1:
            raise OSError
        return StopEvent((ctx.attempt, receipt))

    assert await result_of(shop) == (2, "3 apples no. 1")
    assert done == ["apples"]


async def test_a_lambda_that_gives_an_awaitable_is_awaited():
    async def number_of(n: int) -> int:
        return n

    @step
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(await ctx.once("number", lambda: number_of(7)))

    assert await result_of(go) == 7


async def test_names_tell_results_apart():
    @step(retry=TWICE)
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        pair = (await ctx.once("a", lambda: f"a{ctx.attempt}"), await ctx.once("b", lambda: f"b{ctx.attempt}"))
        if ctx.attempt == 1:
            raise OSError
        return StopEvent(pair)

    assert await result_of(go) == ("a1", "b1")


async def test_a_result_of_none_is_a_result():
    done: list[int] = []

    @step(retry=TWICE)
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        await ctx.once("nothing", done.append, 1)
        if ctx.attempt == 1:
            raise OSError
        return StopEvent(await ctx.once("nothing", done.append, 1))

    assert await result_of(go) is None
    assert done == [1]


async def test_the_same_name_twice_in_one_attempt_is_done_once():
    done: list[int] = []

    @step
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        await ctx.once("append", done.append, 1)
        await ctx.once("append", done.append, 2)
        return StopEvent(done)

    assert await result_of(go) == [1]


async def test_names_belong_to_the_call():
    done: list[int] = []

    @step
    async def go(event: Item, ctx: Context) -> Done:
        await ctx.once("append", done.append, event.n)
        return Done(event.n)

    await result_of(fan_out, go, gather, start=3)
    assert sorted(done) == [0, 1, 2]


async def test_a_function_that_fails_is_not_recorded():
    done: list[int] = []

    def fail_once() -> str:
        done.append(1)
        if len(done) == 1:
            raise ConnectionError
        return "second time"

    @step(retry=TWICE)
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(await ctx.once("try", fail_once))

    assert await result_of(go) == "second time"


async def test_what_was_done_before_a_timeout_is_kept():
    done: list[int] = []

    @step(timeout=5, retry=TWICE)
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        await ctx.once("append", done.append, 1)
        if ctx.attempt == 1:
            await trio.sleep_forever()
        return StopEvent(len(done))

    assert await result_of(go) == 1


async def test_a_repeated_call_gets_a_value_of_its_own():
    """What the first attempt did to its result is its own affair."""

    @step(retry=TWICE)
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        basket = await ctx.once("basket", lambda: ["apple"])
        basket.append("pear")
        if ctx.attempt == 1:
            raise OSError
        return StopEvent(basket)

    assert await result_of(go) == ["apple", "pear"]


@attrs.frozen
class Receipt:
    number: int
    lines: tuple[str, ...]


async def test_a_repeated_call_gets_a_result_of_the_same_type():
    results = []

    @step(retry=TWICE)
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        results.append(await ctx.once("buy", lambda: {"pair": (1, 2), 3: {4, 5}}))
        if ctx.attempt == 1:
            raise OSError
        return StopEvent()

    await result_of(go)
    assert results[0] == results[1] == {"pair": (1, 2), 3: {4, 5}}
    assert type(results[1]["pair"]) is tuple


async def test_a_live_object_is_kept_as_it_is():
    @step(retry=TWICE)
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        found.append(await ctx.once("connect", object))
        if ctx.attempt == 1:
            raise OSError
        return StopEvent()

    found: list[object] = []
    await result_of(go)
    assert found[0] is found[1]


async def test_once_in_a_step_that_fails_for_good_is_done_once():
    done: list[int] = []

    @step(retry=TWICE)
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        await ctx.once("append", done.append, 1)
        raise OSError

    assert (await failure_of(go)).attempts == 2
    assert done == [1]


async def test_what_was_done_in_the_moment_of_a_cancel_is_not_done_again():
    done: list[str] = []

    @step
    async def shop(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.CancelScope() as scope:

            def buy() -> None:
                done.append("apples")
                scope.cancel()

            await ctx.once("buy", buy)
        await ctx.once("buy", buy)
        return StopEvent(done)

    assert await result_of(shop) == ["apples"]


async def test_a_task_that_is_cancelled_does_nothing():
    done: list[str] = []

    async def buy() -> None:
        done.append("slowly")

    @step
    async def go(event: StartEvent, ctx: Context) -> StopEvent:
        for function in (buy, lambda: done.append("at once")):
            with trio.CancelScope() as scope:
                scope.cancel()
                await ctx.once("buy", function)
            assert scope.cancelled_caught
        return StopEvent(done)

    assert await result_of(go) == []
