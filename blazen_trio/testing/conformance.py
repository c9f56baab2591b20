"""``store_conformance``: whether a store keeps every promise of ``blazen_trio.abc.Store``."""

import inspect
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Final

from blazen_trio.abc import Store
from blazen_trio.testing.promises import calls, claiming, commands, journals, lists, owning, runs, streams

Promise = Callable[[Store], Awaitable[None]]
"""A check of one promise on a store that is open and empty; raises ``AssertionError``."""


class StoreConformanceError(AssertionError):
    """A store does not keep what a store promises; ``broken`` has the error for each broken promise, by its name."""

    def __init__(self, broken: dict[str, Exception], count: int) -> None:
        told = [f"  * {name}: {type(error).__name__}: {error}" for name, error in broken.items()]
        super().__init__("\n".join([f"{len(broken)} of {count} promises of a store are broken:", *told]))
        self.broken = broken


def _promises_of(module: ModuleType) -> list[Promise]:
    return [
        each
        for name, each in vars(module).items()
        if inspect.iscoroutinefunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
    ]


STORE_PROMISES: Final[tuple[Promise, ...]] = tuple(
    each
    for module in (runs, journals, streams, owning, claiming, lists, commands, calls)
    for each in _promises_of(module)
)
"""Each promise as a function of a store that is open and empty; its name is the sentence."""


async def store_conformance(store_factory: Callable[[], Store]) -> None:
    """Check all promises of a store; ``store_factory`` gives a new and empty one, not opened, at each call.

    With pytest-trio, a test is one line; without, it is ``trio.run(store_conformance, factory)``::

        async def test_my_store_is_a_store(tmp_path):
            names = itertools.count()
            await store_conformance(lambda: MyStore(tmp_path / f"{next(names)}.db"))

    A test for each promise, so that pytest names the broken ones::

        @pytest.mark.parametrize("promise", STORE_PROMISES, ids=lambda promise: promise.__name__)
        async def test_my_store_keeps(promise, tmp_path):
            async with MyStore(tmp_path / "my.db") as store:
                await promise(store)

    It must not run on a clock that jumps (``autojump_clock``) if the store works in threads. A checkpoint.

    Raises:
        StoreConformanceError: names every promise that is broken, and how.
        RuntimeError: Python runs without assertions (``-O``), so nothing would be found.
    """
    if not __debug__:
        raise RuntimeError("the promises are checked by assertions: run Python without -O")
    broken: dict[str, Exception] = {}
    for promise in STORE_PROMISES:
        error = await _breach(promise, store_factory())
        if error is not None:
            broken[getattr(promise, "__name__", repr(promise)).replace("_", " ")] = error
    if broken:
        raise StoreConformanceError(broken, len(STORE_PROMISES))


async def _breach(promise: Promise, store: Store) -> Exception | None:
    try:
        async with store:
            await promise(store)
    except Exception as error:  # noqa: BLE001 - whatever a store raises here breaks the promise
        return error
    return None
