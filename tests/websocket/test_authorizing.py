"""The hook decides about one run, and only that run is touched; what it hides is told as if it were not there."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Engine, RunNotFoundError, Workflow, open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket.server import lists
from blazen_trio.websocket.server.interfaces import Access
from tests.peers.stories import Model, Work, doubling
from tests.websocket.castle import echo, start_event
from tests.websocket.fakes import Approval, Client, Refused, approving, asking, connected, new_tap, pouring, serving

echoing = Workflow("echoing", [echo], events=[Approval])

EVENT = {"event_type": "Approval", "data": {"by": "me"}}

OF_A_RUN: dict[str, dict[str, Any]] = {
    "get": {},
    "info": {},
    "result": {},
    "snapshot": {},
    "history": {},
    "subscribe": {},
    "respond_to_input": {"request_id": "x", "response": 1},
    "send_event": {"event": EVENT},
    "pause": {},
    "resume": {},
    "abort": {},
    "delete": {},
}
"""All that is asked of one run."""


@attrs.define
class Slow:
    """A hook that takes its time over its first answer, which is yes."""

    asked: list[Access] = attrs.Factory(list)
    go_on: trio.Event = attrs.Factory(trio.Event)
    _was_asked: trio.Event = attrs.Factory(trio.Event)

    async def __call__(self, access: Access) -> bool:
        self.asked.append(access)
        self._was_asked.set()
        await self.go_on.wait()
        return access.workflow != "approving"

    async def until_asked(self) -> None:
        with trio.fail_after(100):
            await self._was_asked.wait()


@asynccontextmanager
async def castle(
    hook: Callable[[Access], Any], *workflows: Workflow, **limits: int
) -> AsyncGenerator[tuple[Engine, Client], None]:
    async with (
        open_engine(MemoryStore(), workflows or (echoing, asking, approving)) as engine,
        serving(engine, hook, **limits) as server,
        connected(server) as client,
    ):
        yield engine, client


async def refusal(client: Client, verb: str, **fields: Any) -> str:
    """What a request is refused with, without its id."""
    asked = await client.say(verb, **fields)
    with pytest.raises(Refused) as refused:
        await client.answer(asked)
    return str(refused.value).replace(f"(request '{asked}')", "")


async def told(client: Client, verb: str, run_id: str) -> str:
    """The same about a run, without its id, too."""
    return (await refusal(client, verb, run_id=run_id, **OF_A_RUN[verb])).replace(run_id, "RUN")


async def replace(engine: Engine, run_id: str, workflow: str) -> None:
    """Another run has the id now."""
    await engine.abort(run_id)
    await engine.delete(run_id)
    await engine.start(workflow, run_id=run_id)
    await trio.sleep(1)


# --- The run that was asked about -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", OF_A_RUN)
async def test_what_was_allowed_for_one_run_is_not_done_to_another_that_has_its_id_now(
    autojump_clock: MockClock, verb: str
) -> None:
    hook = Slow()
    async with castle(hook) as (engine, client):
        await engine.start("echoing", run_id="x")
        asked = await client.say(verb, run_id="x", **OF_A_RUN[verb])
        await hook.until_asked()
        assert (hook.asked[0].verb, hook.asked[0].workflow) == (verb, "echoing")
        await replace(engine, "x", "approving")
        hook.go_on.set()
        with pytest.raises(Refused, match="RunNotFoundError"):
            await client.answer(asked)
        await trio.sleep(1)
        assert (await engine.get("x")).status.value == "running"
        assert client.said("events") == client.said("run") == []


async def test_nor_is_it_if_the_other_one_is_of_the_same_workflow(autojump_clock: MockClock) -> None:
    hook = Slow()
    async with castle(hook) as (engine, client):
        await engine.start("asking", run_id="x")
        asked = await client.say("abort", run_id="x")
        await hook.until_asked()
        await replace(engine, "x", "asking")
        hook.go_on.set()
        with pytest.raises(Refused, match="RunNotFoundError"):
            await client.answer(asked)
        assert (await engine.get("x")).status.value == "awaiting_input"


async def test_an_abort_that_was_allowed_when_there_was_no_run_ends_none_that_is_not_its_business(
    autojump_clock: MockClock,
) -> None:
    hook = Slow()
    async with castle(hook) as (engine, client):
        asked = await client.say("abort", run_id="x")
        await hook.until_asked()
        run = await engine.start("approving", run_id="x")
        hook.go_on.set()
        with pytest.raises(Refused, match="RunNotFoundError"):
            await client.answer(asked)
        assert [each.workflow for each in hook.asked] == [None, "approving", "approving"]
        await trio.sleep(1)
        assert run.status.value == "running"


async def test_an_abort_that_was_allowed_when_there_was_no_run_ends_the_call_that_came_meanwhile(
    autojump_clock: MockClock,
) -> None:
    hook, work = Slow(), Work()
    async with castle(hook, doubling(work, seconds=60)) as (engine, client):
        asked = await client.say("abort", run_id="x")
        await hook.until_asked()
        run = await engine.start("doubling", {"number": 1}, "x")
        hook.go_on.set()
        assert (await client.answer(asked))["status"] == "aborted"
        assert run.status.value == "aborted"


async def test_a_reader_never_sees_the_stream_of_a_run_that_has_the_id_later(autojump_clock: MockClock) -> None:
    tap = new_tap()
    async with castle(lambda _: True, pouring(), window=5) as (engine, client):
        run = await engine.start("pouring", run_id="x")
        tap.notes(20)
        tap.end()
        await run.result()
        subscription = await client.say("subscribe", run_id="x")
        await client.reached(subscription, 5)  # the client's window is full
        await engine.delete("x")
        other = new_tap()
        run = await engine.start("pouring", run_id="x")
        other.notes(100)
        other.end()
        await run.result()
        for seq in range(5, 100, 5):
            if client.until(subscription) >= seq:
                await client.received(subscription, seq)
                await trio.sleep(1)
        assert (await client.ended(subscription))["type"] == "RunNotFoundError"
        assert client.until(subscription) <= 20


async def test_a_handle_is_of_its_run_and_not_of_one_that_has_its_id_later(autojump_clock: MockClock) -> None:
    async with open_engine(MemoryStore(), [asking, echoing]) as engine:
        run = await engine.start("echoing", 1, "x")
        assert (await run.result()).result == 1
        await replace(engine, "x", "asking")
        assert run.status.value == "completed"
        assert not run.is_held
        for look in (run.info, run.refresh, run.snapshot):
            with pytest.raises(RunNotFoundError):
                await look()
        assert (await run.result()).result == 1


# --- What is hidden ---------------------------------------------------------------------------------------------------


def guide(access: Access) -> bool:
    """As in the guide: some verbs, one workflow."""
    looking = {"runs", "get", "info", "result", "history", "subscribe", "workflows"}
    return access.verb in looking and access.workflow in {"echoing", None}


def strict(access: Access) -> bool:
    return access.workflow == "echoing"


def own(access: Access) -> bool:
    return access.run_id is None or access.run_id.startswith("my-")


@pytest.mark.parametrize("hook", [guide, strict, own])
async def test_nobody_learns_whether_a_run_exists_that_he_may_not_see(autojump_clock: MockClock, hook: Any) -> None:
    async with castle(hook) as (engine, client):
        await engine.start("asking", run_id="hidden")
        for verb in OF_A_RUN:
            hidden = await told(client, verb, "hidden")
            assert hidden == await told(client, verb, "absent")
            assert "RunNotFoundError" in hidden
        pages = [await refusal(client, "runs", workflow="echoing", after=each) for each in ("hidden", "absent")]
        assert pages[0].replace("hidden", "RUN") == pages[1].replace("absent", "RUN")
        assert (await engine.get("hidden")).status.value == "awaiting_input"


async def test_who_may_see_a_run_learns_what_he_may_not_do(autojump_clock: MockClock) -> None:
    async with castle(guide) as (engine, client):
        await engine.start("echoing", run_id="x")
        assert (await client.ask("get", run_id="x"))["run_id"] == "x"
        assert "ProtocolError" in await refusal(client, "delete", run_id="x")
        assert "authorize= refused 'abort' of run 'x' of workflow 'echoing'" in await refusal(
            client, "abort", run_id="x"
        )


async def test_a_call_under_the_id_of_a_hidden_run_learns_nothing_of_it(autojump_clock: MockClock) -> None:
    async with castle(lambda access: access.workflow == "asking", approving, asking) as (engine, client):
        await engine.start("approving", run_id="x")
        call = {"call_id": "x", "workflow": "asking", "steps": ["ask"], "event": start_event(1)}
        assert "approving" not in await refusal(client, "call", **call)


async def test_only_workflows_are_shown_that_one_may_see(autojump_clock: MockClock) -> None:
    async with castle(guide) as (_, client):
        assert [each["name"] for each in await client.ask("workflows")] == ["echoing"]


async def test_a_list_goes_on_behind_what_may_not_be_seen(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "SLICE", 10)
    async with castle(lambda access: access.verb == "runs" or access.run_id in ("old", "older")) as (engine, client):
        for run_id in ("older", "old", *map(str, range(45))):
            await engine.start("asking", run_id=run_id)
        page = await client.ask("runs", limit=1)
        assert [each["run_id"] for each in page] == ["old"]
        page = await client.ask("runs", limit=1, after="old")
        assert [each["run_id"] for each in page] == ["older"]
        assert await client.ask("runs", limit=1, after="older") == []


async def test_a_list_goes_on_behind_a_hidden_run_that_is_deleted_meanwhile(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "SLICE", 5)
    engines = list[Engine]()

    async def forgetful(access: Access) -> bool:
        if access.run_id is not None and access.run_id != "old":
            await engines[0].delete(access.run_id)
        return access.run_id in ("old", None)

    async with castle(forgetful) as (engine, client):
        engines.append(engine)
        for run_id in ("old", *map(str, range(20))):
            await (await engine.start("echoing", run_id=run_id)).result()
        assert [each["run_id"] for each in await client.ask("runs")] == ["old"]


# --- Live objects -----------------------------------------------------------------------------------------------------


async def test_a_live_object_is_that_of_its_run(autojump_clock: MockClock) -> None:
    asked = list[Access]()

    def hook(access: Access) -> bool:
        asked.append(access)
        return access.token == "a" or (access.run_id or "").startswith("b-")

    work = Work(model=Model(b"weights"))
    async with (
        open_engine(MemoryStore(), [doubling(work)]) as engine,
        serving(engine, hook) as server,
        connected(server) as mine,
        connected(server) as theirs,
    ):
        mine.connection.bearer, theirs.connection.bearer = "a", "b"
        call = {"workflow": "doubling", "steps": ["double"], "event": start_event({"number": 4})}
        result = await mine.ask("call", call_id="a-1", **call)
        [ref] = result["refs"]
        asked.clear()
        hidden = await refusal(theirs, "deref_session_ref", key=ref["key"])
        unknown = "0" * len(ref["key"])
        assert hidden.replace(ref["key"], unknown) == await refusal(theirs, "deref_session_ref", key=unknown)
        assert await theirs.ask("release_session_ref", key=ref["key"]) is False
        assert await theirs.ask("release_session_ref", key="no key") is False
        assert (asked[0].verb, asked[0].run_id, asked[0].workflow) == ("deref_session_ref", "a-1", "doubling")
        assert (await mine.ask("deref_session_ref", key=ref["key"]))["data"]
        assert await mine.ask("release_session_ref", key=ref["key"]) is True


async def test_a_live_object_whose_run_was_deleted_is_gone(autojump_clock: MockClock) -> None:
    work = Work(model=Model(b"weights"))
    async with castle(lambda _: True, doubling(work)) as (engine, client):
        call = {"workflow": "doubling", "steps": ["double"], "event": start_event({"number": 4})}
        [ref] = (await client.ask("call", call_id="x", **call))["refs"]
        await engine.delete("x")
        assert "SessionRefNotFoundError" in await refusal(client, "deref_session_ref", key=ref["key"])
