"""A whole workflow runs on another server: its result, its errors, its live objects, and losses on the way."""

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    EncodeError,
    Event,
    Peer,
    PeerError,
    RegistryKey,
    RunStatus,
    SessionRefData,
    SessionRefNotFoundError,
    StartEvent,
    StepFailedError,
    StepRegistry,
    StopEvent,
    TokenUsage,
    Workflow,
    WorkflowResult,
    WorkflowTimeoutError,
    step,
)
from blazen_trio.peers import ABORT_S
from tests.peers.stories import Found, Model, Work, crashing, doubling, peer_of


async def test_the_result_is_that_of_the_run_there(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work)) as peer:
        result = await doubling(Work()).run_remote({"number": 4}, peer)
        assert result.result == {"number": 8}
        assert (result.usage_total, result.cost_total_usd) == (TokenUsage(total_tokens=3), 0.5)
        assert work.begun == {result.run_id: 1}
        assert isinstance(peer, Peer)


async def test_an_event_goes_there_and_an_event_comes_back(autojump_clock: MockClock) -> None:
    class Ask(StartEvent):
        number: int = 0

    @step
    async def find(event: Ask) -> Found:
        return Found(number=event.number)

    workflow = Workflow("find", [find])
    async with peer_of(Workflow("find", [find])) as peer:
        result = await workflow.run_remote(Ask(number=3), peer, metadata={"who": "me"})
    assert result.event == result.result == Found(number=3)


async def test_metadata_goes_along(autojump_clock: MockClock) -> None:
    @step
    async def tell(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(ctx.metadata["who"])

    async with peer_of(Workflow("tell", [tell])) as peer:
        assert (await Workflow("tell", [tell]).run_remote(None, peer, metadata={"who": "me"})).result == "me"


async def test_the_same_call_id_gives_the_first_ones_result(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work)) as peer:
        for _ in range(3):
            result = await doubling(work).run_remote({"number": 4}, peer, call_id="order-7")
            assert (result.run_id, result.result) == ("order-7", {"number": 8})
        assert work.begun == {"order-7": 1}
        with pytest.raises(PeerError, match="another input"):
            await doubling(work).run_remote({"number": 5}, peer, call_id="order-7")


@pytest.mark.parametrize("moment", ["before", "started", "answer"])
async def test_a_lost_call_is_made_again_under_its_id(autojump_clock: MockClock, moment: Any) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=5)) as peer:
        peer.lose(moment)
        with pytest.raises(PeerError, match="connection was lost") as caught:
            await doubling(work).run_remote({"number": 4}, peer, call_id="call")
        assert (caught.value.peer, caught.value.run_id, peer.aborted) == ("local", "call", [])
        assert (await doubling(work).run_remote({"number": 4}, peer, call_id="call")).result == {"number": 8}
        assert (work.begun, work.ended) == ({"call": 1}, {"call": 1})


async def test_errors_of_the_run_come_as_they_are(autojump_clock: MockClock) -> None:
    slow = doubling(Work(), seconds=100, timeout=3)
    async with peer_of(crashing(), slow) as peer:
        with pytest.raises(StepFailedError, match="Crash: no such page") as caught:
            await crashing().run_remote(None, peer)
        assert caught.value.step_name == "crash"
        with pytest.raises(WorkflowTimeoutError):
            await slow.run_remote({"number": 1}, peer)


async def test_a_peer_that_refuses_is_a_peer_error(autojump_clock: MockClock) -> None:
    async with peer_of(crashing(), name="there") as peer:
        with pytest.raises(PeerError, match="no workflow 'doubling'; it has 'crashing'"):
            await doubling(Work()).run_remote({"number": 1}, peer)
        with pytest.raises(PeerError, match=r"'there'.*run_id= must be"):
            await crashing().run_remote(None, peer, call_id="\0")
    with pytest.raises(PeerError, match="the engine was closed"):
        await crashing().run_remote(None, peer)


async def test_what_cannot_be_sent_is_told_at_once(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work())) as peer:
        with pytest.raises(EncodeError):
            await doubling(Work()).run_remote(object(), peer)
        with pytest.raises(EncodeError):
            await doubling(Work()).run_remote({"number": 1}, peer, metadata={"what": object()})
        url: Any = "wss://example.org"
        with pytest.raises(TypeError, match="Peer"):
            await doubling(Work()).run_remote(None, url)


