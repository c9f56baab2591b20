"""Errors for many: each who waits gets a copy, so that no traceback grows from one to the next."""

import copy
from typing import TypeVar

from blazen_trio.core.errors import PeerError

_E = TypeVar("_E", bound=Exception)


def own_error(error: _E, run_id: str | None) -> _E:
    """The error for one who waits for something of this run: a ``PeerError`` tells which one it was about."""
    own = copy.copy(error)
    if isinstance(own, PeerError) and own.run_id is None:
        own.run_id = run_id
    return own
