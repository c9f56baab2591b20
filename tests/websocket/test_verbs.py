"""Everything that can be asked of an engine from afar."""

from collections.abc import Awaitable, Callable
from typing import Any, final

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import StoreError, open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.stores import _Around
from blazen_trio.websocket.server.interfaces import Access
from tests.websocket.fakes import Refused, approving, asking, connected, new_tap, pouring, serving


def event(name: str, **data) -> dict:
    return {"event_type": name, "data": data}


async def test_a_run_is_started_asked_and_answered(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        view = await client.ask("start", workflow="asking", event=event("StartEvent", data=1), run_id="mine")
        assert (view["run_id"], view["workflow"], view["status"]) == ("mine", "asking", "running")
        await trio.sleep(0.1)
        view = await client.ask("get", run_id="mine")
        assert (view["status"], view["running"]) == ("awaiting_input", {"ask": 1})
        (question,) = view["questions"]
        assert (question["prompt"], question["metadata"]) == ("how many?", {"unit": "pages"})
        waiting = await client.say("result", run_id="mine")
        answer = {"run_id": "mine", "request_id": question["request_id"]}
        await client.ask("respond_to_input", response=[3], **answer)
        result = await client.answer(waiting)
        assert result["event"] == event("StopEvent", result=[3])
        assert result["run"]["status"] == "completed"
        with pytest.raises(Refused, match=r"RunClosedError|AnswerConflictError"):
            await client.ask("respond_to_input", response=[4], **answer)


async def test_only_start_events_and_external_ones_start_runs(autojump_clock: MockClock) -> None:
    async with (
        open_engine(MemoryStore(), [approving]) as engine,
        serving(engine, faults=100) as server,
        connected(server) as client,
    ):
        for good in (event("StartEvent", data=None), event("Begin", data=None, count=3), event("Knock")):
            assert (await client.ask("start", workflow="approving", event=good))["status"] == "running"
        for bad, says in (
            (event("Note", number=1), "ProtocolError.*neither a StartEvent nor external"),
            (event("Other"), "ProtocolError.*no event class 'Other'"),
            (event("Begin", data=None, count="three"), "EventDecodeError.*count"),
            (event("Begin", extra=1), "EventDecodeError"),
        ):
            with pytest.raises(Refused, match=says):
                await client.ask("start", workflow="approving", event=bad)
        with pytest.raises(Refused, match=r"ValueError.*no workflow 'none'"):
            await client.ask("start", workflow="none", event=event("Knock"))
        with pytest.raises(Refused, match=r"ProtocolError.*metadata\['bad'\]"):
            await client.ask(
                "start", workflow="approving", event=event("Knock"), metadata={"bad": {"__blazen_tuple__": 3}}
            )
        assert len(await client.ask("runs")) == 3


async def test_a_run_id_is_given_once(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        asked = {"workflow": "asking", "event": event("StartEvent", data=1), "run_id": "mine"}
        await client.ask("start", **asked)
        with pytest.raises(Refused, match="RunExistsError"):
            await client.ask("start", **asked)


async def test_only_external_events_are_sent_into_a_run(autojump_clock: MockClock) -> None:
    async with (
        open_engine(MemoryStore(), [approving]) as engine,
        serving(engine, faults=100) as server,
        connected(server) as client,
    ):
        run_id = (await client.ask("start", workflow="approving", event=event("Knock")))["run_id"]
        for bad, says in (
            (event("Note", number=1), "ProtocolError.*Note may not be sent from outside"),
            (event("StartEvent", data=1), "ProtocolError.*StartEvent may not"),
            (event("StopEvent", result=1), "ProtocolError.*StopEvent may not"),
            (event("Other"), "ProtocolError.*'Other'"),
            (event("Approval", by=3), "EventDecodeError.*by"),
        ):
            with pytest.raises(Refused, match=says):
                await client.ask("send_event", run_id=run_id, event=bad)
        assert (await client.ask("send_event", run_id=run_id, event=event("Approval", by="me")))["run_id"] == run_id
        assert (await client.ask("result", run_id=run_id))["event"] == event("StopEvent", result="me")


async def test_an_answer_that_cannot_be_read_names_the_place(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        run = await engine.start("asking")
        with pytest.raises(Refused, match=r"ProtocolError.*response\[1\].*request '1'"):
            await client.ask(
                "respond_to_input", run_id=run.run_id, request_id="x", response=[1, {"__blazen_tuple__": 3}]
            )


async def test_a_run_is_paused_resumed_aborted_and_deleted(autojump_clock: MockClock) -> None:
    new_tap()
    async with (
        open_engine(MemoryStore(), [pouring()]) as engine,
        serving(engine) as server,
        connected(server) as client,
    ):
        run_id = (await engine.start("pouring")).run_id
        assert (await client.ask("pause", run_id=run_id, interrupt=True))["status"] == "paused"
        assert (await client.ask("resume", run_id=run_id))["status"] == "running"
        with pytest.raises(Refused, match="RunLockedError"):
            await client.ask("delete", run_id=run_id)
        assert (await client.ask("abort", run_id=run_id, reason="enough"))["status"] == "aborted"
        with pytest.raises(Refused, match=r"WorkflowAbortedError.*enough"):
            await client.ask("result", run_id=run_id)
        assert await client.ask("delete", run_id=run_id) is None
        for verb in ("get", "info", "result", "snapshot", "history", "pause", "subscribe"):
            with pytest.raises(Refused, match="RunNotFoundError"):
                await client.ask(verb, run_id=run_id)


async def test_what_there_is_can_be_looked_at(autojump_clock: MockClock) -> None:
    async with (
        open_engine(MemoryStore(), [asking, pouring()]) as engine,
        serving(engine) as server,
        connected(server) as client,
    ):
        run = await engine.start("asking")
        await trio.sleep(1)
        info = await client.ask("info", run_id=run.run_id)
        assert (info["status"], len(info["questions"])) == ("awaiting_input", 1)
        assert (await client.ask("snapshot", run_id=run.run_id))["run_id"] == run.run_id
        assert await client.ask("history", run_id=run.run_id) == []
        held = await client.ask("statistics")
        assert held["engine"]["held"] == 1
        assert held["server"]["connections"] == 1
        graphs = await client.ask("workflows")
        assert [each["name"] for each in graphs] == ["asking", "pouring"]
        assert "ask" in {node["name"] for node in graphs[0]["nodes"]}


async def test_runs_come_in_pages_newest_first(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking]) as engine, serving(engine) as server, connected(server) as client:
        for number in range(7):
            await engine.start("asking", run_id=str(number))
        first = await client.ask("runs", limit=4)
        rest = await client.ask("runs", limit=4, after=first[-1]["run_id"])
        assert sorted(each["run_id"] for each in first + rest) == list("0123456")
        assert len(first) == 4
        assert await client.ask("runs", status="completed") == []
        with pytest.raises(Refused, match="RunNotFoundError"):
            await client.ask("runs", after="none")


@final
class UnreadableStore(_Around):
    """A store that finds no run any more."""

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if "_Around.read." in getattr(call, "__qualname__", ""):
            raise StoreError("not today")
        return await call()


async def test_what_was_done_is_no_error_though_nobody_can_look_at_it(autojump_clock: MockClock) -> None:
    async with (
        open_engine(UnreadableStore(MemoryStore()), [approving]) as engine,
        serving(engine) as server,
        connected(server) as client,
    ):
        run = await engine.start("approving")
        await trio.sleep(1)
        sent = await client.ask("send_event", run_id=run.run_id, event=event("Approval", by="me"))
        assert sent is None or sent["run_id"] == run.run_id
        await trio.sleep(1)
        assert (await client.ask("info", run_id=run.run_id))["status"] == "completed"
        assert await client.ask("abort", run_id=run.run_id) is None
        with pytest.raises(Refused, match="StoreError"):
            await client.ask("get", run_id=run.run_id)


# --- Who may do what --------------------------------------------------------------------------------------------------


async def test_everything_but_leaving_is_asked_about(autojump_clock: MockClock) -> None:
    asked: list[Access] = []

    def note(access: Access) -> bool:
        asked.append(access)
        return True

    async with (
        open_engine(MemoryStore(), [asking]) as engine,
        serving(engine, note) as server,
        connected(server) as client,
    ):
        await client.ask("start", workflow="asking", event=event("StartEvent", data=1), run_id="mine")
        subscription = await client.say("subscribe", run_id="mine")
        await client.answer(subscription)
        await client.ask("unsubscribe", subscription=subscription)
        await client.ask("workflows")
        await client.ask("abort", run_id="mine")
        await client.ask("info", run_id="mine")
        assert [(each.verb, each.run_id, each.workflow) for each in asked] == [
            ("start", "mine", "asking"),
            ("subscribe", "mine", "asking"),
            ("workflows", None, None),
            ("workflows", None, "asking"),
            ("abort", "mine", "asking"),
            ("info", "mine", "asking"),
        ]
        assert {each.remote for each in asked} == {"127.0.0.1"}


ANSWERS = {"no": False, "nothing": None, "truthy": 1, "a text": "True", "a list": [True]}
REFUSING = [*ANSWERS, "no later", "truthy later", "raises", "raises later"]


@pytest.mark.parametrize("answer", REFUSING)
async def test_only_true_means_yes(autojump_clock: MockClock, answer: str) -> None:
    async def later() -> object:
        await trio.sleep(0.01)
        return now(answer.removesuffix(" later"))

    def now(said: str) -> object:
        if said == "raises":
            raise ValueError("broken hook")
        return ANSWERS[said]

    def hook(access: Access) -> Any:
        return later() if answer.endswith(" later") else now(answer)

    async with (
        open_engine(MemoryStore(), [asking]) as engine,
        serving(engine, hook) as server,
        connected(server) as client,
    ):
        run = await engine.start("asking")
        for verb in ("get", "subscribe", "abort", "result"):
            with pytest.raises(Refused, match="RunNotFoundError"):
                await client.ask(verb, run_id=run.run_id)
        with pytest.raises(Refused, match=r"authorize= refused 'start' of workflow 'asking' \(request"):
            await client.ask("start", workflow="asking", event=event("StartEvent", data=1))
        assert run.status.value in ("running", "awaiting_input")
        assert "broken" not in str(client.connection.sent)


async def test_a_page_shows_only_what_may_be_seen_and_is_full_all_the_same(autojump_clock: MockClock) -> None:
    async def odd(access: Access) -> bool:
        await trio.sleep(0.01)
        return access.verb == "runs" or (access.verb == "get" and int(access.run_id or 0) % 2 == 1)

    async with (
        open_engine(MemoryStore(), [asking]) as engine,
        serving(engine, odd) as server,
        connected(server) as client,
    ):
        for number in range(20):
            await engine.start("asking", run_id=str(number))
        first = await client.ask("runs", limit=4)
        second = await client.ask("runs", limit=4, after=first[-1]["run_id"])
        third = await client.ask("runs", limit=4, after=second[-1]["run_id"])
        assert [len(first), len(second), len(third)] == [4, 4, 2]
        assert sorted(int(each["run_id"]) for each in first + second + third) == list(range(1, 20, 2))
