"""Requests from afar: each has one outcome, whatever connections do."""

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blazen_trio import (
    DynamicEvent,
    EncodeError,
    Event,
    EventDecodeError,
    PeerError,
    ProtocolError,
    RunExistsError,
    RunNotFoundError,
    RunStatus,
    StartEvent,
    StopEvent,
    UnknownInputRequestError,
)
from blazen_trio.websocket.client.ledger import UNKNOWN
from blazen_trio.websocket.client.link import CLOSED
from blazen_trio.websocket.protocol import messages as said
from blazen_trio.websocket.protocol.errors import ErrorView
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.messages import Ok
from blazen_trio.websocket.protocol.messages import Run as RunMessage
from blazen_trio.websocket.protocol.views import LimitsView, ResultView, RunView
from tests.websocket.dialled import dialled
from tests.websocket.fake_server import BYTES, FakeServer
from tests.websocket.stories import ANY, Mark, Note, Scene, noting, outcome_of, scene


class Stranger(Event):
    """An event that no workflow here has."""

    text: str


class OwnStop(StopEvent):
    number: int


def silent(*kinds: type[Any]):
    """A server that does not answer these."""
    return lambda message: [] if isinstance(message, kinds) else None


# --- Verbs ------------------------------------------------------------------------------------------------------------


async def test_each_verb_is_a_request_and_its_answer_what_is_known_of_a_run(autojump_clock: MockClock) -> None:
    async with scene() as story:
        engine = story.engine
        run = await engine.start("noting", 5, metadata={"who": "me"}, require={"gpu": "yes"})
        assert (run.status, run.workflow, run.workflow_name) == (RunStatus.RUNNING, noting, "noting")
        [start] = story.heard(said.Start)
        assert start.event == EventData("StartEvent", {"data": 5})
        assert (start.metadata, start.require, start.run_id) == ({"who": "me"}, {"gpu": "yes"}, run.run_id)
        await run.pause(interrupt=True)
        assert run.status.value == "paused"
        assert story.heard(said.Pause)[0].interrupt
        await run.resume_in_place()
        await run.send_event(Mark())
        story.model.ask(run.run_id)
        await run.refresh()
        assert [each.prompt for each in run.pending_inputs] == ["how?"]
        await run.respond_to_input("q1", (1, 2))
        assert run.pending_inputs == ()
        assert (await run.info()).run_id == run.run_id
        assert (await run.result()).result == 3
        await run.abort("enough")
        assert run.status.value == "aborted"
        assert story.heard(said.Abort)[0].reason == "enough"
        await engine.delete(run.run_id)
        with pytest.raises(RunNotFoundError):
            await engine.get(run.run_id)
        assert await engine.server_statistics() == {"done": len(story.model.done)}
        assert [each.name for each in await engine.workflows()] == ["noting"]
        assert engine.node_id == "node"
        assert engine.name == engine.url == "ws://server"


async def test_handles_of_one_run_hear_the_same(autojump_clock: MockClock) -> None:
    async with scene() as story:
        one, other = await story.run(), await story.run()
        await one.pause()
        assert other.status is RunStatus.PAUSED
        told = RunView(run_id="run", workflow="noting", status=RunStatus.RUNNING, cost_usd=0.5, running={"note": 2})
        await story.server.say(RunMessage(told))
        await wait_all_tasks_blocked()
        assert [each.cost_total_usd for each in (one, other)] == [0.5, 0.5]
        assert one.statistics() == {"status": "running", "running": 2, "running_steps": {"note": 2}}
        assert (one.progress, one.history, len(one.session_refs)) == (None, (), 0)
        assert one.usage_total.total_tokens == 0


async def test_a_list_of_any_length_is_asked_for_in_pieces(autojump_clock: MockClock) -> None:
    async with scene() as story:
        for number in range(3):
            story.model.run(str(number))
        found = await story.engine.runs(status="running", workflow="noting", limit=2_500)
        assert [each.run_id for each in found] == ["0", "1", "2"]
        [asked] = story.heard(said.Runs)
        assert (asked.limit, asked.status, asked.workflow) == (1_000, RunStatus.RUNNING, "noting")
        assert await story.engine.runs(limit=0) == []
        with pytest.raises(ValueError, match="no such"):
            await story.engine.runs(status="no such")


