"""How late another task gets its turn meanwhile: one that wants to wake each millisecond."""

from collections.abc import Awaitable, Callable

import trio

BEAT_S = 0.001


async def worst_lateness_ms(function: Callable[[], Awaitable[object]]) -> float:
    """How late another task woke at worst while ``function()`` ran."""
    latenesses: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_beat, latenesses)
        await trio.sleep(5 * BEAT_S)
        latenesses.clear()  # those of an idle program
        await function()
        await trio.sleep(2 * BEAT_S)  # a beat that came due meanwhile counts
        nursery.cancel_scope.cancel()
    return max(latenesses) * 1e3


async def _beat(latenesses: list[float]) -> None:
    while True:
        due = trio.current_time() + BEAT_S
        await trio.sleep_until(due)
        latenesses.append(trio.current_time() - due)
