"""A run's state values, with the undo of every unfinished call.

Rules of this file:

* A write is visible at once. It becomes part of the run when its call succeeds, and is gone when the call does not.
* Per key with unfinished writes there is a pile of layers: at the bottom the value of the run, above it one value for
  each running call that wrote the key, the latest write on top. The top is what everybody sees.
* A call that succeeds puts its value at the bottom and drops what was below it. A call that fails takes its own layer
  out and leaves the others, whichever came first.

Values are plain data (see the codec) and never changed in place, so a layer is a reference.
"""

from collections.abc import Hashable, Iterable
from typing import Any, Final, TypeAlias

MISSING: Final[Any] = object()
"""The value of a key that is not there."""

Layer: TypeAlias = tuple[Hashable, Any]
_RUN: Final = None
"""The owner of the bottom layer."""


class SharedState:
    """Values by key, with layers for the keys that unfinished calls wrote."""

    __slots__ = ("layers", "visible")

    def __init__(self) -> None:
        self.visible: dict[str, Any] = {}
        self.layers: dict[str, list[Layer]] = {}

    def write(self, owner: Hashable, key: str, value: Any) -> None:
        """Set ``key`` for everybody, until ``owner`` (a call) succeeds or fails; ``MISSING`` deletes."""
        pile = self.layers.get(key)
        if pile is None:
            pile = self.layers[key] = [(_RUN, self.visible.get(key, MISSING))]
        elif pile[-1][0] is not owner:
            pile[:] = [layer for layer in pile if layer[0] is not owner]
        if pile[-1][0] is owner:
            pile.pop()
        pile.append((owner, value))
        self._show(key, value)

    def commit(self, owner: Hashable, keys: Iterable[str]) -> None:
        """Make the values that ``owner`` wrote part of the run."""
        for key in keys:
            pile = self.layers.get(key, ())
            place = next((index for index, layer in enumerate(pile) if layer[0] is owner), None)
            if place is not None:  # else a later write of another call was committed over it
                self._settle(key, [(_RUN, pile[place][1]), *pile[place + 1 :]])

    def undo(self, owner: Hashable, keys: Iterable[str]) -> None:
        """Take back what ``owner`` wrote."""
        for key in keys:
            pile = self.layers.get(key)
            if pile is not None:
                rest = [layer for layer in pile if layer[0] is not owner]
                self._settle(key, rest)
                self._show(key, rest[-1][1])

    def committed(self) -> dict[str, Any]:
        """The values without those of unfinished calls; a new dict."""
        values = dict(self.visible)
        for key, pile in self.layers.items():
            if pile[0][1] is MISSING:
                values.pop(key, None)
            else:
                values[key] = pile[0][1]
        return values

    def _settle(self, key: str, pile: list[Layer]) -> None:
        if len(pile) == 1:
            del self.layers[key]
        else:
            self.layers[key] = pile

    def _show(self, key: str, value: Any) -> None:
        if value is MISSING:
            self.visible.pop(key, None)
        else:
            self.visible[key] = value