async def test_what_is_wrong_at_once_is_never_sent(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run: Any = await story.run()
        for call, error in (
            (partial(story.engine.start, "noting", run_id=""), ValueError),
            (partial(story.engine.get, "\0"), RunNotFoundError),
            (partial(story.engine.start, "noting", object()), EncodeError),
            (partial(story.engine.start, "noting", Stranger("x")), EncodeError),
            (partial(run.send_event, "no event"), TypeError),
            (partial(run.respond_to_input, 5, 1), UnknownInputRequestError),
            (partial(run.respond_to_input, "q1", object()), EncodeError),
        ):
            with pytest.raises(error):
                await call()
        with pytest.raises(ValueError, match="afar"):
            run.stream_events(lossless=True)
        with pytest.raises(ValueError, match="negative"):
            run.stream_events(after=-1)
        with pytest.raises(TypeError):
            run.stream_events(types=int)
        assert len(story.server.heard) == 1


async def test_an_event_is_written_as_its_class_says_whoever_knows_it(autojump_clock: MockClock) -> None:
    async with scene() as story:
        await story.engine.start("unknown here", Stranger("a"))
        run = await story.run()
        await run.send_event(DynamicEvent("whatever", {"x": (1, 2)}))
        await story.engine.send_event("run", Mark())
        assert [each.event.event_type for each in story.heard(said.Start)] == ["Stranger"]
        sent = [each.event for each in story.heard(said.SendEvent)]
        assert [each.event_type for each in sent] == ["whatever", "Mark"]
        assert sent[0].data == {"x": {"__blazen_tuple__": [1, 2]}}


async def test_a_result_of_an_unknown_class_says_what_to_do(autojump_clock: MockClock) -> None:
    async with scene(workflows=[]) as story:
        run = await story.run()
        view = ResultView(run=story.model.run().view, event=EventData("OwnStop", {"number": 1}))
        story.server.script = lambda message: [Ok(message.id, view)] if isinstance(message, said.Result) else None
        with pytest.raises(EventDecodeError, match="workflows="):
            await run.result()
        with pytest.raises(ValueError, match="workflows="):
            _ = run.workflow
        assert run.workflow_name == "noting"


async def test_errors_are_those_of_the_engine_and_each_waiter_gets_its_own(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(outcome_of, run.result, outcomes)
            await wait_all_tasks_blocked()
            [asked] = story.heard(said.Result)  # they all wait for one answer
            error = said.Error(asked.id, ErrorView("RunNotFoundError", "x", {"problem": "gone", "run_id": "run"}))
            await story.server.say(error)
        assert [type(each) for each in outcomes] == [RunNotFoundError] * 3
        assert len({id(each) for each in outcomes}) == 3


async def test_who_does_not_wait_for_what_is_soon_answered_says_nothing_and_drops_the_answer(
    autojump_clock: MockClock,
) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.Resume)
        with trio.move_on_after(1):
            await run.resume_in_place()
        [asked] = story.heard(said.Resume)
        assert story.engine.statistics()["requests"] == 1
        await story.server.say(Ok(asked.id, story.model.run().view))
        assert (await story.engine.get("run")).run_id == "run"
        assert story.heard(said.Cancel) == []
        assert story.engine.statistics()["requests"] == 0
        assert story.engine.statistics()["reconnects"] == 0


async def test_a_cancelled_call_asks_nothing(autojump_clock: MockClock) -> None:
    async with scene() as story:
        with trio.CancelScope() as scope:
            scope.cancel()
            await story.engine.start("noting")
        await wait_all_tasks_blocked()
        assert story.server.heard == []


async def test_never_more_is_asked_at_once_than_the_server_takes(autojump_clock: MockClock) -> None:
    limits = LimitsView(message_bytes=BYTES, window=8, requests=4)
    async with scene(limits=limits) as story:
        runs = [await story.run(str(number)) for number in range(10)]
        story.server.script = silent(said.Result, said.Info)
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            for run in runs:
                nursery.start_soon(outcome_of, run.result, outcomes)
            await wait_all_tasks_blocked()
            assert len(story.heard(said.Result)) == 3  # one place is left for what is quick
            await story.engine.get("0")
            for run in runs:
                nursery.start_soon(outcome_of, run.info, outcomes)
            await wait_all_tasks_blocked()
            assert len(story.heard(said.Info)) == 1
            story.server.script = lambda _: None
            for asked in (*story.heard(said.Result), *story.heard(said.Info)):
                await story.server.say(Ok(asked.id, story.model.answer(asked)))
            await wait_all_tasks_blocked()
        assert len(outcomes) == 20
        assert not [each for each in outcomes if isinstance(each, Exception)]


async def test_a_request_that_is_too_big_fails_alone(autojump_clock: MockClock) -> None:
    async with scene(limits=LimitsView(message_bytes=2_000, window=8, requests=4)) as story:
        with pytest.raises(ProtocolError, match="2000"):
            await story.engine.start("noting", "x" * 2_000)
        assert (await story.engine.start("noting", "x")).status is RunStatus.RUNNING
        assert story.engine.statistics()["reconnects"] == 0


# --- Lost connections -------------------------------------------------------------------------------------------------


async def lost_while(story: Scene, call, *kinds: type[Any]) -> Any:
    """What comes of a call whose request is heard, not answered, and then the connection is cut."""
    outcomes: list[Any] = []
    await story.engine.workflows()  # there is a connection
    story.server.script = silent(*kinds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, call, outcomes)
        await wait_all_tasks_blocked()
        story.server.script = lambda _: None
        await story.server.cut()
    return outcomes[0]


async def test_what_does_no_harm_is_asked_again(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        for call, kind in (
            (run.pause, said.Pause),
            (run.resume_in_place, said.Resume),
            (partial(run.respond_to_input, "q1", 1), said.RespondToInput),
            (run.info, said.Info),
            (run.result, said.Result),
            (run.abort, said.Abort),
        ):
            outcome = await lost_while(story, call, kind)
            assert not isinstance(outcome, Exception)
            assert len(story.heard(kind)) == 2
        assert story.engine.statistics()["reconnects"] == 6


async def test_of_what_might_do_harm_nobody_knows_whether_it_was_done(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        for call, kind in (
            (partial(run.send_event, Mark()), said.SendEvent),
            (partial(story.engine.delete, "run"), said.Delete),
            (partial(story.engine.start, "noting", run_id="mine"), said.Start),
        ):
            await story.engine.workflows()  # there is a connection
            begun = trio.current_time()
            outcome = await lost_while(story, call, kind)
            assert isinstance(outcome, PeerError)
            assert outcome.problem == UNKNOWN
            assert trio.current_time() == begun  # at once
            assert len(story.heard(kind)) == 1


async def test_a_run_without_an_id_is_started_once(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await lost_while(story, partial(story.engine.start, "noting"), said.Start)
        assert list(story.model.runs) == [run.run_id]
        assert [each.run_id for each in story.heard(said.Start)] == [run.run_id] * 2


async def test_a_run_that_was_started_before_the_connection_broke_is_found(autojump_clock: MockClock) -> None:
    async with scene() as story:
        story.server.cut_at = (story.server.messages + 1, "after")
        run = await story.engine.start("noting")
        assert story.model.done == ["start", "start", "get"]
        assert list(story.model.runs) == [run.run_id]
        with pytest.raises(RunExistsError):
            await story.engine.start("noting", run_id=run.run_id)


async def test_without_a_connection_everybody_waits_and_loses_patience(autojump_clock: MockClock) -> None:
    async with scene(patience=10) as story:
        run = await story.run()
        story.server.refusals = ["down"] * 1_000
        await story.server.cut()
        begun = trio.current_time()
        await trio.sleep(4)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(impatient, run.info, 14 + begun)
            nursery.start_soon(impatient, partial(story.engine.start, "noting", run_id="mine"), 14 + begun)
            await trio.sleep(3)
            nursery.start_soon(impatient, partial(run.send_event, Mark()), 17 + begun)
        assert story.engine.statistics()["requests"] == 0
        story.server.refusals = []
        await run.info()
        assert story.model.done == ["get", "info"]


async def impatient(call, due: float) -> None:
    with pytest.raises(PeerError, match=r"no connection for 10 s; the last attempt: down"):
        await call()
    assert trio.current_time() == pytest.approx(due)


async def test_who_waits_when_the_connection_breaks_has_patience_from_then_on(autojump_clock: MockClock) -> None:
    async with scene(patience=10) as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(impatient, run.result, trio.current_time() + 60)
            await trio.sleep(50)
            story.server.refusals = ["down"] * 1_000
            await story.server.cut()


async def test_a_connection_that_breaks_again_and_again_is_none(autojump_clock: MockClock) -> None:
    async with scene(patience=10) as story:
        run = await story.run()

        def drop(message: said.ClientMessage) -> Any:
            story.server.nursery.start_soon(story.server.cut)
            return []

        story.server.script = drop
        begun = trio.current_time()
        with pytest.raises(PeerError, match="10 s"):
            await run.info()
        assert trio.current_time() - begun == pytest.approx(10, abs=1)
        assert story.engine.statistics()["reconnects"] > 3


async def test_a_connection_that_holds_is_one_though_nothing_is_said(autojump_clock: MockClock) -> None:
    async with scene(patience=10) as story:
        run = await story.run()
        story.server.script = silent(said.Result)
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, run.result, outcomes)
            await trio.sleep(1)
            await story.server.cut()
            await trio.sleep(100)
            assert outcomes == []
            last = story.heard(said.Result)[-1]
            await story.server.say(Ok(last.id, story.model.answer(last)))
        assert outcomes[0].result == 0


# --- The end ----------------------------------------------------------------------------------------------------------


async def test_leaving_the_block_ends_what_is_under_way_and_says_goodbye(autojump_clock: MockClock) -> None:
    outcomes: list[Any] = []
    async with trio.open_nursery() as nursery:
        async with scene() as story:
            run = await story.run()
            story.server.script = silent(said.Result)
            subscription = run.stream_events()
            nursery.start_soon(outcome_of, run.result, outcomes)
            nursery.start_soon(outcome_of, subscription.receive, outcomes)
            await wait_all_tasks_blocked()
            begun = trio.current_time()
        engine = story.engine
        assert trio.current_time() == begun  # the server says goodbye at once, too
    assert [(type(each), each.problem) for each in outcomes] == [(PeerError, CLOSED)] * 2
    assert outcomes[0] is not outcomes[1]
    for call in (engine.start("noting"), run.result(), subscription.receive()):
        with pytest.raises(PeerError, match=CLOSED):
            await call
    with pytest.raises(PeerError, match=CLOSED):
        run.stream_events()
    assert engine.statistics()["connected"] is False


async def test_one_exception_leaves_the_block_as_it_was_raised(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)
        with pytest.raises(LookupError, match="mine") as caught:
            async with dialled(server.dial):
                try:
                    raise OSError("first")
                except OSError as error:
                    raise LookupError("mine") from error
        assert isinstance(caught.value.__cause__, OSError)
        nursery.cancel_scope.cancel()


async def test_a_server_that_answers_late_answers_once(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = silent(said.Info)
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, run.info, outcomes)
            nursery.start_soon(outcome_of, partial(run.send_event, ANY), outcomes)
            await trio.sleep(1_000)
            assert len(outcomes) == 1
            asked = story.heard(said.Info)[-1]
            await story.server.say(Ok(asked.id, story.model.answer(asked)))
        assert outcomes[1].run_id == "run"


def test_the_stories_know_their_events() -> None:
    assert {Note.event_type, StartEvent.event_type} <= noting.event_classes.keys()


async def test_an_error_of_the_line_says_which_run_it_was_about(autojump_clock: MockClock) -> None:
    async with scene(patience=10) as story:
        run = await story.run("mine")
        subscription = run.stream_events()
        story.server.refusals = ["down"] * 1_000
        await story.server.cut()
        calls: list[Any] = [
            run.result,
            run.abort,
            subscription.receive,
            partial(story.engine.start, "noting", None, "mine"),
        ]
        for call in calls:
            with pytest.raises(PeerError, match="no connection for 10 s") as caught:
                await call()
            assert caught.value.run_id == "mine"
        with pytest.raises(PeerError) as caught:
            await story.engine.runs()
        assert caught.value.run_id is None
    for call in calls:
        with pytest.raises(PeerError, match="closed") as caught:
            await call()
        assert caught.value.run_id == "mine"


async def test_what_was_done_is_done_though_the_run_cannot_be_looked_at(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = lambda message: [Ok(message.id)]
        for call in (run.pause, run.resume_in_place, run.abort, partial(run.send_event, ANY)):
            await call()
        await run.respond_to_input("q1", "yes")
        assert run.status is RunStatus.RUNNING
        with pytest.raises(ProtocolError, match="cannot be read"):
            await run.refresh()
