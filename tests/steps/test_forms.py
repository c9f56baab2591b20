"""A step is an async function, a plain function, an async generator, a method, a partial or any callable object."""

import contextvars
import functools
import threading
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Annotated

import pytest
import trio

from blazen_trio import Context, Event, StartEvent, Step, StopEvent, step

from .stories import Done, Item, fan_out, gather, one_item, result_of, stop, violation_of, work

USER = contextvars.ContextVar("USER", default="nobody")


async def test_an_async_function_runs_in_the_programs_own_thread():
    @step
    async def where(event: StartEvent) -> StopEvent:
        await trio.sleep(1)
        return StopEvent(threading.get_ident())

    assert await result_of(where) == threading.get_ident()


async def test_a_plain_function_runs_in_a_worker_thread():
    @step
    def where(event: StartEvent) -> StopEvent:
        return StopEvent(threading.get_ident())

    assert await result_of(where) != threading.get_ident()


async def test_a_plain_function_sees_the_context_variables_of_whoever_started_the_run():
    @step
    def who(event: StartEvent) -> StopEvent:
        return StopEvent(USER.get())

    token = USER.set("ann")
    try:
        assert await result_of(who) == "ann"
    finally:
        USER.reset(token)


async def test_a_plain_function_uses_the_whole_synchronous_context_from_its_thread():
    @step(sends=[Item])
    def busy(event: StartEvent, ctx: Context) -> None:
        ctx.state["seen"] = [1]
        ctx.session["lock"] = "held"
        ctx.write_event_to_stream(Item(8))
        ctx.report_progress(1, 2)
        ctx.send_event(Item(7))

    @step
    def read(event: Done, ctx: Context) -> StopEvent:
        return StopEvent((event.n, ctx.state["seen"], ctx.session["lock"], ctx.step_name, ctx.attempt))

    assert await result_of(busy, work, read) == (7, [1], "held", "read", 1)


async def test_plain_functions_overlap():
    both = threading.Barrier(2, timeout=30)

    @step
    def meet(event: Item) -> Done:
        both.wait()
        return Done(event.n)

    assert await result_of(fan_out, meet, gather, start=2) == [0, 1]


async def test_a_plain_functions_mistake_in_the_context_is_raised_in_its_thread():
    @step
    def wrong(event: StartEvent, ctx: Context) -> StopEvent:
        with pytest.raises(TypeError, match="takes an instance of an Event subclass"):
            ctx.send_event("no event")  # type: ignore[arg-type]  # the mistake
        return StopEvent("told")

    assert await result_of(wrong) == "told"


@pytest.mark.parametrize("annotation", [AsyncIterator[Item], AsyncGenerator[Item, None]])
async def test_an_async_generator_is_a_fan_out(annotation):
    async def produce(event: StartEvent):
        for n in range(3):
            await trio.sleep(1)
            yield Item(n)

    produce.__annotations__["return"] = annotation
    assert await result_of(step(produce), work, gather) == [0, 1, 2]


async def test_what_a_generator_yields_is_worked_on_while_it_still_runs():
    seen: list[object] = []

    @step
    async def produce(event: StartEvent) -> AsyncIterator[Item]:
        for n in range(3):
            yield Item(n)
            await trio.sleep(1)

    @step
    async def note(event: Item) -> Done:
        seen.append((event.n, trio.current_time()))
        return Done(event.n)

    await result_of(produce, note, gather)
    assert seen == [(0, 0), (1, 1), (2, 2)]


async def test_a_generator_is_closed_when_the_run_ends_before_it():
    ended = []

    @step
    async def produce(event: StartEvent) -> AsyncIterator[Item]:
        try:
            for n in range(1000):
                yield Item(n)
                await trio.sleep(1)
        finally:
            ended.append(True)

    @step
    async def first(event: Item) -> StopEvent:
        return StopEvent(event.n)

    assert await result_of(produce, first) == 0
    assert ended == [True]


async def test_a_plain_generator_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match="plain generator; make it an async generator"):

        @step
        def produce(event: StartEvent) -> Iterator[Item]:
            yield Item(1)


