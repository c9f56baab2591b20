"""Questions of runs inside a run are shown and answered there, each once."""

import pytest
import trio

from blazen_trio import (
    AnswerConflictError,
    Context,
    InputRequestEvent,
    InputResponseEvent,
    RetryConfig,
    RunStalledError,
    RunStatus,
    StartEvent,
    StepFailedError,
    StopEvent,
    UnknownInputRequestError,
    Workflow,
    WorkflowSnapshot,
    parallel_step,
    step,
)
from tests.children.stories import (
    Answer,
    Crash,
    Query,
    approve,
    ask_all,
    child_of,
    collect,
    emits_number,
    parent_of,
    question_of,
    until,
)

ONCE_MORE = RetryConfig(max_retries=1, initial_delay_ms=10_000, jitter=False)

asking = child_of(approve)


@step
async def route_a_question(event: StartEvent) -> InputRequestEvent:
    return InputRequestEvent("how many?", request_id="the-question")


@step
async def take_the_answer(event: InputResponseEvent) -> StopEvent:
    return StopEvent({"number": event.response})


routing = Workflow("child", [route_a_question, take_the_answer])


@pytest.mark.parametrize("child", [asking, routing], ids=["inline", "routed"])
class TestOneQuestion:
    async def test_it_is_shown_and_answered_outside(self, child: Workflow) -> None:
        async with parent_of(child).start() as run:
            await run.respond_to_input(await question_of(run), 7)
            assert (await run.result()).result == 7

    async def test_the_run_awaits_input_and_its_time_stands_still(self, child: Workflow) -> None:
        async with parent_of(child, options={"timeout": 10}).start() as run:
            request_id = await question_of(run)
            await until(lambda: run.status is RunStatus.AWAITING_INPUT)
            await trio.sleep(1_000)
            await run.respond_to_input(request_id, 1)
            assert (await run.result()).result == 1

    async def test_the_same_answer_twice_is_one_answer_and_another_is_an_error(self, child: Workflow) -> None:
        @step
        async def wait(event: Answer) -> StopEvent:
            await trio.sleep(100)
            return StopEvent(event.number)

        inside = child.as_step(accepts=Query, emits=Answer)
        async with Workflow("parent", [ask_all(1), inside, wait]).start() as run:
            request_id = await question_of(run)
            await run.respond_to_input(request_id, 7)
            await run.respond_to_input(request_id, 7)
            with pytest.raises(AnswerConflictError):
                await run.respond_to_input(request_id, 8)
            await trio.sleep(1)
            await run.respond_to_input(request_id, 7)
            assert run.pending_inputs == ()
            assert (await run.result()).result == 7

    @pytest.mark.parametrize("interrupt", [False, True])
    async def test_an_answer_while_paused_is_used_afterwards(self, child: Workflow, *, interrupt: bool) -> None:
        async with parent_of(child).start() as run:
            request_id = await question_of(run)
            await run.pause(interrupt=interrupt)
            assert [each.request_id for each in run.pending_inputs] == [request_id]
            await run.respond_to_input(request_id, 7)
            assert run.pending_inputs == ()
            await trio.sleep(1)
            assert run.status is RunStatus.PAUSED
            await run.resume_in_place()
            assert (await run.result()).result == 7

    async def test_an_answer_right_after_a_resume_is_used(self, child: Workflow) -> None:
        workflow = parent_of(child)
        async with workflow.start() as run:
            request_id = await question_of(run)
            snapshot = await run.snapshot()
        async with workflow.resume(WorkflowSnapshot.from_json(snapshot.to_json())) as run:
            await run.respond_to_input(request_id, 7)  # no call runs yet
            assert (await run.result()).result == 7

    async def test_an_answer_given_while_the_call_waits_for_a_slot_is_used(self, child: Workflow) -> None:
        blocker = emits_number(100, seconds=50)
        limit = trio.CapacityLimiter(1)
        inside = child.as_step(accepts=Query, emits=Answer, name="inside", limiter=limit)
        workflow = Workflow("parent", [ask_all(1), inside, collect])
        async with workflow.start() as run:
            request_id = await question_of(run)
            snapshot = await run.snapshot()
        other = Workflow("other", [blocker.with_options(limiter=limit)])
        async with other.start() as first:
            await trio.sleep(1)
            async with workflow.resume(snapshot) as run:
                await run.respond_to_input(request_id, 7)
                assert run.statistics()["running"] == 0
                await first.result()
                assert (await run.result()).result == 7

    async def test_a_run_without_a_handle_says_that_nobody_can_answer(self, child: Workflow) -> None:
        with pytest.raises(RunStalledError, match=r"how many\?.*respond_to_input"):
            await parent_of(child, count=3 if child is asking else 1).run()

    @pytest.mark.parametrize("whose", ["parent", "child"])
    async def test_a_handler_of_either_answers(self, child: Workflow, whose: str) -> None:
        async def handler(event: InputRequestEvent) -> int:
            return 9

        if whose == "child":
            child = Workflow("child", child.steps, input_handler=handler)
            assert (await parent_of(child).run()).result == 9
        else:
            assert (await parent_of(child, options={"input_handler": handler}).run()).result == 9


