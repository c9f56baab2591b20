"""Rules 3 and 4: an event that nobody accepts, and a run with nothing left to do, are errors at once."""

import pytest
import trio
import trio.testing

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    NoHandlerError,
    RunStalledError,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from tests.runs.stories import Done, Item, Unknown, finish, sleep_forever, solo


async def test_an_undeclared_event_that_nobody_accepts_names_event_step_and_run():
    async def begin(event: StartEvent) -> Event:
        return Unknown()

    with pytest.raises(NoHandlerError) as caught:
        await solo(begin).run()

    assert (caught.value.event_type, caught.value.source_step) == ("Unknown", "begin")
    for word in ("'Unknown'", "'begin'", str(caught.value.run_id), "events=[Unknown]"):
        assert word in str(caught.value)


async def test_an_event_that_a_running_call_sent_names_that_call():
    @step
    async def begin(event: StartEvent) -> Item:
        return Item()

    @step
    async def send(event: Item, ctx: Context) -> StopEvent:
        ctx.send_event(Unknown())
        await trio.sleep_forever()
        return StopEvent()

    with pytest.raises(NoHandlerError) as caught:
        await Workflow("sent", [begin, send]).run()
    assert caught.value.source_step == "send"


async def test_an_event_from_outside_names_no_step():
    @step
    async def begin(event: StartEvent) -> Item:
        return Item()

    @step
    async def work(event: Item) -> StopEvent:
        await trio.sleep_forever()
        return StopEvent()

    async with Workflow("outside", [begin, work]).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.send_event(Unknown())
        with pytest.raises(NoHandlerError) as caught:
            await run.result()
    assert caught.value.source_step is None
    assert "sent by" not in str(caught.value)


@pytest.mark.parametrize("first", [Item(), Unknown(), Event()], ids=repr)
async def test_an_input_that_no_step_accepts(first):
    with pytest.raises(NoHandlerError, match=type(first).__name__):
        await Workflow("forever", [sleep_forever]).run(first)


async def test_an_input_that_is_a_stop_event_is_the_result():
    assert (await Workflow("forever", [sleep_forever]).run(StopEvent("at once"))).result == "at once"


async def test_an_input_that_is_a_question_is_asked():
    async with Workflow("forever", [sleep_forever]).start(InputRequestEvent("why?")) as run:
        assert [each.prompt for each in run.pending_inputs] == ["why?"]


async def test_subclasses_are_not_routed_to_the_steps_of_their_bases():
    class Special(StartEvent):
        pass

    with pytest.raises(NoHandlerError, match="Special"):
        await Workflow("forever", [sleep_forever]).run(Special())


async def test_a_branch_that_ends_in_none_stalls_the_run_and_names_the_last_step(autojump_clock):
    async def begin(event: StartEvent) -> StopEvent | None:
        await trio.sleep(1)
        return None

    with pytest.raises(RunStalledError) as caught:
        await solo(begin, timeout=None).run()

    assert trio.current_time() < 2
    assert caught.value.last_step == "begin"
    for word in ("'begin'", str(caught.value.run_id), "StopEvent", "None"):
        assert word in str(caught.value)


async def test_a_stall_names_the_joins_that_are_open():
    @step
    async def begin(event: StartEvent) -> Item | list[Item]:
        return Item()

    @step
    async def join(items: list[Item]) -> StopEvent:
        return StopEvent()

    with pytest.raises(RunStalledError) as caught:
        await Workflow("open join", [begin, join]).run()
    assert caught.value.open_joins == ("join",)
    assert "join" in str(caught.value)


async def test_an_event_kept_for_a_waiter_does_not_keep_a_run_alive():
    async def begin(event: StartEvent) -> Item | StopEvent:
        return Item()

    with pytest.raises(RunStalledError):
        await solo(begin, events=[Item]).run()


async def test_a_generator_that_yields_nothing_stalls():
    async def begin(event: StartEvent):
        for _ in ():
            yield StopEvent()

    with pytest.raises(RunStalledError):
        await solo(begin).run()


async def test_an_empty_list_without_a_join_stalls():
    async def begin(event: StartEvent) -> list[StopEvent]:
        return []

    with pytest.raises(RunStalledError):
        await solo(begin).run()


async def test_a_timer_an_open_question_a_waiter_and_a_sender_keep_a_run_alive(autojump_clock):
    @step
    async def begin(event: StartEvent, ctx: Context) -> Done:
        return Done(len(await ctx.request_input("?")))

    async with Workflow("alive", [begin, finish]).start() as run:
        await trio.sleep(1_000)
        await run.respond_to_input(run.pending_inputs[0].request_id, "yes")
        assert (await run.result()).result == 3


async def test_the_last_sender_that_closes_lets_the_run_stall():
    async def begin(event: StartEvent) -> StopEvent | None:
        return None

    async with solo(begin).start() as run:
        with run.open_send_channel(), run.open_send_channel():
            await trio.testing.wait_all_tasks_blocked()
            assert not run.status.is_end
        with pytest.raises(RunStalledError):
            await run.result()
