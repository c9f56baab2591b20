"""Deliveries against a model: a plain list of everything published, and what each subscriber may not miss.

Hypothesis writes a program of publishing, subscribing, blocking, acknowledging and leaving; then all go on to the end.
Of each subscription what it was sent must then be, in order: an item of the model with the same number, or a gap of
exactly the items that it stands for; what lies between is of types that it did not ask for. Whoever always took what
there was must have missed nothing.
"""

from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from blazen_trio import EngineRun, open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.scheduling import shuffled_by
from tests.websocket.fakes import Client, LoudNote, Note, Tap, connected, new_tap, pouring, serving

WINDOW = 12


@attrs.frozen
class Publish:
    kinds: list[type[Note]]


@attrs.frozen
class Subscribe:
    client: int
    after: int
    types: tuple[str, ...] | None
    window: int | None


@attrs.frozen
class Block:
    client: int


@attrs.frozen
class LetGo:
    client: int


@attrs.frozen
class Acknowledge:
    subscription: int


@attrs.frozen
class Leave:
    subscription: int


@attrs.frozen
class Rest:
    turns: int


QUICK, SLOW = 0, 1
clients = st.sampled_from([QUICK, SLOW, SLOW])
some_types = st.sampled_from([None, None, ("LoudNote",), ("Note",), ("StopEvent",)])
operations = st.one_of(
    st.builds(Publish, st.lists(st.sampled_from([Note, Note, LoudNote]), min_size=1, max_size=10)),
    st.builds(Publish, st.lists(st.sampled_from([Note, Note, LoudNote]), min_size=1, max_size=10)),
    st.builds(Subscribe, clients, st.integers(0, 60), some_types, st.sampled_from([None, 1, 3, 5_000])),
    st.builds(Block, st.just(SLOW)),
    st.builds(LetGo, st.just(SLOW)),
    st.builds(Acknowledge, st.integers(0, 5)),
    st.builds(Leave, st.integers(0, 5)),
    st.builds(Rest, st.integers(0, 8) | st.just(1_000)),
)


