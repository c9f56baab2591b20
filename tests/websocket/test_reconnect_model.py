"""Reading from afar against a model, whatever connections do: each reader sees each event once, or a gap of its size.

The rules write a program of publishing, subscribing, reading, leaving, cutting, hushing and stalling lines, and of
servers that close and open; at the end it is lived in one Trio, over a real server and real clients. Then all is mended
and every reader reads to the end of the run. Of what it got must be, in order: an item of the model with the same
number, or a gap of exactly the items that it stands for; delivered and missed is published, to the unit. Where nobody
can fall behind, nobody may miss anything.
"""

from collections.abc import Iterable
from typing import Any

import attrs
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from trio.testing import MockClock

from blazen_trio import Engine, Event, PeerError, StopEvent, StreamGap, StreamItem, open_engine
from blazen_trio.stores import MemoryStore
from blazen_trio.testing.scheduling import shuffled_by
from blazen_trio.websocket import RemoteEngine, RemoteSubscription, WebsocketLimits
from tests.websocket.fakes import LoudNote, Note, Tap, new_tap, pouring
from tests.websocket.lines import Direction, Exchange, Line, exchange

NOTES: dict[str, type[Note]] = {"Note": Note, "LoudNote": LoudNote}
KINDS: dict[str, type[Event]] = {**NOTES, "StopEvent": StopEvent}
CLIENTS = 2
READERS_MAX = 6

clients = st.integers(0, CLIENTS - 1)
directions = st.sampled_from(["in", "out"])
few_bytes = st.integers(0, 3) | st.integers(0, 600)
kinds = st.lists(st.sampled_from(["Note", "Note", "LoudNote"]), min_size=1, max_size=12)
pauses = st.sampled_from([0, 0.001, 0.3, 2])
filters = st.sampled_from([None, None, ("LoudNote",), ("Note",), ("StopEvent",)])


@attrs.define
class Reader:
    """One subscription, and what it gave."""

    subscription: RemoteSubscription
    after: int
    types: tuple[str, ...] | None
    items: list[StreamItem] = attrs.Factory(list)
    is_over: bool = False

    @property
    def is_left(self) -> bool:
        """Whether it was closed."""
        return self.subscription._feed.is_closed

    async def read(self, count: int | None = None) -> None:
        """So many items, or all there are; a lost server is no reason to give up."""
        begun = len(self.items)
        while not self.is_over and not self.is_left and (count is None or len(self.items) < begun + count):
            try:
                self.items.append(await self.subscription.receive_item())
            except trio.EndOfChannel:
                self.is_over = True
            except PeerError:
                continue

    def check(self, published: list[str], *, may_miss: bool) -> None:
        """What it got is what was published; until now, or all of it."""
        position, gaps = self.after, 0
        for item in self.items:
            begin = item.seq - 1
            if isinstance(item.event, StreamGap):
                gaps, begin = gaps + 1, item.seq - item.event.missed
            self._check_skipped(published[position:begin], is_in_order=position <= begin)
            if not isinstance(item.event, StreamGap):
                assert type(item.event).__name__ == published[item.seq - 1]
                assert self._wants([published[item.seq - 1]])
            position = item.seq
        if self.is_over:
            self._check_skipped(published[position:], is_in_order=position <= max(len(published), self.after))
        assert may_miss or not gaps

    def _check_skipped(self, skipped: list[str], *, is_in_order: bool) -> None:
        assert is_in_order
        assert not self._wants(skipped)

    def _wants(self, names: Iterable[str]) -> bool:
        wanted = tuple(KINDS[each] for each in self.types or KINDS)
        return any(issubclass(KINDS[each], wanted) for each in names)


