"""Threads for plain ``def`` steps, under a limiter of the engine's own: Trio's default one belongs to the program."""

from typing import Final

import trio

THREADS_MAX: Final = 40
"""As many as Trio's own default; a step that needs fewer has ``max_concurrency``."""

_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("blazen_trio.threads")


def thread_limiter() -> trio.CapacityLimiter:
    """The limiter of all step threads of the current ``trio.run``."""
    try:
        return _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(THREADS_MAX)
        _limiter.set(limiter)
        return limiter
