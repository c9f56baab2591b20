"""Varied workflows with workflows inside, whose result is the same wherever they are interrupted.

Each is made anew for each test. ``answers`` is what people answer, by the prompt of the question.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import reduce
from typing import Any

import attrs
import trio

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    Live,
    RetryConfig,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    parallel_step,
    step,
)
from tests.children.stories import Answer, Mark, Query, ask_all, collect, emits_number

QUICK = RetryConfig(max_retries=3, initial_delay_ms=500, jitter=False)


class Item(Event):
    number: int


class Done(Event):
    number: int


class Signal(Event):
    number: int


class WithObject(Event):
    number: int
    thing: Live[Any]


@attrs.frozen
class Program:
    """A workflow with workflows inside, what it starts with, and what people answer."""

    workflow: Workflow
    start: Any = 3
    answers: Mapping[str, object] = attrs.field(factory=dict)


@step
async def spread(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(event.data["number"])]


@step
async def double(event: Item, ctx: Context) -> Done:
    await trio.sleep(event.number % 3)
    ctx.write_event_to_stream(Mark(f"double {event.number}"))
    ctx.emit_usage(UsageEvent(total_tokens=1, cost_usd=0.5))
    return Done(2 * event.number)


@step
async def gather(done: list[Done]) -> StopEvent:
    return StopEvent({"number": sum(event.number for event in done)})


doubling = Workflow("doubling", [spread, double, gather], timeout=1_000, events=[Mark])


def around(child: Workflow, *, count: int = 1, **options: Any) -> Workflow:
    """A workflow that asks a child, as often as said, and gives the sum of the answers."""
    inside = child.as_step(accepts=Query, emits=Answer, name="inside", **options)
    return Workflow("around", [ask_all(count), inside, collect], timeout=10_000)


def child_of_steps(*steps: Any, **options: Any) -> Workflow:
    return Workflow("child", steps, **{"events": [Mark], **options})


def one_child() -> Program:
    return Program(around(doubling))


def child_in_child_in_child() -> Program:
    def wrap(workflow: Workflow, depth: int) -> Workflow:
        inside = workflow.as_step(accepts=Query, emits=Answer, name=f"level{depth}")

        @step
        async def begin(event: StartEvent, ctx: Context) -> Query:
            ctx.write_event_to_stream(Mark(f"begin {depth}"))
            await trio.sleep(1)
            return Query(event.data["number"])

        @step
        async def end(event: Answer) -> StopEvent:
            await trio.sleep(1)
            return StopEvent({"number": event.number + depth})

        return Workflow(f"wrapped{depth}", [begin, inside, end], events=[Mark])

    return Program(around(reduce(wrap, range(3), doubling)))


def many_children_few_at_a_time() -> Program:
    return Program(around(child_of_steps(emits_number(2, seconds=1)), count=20, max_concurrency=3), 2)


def parallel_all() -> Program:
    slow = child_of_steps(emits_number(10, seconds=3))
    both = parallel_step(
        "both",
        [
            doubling.as_step(accepts=Query, emits=Answer, name="left"),
            slow.as_step(accepts=Query, emits=Answer, name="right"),
        ],
    )
    return Program(Workflow("around", [ask_all(1), both, collect]))


def parallel_first() -> Program:
    children = [
        child_of_steps(emits_number(seconds, seconds=seconds)).as_step(
            accepts=Query, emits=Answer, name=f"after{seconds}"
        )
        for seconds in (5, 2, 9)
    ]
    return Program(Workflow("around", [ask_all(2), parallel_step("race", children, join="first"), collect]))


def parallel_of_parallel() -> Program:
    def leaf(number: int) -> Any:
        child = child_of_steps(emits_number(number, seconds=number))
        return child.as_step(accepts=Query, emits=Answer, name=f"leaf{number}")

    inner = parallel_step("inner", [leaf(1), leaf(2)])
    race = parallel_step("race", [leaf(3), leaf(4)], join="first")
    return Program(Workflow("around", [ask_all(1), parallel_step("outer", [inner, race]), collect]))


def inline_questions() -> Program:
    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        first = await ctx.request_input(f"first {event.data['number']}")
        await trio.sleep(1)
        second = await ctx.request_input(f"second {event.data['number']}")
        return StopEvent({"number": first * second})

    answers = {f"{what} {number}": number + 2 for what in ("first", "second") for number in range(10)}
    return Program(around(child_of_steps(ask), count=3), 2, answers)


def routed_questions() -> Program:
    @step
    async def ask(event: StartEvent) -> list[InputRequestEvent]:
        number = event.data["number"]
        return [InputRequestEvent(f"q{number}.{place}", request_id=f"q{number}.{place}") for place in range(2)]

    @step
    async def weigh(event: InputResponseEvent) -> Done:
        await trio.sleep(1)
        return Done(event.response)

    answers = {f"q{number}.{place}": 10 * number + place for number in range(10) for place in range(2)}
    return Program(around(child_of_steps(ask, weigh, gather), count=3), 2, answers)


def handled_questions() -> Program:
    async def handler(event: InputRequestEvent) -> object:
        await trio.sleep(1)
        return len(event.prompt)

    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent({"number": await ctx.request_input("how many?") + await ctx.request_input("and now?")})

    workflow = around(child_of_steps(ask), count=2)
    return Program(Workflow("around", workflow.steps, input_handler=handler))


def retries() -> Program:
    """The child's step is retried by itself; then the whole child is, as its second step fails for good."""

    @step(retry=QUICK)
    async def shaky(event: Item, ctx: Context) -> Done:
        ctx.emit_usage(UsageEvent(total_tokens=1, cost_usd=0.5))
        ctx.state["seen"] = ctx.state.get("seen", 0) + 1
        if ctx.attempt < 3:
            raise ConnectionError("not now")
        return Done(event.number)

    @step
    async def sum_up(done: list[Done], ctx: Context) -> StopEvent:
        return StopEvent({"number": ctx.state.get("seen", 0) * sum(event.number for event in done)})

    return Program(around(child_of_steps(spread, shaky, sum_up), retry=QUICK))


