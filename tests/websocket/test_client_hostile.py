"""Servers that no client should have: each ends in a clear error, the client lives, and others go on."""

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from blazen_trio import PeerError, ProtocolError
from blazen_trio.websocket.client.dialling import Address
from blazen_trio.websocket.client.tap import SEND_S, Tap
from blazen_trio.websocket.client.wire import CLOSE_S, HURRY_S, PONG_S, QUIET_S, Hello, LostError, open_wire
from blazen_trio.websocket.protocol import encode
from blazen_trio.websocket.protocol import messages as said
from blazen_trio.websocket.protocol.errors import ErrorView
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.messages import Ended, Error, Events, Ok, ServerMessage, Welcome
from blazen_trio.websocket.protocol.messages import Run as RunMessage
from blazen_trio.websocket.protocol.views import ItemView, QuestionView, RunView
from tests.websocket.dialled import dialled
from tests.websocket.fake_server import BYTES, LIMITS, FakeServer
from tests.websocket.stories import noting, numbers, outcome_of, scene

NONSENSE: list[Any] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"NaN",
    b'{"type":"ok"}',
    b'{"type":"ok","id":"1","value":1}',
    b'{"type":"ok","id":0}',
    b'{"type":"ok","id":9007199254740992}',
    b'{"type":"ok","id":1,"id":1}',
    b'{"type":"nothing","id":77777}',
    b'{"type":"events","subscription":1,"until":1}',
    b"[" * 100_000,
    b'{"type":"ok","id":77777,"value":' + b"[" * 600 + b"]" * 600 + b"}",
    encode(Ok(77_777)),
    encode(Ok(2**53 - 1)),
    encode(Error(77_777, ErrorView("ValueError", "x"))),
    encode(Error(None, ErrorView("ProtocolError", "x", {"problem": "what?", "request_id": None}))),
    encode(Events(77_777, 0, [])),
    encode(Ended(77_777)),
    encode(Welcome("blazen.v1", "fake", "node", LIMITS)),
    encode(RunMessage(RunView("x", "w", "running", questions=[QuestionView("p", "q", metadata=[1])]))),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
async def test_after_nonsense_nobody_waits_for_what_may_never_come(nonsense: bytes, autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = lambda message: [] if isinstance(message, said.Result) else None
        subscription = run.stream_events()
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, run.result, outcomes)
            nursery.start_soon(outcome_of, subscription.receive, outcomes)
            await wait_all_tasks_blocked()
            await story.server.say(nonsense)
        assert [type(each) for each in outcomes] == [ProtocolError] * 2
        assert (await run.info()).run_id == "run"
        assert story.engine.statistics()["reconnects"] == 1
        assert story.engine.statistics()["requests"] == 0


