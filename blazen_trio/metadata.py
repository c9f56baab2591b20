"""What the caller of a run gives it to know, and what the library notes beside that.

Rules of this file:

* Keys that begin with ``RESERVED`` are the library's own *marks*: no caller gives them, and no step sees them.
* In snapshots and stores marks stand among the caller's metadata: they go wherever the run goes.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

RESERVED: Final = "blazen_trio."

CALL: Final = "blazen_trio.call"
"""The run is a call of a peer; the value tells of which input."""

STEPS: Final = "blazen_trio.steps"
"""The run's workflow was made of registered steps; the value is their names, in order."""


def checked_metadata(metadata: object) -> dict[str, Any]:
    """What a caller gives, as a dict of its own; empty for ``None``.

    Raises:
        TypeError: no mapping, or a key that is no text.
        ValueError: a key that is reserved.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata= is a mapping for ctx.metadata, not {metadata!r:.100}")
    given = cast("Mapping[object, Any]", metadata)
    return {_checked(key): value for key, value in given.items()}


def _checked(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"metadata= has the key {key!r:.100}; keys are texts")
    if _is_mark(key):
        raise ValueError(f"metadata= has the key {key!r:.100}; those with {RESERVED!r} are the library's own")
    return key


def split_metadata(saved: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The caller's metadata and the marks, of a run that is made or was read."""
    if not any(map(_is_mark, saved)):
        return saved, {}
    user, marks = dict[str, Any](), dict[str, Any]()
    for key, value in saved.items():
        (marks if _is_mark(key) else user)[key] = value
    return user, marks


def _is_mark(key: object) -> bool:
    return isinstance(key, str) and key.startswith(RESERVED)  # a step may have put in any key
