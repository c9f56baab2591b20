"""Questions to people: asked inline or as an event, answered by a handler or from outside, each once."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from blazen_trio import (
    AnswerConflictError,
    Context,
    InputRequestEvent,
    InputRequestExistsError,
    InputResponseEvent,
    RunStatus,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    UnknownInputRequestError,
    Workflow,
    step,
)

from .stories import TWICE, Done, Item, fan_out, gather, result_of, running, streamed


@step
async def ask_inline(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent(await ctx.request_input("Approve?", {"amount": 5}))


@step
async def ask_by_event(event: StartEvent) -> InputRequestEvent:
    return InputRequestEvent("Approve?", metadata={"amount": 5})


@step
async def use_answer(event: InputResponseEvent) -> StopEvent:
    return StopEvent(event.response)


INLINE = (ask_inline,)
ROUTED = (ask_by_event, use_answer)
both_ways = pytest.mark.parametrize("steps", [INLINE, ROUTED], ids=["inline", "as an event"])


@both_ways
async def test_a_question_is_pending_until_it_is_answered(steps):
    async with running(*steps) as run:
        (question,) = run.pending_inputs
        assert (question.prompt, question.metadata) == ("Approve?", {"amount": 5})
        assert run.status is RunStatus.AWAITING_INPUT
        await run.respond_to_input(question.request_id, {"yes": True})
        assert run.pending_inputs == ()
        assert (await run.result()).result == {"yes": True}


@both_ways
async def test_a_question_is_on_the_stream(steps):
    async with running(*steps) as run:
        async with run.stream_events(types=InputRequestEvent) as events:
            question = await events.receive()
        assert question == run.pending_inputs[0]
        await run.respond_to_input(question.request_id, 1)
        await run.result()


@both_ways
async def test_a_handler_answers_and_nothing_is_pending(steps):
    asked = []

    async def handler(question: InputRequestEvent) -> object:
        asked.append((question.prompt, question.metadata))
        await trio.sleep(2)
        return "handled"

    assert await result_of(*steps, input_handler=handler) == "handled"
    assert asked == [("Approve?", {"amount": 5})]


@both_ways
async def test_the_clock_of_the_run_stands_still_while_it_only_waits_for_an_answer(steps):
    async with running(*steps, timeout=10) as run:
        await trio.sleep(10_000)
        await run.respond_to_input(run.pending_inputs[0].request_id, "patient")
        assert (await run.result()).result == "patient"


@both_ways
async def test_an_answer_to_no_question_is_an_error(steps):
    async with running(*steps) as run:
        with pytest.raises(UnknownInputRequestError) as caught:
            await run.respond_to_input("nonsense", 1)
        assert caught.value.request_id == "nonsense"
        await run.abort()


async def test_the_same_answer_again_is_ignored_and_a_different_one_is_an_error():
    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        answer = await ctx.request_input("one?")
        await trio.sleep(5)
        return StopEvent(answer)

    async with running(ask) as run:
        request_id = run.pending_inputs[0].request_id
        await run.respond_to_input(request_id, 1)
        await run.respond_to_input(request_id, 1)
        for different in (2, True, 1.0):
            with pytest.raises(AnswerConflictError):
                await run.respond_to_input(request_id, different)
        assert (await run.result()).result == 1


async def test_the_answer_may_be_none():
    async with running(ask_inline) as run:
        await run.respond_to_input(run.pending_inputs[0].request_id, None)
        assert (await run.result()).result is None


async def test_each_question_has_an_id_of_its_own_and_gets_its_own_answer():
    @step
    async def ask(event: Item, ctx: Context) -> Done:
        first = await ctx.request_input(f"{event.n} first")
        return Done(first * 10 + await ctx.request_input(f"{event.n} second"))

    async with running(fan_out, ask, gather, start=3) as run:
        answers = {"0 first": 1, "1 first": 2, "2 first": 3, "0 second": 4, "1 second": 5, "2 second": 6}
        seen: set[str] = set()
        while len(seen) < 6:
            question = run.pending_inputs[-1]
            seen.add(question.request_id)
            await run.respond_to_input(question.request_id, answers[question.prompt])
            await wait_all_tasks_blocked()
        assert (await run.result()).result == [14, 25, 36]


async def test_other_branches_go_on_while_a_question_is_open():
    @step
    async def ask_one(event: Item, ctx: Context) -> Done:
        if event.n == 0:
            return Done(await ctx.request_input("zero?"))
        done.append(event.n)
        return Done(event.n)

    done: list[int] = []
    async with running(fan_out, ask_one, gather, start=4) as run:
        assert sorted(done) == [1, 2, 3]
        await run.respond_to_input(run.pending_inputs[0].request_id, 100)
        assert (await run.result()).result == [100, 1, 2, 3]


async def test_a_repeated_call_does_not_ask_again():
    @step(retry=TWICE)
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        answers = [await ctx.request_input("a?"), await ctx.request_input("b?")]
        if ctx.attempt == 1:
            raise OSError
        return StopEvent((ctx.attempt, answers))

    async with running(ask) as run:
        for answer in ("first", "second"):
            (question,) = run.pending_inputs
            await run.respond_to_input(question.request_id, answer)
            await wait_all_tasks_blocked()
        assert (await run.result()).result == (2, ["first", "second"])


async def test_a_repeated_call_finds_its_open_question_and_nobody_is_asked_twice():
    """The first attempt runs into its time-out while it waits; the answer comes to the second."""

    @step(timeout=10, retry=TWICE)
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent((ctx.attempt, await ctx.request_input("still there?")))

    async with running(ask) as run:
        (question,) = run.pending_inputs
        await trio.sleep(15)
        assert run.pending_inputs == (question,)
        await run.respond_to_input(question.request_id, "yes")
        assert (await run.result()).result == (2, "yes")
        assert len(await streamed(run, InputRequestEvent)) == 1


async def test_an_answer_that_comes_between_two_attempts_is_for_the_next():
    @step(timeout=10, retry=TWICE)
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent((ctx.attempt, await ctx.request_input("still there?")))

    async with running(ask) as run:
        (question,) = run.pending_inputs
        await trio.sleep(10.5)  # the first attempt is over, the second begins at 11
        await run.respond_to_input(question.request_id, "yes")
        assert (await run.result()).result == (2, "yes")


async def test_a_repeated_call_does_not_bother_the_handler_again():
    asked = []

    async def handler(question: InputRequestEvent) -> object:
        asked.append(question.prompt)
        return len(asked)

    @step(retry=TWICE)
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        answer = await ctx.request_input("once?")
        if ctx.attempt == 1:
            raise OSError
        return StopEvent(answer)

    assert await result_of(ask, input_handler=handler) == 1
    assert asked == ["once?"]


async def test_a_step_that_gives_up_asking_withdraws_its_question():
    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.move_on_after(3):
            await ctx.request_input("quick?")
        await trio.sleep(10)
        return StopEvent("no answer")

    async with running(ask) as run:
        (question,) = run.pending_inputs
        await trio.sleep(5)
        assert run.pending_inputs == ()
        with pytest.raises(UnknownInputRequestError):
            await run.respond_to_input(question.request_id, "late")
        assert (await run.result()).result == "no answer"


async def test_the_answer_stays_in_the_fan_out_of_its_question():
    @step
    async def ask(event: Item) -> InputRequestEvent:
        return InputRequestEvent(f"{event.n}?")

    @step
    async def answered(event: InputResponseEvent) -> Done:
        return Done(event.response)

    async with running(fan_out, ask, answered, gather, start=3) as run:
        for question in reversed(run.pending_inputs):
            await run.respond_to_input(question.request_id, int(question.prompt[0]) * 7)
        assert (await run.result()).result == [0, 7, 14]


async def test_the_answer_is_routed_with_the_id_of_its_question():
    @step
    async def ask(event: StartEvent) -> InputRequestEvent:
        return InputRequestEvent("mine?", "my-id")

    @step
    async def answered(event: InputResponseEvent) -> StopEvent:
        return StopEvent(event)

    async with running(ask, answered) as run:
        await run.respond_to_input("my-id", 3)
        assert (await run.result()).result == InputResponseEvent("my-id", 3)


async def test_two_questions_with_one_id_fail_the_run():
    @step
    async def ask(event: StartEvent) -> list[InputRequestEvent]:
        return [InputRequestEvent("one?", "same"), InputRequestEvent("two?", "same")]

    with pytest.raises(InputRequestExistsError) as caught:
        await Workflow("story", [ask, use_answer]).run()
    assert caught.value.request_id == "same"


class Approve(InputRequestEvent):
    amount: int = 0


async def test_a_subclass_of_the_question_is_a_question_too():
    @step
    async def ask(event: StartEvent) -> Approve:
        return Approve("How much?", amount=5)

    async with running(ask, use_answer) as run:
        (question,) = run.pending_inputs
        assert isinstance(question, Approve)
        assert question.amount == 5
        await run.respond_to_input(question.request_id, "fine")
        assert (await run.result()).result == "fine"


async def test_the_handler_answers_subclasses_of_the_question_too():
    @step
    async def ask(event: StartEvent) -> Approve:
        return Approve("How much?", amount=5)

    async def handler(question: InputRequestEvent) -> object:
        return question.amount if isinstance(question, Approve) else None

    with trio.fail_after(10):
        assert await result_of(ask, use_answer, input_handler=handler) == 5


async def test_a_step_that_accepts_questions_gets_them_instead_of_a_person():
    @step
    async def robot(event: InputRequestEvent) -> InputResponseEvent:
        return InputResponseEvent(event.request_id, "robot")

    assert await result_of(ask_by_event, robot, use_answer) == "robot"


@pytest.mark.parametrize(("steps", "failed"), [(INLINE, "ask_inline"), (ROUTED, "input_handler")])
async def test_a_failing_handler_is_a_failing_step_and_may_be_recovered(steps, failed):
    async def handler(question: InputRequestEvent) -> object:
        raise ConnectionError("nobody home")

    @step
    async def rescue(event: StepFailedEvent) -> StopEvent:
        return StopEvent((event.step_name, event.error_type, event.message))

    assert await result_of(*steps, rescue, input_handler=handler) == (failed, "ConnectionError", "nobody home")


async def test_a_task_that_is_cancelled_asks_nobody():
    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ctx.request_input("Now?")
        return StopEvent(scope.cancelled_caught)

    async def handler(question: InputRequestEvent) -> str:
        raise AssertionError(question.prompt)

    assert await result_of(ask, input_handler=handler) is True
    async with Workflow("story", [ask]).start() as run:
        assert await streamed(run, InputRequestEvent) == []
        assert (await run.result()).result is True


async def test_asking_a_handler_that_never_awaits_lets_other_tasks_run():
    async def handler(question: InputRequestEvent) -> str:
        return "yes"

    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.testing.assert_checkpoints():
            return StopEvent(await ctx.request_input("Now?"))

    assert await result_of(ask, input_handler=handler) == "yes"