@pytest.mark.parametrize(
    "value",
    [None, 5, {}, [], {"run_id": "run"}, {"run_id": "run", "workflow": "noting", "status": "flying"}],
)
async def test_an_answer_of_the_wrong_shape_fails_its_request_alone(value: Any, autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = lambda message: [Ok(message.id, value)]
        verbs: list[Any] = [run.info, run.refresh, run.result, run.pause, story.engine.workflows]
        verbs += [partial(story.engine.get, "run"), partial(story.engine.start, "noting")]
        for call in verbs:
            outcomes: list[Any] = []
            await outcome_of(call, outcomes)
            assert isinstance(outcomes[0], ProtocolError) or outcomes in ([[]], [None]), call
        assert story.engine.statistics()["reconnects"] == 0


async def test_an_answer_that_cannot_be_read_fails_its_request_alone(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = lambda message: [b'{"type":"ok","id":%d,"value":1,"extra":2}' % message.id]
        with pytest.raises(ProtocolError, match="extra"):
            await run.info()
        assert story.engine.statistics()["reconnects"] == 0


async def test_an_answer_twice_is_a_violation(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = lambda message: [Ok(message.id, story.model.answer(message))] * 2
        await run.info()
        await wait_all_tasks_blocked()
        story.server.script = lambda _: None
        await run.info()
        assert story.engine.statistics()["reconnects"] == 1


async def test_an_answer_to_what_was_not_sent_yet_is_a_violation(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        await story.server.say(Ok(story.engine._client.link.new_id() + 1))
        await wait_all_tasks_blocked()
        assert not story.engine.statistics()["connected"]
        await run.info()


async def test_a_message_that_is_too_big_is_refused(autojump_clock: MockClock) -> None:
    async with scene(message_bytes=10_000) as story:
        run = await story.run()
        story.server.script = lambda message: [Ok(message.id, "x" * 20_000)]
        with pytest.raises(ProtocolError, match="message_bytes=10000 of open_websocket_client"):
            await run.snapshot()
        story.server.script = lambda _: None
        await run.info()


async def test_an_answer_that_is_too_big_is_nobody_elses_business(autojump_clock: MockClock) -> None:
    def script(message: Any) -> list[ServerMessage] | None:
        if isinstance(message, said.Snapshot):
            return [Ok(message.id, "x" * 20_000)]
        return [] if isinstance(message, said.Result) and not story.model.run().view.status.is_end else None

    async with scene(message_bytes=10_000) as story:
        run = await story.run()
        story.server.script = script
        subscription, outcomes = run.stream_events(), list[Any]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, run.result, outcomes)
            await wait_all_tasks_blocked()
            with pytest.raises(ProtocolError, match="message_bytes=10000"):
                await run.snapshot()
            assert outcomes == []
            await story.server.publish(3)
            assert await numbers(subscription, 3) == [1, 2, 3]
            story.model.end()
            await trio.sleep(1)
            await story.server.cut()
        assert outcomes[0].result == 3


async def test_a_message_that_is_too_big_is_known_though_others_come_right_behind_it(autojump_clock: MockClock) -> None:
    async with scene(message_bytes=10_000) as story:
        run = await story.run()
        news = RunMessage(story.model.run().view)
        story.server.script = lambda message: [Ok(message.id, "x" * 20_000), news, news]
        with trio.fail_after(10), pytest.raises(ProtocolError, match="message_bytes=10000"):
            await run.snapshot()
        story.server.script = lambda _: None
        await run.info()


async def test_an_event_that_is_too_big_ends_its_own_subscription(autojump_clock: MockClock) -> None:
    async with scene(message_bytes=10_000) as story:
        small, big = await story.run("small"), await story.run("big")
        readers = small.stream_events(), big.stream_events()
        await story.server.publish(3, "small")
        await story.server.publish(1, "big")
        await wait_all_tasks_blocked()
        story.model.run("big").publish("Note", text="x" * 20_000)
        await story.server.tell()
        assert await numbers(readers[1], 1) == [1]
        with pytest.raises(ProtocolError, match="message_bytes=10000"):
            await readers[1].receive()
        await trio.sleep(1)
        await story.server.publish(1, "small")
        assert await numbers(readers[0], 4) == [1, 2, 3, 4]


async def test_a_message_that_is_too_big_and_for_nobody_fails_all(autojump_clock: MockClock) -> None:
    async with scene(message_bytes=10_000) as story:
        run = await story.run()
        story.server.script = lambda message: [b'{"id":%d,"type":"ok","value":"%b"}' % (message.id, b"x" * 20_000)]
        for call in (run.result, run.snapshot):
            with pytest.raises(ProtocolError, match="message_bytes=10000"):
                await call()


async def test_binary_messages_are_none(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        await story.server.connections[0].socket.send_message(b"{}")
        await wait_all_tasks_blocked()
        await run.info()
        assert story.engine.statistics()["reconnects"] == 1


@pytest.mark.parametrize(
    "junk",
    [b"\xff" * 100, b"\x83\x00", b"\x81\x01\xff", b"\x89\x7e\xff\xff", b"\x88\x01\x00", b"\xc1\x01{", b"\x80\x00"],
)
async def test_bytes_that_are_no_frames_are_a_violation(junk: bytes, autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        story.server.script = lambda message: [] if isinstance(message, said.Result) else None
        outcomes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, run.result, outcomes)
            await wait_all_tasks_blocked()
            await story.server.connections[0].stream.send_all(junk)
        assert [type(each) for each in outcomes] == [ProtocolError]
        await run.info()


@pytest.mark.parametrize("code", [1002, 1008])
async def test_who_waits_for_a_server_that_never_wants_this_client_is_told_so(
    code: int, autojump_clock: MockClock
) -> None:
    async with scene(patience=20) as story:
        run = await story.run()

        def script(message: Any) -> list[ServerMessage]:
            story.server.nursery.start_soon(story.server.close, code, "go away")
            return []

        story.server.script = script
        subscription = run.stream_events()
        begun = trio.current_time()
        for call in (subscription.receive, run.result):
            with pytest.raises(PeerError, match=f"no connection for 20 s.*code {code}: go away"):
                await call()
        assert trio.current_time() - begun < 60
        story.server.script = lambda _: None
        await trio.sleep(20)
        await story.server.publish()
        assert await numbers(subscription, 1) == [1]
        assert (await run.result()).result == 1


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1008, 1011, 4000])
async def test_a_server_that_goes_away_is_waited_for(code: int, autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        subscription = run.stream_events()
        await wait_all_tasks_blocked()
        await story.server.close(code, "restart")
        await story.server.publish(3)
        assert await numbers(subscription, 3) == [1, 2, 3]
        assert story.engine.statistics()["reconnects"] == 1


# --- Silence ----------------------------------------------------------------------------------------------------------


class Half(trio.abc.Stream):
    """A stream of which nothing arrives any more, in either direction, once it is cut in half."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.is_dead = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.stream.receive_some(max_bytes)
        if self.is_dead:
            await trio.sleep_forever()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_dead:
            await trio.lowlevel.checkpoint()
        else:
            await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_a_server_that_is_silent_is_asked_and_then_dialled_anew(autojump_clock: MockClock) -> None:
    halves: list[Half] = []
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)

        async def dial() -> trio.abc.Stream:
            halves.append(Half(await server.dial()))
            return halves[-1]

        async with dialled(dial, workflows=[noting]) as engine:
            run = await engine.start("noting")
            async with run.stream_events() as subscription:
                assert await numbers(subscription, 1) == [1]
                await trio.sleep(1_000)  # pongs keep it alive
                assert engine.statistics()["reconnects"] == 0
                assert engine.statistics()["round_trip_s"] is not None
                halves[-1].is_dead = True
                server.model.run(run.run_id).publish(number=1)
                begun = trio.current_time()
                assert await numbers(subscription, 1) == [2]
                assert PONG_S <= trio.current_time() - begun <= QUIET_S + PONG_S + 1
                halves[-1].is_dead = True
                begun = trio.current_time()
        assert trio.current_time() - begun == CLOSE_S  # it does not answer the goodbye
        nursery.cancel_scope.cancel()


async def test_a_client_that_is_cancelled_says_goodbye_and_does_not_wait(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)
        with trio.CancelScope() as scope:
            async with dialled(server.dial):
                begun = trio.current_time()
                scope.cancel()
        assert trio.current_time() - begun <= HURRY_S
        nursery.cancel_scope.cancel()


async def test_a_send_that_takes_too_long_or_is_cut_off_breaks_the_stream(autojump_clock: MockClock) -> None:
    one, _other = lockstep_stream_pair()
    tap = Tap(one, BYTES)
    begun = trio.current_time()
    with pytest.raises(trio.BrokenResourceError, match="takes nothing"):
        await tap.send_all(b"x")
    assert trio.current_time() - begun == SEND_S
    one, other = lockstep_stream_pair()
    tap = Tap(one, BYTES)
    with trio.move_on_after(1):
        await tap.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError, match="cut off"):
        await tap.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await tap.receive_some(1)
    assert [bytes(await other.receive_some(10)) for _ in range(2)] == [b"x", b""]


async def test_a_server_that_takes_nothing_is_dialled_anew(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)
        stuck: list[Stuck] = []

        async def dial() -> trio.abc.Stream:
            stuck.append(Stuck(await server.dial()))
            return stuck[-1]

        async with dialled(dial) as engine:
            stuck[0].is_stuck = True
            begun = trio.current_time()
            assert await engine.runs() == []
            assert SEND_S <= trio.current_time() - begun <= SEND_S + 1
        nursery.cancel_scope.cancel()


class Stuck(Half):
    """A stream that takes nothing any more."""

    is_stuck = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_stuck:
            await trio.sleep_forever()
        await self.stream.send_all(data)


async def test_a_flood_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with scene() as story:
        run = await story.run()
        other = (await story.run("other")).stream_events()
        subscription = run.stream_events()
        await wait_all_tasks_blocked()
        ids = [each.id for each in story.heard(said.Subscribe)]
        flood = [ItemView(number, 0.0, EventData("Note", {})) for number in range(1, 5_001)]
        await story.server.say(Events(ids[1], 5_000, flood))
        await story.server.publish(1, "other")
        assert await numbers(other, 1) == [1]
        assert story.engine.statistics()["queued_items"] <= 12
        with pytest.raises(ProtocolError, match="more items"):
            await numbers(subscription, 100)


async def test_no_task_and_no_stream_is_left_behind(autojump_clock: MockClock) -> None:
    client_streams: list[trio.abc.Stream] = []
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)

        async def dial() -> trio.abc.Stream:
            client_streams.append(await server.dial())
            return client_streams[-1]

        tasks = trio.lowlevel.current_statistics().tasks_living
        async with dialled(dial) as engine:
            await server.cut()
            await engine.runs()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        for stream in client_streams:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some(1)


async def test_who_sends_on_a_closed_connection_learns_why_though_nobody_reads(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = FakeServer(nursery)
        hello = Hello(server.dial, Address.of("ws://server"), None, BYTES)
        async with open_wire(hello) as wire:
            await server.close(1001, "bye")
            for say in (wire.send(b"{}"), wire.keep_alive()):
                with trio.fail_after(QUIET_S + 2 * CLOSE_S), pytest.raises(LostError, match="code 1001: bye"):
                    await say
        nursery.cancel_scope.cancel()
