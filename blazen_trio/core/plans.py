"""Step plans: what the machine and the runner need of a step, worked out once per workflow instead of once per call."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from blazen_trio.core.annotations import Signature
from blazen_trio.core.events import Event
from blazen_trio.core.ids import derive_id
from blazen_trio.core.retry import RetryConfig, RetryStack
from blazen_trio.core.steps import Limiter, Step, StepFunction, StepKind, event_classes

DEFAULT_MAX_CONCURRENCY: Final = 100
"""Calls of one step that run at once unless the step says otherwise: a fan-out of 100,000 then needs 36 MiB and stalls
nobody, against 168 MiB and 1.8 s with a task for each item."""

Invoke: TypeAlias = Callable[[Any, Any], Any]
"""Calls a step function with (event, context), in whatever way its parameters ask for."""


@attrs.frozen(eq=False)
class StepPlan:
    """A step as the engine uses it.

    Attributes:
        index: place in the order of registration; in ids, so that they do not depend on interleaving.
        first_key: what it adds to the id of a call for the first emission of its parent.
        invoke: the function, taking (event, context).
        is_bare: plain, and the function takes the event alone: nothing else needs to be made for it.
        is_plain: an ``async def`` without time-out and tokens: the worker simply awaits it.
        has_tokens: its calls hold tokens of a ``trio.CapacityLimiter``.
        single: classes that may be returned alone (that of ``None`` included). Grows by what is seen if any may.
        many: classes that may be in a fan-out.
        fan_types: classes that a fan-out of this step can hold, ``ctx.send_event`` included.
        opens_fan_out: a call has a fan-out even when it emits nothing (a generator, or ``sends=`` is declared).
    """

    index: int
    first_key: int
    step: Step
    name: str
    kind: str
    function: StepFunction
    invoke: Invoke
    is_bare: bool
    is_plain: bool
    has_tokens: bool
    limit: float
    timeout_s: float | None
    retry: RetryConfig | None
    limiter: Limiter | None
    single: set[type]
    many: frozenset[type[Event]]
    any_single: bool
    any_many: bool
    fan_types: tuple[type[Event], ...]
    opens_fan_out: bool
    is_join: bool
    is_recovery: bool
    max_recoveries: int


def compile_plans(steps: Sequence[Step], retry: RetryConfig | None) -> tuple[StepPlan, ...]:
    """One plan per step; ``retry`` is the workflow's, for steps that have none of their own."""
    return tuple(_compile(index, step, retry) for index, step in enumerate(steps))


def _compile(index: int, step: Step, retry: RetryConfig | None) -> StepPlan:
    returns = step.returns
    timeout_s = None if step.timeout == math.inf else step.timeout
    has_tokens = step.limiter is not None or step.max_concurrency not in (None, math.inf)
    is_plain = step.kind is StepKind.ASYNC and timeout_s is None and not has_tokens
    return StepPlan(
        index=index,
        first_key=derive_id(0, 0, index),
        step=step,
        name=step.name,
        kind=step.kind,
        function=step.function,
        invoke=_invoker(step),
        is_bare=is_plain and not step.is_join and _takes_event_only(step),
        is_plain=is_plain,
        has_tokens=has_tokens,
        limit=_limit(step),
        timeout_s=timeout_s,
        retry=RetryStack(step=step.retry, workflow=retry).asked(),
        limiter=step.limiter,
        single={type(None), *returns.single} - {Event},
        many=frozenset(returns.many) - {Event},
        any_single=Event in returns.single,
        any_many=Event in returns.many,
        fan_types=tuple(dict.fromkeys((*returns.many, *event_classes(step.sends)))),
        opens_fan_out=step.kind is StepKind.GENERATOR or bool(step.sends),
        is_join=step.is_join,
        is_recovery=step.is_recovery,
        max_recoveries=step.max_recoveries,
    )


def _limit(step: Step) -> float:
    if step.max_concurrency is not None:
        return step.max_concurrency
    return DEFAULT_MAX_CONCURRENCY if step.limiter is None else math.inf


def _takes_event_only(step: Step) -> bool:
    signature = step.signature
    return signature is not None and signature.context_parameter is None and not signature.by_keyword


def _invoker(step: Step) -> Invoke:
    invoke = _direct_invoker(step)
    if step.is_join:  # a list of its own for each attempt: the step may change what it gets, the run must not see it
        return lambda items, context: invoke(list(items), context)
    return invoke


def _direct_invoker(step: Step) -> Invoke:
    function, signature = step.function, step.signature
    if signature is not None and signature.by_keyword:
        return _keyword_invoker(function, signature)
    if signature is None or signature.context_parameter is None:
        return lambda event, _context: function(event)
    if signature.context_first:
        return lambda event, context: function(context, event)
    return function


def _keyword_invoker(function: StepFunction, signature: Signature) -> Invoke:
    event_name, context_name = signature.event_parameter, signature.context_parameter
    if context_name is None:
        return lambda event, _context: function(**{event_name: event})
    if event_name not in signature.by_keyword:
        return lambda event, context: function(event, **{context_name: context})
    if context_name not in signature.by_keyword:
        return lambda event, context: function(context, **{event_name: event})
    return lambda event, context: function(**{event_name: event, context_name: context})
