"""What can be wrong with a workflow. Every problem is one sentence that names the step or event, and says the fix."""

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from blazen_trio.core.events import (
    DynamicEvent,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    is_event_class,
    is_external,
)
from blazen_trio.core.policies import SessionPausePolicy
from blazen_trio.core.retry import RetryConfig
from blazen_trio.core.steps import Step, event_classes, option_problems, timeout_problem

if TYPE_CHECKING:
    from blazen_trio.core.definition import WorkflowOptions
    from blazen_trio.core.routing import Routing


def read_steps(steps: Iterable[object]) -> tuple[tuple[Step, ...], list[str]]:
    """The steps with their annotations read, and what is wrong with those that could not be."""
    good: list[Step] = []
    problems: list[str] = []
    for index, each in enumerate(steps):
        if not isinstance(each, Step):
            problems.append(f"item {index} of steps is {each!r}; decorate the function with @step")
            continue
        try:
            good.append(each.resolved())
        except NameError as error:
            problems.append(f"step {each.name!r}: {error}; define or import that class before the workflow is built")
        except TypeError as error:
            problems.append(f"step {each.name!r}: {error}")
    return tuple(good), problems


def definition_problems(
    name: object, steps: Sequence[Step], options: "WorkflowOptions", routing: "Routing"
) -> list[str]:
    """Everything that keeps these steps and options from being a workflow."""
    problems = [*_name_problems(name, steps), *_option_problems(options), *_class_problems(steps, options)]
    for each in steps:
        problems += [f"step {each.name!r}: {text}" for text in option_problems(each)]
    if steps:
        problems += _recovery_problems(steps)
        problems += _FlowCheck(steps, options, routing).problems()
    return problems


def _name_problems(name: object, steps: Sequence[Step]) -> Iterator[str]:
    if not isinstance(name, str) or not name:
        yield f"the workflow's name is {name!r}; give a non-empty str"
    if not steps:
        yield "there are no steps; give at least one that accepts StartEvent and one that returns StopEvent"
    for step_name, count in Counter(each.name for each in steps).items():
        if count > 1:
            yield f"{count} steps are named {step_name!r}; rename with @step(name=...) or with_options(name=...)"


def _option_problems(options: "WorkflowOptions") -> Iterator[str]:
    timeout = timeout_problem(options.timeout)
    if timeout:
        yield f"timeout={options.timeout!r}: {timeout}"
    if options.retry is not None and not isinstance(options.retry, RetryConfig):
        yield f"retry={options.retry!r}: give a RetryConfig"
    for name in ("max_session_refs", "max_pending_events", "stream_buffer"):
        value = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield f"{name}={value!r}: give an int of at least 1"
    handler = options.input_handler
    if handler is not None and not (inspect.iscoroutinefunction(handler) or _has_async_call(handler)):
        yield f"input_handler={handler!r}: give an async function that takes an InputRequestEvent"
    yield from _session_ref_problems(options)
    yield from _state_type_problems(options.state_type)


def _session_ref_problems(options: "WorkflowOptions") -> Iterator[str]:
    if not isinstance(options.session_pause_policy, SessionPausePolicy):
        yield f"session_pause_policy={options.session_pause_policy!r}: give a SessionPausePolicy"
    if not isinstance(options.allow_pickle, bool):  # it is a permission: nothing that merely looks true
        yield f"allow_pickle={options.allow_pickle!r}: give True or False"


def _has_async_call(value: object) -> bool:
    function = getattr(value, "func", None) or getattr(type(value), "__call__", None)  # noqa: B004 - the method itself
    return inspect.iscoroutinefunction(function)


def _state_type_problems(state_type: object) -> Iterator[str]:
    if state_type is None:
        return
    if not (isinstance(state_type, type) and attrs.has(state_type)):
        yield f"state_type={state_type!r}: give an attrs class"
        return
    missing = [field.name for field in attrs.fields(state_type) if field.init and field.default is attrs.NOTHING]
    if missing:
        yield f"state_type {state_type.__name__} has no default for {', '.join(missing)}; give every field one"


def _class_problems(steps: Sequence[Step], options: "WorkflowOptions") -> Iterator[str]:
    for each in options.events:
        if not is_event_class(each):
            yield f"events= has {each!r}; list event classes"
    by_name: dict[str, type[Event]] = {}
    for cls in dict.fromkeys(named_classes(steps, options)):
        other = by_name.setdefault(cls.event_type, cls)
        if other is not cls:
            yield (
                f"two event classes are named {cls.event_type!r} ({_path(other)} and {_path(cls)}); "
                "give one of them class X(Event, event_type=...)"
            )