def a_child_that_is_retried() -> Program:
    class Unlucky(Event):
        number: int

    def fields(event: Query) -> dict[str, Any]:
        return {"number": event.number}

    async def lucky_at_the_third(result: Any) -> Answer:
        tries[result.run_id] = tries.get(result.run_id, 0) + 1
        await trio.sleep(1)
        return Answer(**result.result)

    tries: dict[str, int] = {}

    @step
    async def fail_unless_told(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(total_tokens=5))
        answer = await ctx.request_input("is it there?")
        await trio.sleep(answer)
        with trio.move_on_after(0.5):
            await ctx.request_input("shall it go on?")
        return StopEvent({"number": event.data["number"]})

    child = child_of_steps(fail_unless_told)
    answers = {"is it there?": 3, "shall it go on?": 1}
    return Program(around(child, retry=QUICK, input=fields, output=lucky_at_the_third), 4, answers)


def a_recovered_child() -> Program:
    @step
    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.emit_usage(UsageEvent(total_tokens=7))
        await trio.sleep(1)
        raise ValueError(event.data["number"])

    @step
    async def recover(event: StepFailedEvent) -> Answer:
        await trio.sleep(1)
        assert event.error_type == "SubWorkflowError"
        return Answer(100)

    workflow = around(child_of_steps(fail), count=2)
    return Program(Workflow("around", [*workflow.steps, recover]))


def state_and_once() -> Program:
    @step(max_concurrency=1)
    async def add(event: Item, ctx: Context) -> Done:
        ctx.state["sum"] = ctx.state.get("sum", 0) + event.number
        number = await ctx.once("number", pick, event.number)
        await trio.sleep(1)
        return Done(number)

    async def pick(number: int) -> int:
        await trio.sleep(0.5)
        return number * 7

    @step
    async def end(done: list[Done], ctx: Context) -> StopEvent:
        return StopEvent({"number": ctx.state.get("sum", 0) + sum(event.number for event in done)})

    return Program(around(child_of_steps(spread, add, end), count=2))