class Flow:
    """A user's class whose methods are steps."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    @step
    async def begin(self, event: StartEvent) -> Item:
        return Item(event.data * self.factor)

    @step(name="finish")
    async def end(self, event: Item, ctx: Context) -> StopEvent:
        return StopEvent((ctx.step_name, event.n))

    async def plain(self, event: StartEvent) -> StopEvent:
        return StopEvent(self.factor)


async def test_methods_are_steps_bound_to_their_object():
    three, five = Flow(3), Flow(5)
    assert await result_of(three.begin, three.end, start=2) == ("finish", 6)
    assert await result_of(five.begin, five.end, start=2) == ("finish", 10)


async def test_a_bound_method_becomes_a_step():
    made = step(Flow(4).plain)
    assert made.name == "plain"
    assert await result_of(made) == 4


async def test_a_static_method_becomes_a_step():
    class Tools:
        @staticmethod
        @step
        async def go(event: StartEvent) -> StopEvent:
            return StopEvent("static")

    assert await result_of(Tools.go) == "static"
    assert await result_of(Tools().go) == "static"


async def test_a_partial_of_positions_and_of_keywords_becomes_a_step():
    async def add(amount: int, event: StartEvent, ctx: Context, *, times: int) -> StopEvent:
        return StopEvent((event.data + amount) * times)

    assert await result_of(step(functools.partial(add, 2, times=10)), start=1) == 30


async def test_a_partial_that_sets_a_middle_parameter_becomes_a_step():
    async def add(event: StartEvent, amount: int, ctx: Context) -> StopEvent:
        return StopEvent((event.data + amount, ctx.step_name))

    assert await result_of(step(functools.partial(add, amount=5)), start=1) == (6, "add")


async def test_a_partial_that_sets_a_parameter_before_the_event_becomes_a_step():
    async def add(amount: int, event: StartEvent) -> StopEvent:
        return StopEvent(event.data + amount)

    assert await result_of(step(functools.partial(add, amount=5)), start=1) == 6


async def test_a_partial_of_a_plain_function_runs_in_a_thread():
    def where(prefix: str, event: StartEvent) -> StopEvent:
        return StopEvent((prefix, threading.get_ident() != main))

    main = threading.get_ident()
    assert await result_of(step(functools.partial(where, "thread"))) == ("thread", True)


async def test_a_callable_object_becomes_a_step_named_after_its_class():
    class Greeter:
        async def __call__(self, event: StartEvent, ctx: Context) -> StopEvent:
            return StopEvent(f"hello from {ctx.step_name}")

    assert await result_of(step(Greeter())) == "hello from Greeter"


async def test_a_callable_object_with_a_plain_call_runs_in_a_thread():
    class Where:
        def __call__(self, event: StartEvent) -> StopEvent:
            return StopEvent(threading.get_ident())

    assert await result_of(step(Where())) != threading.get_ident()


async def test_a_partial_of_a_callable_object_is_awaited():
    class Greeter:
        async def __call__(self, greeting: str, event: StartEvent) -> StopEvent:
            return StopEvent(greeting)

    assert await result_of(step(functools.partial(Greeter(), "hello"))) == "hello"


async def test_a_partial_of_a_method_becomes_a_step():
    class Greeter:
        async def greet(self, greeting: str, event: StartEvent, ctx: Context) -> StopEvent:
            return StopEvent((greeting, ctx.step_name))

    assert await result_of(step(functools.partial(Greeter().greet, "hello"))) == ("hello", "greet")


async def test_a_partial_of_a_generator_is_a_fan_out():
    async def produce(count: int, event: StartEvent) -> AsyncIterator[Item]:
        for n in range(count):
            yield Item(n)

    assert await result_of(step(functools.partial(produce, 3)), work, gather) == [0, 1, 2]


async def test_a_decorated_function_is_read_through_its_decorator():
    def loud(function):
        @functools.wraps(function)
        async def wrapper(*args, **kwargs):
            answer = await function(*args, **kwargs)
            return StopEvent(answer.result.upper())

        return wrapper

    @step
    @loud
    async def speak(ctx: Context, event: StartEvent) -> StopEvent:
        return StopEvent(f"{ctx.step_name} {event.data}")

    assert await result_of(speak, start="up") == "SPEAK UP"


async def test_parameters_are_found_by_annotation_in_any_order():
    @step
    async def swapped(ctx: Context, event: StartEvent) -> StopEvent:
        return StopEvent((type(event).__name__, ctx.step_name))

    assert await result_of(swapped) == ("StartEvent", "swapped")


async def test_parameters_may_have_any_names():
    @step
    async def odd(ctx: StartEvent, event: Context) -> StopEvent:
        return StopEvent((type(ctx).__name__, event.step_name))

    assert await result_of(odd) == ("StartEvent", "odd")


async def test_both_parameters_may_be_keyword_only():
    @step
    async def keywords(*, ctx: Context, event: StartEvent) -> StopEvent:
        return StopEvent((event.data, ctx.step_name))

    assert await result_of(keywords, start=1) == (1, "keywords")


async def test_an_event_alone_may_be_keyword_only():
    @step
    async def keyword(*, event: StartEvent) -> StopEvent:
        return StopEvent(event.data)

    assert await result_of(keyword, start=1) == 1


async def test_an_event_may_be_positional_only_beside_a_keyword_only_context():
    @step
    async def mixed(event: StartEvent, /, *, ctx: Context) -> StopEvent:
        return StopEvent((event.data, ctx.step_name))

    assert await result_of(mixed, start=1) == (1, "mixed")


async def test_a_parameter_with_a_default_keeps_it():
    @step
    async def defaulted(event: StartEvent, amount: int = 5, *, ctx: Context, suffix="!") -> StopEvent:
        return StopEvent((event.data + amount, suffix))

    assert await result_of(defaulted, start=1) == (6, "!")


async def test_a_context_behind_a_default_is_not_mistaken_for_it():
    @step
    async def behind(event: StartEvent, amount: int = 5, ctx: Context | None = None) -> StopEvent:
        assert ctx is not None
        return StopEvent((event.data + amount, ctx.step_name))

    assert await result_of(behind, start=1) == (6, "behind")


async def test_a_context_that_may_be_left_out_in_tests_is_given_in_a_run():
    @step
    async def optional(event: StartEvent, ctx: Context | None = None) -> StopEvent:
        return StopEvent(ctx and ctx.step_name)

    assert await result_of(optional) == "optional"
    assert await optional(StartEvent()) == StopEvent(None)


async def test_a_typed_context_is_a_context():
    @step
    async def typed(event: StartEvent, ctx: Context[object]) -> StopEvent:
        return StopEvent(ctx.step_name)

    assert await result_of(typed) == "typed"


async def test_an_annotated_event_is_the_event():
    @step
    async def noted(event: Annotated[StartEvent, "the first"]) -> Annotated[StopEvent, "the last"]:
        return StopEvent("noted")

    assert await result_of(noted) == "noted"


async def test_classes_local_to_a_function_are_found():
    class Local(Event):
        n: int

    @step
    async def begin(event: "StartEvent") -> "Local":
        return Local(3)

    @step
    async def end(event: "Local", ctx: "Context") -> "StopEvent | None":
        return StopEvent(event.n)

    assert await result_of(begin, end) == 3


async def test_an_annotation_may_name_a_class_defined_later():
    @step
    async def begin(event: StartEvent) -> "Later":
        return Later(4)

    class Later(Event):
        n: int

    @step
    async def end(event: Later) -> StopEvent:
        return StopEvent(event.n)

    assert await result_of(begin, end) == 4


async def test_text_inside_an_annotation_is_read():
    @step
    async def begin(event: StartEvent) -> AsyncIterator["Item"]:
        yield Item(1)

    @step
    async def join(items: list["Done | Item"]) -> "StopEvent":
        return StopEvent(sorted(type(item).__name__ for item in items))

    assert await result_of(begin, work, join) == ["Done", "Item"]


async def test_the_older_ways_to_write_types_are_read():
    @step
    async def begin(event: StartEvent) -> typing.Optional[typing.List[Item]]:  # noqa: UP006, UP045 - that is the point
        return [Item(1)]

    @step
    async def either(event: typing.Union[Item, Done]) -> Named:  # noqa: UP007 - that is the point
        return Named("seen")

    @step
    async def join(items: typing.List[Named]) -> StopEvent:  # noqa: UP006 - that is the point
        return StopEvent(len(items))

    assert await result_of(begin, either, join, events=[Done]) == 1


async def test_a_union_accepts_each_of_its_classes():
    @step
    async def begin(event: StartEvent) -> list[Item | Done]:
        return [Item(1), Done(2)]

    @step
    async def either(event: Item | Done) -> Named:
        return Named(type(event).__name__)

    @step
    async def join(items: list[Named]) -> StopEvent:
        return StopEvent([item.name for item in items])

    assert await result_of(begin, either, join) == ["Item", "Done"]


class Named(Event):
    name: str


async def test_a_step_stays_callable_like_its_function():
    assert await work(Item(3)) == Done(3)
    assert await Flow(2).begin(StartEvent(4)) == Item(8)


async def test_options_set_later_give_a_new_step():
    slow = work.with_options(name="slow", timeout=5, max_concurrency=2)
    assert (slow.name, slow.timeout, slow.max_concurrency) == ("slow", 5, 2)
    assert (work.name, work.timeout, work.max_concurrency) == ("work", None, None)
    assert await result_of(one_item, slow, stop, start=1) == 1


def test_a_step_tells_what_it_accepts_and_emits():
    @step(sends=[Named])
    async def all_sorts(event: Item | Done) -> list[Done] | StopEvent | None:
        raise NotImplementedError

    assert isinstance(all_sorts, Step)
    assert all_sorts.accepts == (Item, Done)
    assert set(all_sorts.emits) == {Done, StopEvent}
    assert all_sorts.sends == (Named,)
    assert (gather.accepts, gather.is_join) == ((Done,), True)


def test_a_step_is_frozen():
    with pytest.raises(AttributeError):
        work.name = "other"  # type: ignore[misc]  # that is the point


def test_an_unknown_option_names_those_that_exist():
    with pytest.raises(TypeError, match=r"'work' has no option retries; the options are name, .*retry"):
        work.with_options(retries=3)  # type: ignore[call-arg]  # the mistake


def nothing_at_all() -> StopEvent:
    raise NotImplementedError


def no_event(ctx: Context) -> StopEvent:
    raise NotImplementedError


def two_events(one: Item, two: Done) -> StopEvent:
    raise NotImplementedError


def two_contexts(event: Item, one: Context, two: Context) -> StopEvent:
    raise NotImplementedError


def no_annotation(event) -> StopEvent:
    raise NotImplementedError


def no_event_class(event: int) -> StopEvent:
    raise NotImplementedError


def no_event_result(event: Item) -> int:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (nothing_at_all, "needs exactly one parameter .* found: none"),
        (no_event, "needs exactly one parameter .* found: none"),
        (two_events, "needs exactly one parameter .* found: one, two"),
        (two_contexts, "2 Context parameters; leave one"),
        (no_annotation, "parameter 'event' of step function no_annotation has no annotation"),
        (no_event_class, "'event' is annotated with int, which is no event class"),
        (no_event_result, "the return annotation has int"),
        ("text", "@step is for functions, not for 'text'"),
    ],
)
def test_what_no_step_can_be_is_a_type_error_that_says_why(function, message):
    with pytest.raises(TypeError, match=message):
        step(function)


async def test_a_step_that_forgets_an_await_is_told_so():
    async def child(event: StartEvent) -> StopEvent:
        return StopEvent()

    async def parent(event: StartEvent) -> StopEvent:
        return child(event)  # type: ignore[return-value]  # the mistake

    assert "was an await forgotten?" in str(await violation_of(parent))
