"""Random workflow definitions whose step functions are never run: a test plays the workers.

A program is a few steps over a few classes of events, wired at random: chains, fan-outs in fan-outs, joins of one class
or two, classes with two takers, recoveries, limits, retries, questions as events. The first step may always stop, so
every program is a valid workflow; what a call really returns, the test decides.
"""

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from types import GenericAlias
from typing import Any

import attrs
from hypothesis import strategies as st

from blazen_trio.core.definition import WorkflowDefinition, WorkflowOptions
from blazen_trio.core.errors import WorkflowValidationError
from blazen_trio.core.events import (
    Event,
    InputRequestEvent,
    InputResponseEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from blazen_trio.core.retry import RetryConfig
from blazen_trio.core.steps import Step, step

EventClass = type[Event]


class Alpha(Event):
    n: int


class Beta(Event):
    n: int


class Gamma(Event):
    n: int


class Delta(Event):
    n: int


class Letter(Event):
    """Declared in ``events=``: calls wait for it, no step accepts it."""

    n: int


class Stray(Event):
    """Neither accepted nor declared: an error, unless a call has ever waited for it."""

    n: int


WORK: tuple[type[Alpha | Beta | Gamma | Delta], ...] = (Alpha, Beta, Gamma, Delta)
RETRY_DELAY_S = 2.0
FANS_MAX = 4


class OpenLimiter:
    """A shared limiter; the test grants its tokens."""

    total_tokens = 1

    def acquire_on_behalf_of_nowait(self, borrower: Any, /) -> None:
        """Never called: the machine only asks for slots."""

    def release_on_behalf_of(self, borrower: Any, /) -> None:
        """Never called."""


@attrs.frozen
class Spec:
    """A step, as the model sees it."""

    name: str
    accepts: tuple[EventClass, ...]
    single: tuple[EventClass, ...] = ()
    many: tuple[EventClass, ...] = ()
    sends: tuple[EventClass, ...] = ()
    is_join: bool = False
    limit: int | None = None
    retries: int | None = None
    recovers: tuple[str, ...] | None = None
    max_recoveries: int = 1
    shares_limiter: bool = False

    @property
    def is_recovery(self) -> bool:
        """Whether it takes failures of other steps."""
        return StepFailedEvent in self.accepts

    @property
    def fan_types(self) -> tuple[EventClass, ...]:
        """What a fan-out of one call can hold, as declared."""
        return tuple(dict.fromkeys(self.many + self.sends))


def union(classes: Iterable[Any]) -> Any:
    """``A | B | C`` of classes."""
    return functools.reduce(operator.or_, classes)


def make_step(spec: Spec) -> Step:
    """The step of a spec."""

    async def never_run(event: Any) -> Any:
        raise AssertionError(f"the test plays the worker of {event}")

    return step_of(spec, never_run)


def step_of(spec: Spec, function: Callable[..., Any], **others: Any) -> Step:
    """A step as the spec says, its function annotated as a user would write it; ``others`` beside the event."""
    accepts = union(spec.accepts)
    returns = [*spec.single, *([GenericAlias(list, union(spec.many))] if spec.many else []), type(None)]
    event = GenericAlias(list, accepts) if spec.is_join else accepts
    function.__annotations__ = {"event": event, **others, "return": union(returns)}
    made = step(function).with_options(name=spec.name, sends=spec.sends, max_recoveries=spec.max_recoveries)
    if spec.recovers is not None:
        made = made.with_options(recovers=spec.recovers)
    if spec.limit is not None:
        made = made.with_options(max_concurrency=spec.limit)
    if spec.shares_limiter:
        made = made.with_options(limiter=OpenLimiter())
    if spec.retries is not None:
        retry = RetryConfig(max_retries=spec.retries, initial_delay_ms=RETRY_DELAY_S * 1000, jitter=False)
        made = made.with_options(retry=retry)
    return made


class Program:
    """Specs and the workflow made of them, with the questions that the model asks of the graph."""

    def __init__(self, specs: Sequence[Spec], **options: Any) -> None:
        self.specs = tuple(specs)
        options = {"events": (Letter,), "timeout": 1e6, **options}
        self.definition = WorkflowDefinition("program", map(make_step, specs), WorkflowOptions(**options))

    def __repr__(self) -> str:
        return "Program([\n" + "".join(f"    {spec},\n" for spec in self.specs) + "])"

    def takers(self, event_class: EventClass, *, is_join: bool) -> list[int]:
        """Indexes of the steps, or of the joins, that accept a class."""
        return [i for i, each in enumerate(self.specs) if event_class in each.accepts and each.is_join == is_join]

    def recovery_of(self, index: int) -> int | None:
        """The step that recovers another: one that names it before one for all."""
        if self.specs[index].is_recovery:
            return None
        recoveries = [(i, each.recovers) for i, each in enumerate(self.specs) if each.is_recovery]
        named = [i for i, names in recoveries if names is not None and self.specs[index].name in names]
        return next(iter(named + [i for i, names in recoveries if names is None]), None)

    def expected_joins(self, classes: Iterable[EventClass]) -> set[int]:
        """The joins that events of these classes reach at their own depth; if none, those at the shallowest below.

        Only a failure leads to what a recovery returns. That counts for a join which no other step says it feeds, or
        if no other join is reached at all.
        """
        starts = list(classes)
        certain, guessed = self._join_depths(starts, fails=False), self._join_depths(starts, fails=True)
        fed = {cls for spec in self.specs if not spec.is_recovery for cls in (*spec.single, *spec.fan_types)}
        only_by_failures = {join: at for join, at in guessed.items() if not fed & set(self.specs[join].accepts)}
        found = {**only_by_failures, **certain} or guessed
        return {join for join, depth in found.items() if depth == min(found.values())}

    def _join_depths(self, classes: Sequence[EventClass], *, fails: bool) -> dict[int, int]:
        found: dict[int, int] = {}
        seen: set[tuple[EventClass, int]] = set()
        todo = [(each, 0) for each in classes]
        while todo:
            cls, depth = todo.pop()
            if (cls, depth) in seen or depth > len(self.specs) + 1:
                continue
            seen.add((cls, depth))
            for join in self.takers(cls, is_join=True):
                found[join] = min(depth, found.get(join, depth))
            todo += self._after(cls, depth, fails=fails)
        return found

    def _after(self, cls: EventClass, depth: int, *, fails: bool) -> list[tuple[EventClass, int]]:
        following: list[tuple[EventClass, int]] = []
        if cls is InputRequestEvent:
            following.append((InputResponseEvent, depth))
        for index, spec in enumerate(self.specs):
            if cls not in spec.accepts or (spec.is_join and depth == 0):
                continue
            inner = depth - 1 if spec.is_join else depth
            recovery = self.recovery_of(index) if fails else None
            for each in (spec,) if recovery is None else (spec, self.specs[recovery]):
                following += [(single, inner) for single in each.single]
                following += [(many, inner + 1) for many in each.fan_types]
        return following


def _some(
    classes: Sequence[Any], *, min_size: int = 0, max_size: int | None = None
) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(classes), unique=True, min_size=min_size, max_size=max_size).map(tuple)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A random program."""
    classes = WORK[: draw(st.integers(1, len(WORK)))]
    specs = [
        _draw_spec(draw, f"take_{cls.__name__.lower()}", (cls,), classes) for cls in classes if draw(st.booleans())
    ]
    specs += [
        _draw_spec(draw, f"join_{number}", draw(_some(classes, min_size=1, max_size=2)), classes, is_join=True)
        for number in range(draw(st.integers(0, 2)))
    ]
    if draw(st.booleans()):
        specs.append(_draw_spec(draw, "take_some", draw(_some(classes, min_size=1, max_size=2)), classes))
    if draw(st.booleans()):
        specs.append(_draw_spec(draw, "answered", (InputResponseEvent,), classes))
        specs[0] = attrs.evolve(specs[0], single=tuple(dict.fromkeys((*specs[0].single, InputRequestEvent))))
    specs += _draw_recoveries(draw, specs, classes)
    return _completed(draw, specs, classes)


def _draw_spec(
    draw: st.DrawFn, name: str, accepts: tuple[EventClass, ...], classes: Sequence[EventClass], *, is_join: bool = False
) -> Spec:
    results = (*classes, *classes, StopEvent, InputRequestEvent)
    return Spec(
        name,
        accepts,
        single=draw(_some(results, max_size=3)),
        many=draw(_some(classes, max_size=2)),
        sends=draw(st.just(()) | st.just(()) | _some(classes, max_size=1)),
        is_join=is_join,
        limit=draw(st.sampled_from([None, 1, 1, 2, 3])),
        retries=draw(st.sampled_from([None, 1, 2])),
        shares_limiter=draw(st.sampled_from([False] * 5 + [True])),
    )


def _draw_recoveries(draw: st.DrawFn, specs: Sequence[Spec], classes: Sequence[EventClass]) -> list[Spec]:
    found: list[Spec] = []
    if draw(st.sampled_from([True, True, False])):
        spec = _draw_spec(draw, "recover", (StepFailedEvent,), classes)
        found.append(attrs.evolve(spec, max_recoveries=draw(st.sampled_from([1, 2, 0]))))
    if len(specs) > 0 and draw(st.booleans()):
        spec = _draw_spec(draw, "recover_named", (StepFailedEvent,), classes)
        found.append(attrs.evolve(spec, recovers=(specs[0].name,)))
    return found


def _completed(draw: st.DrawFn, specs: list[Spec], classes: Sequence[EventClass]) -> Program:
    """Add the first step, and takers for classes that have none, so that the workflow is valid."""
    taken = {cls for spec in specs for cls in spec.accepts}
    for cls in classes:
        if cls not in taken:
            specs.append(_draw_spec(draw, f"take_{cls.__name__.lower()}", (cls,), classes))
    sent = {cls for spec in specs for cls in (*spec.single, *spec.many, *spec.sends)}
    missing = tuple(cls for cls in classes if cls not in sent)
    some = draw(_some(classes, min_size=1))
    start = Spec("begin", (StartEvent,), single=(*some[:1], StopEvent), many=tuple(dict.fromkeys(some + missing)))
    start = attrs.evolve(start, single=tuple(dict.fromkeys((*start.single, InputRequestEvent))))
    specs = [_unshadowed(spec) for spec in specs]
    try:
        return Program([start, *specs])
    except WorkflowValidationError:  # a join that no fan-out reaches
        return Program([attrs.evolve(start, many=tuple(classes)), *specs])


def _unshadowed(spec: Spec) -> Spec:
    """A shared limiter and a limit of one's own are two things; the model counts only the latter."""
    return attrs.evolve(spec, limit=None) if spec.shares_limiter else spec