def collectors_and_waits() -> Program:
    @step
    async def collect_two(event: Item, ctx: Context) -> Done | None:
        pair = ctx.collect_events(Item, 2)
        await trio.sleep(1)
        return None if pair is None else Done(sum(item.number for item in pair))

    @step
    async def signal(event: StartEvent, ctx: Context) -> list[Item]:
        ctx.send_event(Signal(event.data["number"]))
        await trio.sleep(1)
        return [Item(number) for number in range(4)]

    @step
    async def listen(event: StartEvent, ctx: Context) -> Done:
        heard = await ctx.wait_for_event(Signal)
        await trio.sleep(1)
        return Done(100 * heard.number)

    @step
    async def end(event: Done, ctx: Context) -> StopEvent | None:
        ctx.state["count"] = count = ctx.state.get("count", 0) + 1
        ctx.state["sum"] = total = ctx.state.get("sum", 0) + event.number
        return StopEvent({"number": total}) if count == 3 else None

    return Program(around(child_of_steps(signal, listen, collect_two, end, events=[Signal]), count=2))


def generators() -> Program:
    @step
    async def generate(event: StartEvent, ctx: Context) -> AsyncIterator[Item]:
        for number in range(3):
            await trio.sleep(1)
            ctx.write_event_to_stream(Mark(f"yielding {number}"))
            yield Item(number)

    return Program(around(child_of_steps(generate, double, gather)))


def slow_mappers() -> Program:
    async def give(event: Query) -> dict[str, Any]:
        await trio.sleep(1)
        return {"number": event.number}

    async def take(result: Any) -> Answer:
        await trio.sleep(1)
        return Answer(result.result["number"])

    return Program(around(doubling, count=2, input=give, output=take))


def time_outs() -> Program:
    @step
    async def slow(event: Item, ctx: Context) -> Done:
        await trio.sleep(10 if ctx.attempt < 2 else 1)
        return Done(event.number)

    child = child_of_steps(spread, slow.with_options(timeout=2, retry=QUICK), gather, timeout=60)
    return Program(around(child, timeout=50))


def live_objects() -> Program:
    @step
    async def begin(event: StartEvent) -> list[WithObject]:
        return [WithObject(number, ("thing", number)) for number in range(2)]

    @step
    async def use(event: WithObject) -> Done:
        await trio.sleep(1)
        return Done(event.thing[1])

    child = child_of_steps(begin, use, gather)
    inside = child.as_step(accepts=Query, emits=Answer, name="inside")
    return Program(Workflow("around", [ask_all(2), inside, collect], allow_pickle=True))


def live_objects_in_parallel() -> Program:
    @step
    async def begin(event: StartEvent) -> WithObject:
        return WithObject(event.data, ("thing", event.data))

    @step
    async def use(event: StartEvent) -> StopEvent:
        await trio.sleep(1)
        return StopEvent({"number": event.data["number"]})

    @step
    async def end(answers: list[Answer]) -> StopEvent:
        return StopEvent(sum(answer.number for answer in answers))

    def give(event: WithObject) -> dict[str, Any]:
        return {"number": event.thing[1]}

    child = child_of_steps(use)
    both = parallel_step(
        "both", [child.as_step(accepts=WithObject, emits=Answer, input=give, name=name) for name in ("left", "right")]
    )
    return Program(Workflow("around", [begin, both, end], allow_pickle=True))


def twice_under_two_names() -> Program:
    one, two = (doubling.as_step(accepts=Query, emits=Answer, name=name) for name in ("one", "two"))
    return Program(Workflow("around", [ask_all(2), one, two, collect]))


PROGRAMS: tuple[Callable[[], Program], ...] = (
    one_child,
    child_in_child_in_child,
    many_children_few_at_a_time,
    parallel_all,
    parallel_first,
    parallel_of_parallel,
    inline_questions,
    routed_questions,
    handled_questions,
    retries,
    a_child_that_is_retried,
    a_recovered_child,
    state_and_once,
    collectors_and_waits,
    generators,
    slow_mappers,
    time_outs,
    live_objects,
    live_objects_in_parallel,
    twice_under_two_names,
)
