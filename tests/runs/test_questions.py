"""Rule 6: questions are asked once, shown, answered once; a run that only waits for answers says so."""

import pytest
import trio
import trio.testing

from blazen_trio import (
    AnswerConflictError,
    Context,
    InputRequestEvent,
    InputRequestExistsError,
    InputResponseEvent,
    RunClosedError,
    RunStatus,
    StartEvent,
    StepFailedError,
    StopEvent,
    UnknownInputRequestError,
    Workflow,
    step,
)
from tests.runs.stories import Crash, Item, solo


async def ask(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent(await ctx.request_input("Approve?", {"amount": 5}))


@step
async def ask_by_event(event: StartEvent) -> list[InputRequestEvent]:
    return [InputRequestEvent("one", "1"), InputRequestEvent("two", "2")]


@step
async def take(event: InputResponseEvent) -> Item:
    return Item(int(event.request_id) * event.response)


@step
async def join(items: list[Item]) -> StopEvent:
    return StopEvent([item.number for item in items])


routed = Workflow("routed", [ask_by_event, take, join])


async def test_an_inline_question_waits_for_its_answer():
    async with solo(ask).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        (question,) = run.pending_inputs
        assert (question.prompt, question.metadata) == ("Approve?", {"amount": 5})
        assert run.status is RunStatus.AWAITING_INPUT
        await run.respond_to_input(question.request_id, "yes")
        assert run.pending_inputs == ()
        assert (await run.result()).result == "yes"


async def test_questions_as_events_are_answered_in_any_order_and_keep_their_place():
    async with routed.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        assert run.status is RunStatus.AWAITING_INPUT
        await run.respond_to_input("2", 100)
        await trio.testing.wait_all_tasks_blocked()
        assert [each.request_id for each in run.pending_inputs] == ["1"]
        assert run.status is RunStatus.AWAITING_INPUT
        await run.respond_to_input("1", 1)
        assert (await run.result()).result == [1, 200]


async def test_a_question_is_on_the_stream_once():
    async with solo(ask).start() as run, run.stream_events(types=InputRequestEvent) as events:
        assert (await events.receive(),) == run.pending_inputs
        await run.respond_to_input(run.pending_inputs[0].request_id, None)
        await run.result()
        assert [event async for event in events] == []


async def test_the_same_answer_again_is_ignored_and_another_one_is_refused():
    async with routed.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.respond_to_input("1", 1)
        await run.respond_to_input("1", 1)
        for other in (2, 1.0, True, None, "1"):
            with pytest.raises(AnswerConflictError, match="'1'") as caught:
                await run.respond_to_input("1", other)
            assert run.run_id in str(caught.value)
        await run.respond_to_input("2", 3)
        assert (await run.result()).result == [1, 6]


@pytest.mark.parametrize("request_id", ["nobody asked", "", None, 7, ["unhashable"]], ids=repr)
async def test_an_answer_to_a_question_that_was_never_asked(request_id):
    async with routed.start() as run:
        with pytest.raises(UnknownInputRequestError) as caught:
            await run.respond_to_input(request_id, "yes")
    for word in (repr(request_id), run.run_id, "pending_inputs"):
        assert word in str(caught.value)


async def test_answers_that_cannot_be_compared_are_not_the_same():
    class Strange:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not comparable")

        __hash__ = None  # type: ignore[assignment]  # as Python itself does for a class with only __eq__

    async with routed.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.pause()
        answer = Strange()
        await run.respond_to_input("2", answer)
        await run.respond_to_input("2", answer)
        with pytest.raises(AnswerConflictError):
            await run.respond_to_input("2", Strange())
        await run.abort()


async def test_an_answer_after_the_end_is_refused():
    async with routed.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.abort()
        with pytest.raises(RunClosedError):
            await run.respond_to_input("1", 1)


async def test_two_questions_with_one_id_fail_the_run():
    @step
    async def twice(event: StartEvent) -> list[InputRequestEvent]:
        return [InputRequestEvent("one", "same"), InputRequestEvent("two", "same")]

    with pytest.raises(InputRequestExistsError, match="same"):
        await Workflow("twice", [twice, take, join]).run()


async def test_other_branches_go_on_while_a_question_is_open():
    @step
    async def begin(event: StartEvent, ctx: Context) -> list[InputRequestEvent | Item]:
        return [InputRequestEvent("?", "7"), Item(1)]

    done = []

    @step
    async def work(event: Item) -> None:
        done.append(event.number)

    @step
    async def end(event: InputResponseEvent) -> StopEvent:
        return StopEvent(event.response)

    async with Workflow("branches", [begin, work, end]).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        assert (done, run.status) == ([1], RunStatus.AWAITING_INPUT)
        await run.respond_to_input("7", "ok")
        assert (await run.result()).result == "ok"


async def test_a_handler_answers_inline_and_routed_questions():
    asked = []

    async def handler(question: InputRequestEvent) -> object:
        asked.append(question.prompt)
        return 10

    assert (await solo(ask, input_handler=handler).run()).result == 10
    workflow = Workflow("routed", [ask_by_event, take, join], input_handler=handler)
    assert (await workflow.run()).result == [10, 20]
    assert asked == ["Approve?", "one", "two"]


async def test_a_handler_that_fails_fails_the_run_by_name():
    async def handler(question: InputRequestEvent) -> object:
        raise Crash("nobody is here")

    with pytest.raises(StepFailedError, match="nobody is here") as inline:
        await solo(ask, input_handler=handler).run()
    with pytest.raises(StepFailedError, match="nobody is here") as by_event:
        await Workflow("routed", [ask_by_event, take, join], input_handler=handler).run()
    assert (inline.value.step_name, by_event.value.step_name) == ("ask", "input_handler")


async def test_a_question_that_its_step_gave_up_is_not_open_any_more(autojump_clock):
    async def give_up(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.move_on_after(1):
            await ctx.request_input("quick?")
        return StopEvent(await ctx.request_input("slow?"))

    async with solo(give_up).start() as run:
        await trio.sleep(2)
        assert [each.prompt for each in run.pending_inputs] == ["slow?"]
        await run.respond_to_input(run.pending_inputs[0].request_id, "ok")
        assert (await run.result()).result == "ok"


async def test_a_repeated_call_is_answered_from_memory(autojump_clock):
    from blazen_trio import RetryConfig

    async def ask_and_crash(event: StartEvent, ctx: Context) -> StopEvent:
        answer = await ctx.request_input("once?")
        if ctx.attempt == 1:
            raise Crash
        return StopEvent(answer)

    async with solo(ask_and_crash, retry=RetryConfig()).start() as run:
        await trio.sleep(1)
        await run.respond_to_input(run.pending_inputs[0].request_id, "yes")
        assert (await run.result()).result == "yes"


async def test_a_cancelled_respond_answers_nothing():
    async with routed.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await run.respond_to_input("1", 1)
        assert len(run.pending_inputs) == 2
