"""Fan-outs nest like nurseries: the innermost joins first, and its result has the place of the item it came from."""

import trio

from blazen_trio import Event, StartEvent, StopEvent, step

from .stories import result_of


class Book(Event):
    n: int


class Page(Event):
    book: int
    n: int


class Read(Event):
    book: int
    n: int


class Chapter(Event):
    book: int
    pages: list[int]


@step
async def library(event: StartEvent) -> list[Book]:
    return [Book(n) for n in range(event.data)]


@step
async def pages(event: Book) -> list[Page]:
    return [Page(event.n, n) for n in range(event.n)]


@step
async def read(event: Page) -> Read:
    await trio.sleep(10 - event.book - event.n)  # the last of the last is the first to be ready
    return Read(event.book, event.n)


@step
async def chapter(items: list[Read]) -> Chapter:
    return Chapter(items[0].book if items else -1, [item.n for item in items])


@step
async def finish(items: list[Chapter]) -> StopEvent:
    return StopEvent([(item.book, item.pages) for item in items])


async def test_inner_joins_run_once_for_each_inner_fan_out_and_the_outer_one_once():
    assert await result_of(library, pages, read, chapter, finish, start=4) == [
        (-1, []),  # the book without pages
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 1, 2]),
    ]


async def test_the_outer_join_waits_for_all_inner_joins():
    @step
    async def slow(items: list[Read]) -> Chapter:
        await trio.sleep(100 * len(items))
        return Chapter(0, [])

    @step
    async def when(items: list[Chapter]) -> StopEvent:
        return StopEvent(trio.current_time())

    assert await result_of(library, pages, read, slow, when, start=4) == 307  # the last book's pages are read at 7


async def test_an_empty_outer_fan_out_runs_the_outer_join_only():
    assert await result_of(library, pages, read, chapter, finish, start=0) == []


async def test_the_items_of_the_outer_fan_out_are_a_join_of_their_own():
    """Without a join inside, everything produced below belongs to the innermost fan-out, once for each."""

    @step
    async def flat(items: list[Read]) -> Chapter:
        return Chapter(len(items), [item.n for item in items])

    @step
    async def total(items: list[Chapter]) -> StopEvent:
        return StopEvent(sum(item.book for item in items))

    assert await result_of(library, pages, read, flat, total, start=5) == 1 + 2 + 3 + 4


async def test_a_join_may_feed_the_same_class_to_the_join_around_it():
    """A tree that is summed from its leaves: each join of a fan-out is an item of the fan-out around it."""

    class Node(Event):
        depth: int

    class Sum(Event):
        n: int
        is_root: bool = False

    @step
    async def grow(event: StartEvent) -> list[Node]:
        return [Node(0)]

    @step
    async def split(event: Node) -> list[Node] | Sum:
        return [Node(event.depth + 1)] * 2 if event.depth < event_depth else Sum(1)

    event_depth = 4

    @step
    async def add(items: list[Sum]) -> Sum:
        total = sum(item.n for item in items)
        sums.append(total)
        return Sum(total)

    @step
    async def end(event: Sum) -> StopEvent | None:
        return StopEvent(event.n) if event.n == 16 else None

    sums: list[int] = []
    assert await result_of(grow, split, add, end) == 16
    assert sorted(sums) == [2] * 8 + [4] * 4 + [8] * 2 + [16]


async def test_a_deep_nest_of_generators_joins_from_the_inside():
    @step
    async def shelf(event: Book) -> list[Page]:
        return [Page(event.n, n) for n in range(3)]

    @step
    async def scan(event: Page) -> list[Read]:
        return [Read(event.book, n) for n in range(event.n)]

    @step
    async def per_page(items: list[Read]) -> Chapter:
        return Chapter(len(items), [])

    @step
    async def per_book(items: list[Chapter]) -> Volume:
        return Volume([item.book for item in items])

    @step
    async def per_library(items: list[Volume]) -> StopEvent:
        return StopEvent([item.sizes for item in items])

    assert await result_of(library, shelf, scan, per_page, per_book, per_library, start=2) == [[0, 1, 2], [0, 1, 2]]


class Volume(Event):
    sizes: list[int]


async def test_a_class_produced_at_two_depths_joins_at_each():
    """What the outer fan-out produces itself is not mixed with what its inner fan-outs do."""

    class Leaf(Event):
        n: int

    @step
    async def begin(event: StartEvent) -> list[Book | Leaf]:
        return [Leaf(100), Book(2), Leaf(200)]

    @step
    async def inner(event: Book) -> list[Leaf]:
        return [Leaf(n) for n in range(event.n)]

    @step
    async def join(items: list[Leaf]) -> Chapter:
        return Chapter(0, [item.n for item in items])

    @step
    async def end(event: Chapter) -> StopEvent | None:
        seen.append(event.pages)
        return StopEvent(seen) if len(seen) == 2 else None

    seen: list[list[int]] = []
    assert await result_of(begin, inner, join, end) == [[0, 1], [100, 200]]


async def test_what_several_joins_of_an_inner_fan_out_return_is_in_the_order_of_their_registration():
    """As with several steps that take one item; which of them is ready first does not matter."""

    @step
    async def slow(items: list[Read]) -> Chapter:
        await trio.sleep(5)
        return Chapter(items[0].book, [0])

    @step
    async def fast(items: list[Read]) -> Chapter:
        return Chapter(items[0].book, [1])

    @step
    async def books(event: StartEvent) -> list[Book]:
        return [Book(2), Book(1)]

    expected = [(2, [0]), (2, [1]), (1, [0]), (1, [1])]
    assert await result_of(books, pages, read, slow, fast, finish) == expected