async def test_the_childs_own_handler_goes_before_that_of_the_run_around() -> None:
    async def outer(event: InputRequestEvent) -> int:
        return 1

    async def inner(event: InputRequestEvent) -> int:
        return 2

    child = child_of(approve, input_handler=inner)
    assert (await parent_of(child, options={"input_handler": outer}).run()).result == 2


async def test_two_children_cannot_ask_under_one_id() -> None:
    async with parent_of(routing, count=2).start() as run:
        with pytest.raises(StepFailedError, match="InputRequestExistsError"):
            await run.result()


async def test_many_children_ask_and_each_gets_its_own_answer() -> None:
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        number = event.data["number"]
        return StopEvent({"number": number * await ctx.request_input(str(number))})

    async with parent_of(child_of(ask), count=20).start() as run:
        await until(lambda: len(run.pending_inputs) == 20)
        for each in reversed(run.pending_inputs):
            await run.respond_to_input(each.request_id, int(each.prompt))
        assert (await run.result()).result == sum(number**2 for number in range(20))


async def test_a_question_stays_open_while_other_branches_go_on() -> None:
    inside = asking.as_step(accepts=Query, emits=Answer, name="asks")
    works = child_of(emits_number(5, seconds=30)).as_step(accepts=Query, emits=Answer, name="works")
    workflow = Workflow("parent", [ask_all(1), inside, works, collect], timeout=100)
    async with workflow.start() as run:
        request_id = await question_of(run)
        statuses: list[RunStatus] = []
        for seconds in (10, 1_000):
            await trio.sleep(seconds)
            statuses.append(run.status)
        assert statuses == [RunStatus.RUNNING, RunStatus.AWAITING_INPUT]
        await run.respond_to_input(request_id, 1)
        assert (await run.result()).result == 6


# --- Repeated and dropped calls ---------------------------------------------------------------------------------------


def asks_then_fails_once(tries: list[int]) -> Workflow:
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        number = await ctx.request_input("how many?")
        tries.append(number)
        if len(tries) == 1:
            raise Crash
        return StopEvent({"number": number})

    return child_of(ask)


async def test_who_answered_is_not_asked_again_when_the_step_is_repeated() -> None:
    tries: list[int] = []
    async with parent_of(asks_then_fails_once(tries), retry=ONCE_MORE).start() as run:
        await run.respond_to_input(await question_of(run), 7)
        assert (await run.result()).result == 7
    assert tries == [7, 7]


async def test_nor_after_a_resume_between_the_attempts() -> None:
    tries: list[int] = []
    workflow = parent_of(asks_then_fails_once(tries), retry=ONCE_MORE)
    async with workflow.start() as run:
        await run.respond_to_input(await question_of(run), 7)
        await until(lambda: run.statistics()["retrying"] == 1)
        snapshot = await run.snapshot()
    assert snapshot.children == {}
    async with workflow.resume(snapshot) as run:
        assert (await run.result()).result == 7


async def test_a_handler_is_not_asked_again_either() -> None:
    asked: list[str] = []

    async def handler(event: InputRequestEvent) -> int:
        asked.append(event.prompt)
        return 7

    workflow = parent_of(asks_then_fails_once([]), retry=ONCE_MORE, options={"input_handler": handler})
    assert (await workflow.run()).result == 7
    assert asked == ["how many?"]


async def test_an_open_question_goes_with_the_failed_run_and_comes_back_with_the_next() -> None:
    @step
    async def ask(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent({"number": await ctx.request_input("how many?")})

    @step
    async def crash(event: StartEvent) -> None:
        await trio.sleep(1)
        if not tries:
            tries.append(1)
            raise Crash

    tries: list[int] = []
    workflow = parent_of(Workflow("child", [ask, crash]), retry=ONCE_MORE)
    async with workflow.start() as run:
        request_id = await question_of(run)
        await trio.sleep(2)
        assert run.pending_inputs == ()
        with pytest.raises(UnknownInputRequestError):
            await run.respond_to_input(request_id, 7)
        await trio.sleep(10)
        assert await question_of(run) == request_id
        await run.respond_to_input(request_id, 7)
        assert (await run.result()).result == 7


async def test_the_questions_of_those_who_lost_the_race_are_closed() -> None:
    quick = child_of(emits_number(5, seconds=1)).as_step(accepts=Query, emits=Answer, name="quick")
    race = parallel_step("race", [asking.as_step(accepts=Query, emits=Answer, name="asks"), quick], join="first")

    @step
    async def wait(event: Answer) -> StopEvent:
        await trio.sleep(10)
        return StopEvent(event.number)

    async with Workflow("parent", [ask_all(1), race, wait]).start() as run:
        await question_of(run)
        await trio.sleep(2)
        assert run.pending_inputs == ()
        assert run.status is RunStatus.RUNNING
        assert (await run.result()).result == 5


async def test_a_question_that_nobody_wants_to_know_any_more_is_closed() -> None:
    async def ask_a_while(event: StartEvent, ctx: Context) -> StopEvent:
        with trio.move_on_after(5):
            await ctx.request_input("how many?")
        await trio.sleep(5)
        return StopEvent({"number": 3})

    async with parent_of(child_of(ask_a_while), options={"timeout": 50}).start() as run:
        await question_of(run)
        await trio.sleep(6)
        assert run.pending_inputs == ()
        assert run.status is RunStatus.RUNNING
        assert (await run.result()).result == 3
    assert (await parent_of(child_of(ask_a_while)).run()).result == 3
