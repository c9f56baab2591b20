"""Where events go: the route of every class, and which joins a fan-out can reach.

Rules of this file:

* Routing is by the exact class, in order of registration, to every step that accepts it.
* *Depth* counts the fan-outs around an event: a list adds one, a single event keeps it, a join takes one away.
* A fan-out expects the joins that its event classes reach at its own depth, or, if there are none, those at the
  shallowest depth below it. An expected join runs with ``[]`` when nothing was produced for it.
* A failure may bring whatever its recovery returns, and a step without annotations anything. Such a *guess* makes a
  join expected only if no step says that it feeds this join, or no other is found: else a recovery for all steps would
  run the joins of outer fan-outs with ``[]`` for every inner one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from blazen_trio.core.events import (
    Event,
    InputRequestEvent,
    InputResponseEvent,
    StopEvent,
)
from blazen_trio.core.plans import StepPlan

Flow: TypeAlias = tuple[type[Event], int]
"""An event class at a depth of fan-outs."""


def _only_plan(route: "Route") -> StepPlan | None:
    is_special = route.joins or route.is_stop or route.is_question or len(route.plans) != 1
    return None if is_special else route.plans[0]


@attrs.frozen(eq=False)
class Route:
    """What happens to an event of one class.

    Attributes:
        plans: the steps that are called with it.
        joins: the joins that collect it.
        is_stop: it ends the run.
        is_question: it is a question for whoever answers, not for a step.
        is_kept: nobody needs to want it now; it waits for ``wait_for_event``.
        only: the one step that it goes to, if that is all that happens to it.
    """

    plans: tuple[StepPlan, ...] = ()
    joins: tuple[StepPlan, ...] = ()
    is_stop: bool = False
    is_question: bool = False
    is_kept: bool = False
    only: StepPlan | None = attrs.field(init=False, default=attrs.Factory(_only_plan, takes_self=True))


class _Routes(dict[type[Event], Route]):
    """Routes by class, found when first asked for: indexing it is the fastest way to a route."""

    def __init__(self, find: Callable[[type[Event]], Route]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, event_class: type[Event]) -> Route:
        route = self[event_class] = self._find(event_class)
        return route


class Routing:
    """The routing tables of one workflow; ``routes[event_class]`` works for any class."""

    def __init__(self, plans: Sequence[StepPlan], kept: Iterable[type[Event]], handler: StepPlan | None = None) -> None:
        self.plans: tuple[StepPlan, ...] = tuple(plans)
        self._handler = handler
        self.kept: frozenset[type[Event]] = frozenset(kept) | {InputResponseEvent}
        self.routes: Mapping[type[Event], Route] = _Routes(self._find)
        self._expected: dict[frozenset[type[Event]], tuple[int, ...]] = {}

    def _find(self, event_class: type[Event]) -> Route:
        takers = [plan for plan in self.plans if event_class in plan.step.accepts]
        if not takers and self._handler is not None and issubclass(event_class, InputRequestEvent):
            takers = [self._handler]  # it answers questions of every class
        return Route(
            plans=tuple(plan for plan in takers if not plan.is_join),
            joins=tuple(plan for plan in takers if plan.is_join),
            is_stop=issubclass(event_class, StopEvent),
            is_question=issubclass(event_class, InputRequestEvent) and not takers,
            is_kept=event_class in self.kept,
        )

    def recovery_of(self, failed: StepPlan) -> StepPlan | None:
        """The step that takes a failure of ``failed``: one that names it first, else one for all, else ``None``."""
        if failed.is_recovery:
            return None
        recoveries = [plan for plan in self.plans if plan.is_recovery]
        named = [plan for plan in recoveries if plan.step.recovers and failed.name in plan.step.recovers]
        general = [plan for plan in recoveries if plan.step.recovers is None]
        return next(iter(named + general), None)

    def expected_joins(self, classes: Iterable[type[Event]]) -> tuple[int, ...]:
        """The indexes of the joins that a fan-out of these classes must run, with ``[]`` if need be."""
        key = frozenset(classes)
        found = self._expected.get(key)
        if found is None:
            found = self._expected[key] = self._find_expected(key)
        return found

    def _find_expected(self, classes: frozenset[type[Event]]) -> tuple[int, ...]:
        starts = [(each, 0) for each in self.expand(classes)]
        certain, guessed = self._join_depths(starts, guesses=False), self._join_depths(starts, guesses=True)
        said = {each for plan in self.plans if not plan.is_recovery for each in plan.step.emits + plan.step.sends}
        unsaid = {index: at for index, at in guessed.items() if said.isdisjoint(self.plans[index].step.accepts)}
        depths = {**unsaid, **certain} or guessed
        shallowest = min(depths.values(), default=0)
        return tuple(sorted(index for index, depth in depths.items() if depth == shallowest))

    def _join_depths(self, starts: Iterable[Flow], *, guesses: bool) -> dict[int, int]:
        depths: dict[int, int] = {}
        for event_class, depth in self.flows(starts, guesses=guesses):
            for plan in self.routes[event_class].joins:
                depths[plan.index] = min(depth, depths.get(plan.index, depth))
        return depths

    def flows(self, starts: Iterable[Flow], *, guesses: bool = True) -> set[Flow]:
        """Every (class, depth) that can come of ``starts``; what a join emits outside of depth 0 is not followed.

        Without ``guesses`` nothing fails, and steps that may return anything return nothing.
        """
        seen: set[Flow] = set()
        todo = list(starts)
        while todo:
            flow = todo.pop()
            if flow in seen or flow[1] > len(self.plans) + 1:
                continue
            seen.add(flow)
            todo.extend(self._next_flows(flow, guesses=guesses))
        return seen

    def _next_flows(self, flow: Flow, *, guesses: bool) -> Iterator[Flow]:
        event_class, depth = flow
        route = self.routes[event_class]
        if issubclass(event_class, InputRequestEvent):
            yield InputResponseEvent, depth
        for plan in route.plans:
            yield from self._emitted(plan, depth, guesses=guesses)
        for plan in route.joins if depth > 0 else ():
            yield from self._emitted(plan, depth - 1, guesses=guesses)

    def _emitted(self, plan: StepPlan, depth: int, *, guesses: bool) -> Iterator[Flow]:
        for classes, at in ((plan.step.returns.single, depth), (plan.fan_types, depth + 1)):
            said = classes if guesses else [each for each in classes if each is not Event]
            yield from ((each, at) for each in self.expand(said))
        recovery = self.recovery_of(plan) if guesses else None
        if recovery is not None:
            yield from self._emitted(recovery, depth, guesses=guesses)

    def expand(self, classes: Iterable[type[Event]]) -> Iterator[type[Event]]:
        """The classes, with ``Event`` (anything) replaced by every class that somebody accepts or that may stop."""
        for each in classes:
            if each is Event:
                yield StopEvent
                yield from (accepted for plan in self.plans for accepted in plan.step.accepts)
            else:
                yield each
