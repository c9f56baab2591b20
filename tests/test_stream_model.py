"""The stream against its model: a plain list of everything published, and a position for each reader.

Hypothesis writes a program of publishing, subscribing, reading, closing, forgetting and ending; stream and model run it
side by side, event by event. After each operation they must agree on what every reader got (numbers included), on what
is kept, and on everything the run was told about observers and holds. Buffers are a few events long and copies hold
three, so each program crosses every edge many times.
"""

import gc
from collections.abc import Iterator, Sequence

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import blazen_trio.stream
from blazen_trio.core.events import Event, StreamGap
from blazen_trio.core.publication import StreamItem
from blazen_trio.stream import EventSubscription, Stream


class Tick(Event):
    number: int


class Tock(Event):
    number: int


@attrs.frozen
class Record:
    seq: int
    event: Event

    def envelope(self) -> StreamItem:
        return StreamItem(self.seq, 0.0, self.event)


# -- the operations ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Publish:
    kinds: list[type[Tick | Tock]]


@attrs.frozen
class Subscribe:
    after: int
    types: type[Event] | None
    lossless: bool


@attrs.frozen
class Read:
    reader: int
    count: int
    how: str


@attrs.frozen
class Leave:
    reader: int
    forgotten: bool


@attrs.frozen
class End:
    pass


Operation = Publish | Subscribe | Read | Leave | End

readers = st.sampled_from([0, 0, 0, 1, 2, 3])
operations = st.one_of(
    st.builds(Publish, st.lists(st.sampled_from([Tick, Tock]), min_size=1, max_size=14)),
    st.builds(Subscribe, st.integers(0, 20), st.sampled_from([None, None, Tock]), st.booleans()),
    st.builds(Read, readers, st.integers(1, 9), st.sampled_from(["receive", "anext", "nowait", "envelope", "several"])),
    st.builds(Leave, readers, st.booleans()),
)


def without_publishing(program: Sequence[Operation]) -> list[Operation]:
    return [operation for operation in program if not isinstance(operation, Publish)]


endings = st.lists(operations, max_size=10).map(lambda program: [End(), *without_publishing(program)])
programs = st.builds(list.__add__, st.lists(operations, min_size=15, max_size=40), st.just([]) | endings)


# -- the model ---------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class ModelReader:
    position: int
    types: type[Event] | None
    lossless: bool
    first_gap: tuple[int, Event] | None = None


@attrs.define
class Model:
    """Everything that was ever published, and how far each reader got."""

    capacity: int
    published: list[Event]
    last: int
    dropped: int
    ended: bool = False
    readers: list[ModelReader] = attrs.Factory(list)
    told: list[str] = attrs.Factory(list)
    held: bool = False

    def settle(self) -> None:
        """Work out anew what is kept and who is too far behind."""
        lossless = [reader.position for reader in self.readers if reader.lossless]
        self.dropped = max(self.dropped, min([self.last - self.capacity, *lossless]))
        held = any(self.last - position > self.capacity / 2 for position in lossless)
        if held != self.held:
            self.held = held
            self.tell("held" if held else "released")

    def tell(self, what: str) -> None:
        if not self.ended:  # after the end nobody is there to be told
            self.told.append(what)

    def publish(self, event: Event) -> None:
        self.published.append(event)
        self.last += 1
        self.settle()

    def join(self, operation: Subscribe) -> None:
        reader = ModelReader(operation.after, operation.types, operation.lossless)
        if reader.lossless and reader.position < self.dropped:
            reader.first_gap = self.gap(reader)
        self.readers.append(reader)
        if len(self.readers) == 1:
            self.tell("observed")
        self.settle()

    def leave(self, reader: ModelReader) -> None:
        self.readers.remove(reader)
        self.settle()
        if not self.readers:
            self.tell("alone")

    def gap(self, reader: ModelReader) -> tuple[int, Event]:
        missed = self.dropped - reader.position
        reader.position = self.dropped
        return self.dropped, StreamGap(missed=missed)

    def next_item(self, reader: ModelReader) -> tuple[int, Event] | None:
        item = self.find(reader)
        self.settle()
        return item

    def find(self, reader: ModelReader) -> tuple[int, Event] | None:
        if reader.first_gap is not None:
            item, reader.first_gap = reader.first_gap, None
            return item
        if reader.position < self.dropped:
            return self.gap(reader)
        while reader.position < self.last:
            reader.position += 1
            event = self.published[reader.position - self.last - 1]
            if reader.types is None or isinstance(event, reader.types):
                return reader.position, event
        return None


