"""Fan-out scopes: which work descends from a fan-out, when it is done, and what its joins collected.

Rules of this file:

* What one call emits in a list, by yielding or by ``ctx.send_event`` is one fan-out, and a fan-out is a scope. A single
  returned event opens none: it stays in the scope of the event that caused it. The run itself is the root scope.
* ``active`` counts what can still add to a scope: its calls (waiting, running, or between attempts), its open
  questions, its child scopes, and the call that emits it while that call is not over. Items that a join collected do
  not count.
* At zero the scope is *drained*: its joins are called, in the parent scope and at the place of the call that opened it,
  and it ends. So the innermost joins run first, and a join counts in the parent before its scope stops counting there.
* An expected join runs with ``[]`` if nothing was collected for it, unless it ran for a scope inside this one already.
"""

from blazen_trio.core.calls import Order
from blazen_trio.core.events import Event
from blazen_trio.core.ids import ROOT_ID


class Collection:
    """The events that one join collected in one scope.

    In columns: an object per item would be one more for the garbage collector to visit, which at 100,000 items costs
    more than all else.
    """

    __slots__ = ("_is_sorted", "_orders", "events", "ids", "recoveries")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ids: list[int] = []
        self.recoveries: int = 0
        self._orders: list[Order] = []
        self._is_sorted = True

    def __len__(self) -> int:
        return len(self.events)

    def add(self, event: Event, item_id: int, order: Order, recoveries: int) -> None:
        """Add an item; constant time."""
        orders = self._orders
        if orders and order < orders[-1]:
            self._is_sorted = False
        orders.append(order)
        self.events.append(event)
        self.ids.append(item_id)
        self.recoveries = max(self.recoveries, recoveries)

    def columns(self) -> tuple[list[Event], list[int], list[Order]]:
        """The events, their ids and their orders; not copies."""
        return self.events, self.ids, self._orders

    def in_order(self) -> list[Event]:
        """The events in the order of the fan-out; a new list."""
        if self._is_sorted:
            return list(self.events)
        keys = list(zip(self._orders, self.ids, range(len(self.events)), strict=True))
        return [self.events[index] for *_, index in sorted(keys)]


class Scope:
    """One fan-out of a run, or the run itself.

    Attributes:
        id: that of the call that opened it.
        parent: the scope of that call; ``None`` for the root.
        order: the place of that call in the parent.
        opener: the name of its step, for messages.
        recoveries: those that led to it.
        active: what can still add to it.
        expected: joins (plan indexes) to run even with ``[]``.
        collected: by join (plan index).
        joined_inside: joins that ran for a scope inside this one.
    """

    __slots__ = (
        "active",
        "collected",
        "expected",
        "id",
        "joined_inside",
        "opener",
        "order",
        "parent",
        "recoveries",
    )

    def __init__(
        self,
        parent: "Scope | None" = None,
        scope_id: int = ROOT_ID,
        order: Order = (),
        opener: str | None = None,
        recoveries: int = 0,
    ) -> None:
        self.parent: Scope | None = parent
        self.id: int = scope_id
        self.order: Order = order
        self.opener: str | None = opener
        self.recoveries: int = recoveries
        self.active: int = 0
        self.expected: tuple[int, ...] = ()
        self.collected: dict[int, Collection] | None = None
        self.joined_inside: set[int] | None = None

    def collection(self, join: int) -> Collection:
        """What a join collected in this scope."""
        if self.collected is None:
            self.collected = {}
        collection = self.collected.get(join)
        if collection is None:
            collection = self.collected[join] = Collection()
        return collection

    def due_joins(self) -> list[int]:
        """The joins to run now that the scope is drained, by plan index."""
        inside = self.joined_inside or ()
        due = {index for index in self.expected if index not in inside}
        return sorted(due.union(self.collected or ()))

    def mark_joined(self, join: int) -> None:
        """Tell the scopes around this one that a join ran, so that they do not run it with ``[]``."""
        scope = self.parent
        while scope is not None and join not in (scope.joined_inside or ()):
            if scope.joined_inside is None:
                scope.joined_inside = set()
            scope.joined_inside.add(join)
            scope = scope.parent