@attrs.define
class World:
    """One run, two clients, and what was published."""

    run: EngineRun
    tap: Tap
    clients: list[Client]
    model: list[str] = attrs.Factory(list)
    subscriptions: list[tuple[Client, int, Subscribe]] = attrs.Factory(list)
    left: set[int] = attrs.Factory(set)

    async def do(self, operation: Any) -> None:
        match operation:
            case Publish(kinds):
                self.model += [kind.__name__ for kind in kinds]
                self.tap.publish(*kinds)
            case Subscribe():
                await self.subscribe(operation)
            case Block(place):
                if self.clients[place].connection.gate is None:
                    self.clients[place].connection.block()
            case LetGo(place):
                self.let_go(self.clients[place])
            case Acknowledge(number) if number < len(self.subscriptions):
                client, name, _ = self.subscriptions[number]
                await client.received(name, client.until(name))
            case Leave(number) if number < len(self.subscriptions):
                client, name, _ = self.subscriptions[number]
                self.left.add(number)
                await client.say("unsubscribe", subscription=name)
            case Rest(turns):
                for _ in range(min(turns, 20)):
                    await trio.lowlevel.checkpoint()
                await trio.sleep(turns // 1_000)

    def let_go(self, client: Client) -> None:
        if client.connection.gate is not None:
            client.connection.let_go()

    async def subscribe(self, wanted: Subscribe) -> None:
        client = self.clients[wanted.client]
        window = None if wanted.client == QUICK else wanted.window
        fields = {"run_id": self.run.run_id, "after": wanted.after, "types": wanted.types, "window": window}
        name = await client.say("subscribe", **fields)
        self.subscriptions.append((client, name, wanted))

    async def finish(self) -> None:
        """All goes on to the end."""
        for client in self.clients:
            self.let_go(client)
        self.tap.end()
        self.model.append("StopEvent")
        for number, (client, name, _) in enumerate(self.subscriptions):
            while number not in self.left and not client.said("ended", name):
                await client.received(name, client.until(name))
                await trio.sleep(0.05)

    def check(self) -> None:
        for number, (client, name, wanted) in enumerate(self.subscriptions):
            reader = Reader(self.model, wanted)
            for message in client.said("events", name):
                reader.take(message)
            if number not in self.left:
                reader.finish()
                assert client.said("ended", name)[0]["error"] is None
            if wanted.client == QUICK and self.run.workflow.options.stream_buffer > len(self.model):
                assert not reader.gaps


@attrs.define
class Reader:
    """What one subscriber was sent, held against the model."""

    model: list[str]
    wanted: Subscribe
    position: int = -1
    until: int = -1
    gaps: int = 0

    def __attrs_post_init__(self) -> None:
        self.position = self.until = self.wanted.after

    def take(self, message: dict[str, Any]) -> None:
        for item in message["items"]:
            assert item["seq"] > self.until
            if item["event"]["event_type"] == "StreamGap":
                self.gaps += 1
                self.skip_to(item["seq"] - item["event"]["data"]["missed"])
            else:
                self.skip_to(item["seq"] - 1)
                assert item["event"]["event_type"] == self.model[item["seq"] - 1]
                assert self.is_wanted(item["seq"])
            self.position = item["seq"]
        assert message["until"] >= max(self.position, self.until)
        assert message["until"] > self.until
        self.until = message["until"]

    def skip_to(self, seq: int) -> None:
        """Up to here nothing was sent: then nothing of it was asked for."""
        assert self.position <= seq
        assert not any(self.is_wanted(each) for each in range(self.position + 1, seq + 1))

    def is_wanted(self, seq: int) -> bool:
        kind, types = self.model[seq - 1], self.wanted.types
        return types is None or kind in types or (kind == "LoudNote" and "Note" in types)

    def finish(self) -> None:
        if self.wanted.after < len(self.model):
            self.skip_to(len(self.model))
            assert self.until == len(self.model)


async def live(program: list[Any], stream_buffer: int) -> None:
    tap = new_tap()
    workflow = pouring(stream_buffer)
    async with open_engine(MemoryStore(), [workflow]) as engine, serving(engine, window=WINDOW, faults=999) as server:
        run = await engine.start("pouring")
        async with connected(server) as quick, connected(server) as slow:
            quick.connection.on_message = acknowledging(quick)
            world = World(run, tap, [quick, slow])
            for operation in program:
                await world.do(operation)
            await world.finish()
            world.check()
            await run.result()
            await trio.sleep(1)
            assert not quick.session.subscriptions
            assert quick.connection.cancelled_sends == slow.connection.cancelled_sends == 0
            assert server.feeds.statistics()["feeds"] == 0


def acknowledging(client: Client) -> Any:
    """Has the client take everything at once."""

    def take(message: dict[str, Any]) -> None:
        delivery = client.session.subscriptions.get(message.get("subscription", 0))
        if message["type"] == "events" and delivery is not None:
            assert delivery.take_received(message["until"])

    return take


@given(
    program=st.lists(operations, min_size=4, max_size=40),
    stream_buffer=st.sampled_from([10_000, 10_000, 9]),
    seed=st.integers(0, 1_000),
)
def test_everybody_gets_everything_or_is_told_exactly_what_not(
    program: list[Any], stream_buffer: int, seed: int
) -> None:
    with shuffled_by(seed):
        trio.run(live, program, stream_buffer, clock=MockClock(autojump_threshold=0))


@given(
    begin=st.integers(0, 40),
    bursts=st.lists(st.integers(1, 9), min_size=3, max_size=12),
    positions=st.lists(st.integers(0, 70), min_size=2, max_size=5),
    rests=st.integers(0, 6),
    seed=st.integers(0, 1_000),
)
@settings(max_examples=60)
def test_who_catches_up_while_more_is_published_misses_nothing_and_gets_nothing_twice(
    begin: int, bursts: list[int], positions: list[int], rests: int, seed: int
) -> None:
    program: list[Any] = [Publish([Note] * begin), Subscribe(QUICK, 0, None, None), Rest(1_000)] if begin else []
    for number, count in enumerate(bursts):
        program += [Publish([Note] * count), Rest(rests)]
        if number < len(positions):
            program.append(Subscribe(QUICK, positions[number], None, None))
    with shuffled_by(seed):
        trio.run(live, program, 10_000, clock=MockClock(autojump_threshold=0))