@attrs.define
class World:
    """One run, its server, two clients, and who reads."""

    run_id: str
    tap: Tap
    there: Exchange
    engine: Engine
    clients: list[RemoteEngine]
    lines: list[list[Line]]
    published: list[str] = attrs.Factory(list)
    readers: list[Reader] = attrs.Factory(list)
    is_ended: bool = False
    was_hushed: bool = False

    async def publish(self, names: list[str], pause_s: float) -> None:
        if not self.is_ended:
            self.published += names
            self.tap.publish(*[NOTES[each] for each in names])
        await trio.sleep(pause_s)

    async def subscribe(self, client: int, after: int, types: tuple[str, ...] | None) -> None:
        with trio.move_on_after(1):
            run = await self.clients[client].get(self.run_id)
            wanted = None if types is None else [KINDS[each] for each in types]
            self.readers.append(Reader(run.stream_events(after, wanted), after, types))

    async def read(self, number: int, count: int) -> None:
        if self.readers:
            with trio.move_on_after(0.5):
                await self.readers[number % len(self.readers)].read(count)

    async def leave(self, number: int) -> None:
        if number < len(self.readers):
            await self.readers[number].subscription.aclose()

    async def cut(self, client: int, direction: Direction, after_bytes: int, pause_s: float) -> None:
        self.lines[client][-1].cut(direction, after_bytes)
        await trio.sleep(pause_s)

    async def hush(self, client: int, direction: Direction) -> None:
        self.was_hushed = True
        self.lines[client][-1].hush(direction)
        await trio.lowlevel.checkpoint()

    async def stall(self, client: int) -> None:
        """Stall its line, or let it go on."""
        line = self.lines[client][-1]
        if line.is_stalled:
            line.let_go()
        else:
            line.stall()
        await trio.lowlevel.checkpoint()

    async def close_server(self) -> None:
        await self.there.close()

    async def open_server(self) -> None:
        if self.there.server is None:
            await self.there.open(self.engine)

    async def rest(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def end(self) -> None:
        if not self.is_ended:
            self.tap.end()
            self.published.append("StopEvent")
            self.is_ended = True
        await trio.lowlevel.checkpoint()

    async def finish(self) -> None:
        """All is mended, and all read to the end."""
        await self.end()
        await self.open_server()
        for lines in self.lines:
            lines[-1].let_go()
        async with trio.open_nursery() as nursery:
            for reader in self.readers:
                nursery.start_soon(reader.read)

    def check(self, *, may_miss: bool) -> None:
        for reader in self.readers:
            assert reader.is_over or reader.is_left
            reader.check(self.published, may_miss=may_miss)


@attrs.frozen
class Sizes:
    """How narrow it is."""

    window: int
    client_window: int
    stream_buffer: int

    @property
    def is_narrow(self) -> bool:
        """Whether one can fall behind."""
        return self.window < 1_000 or self.stream_buffer < 1_000


WIDE = Sizes(10_000, 1_000, 10_000)
NARROW = Sizes(8, 4, 10_000)
SHORT_OF_MEMORY = Sizes(16, 1_000, 9)
ONE_BY_ONE = Sizes(10_000, 1, 10_000)


async def live(program: list[tuple[str, Any]], sizes: Sizes) -> None:
    limits = WebsocketLimits(window=sizes.window, batch_events=4)
    workflow, tap = pouring(sizes.stream_buffer), new_tap()
    with trio.fail_after(10_000):
        async with open_engine(MemoryStore(), [workflow]) as engine, exchange(limits=limits) as there:
            run = await engine.start("pouring")
            await there.open(engine)
            lines: list[list[Line]] = [[] for _ in range(CLIENTS)]
            options: dict[str, Any] = {"workflows": [workflow], "window": sizes.client_window, "patience": 7}
            async with there.client(lines[0], **options) as one, there.client(lines[1], **options) as other:
                world = World(run.run_id, tap, there, engine, [one, other], lines)
                for name, arguments in program:
                    await getattr(world, name)(*arguments)
                await world.finish()
                world.check(may_miss=sizes.is_narrow)
                await nothing_is_left(world)


async def nothing_is_left(world: World) -> None:
    for reader in world.readers:
        reader.subscription.close()
    await trio.sleep(
        60 if world.was_hushed else 15
    )  # by then both sides have given up lines that were hushed, and dialled
    assert world.there.server is not None
    counts = world.there.server.statistics()
    assert (counts["connections"], counts["subscriptions"], world.there.server.feeds.statistics()["feeds"]) == (
        CLIENTS,
        0,
        0,
    )
    for client in world.clients:
        held = client.statistics()
        assert (held["requests"], held["subscriptions"], held["queued_items"]) == (0, 0, 0)


class Reconnects(RuleBasedStateMachine):
    """Writes the program; it is lived at the end."""

    sizes: Sizes
    seed: int

    def __init__(self) -> None:
        super().__init__()
        self.program: list[tuple[str, Any]] = []
        self.readers = 0
        self.is_served = True
        self.is_ended = False
        self.may_hush = False
        self.was_hushed = False

    def do(self, name: str, *arguments: Any) -> None:
        """Add an operation."""
        self.program.append((name, arguments))

    @initialize(
        sizes=st.sampled_from([NARROW, WIDE, ONE_BY_ONE, SHORT_OF_MEMORY]),
        seed=st.integers(0, 1_000),
        may_hush=st.sampled_from([False, False, True]),
    )
    def begin(self, sizes: Sizes, seed: int, may_hush: bool) -> None:
        self.sizes, self.seed, self.may_hush = sizes, seed, may_hush
        for client in range(CLIENTS):
            self.subscribe(client, 0, None)

    @precondition(lambda self: not self.is_ended)
    @rule(names=kinds, pause_s=pauses)
    def publish(self, names: list[str], pause_s: float) -> None:
        self.do("publish", names, pause_s)

    @precondition(lambda self: not self.is_ended)
    @rule(names=kinds, client=clients, direction=directions, after_bytes=few_bytes, count=st.integers(0, 5))
    def cut_while_publishing(
        self, names: list[str], client: int, direction: Direction, after_bytes: int, count: int
    ) -> None:
        self.do("publish", names, 0.1)
        self.do("read", client, count)
        self.do("cut", client, direction, after_bytes, 0.3)
        self.do("publish", names, 0.3)

    @precondition(lambda self: self.readers < READERS_MAX)
    @rule(client=clients, after=st.just(0) | st.integers(0, 40), types=filters)
    def subscribe(self, client: int, after: int, types: tuple[str, ...] | None) -> None:
        self.readers += 1
        self.do("subscribe", client, after, types)

    @rule(number=st.integers(0, READERS_MAX - 1), count=st.integers(1, 20))
    def read(self, number: int, count: int) -> None:
        self.do("read", number, count)

    @precondition(lambda self: self.readers > CLIENTS)
    @rule(number=st.integers(CLIENTS, READERS_MAX - 1))
    def leave(self, number: int) -> None:
        self.do("leave", number)

    @rule(client=clients, direction=directions, after_bytes=few_bytes, pause_s=pauses)
    def cut(self, client: int, direction: Direction, after_bytes: int, pause_s: float) -> None:
        self.do("cut", client, direction, after_bytes, pause_s)

    @precondition(lambda self: self.may_hush and not self.was_hushed)
    @rule(client=clients, direction=directions)
    def hush(self, client: int, direction: Direction) -> None:
        self.was_hushed = True
        self.do("hush", client, direction)

    @rule(client=clients)
    def stall(self, client: int) -> None:
        self.do("stall", client)

    @precondition(lambda self: self.is_served)
    @rule(pause_s=pauses)
    def close_server(self, pause_s: float) -> None:
        self.is_served = False
        self.do("close_server")
        self.do("rest", pause_s)

    @precondition(lambda self: not self.is_served)
    @rule(pause_s=pauses)
    def open_server(self, pause_s: float) -> None:
        self.is_served = True
        self.do("open_server")
        self.do("rest", pause_s)

    @precondition(lambda self: self.was_hushed)
    @rule()
    def give_up(self) -> None:
        self.was_hushed = False
        self.do("rest", 45)

    @precondition(lambda self: not self.is_ended and len(self.program) > 25)
    @rule()
    def end(self) -> None:
        self.is_ended = True
        self.do("end")

    def teardown(self) -> None:
        if self.program:
            with shuffled_by(self.seed):
                trio.run(live, self.program, self.sizes, clock=MockClock(autojump_threshold=0))


TestReconnects = Reconnects.TestCase
TestReconnects.settings = settings(max_examples=settings().max_examples, stateful_step_count=25)