# -- the two side by side ----------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Pair:
    """A subscription, its model, and what the subscription has delivered."""

    subscription: EventSubscription
    model: ModelReader
    first: int
    seen: list[tuple[int, Event]] = attrs.Factory(list)


class SideBySide:
    def __init__(self, capacity: int, last_seq: int) -> None:
        self.told: list[str] = []
        self.stream = Stream(capacity, last_seq=last_seq, on_observed=self.on_observed, on_held=self.on_held)
        self.model = Model(capacity, [], last_seq, dropped=last_seq)
        self.pairs: list[Pair] = []

    def on_observed(self, observed: bool) -> None:
        self.told.append("observed" if observed else "alone")

    def on_held(self, held: bool) -> None:
        self.told.append("held" if held else "released")

    async def run(self, program: list[Operation]) -> None:
        for operation in program:
            await self.perform(operation)
            self.check()
        for pair in self.pairs:
            pair.subscription.close()

    async def perform(self, operation: Operation) -> None:
        match operation:
            case Publish(kinds):
                self.publish(kinds)
            case Subscribe():
                self.subscribe(operation)
            case Read(reader, count, how) if self.pairs:
                for _ in range(count):
                    await self.read(self.pairs[reader % len(self.pairs)], how)
            case Leave(reader, forgotten) if self.pairs:
                await self.leave(self.pairs.pop(reader % len(self.pairs)), forgotten)
            case End():
                self.model.ended = True
                self.stream.close()
            case _:
                pass

    def publish(self, kinds: list[type[Tick | Tock]]) -> None:
        for kind in kinds:
            seq = self.stream.last_seq + 1
            self.stream.append(Record(seq, kind(number=seq)))
            self.model.publish(kind(number=seq))
            assert self.told == self.model.told

    def subscribe(self, operation: Subscribe) -> None:
        subscription = self.stream.subscribe(operation.after, operation.types, lossless=operation.lossless)
        self.model.join(operation)
        self.pairs.append(Pair(subscription, self.model.readers[-1], operation.after))

    async def read(self, pair: Pair, how: str) -> None:
        expected = self.model.next_item(pair.model)
        if expected is None:
            with pytest.raises(trio.EndOfChannel if self.model.ended else trio.WouldBlock):
                pair.subscription.receive_nowait()
        elif how == "several":
            records = pair.subscription.receive_records_nowait(2)
            assert 1 <= len(records) <= 2
            for number, record in enumerate(records):
                assert (record.seq, record.event) == (expected if number == 0 else self.model.next_item(pair.model))
                pair.seen.append((record.seq, record.event))
        else:
            item = await receive(pair.subscription, how)
            assert item == expected
            pair.seen.append(item)
        assert self.told == self.model.told

    async def leave(self, pair: Pair, forgotten: bool) -> None:
        self.model.leave(pair.model)
        if forgotten:
            del pair.subscription
            gc.collect(0)
            await trio.testing.wait_all_tasks_blocked()
        else:
            await pair.subscription.aclose()

    def check(self) -> None:
        assert self.told == self.model.told
        assert self.stream.last_seq == self.model.last
        assert self.stream.dropped == self.model.dropped
        assert self.stream.backlog == max(0, self.model.last - self.model.dropped - self.model.capacity)
        kept = [record.seq for record in self.stream.read(self.stream.dropped, 1_000)]
        assert kept == list(range(self.model.dropped + 1, self.model.last + 1))
        for pair in self.pairs:
            assert_nothing_is_lost_silently(pair)


