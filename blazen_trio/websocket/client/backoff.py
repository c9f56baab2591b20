"""How long to wait before dialling again: longer each time, and not all clients at once."""

import random
from typing import Final

import attrs

FIRST_S: Final = 0.1
"""The first pause: a server that was restarted is back at once."""

FACTOR: Final = 2.0
"""Each pause is so much longer than the one before."""

LONGEST_S: Final = 10.0
"""No pause is longer: so soon at the latest a server is found that came back."""

JITTER: Final = 0.5
"""Each pause is cut by up to this share, by chance: thousands of clients that lost one server do not come together."""

STEADY_S: Final = 5.0
"""A connection that held so long was a good one: after it the pauses begin anew."""


@attrs.define
class Backoff:
    """The pauses between one client's attempts."""

    _next_s: float = FIRST_S

    def pause_s(self) -> float:
        """The next pause, in seconds."""
        pause, self._next_s = self._next_s, min(self._next_s * FACTOR, LONGEST_S)
        return pause * (1 - JITTER * random.random())

    def note_held(self, seconds: float) -> None:
        """A connection was lost that had held so long."""
        if seconds >= STEADY_S:
            self._next_s = FIRST_S