def named_classes(steps: Sequence[Step], options: "WorkflowOptions") -> Iterator[type[Event]]:
    """The event classes that a workflow has to tell apart by name, some more than once."""
    yield from (StartEvent, StopEvent, InputRequestEvent, InputResponseEvent, StepFailedEvent)
    for step in steps:
        yield from event_classes(step.accepts + step.emits + step.sends)
    yield from event_classes(options.events)


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _recovery_problems(steps: Sequence[Step]) -> Iterator[str]:
    names = {each.name for each in steps}
    recoveries = [each for each in steps if each.is_recovery]
    general = [each.name for each in recoveries if each.recovers is None]
    if len(general) > 1:
        yield f"steps {_list(general)} all recover every failure; leave one, or give the others recovers=[...]"
    claims: Counter[str] = Counter()
    for each in recoveries:
        for name in each.recovers or ():
            claims[name] += 1
            if name not in names:
                yield f"step {each.name!r}: recovers= names {name!r}, which is no step of this workflow"
            elif any(name == other.name for other in recoveries):
                yield f"step {each.name!r}: recovers= names {name!r}, a recovery step; its failure fails the run"
    for name, count in claims.items():
        if count > 1:
            yield f"{count} steps recover {name!r}; leave one"


class _FlowCheck:
    """Problems of the graph: what nobody accepts, nobody sends, no way to a stop, joins without a fan-out."""

    def __init__(self, steps: Sequence[Step], options: "WorkflowOptions", routing: "Routing") -> None:
        self._steps = steps
        self._declared = event_classes(options.events)
        self._accepted = {cls for each in steps for cls in each.accepts}
        self._sent = {cls for each in steps for cls in event_classes(each.emits + each.sends)}
        self._flows = routing.flows((cls, 0) for cls in self._entries())

    def problems(self) -> Iterator[str]:
        """All of them; those about the way to a stop only if there is a way in."""
        yield from self._wrong_parameters()
        yield from self._nobody_accepts()
        yield from self._nobody_sends()
        if not any(issubclass(cls, StartEvent) or cls in self._declared for cls in self._accepted):
            yield "no step accepts StartEvent (or a subclass of it, or a class of events=), so no run can begin"
            return
        if not any(issubclass(cls, StopEvent) for cls, _ in self._flows):
            yield "no way from the start leads to a StopEvent; let a step on the way return one"
        yield from self._joins_without_fan_out()

    def _entries(self) -> Iterator[type[Event]]:
        yield from self._declared
        for cls in self._accepted:
            if issubclass(cls, StartEvent) or is_external(cls):
                yield cls

    def _wrong_parameters(self) -> Iterator[str]:
        for each in self._steps:
            if any(issubclass(cls, StopEvent) for cls in each.accepts):
                yield f"step {each.name!r} accepts a StopEvent, which ends the run before any step; take another event"
            if Event in each.accepts:
                yield f"step {each.name!r} accepts Event itself; routing is by exact class: name the classes it takes"

    def _nobody_accepts(self) -> Iterator[str]:
        for each in self._steps:
            for cls in event_classes(dict.fromkeys(each.emits + each.sends)):
                if cls is not Event and cls not in self._accepted and not self._is_taken_by_engine(cls):
                    yield (
                        f"step {each.name!r} returns {cls.__name__}, which no step accepts; add a step for it, or "
                        f"declare it with events=[{cls.__name__}] if a call waits for it"
                    )

    def _is_taken_by_engine(self, cls: type[Event]) -> bool:
        return issubclass(cls, StopEvent | InputRequestEvent) or cls in (*self._declared, InputResponseEvent)

    def _nobody_sends(self) -> Iterator[str]:
        if Event in self._sent:
            return
        for each in self._steps:
            for cls in each.accepts:
                if not self._can_come(cls):
                    yield (
                        f"step {each.name!r} accepts {cls.__name__}, which nobody can send; return it from a step, "
                        f"declare @step(sends=[{cls.__name__}]) where ctx.send_event sends it, or "
                        f"Workflow(..., events=[{cls.__name__}]) if it comes from outside"
                    )

    def _can_come(self, cls: type[Event]) -> bool:
        if cls is InputResponseEvent:
            return any(issubclass(sent, InputRequestEvent) for sent in self._sent)
        return (
            cls in self._sent
            or cls in self._declared
            or cls in (Event, DynamicEvent, StepFailedEvent)
            or issubclass(cls, StartEvent | StopEvent)
            or is_external(cls)
        )

    def _joins_without_fan_out(self) -> Iterator[str]:
        inside = {cls for cls, depth in self._flows if depth > 0}
        reachable = {cls for cls, _ in self._flows}
        for each in self._steps:
            if each.is_join and not inside.intersection(each.accepts) and reachable.intersection(each.accepts):
                yield (
                    f"join {each.name!r} collects {_list(cls.__name__ for cls in each.accepts)}, but no fan-out leads "
                    "to it; let a step before it return a list, or accept the event without list[...]"
                )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