async def test_what_comes_behind_a_gap_is_not_what_was_copied_before_it() -> None:
    stream = Stream(4, on_observed=lambda _: None, on_held=lambda _: None)
    subscription = stream.subscribe()
    for seq in range(1, 10):
        stream.append(Record(seq, Tick(seq)))
        if seq == 3:
            assert [each.seq for each in subscription.receive_records_nowait(1)] == [1]
    assert [each.seq for each in subscription.receive_records_nowait(3)] == [5]
    assert [each.seq for each in subscription.receive_records_nowait(2)] == [6, 7]


async def receive(subscription: EventSubscription, how: str) -> tuple[int, Event]:
    """Take one event that must be there, in one of the ways to do it, with its number."""
    with trio.fail_after(1):  # noqa: ASYNC912 - the case without a checkpoint cannot wait either
        match how:
            case "receive":
                event = await subscription.receive()
            case "anext":
                event = await anext(subscription)
            case "nowait":
                event = subscription.receive_nowait()
            case _:
                item = await subscription.envelopes().receive()
                return item.seq, item.event
    return subscription.position, event


def assert_nothing_is_lost_silently(pair: Pair) -> None:
    """Without the model's help: what was delivered and what was declared missed are all the numbers, each once."""
    position = pair.first
    for seq, event in pair.seen:
        step = event.missed if isinstance(event, StreamGap) else 1
        assert seq == position + step if pair.model.types is None else seq >= position + step
        position = seq
    if pair.model.lossless:
        assert not any(isinstance(event, StreamGap) for _, event in pair.seen[1:])


@pytest.fixture(autouse=True, scope="module")
def small_copies() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blazen_trio.stream, "BATCH_SIZE_MAX", 3)
        yield


@settings(max_examples=8 * settings().max_examples)  # programs are cheap, and bugs hide in rare orders
@given(st.integers(1, 12), st.sampled_from([0, 0, 7]), programs)
def test_a_stream_does_what_its_model_does(capacity: int, last_seq: int, program: list[Operation]) -> None:
    trio.run(SideBySide(capacity, last_seq).run, program)


# -- readers that are tasks --------------------------------------------------------------------------------------------


async def pass_turns(turns: int) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()


async def read_with_stalls(subscription: EventSubscription, stalls: list[int], seen: list[StreamItem]) -> None:
    async with subscription, subscription.envelopes() as items:
        async for item in items:
            seen.append(item)
            await pass_turns(stalls[len(seen) % len(stalls)])


async def broadcast(capacity: int, bursts: list[int], readers: list[tuple[bool, list[int]]]) -> list[list[StreamItem]]:
    """Publish in bursts, waiting while a lossless reader holds, to readers that stall now and then."""
    held = [False]

    def on_held(value: bool) -> None:
        held[0] = value

    stream = Stream(capacity, on_observed=lambda _: None, on_held=on_held)
    seen: list[list[StreamItem]] = [[] for _ in readers]
    async with trio.open_nursery() as nursery:
        for (lossless, stalls), mine in zip(readers, seen, strict=True):
            nursery.start_soon(read_with_stalls, stream.subscribe(lossless=lossless), stalls, mine)
        for burst in bursts:
            while held[0]:  # noqa: ASYNC110 - each turn is one of the schedules that are tried
                await trio.lowlevel.checkpoint()
            for _ in range(burst):
                stream.append(Record(stream.last_seq + 1, Tick(number=stream.last_seq + 1)))
            await trio.lowlevel.checkpoint()
        stream.close()
    return seen


@given(
    st.integers(1, 10),
    st.lists(st.integers(1, 8), min_size=1, max_size=15),
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 4), min_size=1, max_size=5)), min_size=1, max_size=4),
)
def test_reading_tasks_get_everything_or_are_told(
    capacity: int, bursts: list[int], readers: list[tuple[bool, list[int]]]
) -> None:
    for (lossless, _), items in zip(readers, trio.run(broadcast, capacity, bursts, readers), strict=True):
        gaps = [item.event.missed for item in items if isinstance(item.event, StreamGap)]
        assert len(items) - len(gaps) + sum(gaps) == sum(bursts) == items[-1].seq
        assert not (lossless and gaps)
