"""A run is a run: the same stories over an engine here and over one that is somewhere else."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    AnswerConflictError,
    Context,
    EncodeError,
    Event,
    ProgressEvent,
    RunClosedError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    RunStatus,
    StartEvent,
    StepFailedError,
    StopEvent,
    StreamGap,
    UnknownInputRequestError,
    UsageEvent,
    Workflow,
    WorkflowAbortedError,
    WorkflowResult,
    WorkflowTimeoutError,
    open_engine,
    step,
)
from blazen_trio.stores import MemoryStore
from tests.websocket.remote import remote_engine

AnyEngine: TypeAlias = Any
Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[AnyEngine]]


class Item(Event, external=True):
    number: int


class Note(Event):
    text: str


class LoudNote(Note):
    pass


class Report(StopEvent):
    pages: int


class Order(StartEvent):
    amount: int


@step
async def ask_twice(event: StartEvent, ctx: Context) -> StopEvent:
    ctx.write_event_to_stream(Note("begun"))
    first = await ctx.request_input("first?", metadata={"choices": [1, 2]})
    ctx.write_event_to_stream(LoudNote("half"))
    second = await ctx.request_input("second?")
    return StopEvent([first, second])


@step
async def publish(event: StartEvent, ctx: Context) -> StopEvent:
    for number in range(event.data):
        ctx.write_event_to_stream(Note(str(number)))
        await trio.sleep(0.1)
    ctx.emit_usage(UsageEvent(model="m", total_tokens=7, cost_usd=0.5))
    return StopEvent({"published": event.data})


@step
async def collect(event: StartEvent, ctx: Context) -> StopEvent:
    ctx.write_event_to_stream(ProgressEvent(1, 2, "waiting"))
    return StopEvent([(await ctx.wait_for_event(Item)).number for _ in range(2)])


@step
async def fail(event: StartEvent) -> StopEvent:
    raise LookupError(event.data)


@step
async def sleep(event: StartEvent) -> StopEvent:
    await trio.sleep(event.data)
    return StopEvent("awake")


@step
async def report(event: Order) -> Report:
    return Report(pages=event.amount)


asking = Workflow("asking", [ask_twice], events=[Note, LoudNote])
publishing = Workflow("publishing", [publish], events=[Note], collect_history=True)
collecting = Workflow("collecting", [collect], events=[Item])
failing = Workflow("failing", [fail])
recording = Workflow("recording", [fail], collect_history=True)
sleeping = Workflow("sleeping", [sleep], timeout=50)
reporting = Workflow("reporting", [report])

ALL = [asking, publishing, collecting, failing, recording, sleeping, reporting]


@asynccontextmanager
async def local() -> AsyncIterator[AnyEngine]:
    async with open_engine(MemoryStore(), ALL) as engine:
        yield engine


@asynccontextmanager
async def remote() -> AsyncIterator[AnyEngine]:
    async with open_engine(MemoryStore(), ALL) as engine, remote_engine(engine) as afar:
        yield afar


@pytest.fixture(params=[local, remote], ids=["local", "remote"])
def engine(request: pytest.FixtureRequest) -> Opening:
    opening: Opening = request.param
    return opening


async def asked(run: Any, prompt: str = "first?") -> str:
    """The id of that question, when the run has asked it."""
    with trio.fail_after(100):
        while True:
            await run.refresh()
            for question in run.pending_inputs:
                if question.prompt == prompt:
                    return str(question.request_id)
            await trio.sleep(0.01)


async def test_a_run_gives_its_result(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("publishing", 3, metadata={"who": "me"})
        result = await run.result()
        assert isinstance(result, WorkflowResult)
        assert (result.run_id, result.result, result.event) == (
            run.run_id,
            {"published": 3},
            StopEvent({"published": 3}),
        )
        assert (result.usage_total.total_tokens, result.cost_total_usd) == (7, 0.5)
        assert run.status is RunStatus.COMPLETED
        assert (run.usage_total.total_tokens, run.cost_total_usd) == (7, 0.5)
        assert run.history
        assert run.workflow.name == "publishing"
        assert run.statistics()["status"] == "completed"
        again = await there.get(run.run_id)
        assert again.history == run.history
        assert (await again.result()).result == {"published": 3}


async def test_events_of_own_classes_go_in_and_come_out(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("reporting", Order(amount=5))
        assert (await run.result()).result == Report(pages=5)


async def test_a_stream_is_read_from_any_place_to_its_end(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("publishing", 20)
        async with run.stream_events() as subscription:
            items = [item async for item in subscription.envelopes()]
        notes = [item for item in items if isinstance(item.event, Note)]
        assert [item.event for item in notes] == [Note(str(number)) for number in range(20)]
        assert [item.seq for item in items] == list(range(1, len(items) + 1))
        assert {(item.source_step, item.attempt) for item in notes} == {("publish", 1)}
        async with run.stream_events(after=15) as subscription:
            assert [item.seq async for item in subscription.envelopes()] == [item.seq for item in items[15:]]
            assert subscription.position == items[-1].seq


async def test_a_stream_is_filtered_by_base_classes(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("asking")
        for prompt in ("first?", "second?"):
            await run.respond_to_input(await asked(run, prompt), 1)
        await run.result()
        for types, texts in ((Note, ["begun", "half"]), ((LoudNote,), ["half"])):
            async with run.stream_events(types=types) as subscription:
                assert [event.text async for event in subscription] == texts


async def test_a_reader_comes_and_goes(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("publishing", 10)
        async with run.stream_events() as subscription:
            first = await subscription.receive()
        assert first == Note("0")
        with pytest.raises(trio.ClosedResourceError):
            await subscription.receive()
        async with run.stream_events(after=subscription.position) as rest:
            assert [event.text async for event in rest if isinstance(event, Note)] == list(map(str, range(1, 10)))


async def test_a_run_asks_and_is_answered(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("asking", run_id="mine")
        first = await asked(run)
        assert run.status is RunStatus.AWAITING_INPUT
        assert run.pending_inputs[0].metadata == {"choices": [1, 2]}
        with pytest.raises(UnknownInputRequestError):
            await run.respond_to_input("what?", 1)
        await run.respond_to_input(first, (1, {"a"}))
        await run.respond_to_input(first, (1, {"a"}))
        with pytest.raises(AnswerConflictError):
            await run.respond_to_input(first, 2)
        with pytest.raises(EncodeError):
            await run.respond_to_input(await asked(run, "second?"), object())
        await there.respond_to_input("mine", await asked(run, "second?"), "b")
        assert (await run.result()).result == [(1, {"a"}), "b"]
        assert run.pending_inputs == ()
        with pytest.raises(RunClosedError):
            await run.respond_to_input("what?", 1)


async def test_events_are_sent_into_a_run(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("collecting")
        await run.send_event(Item(1))
        await there.send_event(run.run_id, Item(2))
        assert (await run.result()).result == [1, 2]
        with pytest.raises(RunClosedError):
            await run.send_event(Item(3))
        with pytest.raises(TypeError):
            await run.send_event("no event")


async def test_a_run_is_paused_and_goes_on(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("publishing", 5)
        await run.pause(interrupt=True)
        assert run.status is RunStatus.PAUSED
        await trio.sleep(10)
        await there.resume(run.run_id)
        assert (await run.result()).result == {"published": 5}
        with pytest.raises(RunClosedError):
            await run.pause()


async def test_a_run_is_aborted(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("sleeping", 40)
        await run.abort("enough")
        with pytest.raises(WorkflowAbortedError, match="enough") as caught:
            await run.result()
        assert caught.value.reason == "enough"
        assert run.status is RunStatus.ABORTED
        await there.abort(run.run_id)


async def test_errors_are_the_same_with_their_attributes(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("failing", "why")
        with pytest.raises(StepFailedError) as caught:
            await run.result()
        assert (caught.value.step_name, caught.value.run_id) == ("fail", run.run_id)
        assert "why" in caught.value.error
        slow = await there.start("sleeping", 1_000)
        with pytest.raises(WorkflowTimeoutError):
            await slow.result()
        assert [run.status, slow.status] == [RunStatus.FAILED, RunStatus.TIMED_OUT]


async def test_the_history_of_what_failed_is_there(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("recording", "why")
        with pytest.raises(StepFailedError):
            await run.result()
        assert [each.kind for each in run.history][-1] == "workflow_failed"
        assert (await there.get(run.run_id)).history == run.history


async def test_what_cannot_be_is_refused(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        with pytest.raises(RunNotFoundError):
            await there.get("nobody")
        for call in (there.pause, there.resume, there.delete):
            with pytest.raises(RunNotFoundError):
                await call("nobody")
        for name, data, run_id in (("unknown", 1, None), ("sleeping", 1, "")):
            with pytest.raises(ValueError, match=r"unknown|run_id"):
                await there.start(name, data, run_id)
        with pytest.raises(EncodeError):
            await there.start("sleeping", object())
        run = await there.start("sleeping", 1, "mine")
        with pytest.raises(RunExistsError):
            await there.start("sleeping", 1, "mine")
        with pytest.raises(RunLockedError):
            await there.delete("mine")
        await run.result()
        await there.delete("mine")
        with pytest.raises(RunNotFoundError):
            await run.info()


async def test_what_nobody_can_take_is_refused_alike(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        for options in ({"metadata": {1: 2}}, {"metadata": 3}):
            with pytest.raises(TypeError, match="metadata="):
                await there.start("sleeping", 1, **options)
        for name in ("", "\ud800", None):
            with pytest.raises(ValueError, match="engine has no workflow"):
                await there.start(name)
        for labels in ({"": "x"}, {"gpu": ""}):
            with pytest.raises(ValueError, match="labels must be"):
                await there.start("sleeping", 1, require=labels)
        with pytest.raises(EncodeError, match="lone surrogate"):
            await there.start("sleeping", 1, metadata={"\ud800": 1})
        with pytest.raises(ValueError, match="limit= is a number of runs and cannot be negative: -1"):
            await there.runs(limit=-1)
        for limit in (1.5, "3", True):
            with pytest.raises(TypeError, match="limit="):
                await there.runs(limit=limit)
        with pytest.raises(RunNotFoundError):
            await there.runs(after="")
        run = await there.start("asking")
        assert await there.runs(limit=0) == await there.runs(workflow="") == await there.runs(workflow="\ud800") == []
        await asked(run)
        with pytest.raises((UnknownInputRequestError, EncodeError)):
            await run.respond_to_input("\ud800", 1)


async def test_a_reason_may_be_any_text(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        for reason in ("x" * 20_000, "half \ud800"):
            run = await there.start("sleeping", 40)
            await run.abort(reason)
            with pytest.raises(WorkflowAbortedError) as caught:
                await run.result()
            assert (caught.value.reason or "").startswith(reason[:5])


async def test_runs_are_listed(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        ids = [(await there.start(["sleeping", "asking"][number % 2], 1)).run_id for number in range(6)]
        await trio.sleep(10)
        first = await there.runs(limit=4)
        rest = await there.runs(limit=4, after=first[-1].run_id)
        assert [each.run_id for each in (*first, *rest)] == ids[::-1]
        waiting = await there.runs(status="awaiting_input")
        assert [each.prompt for run in waiting for each in run.pending_inputs] == ["first?"] * 3
        assert await there.runs(workflow="sleeping") == await there.runs(status=RunStatus.COMPLETED)
        info = await (await there.get(ids[0])).info()
        assert info == first[-1] or info == rest[-1]
        with pytest.raises(RunNotFoundError):
            await there.runs(after="nobody")


async def test_a_snapshot_is_taken_and_goes_on_elsewhere(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("asking")
        await run.respond_to_input(await asked(run), 1)
        await asked(run, "second?")
        snapshot = await run.snapshot()
    async with asking.resume(snapshot) as going_on:
        while not going_on.pending_inputs:  # noqa: ASYNC110 - on a clock that jumps
            await trio.sleep(0.01)
        await going_on.respond_to_input(going_on.pending_inputs[0].request_id, 2)
        assert (await going_on.result()).result == [1, 2]


async def test_many_wait_for_one_run_and_each_gets_its_own_error(engine: Opening, autojump_clock: MockClock) -> None:
    errors: list[BaseException] = []

    async def wait(run: Any) -> None:
        try:
            await run.result()
        except StepFailedError as error:
            errors.append(error)

    async with engine() as there:
        run = await there.start("failing", "why")
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(wait, run)
    assert len({id(each) for each in errors}) == 10


async def test_a_position_of_a_former_run_is_none_of_its_successor_under_the_id(
    engine: Opening, autojump_clock: MockClock
) -> None:
    async with engine() as there:
        run = await there.start("publishing", 20, "mine")
        async with run.stream_events() as subscription:
            assert len([event async for event in subscription]) > 20
        await trio.sleep(1)
        await there.delete("mine")
        again = await there.start("publishing", 2, "mine")
        await again.result()
        assert again.created != run.created
        assert again.created == (await again.info()).created
        async with again.stream_events(after=subscription.position) as rest:
            assert [event async for event in rest] == []  # its numbers began anew


async def test_what_is_not_there_yet_is_waited_for(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        run = await there.start("publishing", 3)
        async with run.stream_events(after=2) as subscription:
            item = await subscription.envelopes().receive()
        assert item.seq == 3
        assert not isinstance(item.event, StreamGap)


async def test_counters_are_at_hand(engine: Opening, autojump_clock: MockClock) -> None:
    async with engine() as there:
        await there.start("sleeping", 1)
        assert isinstance(there.statistics(), dict)


async def test_the_engines_own_counters_are_at_hand_from_afar(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), ALL) as engine, remote_engine(engine) as afar:
        await afar.start("sleeping", 1)
        assert (await afar.server_statistics())["engine"].keys() == engine.statistics().keys()