async def test_steps_are_found_by_their_names(autojump_clock: MockClock) -> None:
    registry = StepRegistry()
    for each in doubling(Work()).steps:
        registry.register(each)
    async with peer_of(registry=registry) as peer:
        assert (await doubling(Work()).run_remote({"number": 4}, peer)).result == {"number": 8}
        with pytest.raises(PeerError, match="'crash'"):
            await crashing().run_remote(None, peer)


# --- Live objects -----------------------------------------------------------------------------------------------------


async def test_live_objects_stay_there(autojump_clock: MockClock) -> None:
    work = Work(model=Model(b"abc"))
    async with peer_of(doubling(work)) as peer:
        result = await doubling(work).run_remote({"number": 4}, peer)
        (key,) = result.session_refs.keys()
        assert result.session_refs.get(key) is None
        descriptor = result.session_refs.get_remote(key)
        assert descriptor is not None
        assert (descriptor.origin_node_id, descriptor.type_tag) == (peer.node_id, "model")

        assert await peer.deref_session_ref(key) == SessionRefData("model", b"abc")
        assert await peer.release_session_ref(key) is True
        assert await peer.release_session_ref(key) is False
        with pytest.raises(SessionRefNotFoundError):
            await peer.deref_session_ref(key)
        with pytest.raises(SessionRefNotFoundError):
            await peer.deref_session_ref(RegistryKey())


# --- Cancellation -----------------------------------------------------------------------------------------------------


async def test_a_cancelled_caller_aborts_the_run_there(autojump_clock: MockClock) -> None:
    work = Work()
    async with peer_of(doubling(work, seconds=60)) as peer:
        with trio.move_on_after(5) as scope:
            await doubling(work).run_remote({"number": 4}, peer, call_id="call")
        assert scope.cancelled_caught
        (info,) = await peer._engine.runs()
        assert (info.run_id, info.status, peer.aborted) == ("call", RunStatus.ABORTED, ["call"])
        assert trio.current_time() == pytest.approx(5, abs=0.1)


class Deaf:
    """A peer that is there, and never says anything."""

    name, node_id = "deaf", None

    async def call(
        self, workflow: object, event: Event, *, call_id: str, metadata: Mapping[str, Any] | None = None
    ) -> WorkflowResult:
        await trio.sleep_forever()
        raise AssertionError

    async def abort(self, run_id: str, reason: str | None = None) -> None:
        await trio.sleep(1_000)  # longer than anybody may wait; for ever, who does would hang instead of fail

    async def deref_session_ref(self, key: RegistryKey) -> SessionRefData:
        raise NotImplementedError

    async def release_session_ref(self, key: RegistryKey) -> bool:
        raise NotImplementedError


async def test_a_peer_that_does_not_answer_holds_a_cancelled_caller_for_two_seconds(autojump_clock: MockClock) -> None:
    with trio.move_on_after(5):
        await crashing().run_remote(None, Deaf())
    assert trio.current_time() == pytest.approx(5 + ABORT_S)


async def test_an_abort_that_fails_changes_nothing(autojump_clock: MockClock) -> None:
    class Broken(Deaf):
        async def abort(self, run_id: str, reason: str | None = None) -> None:
            raise PeerError("broken")

    with trio.move_on_after(5) as scope:
        await crashing().run_remote(None, Broken())
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(5)


async def test_whatever_breaks_in_a_peer_is_a_peer_error(autojump_clock: MockClock) -> None:
    for broken in (OSError("no route"), trio.BrokenResourceError(), ValueError("?"), ExceptionGroup("g", [OSError()])):

        class Broken(Deaf):
            async def call(self, *args: Any, **kwargs: Any) -> WorkflowResult:
                raise broken  # noqa: B023 - used in this turn of the loop only

        with pytest.raises(PeerError) as caught:
            await crashing().run_remote(None, Broken(), call_id="call")
        assert (caught.value.__cause__, caught.value.run_id) == (broken, "call")


async def test_a_local_peer_tells_what_came(autojump_clock: MockClock) -> None:
    async with peer_of(doubling(Work())) as peer:
        peer.lose("before", times=2)
        for _ in range(2):
            with pytest.raises(PeerError):
                await doubling(Work()).run_remote({"number": 4}, peer, call_id="call")
        assert await peer._engine.runs() == []
        await doubling(Work()).run_remote({"number": 4}, peer, call_id="call")
        assert (peer.calls, repr(peer)) == (["call"] * 3, "<LocalPeer 'local'>")
