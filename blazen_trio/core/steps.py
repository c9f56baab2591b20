"""A step: a function, the events it accepts and emits, and how its calls are limited, timed, retried and recovered.

A ``Step`` is a frozen value. ``step`` makes one from a function; ``Step.with_options`` makes another with other
options. It stays callable like the function it was made from, so a step is tested without any workflow.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypedDict, Unpack, overload

import attrs

from blazen_trio.core.annotations import Emits, Signature, read_signature, without_partial
from blazen_trio.core.events import Event, StepFailedEvent, is_event_class
from blazen_trio.core.retry import RetryConfig

if TYPE_CHECKING:
    from blazen_trio.core.definition import WorkflowDefinition

StepFunction: TypeAlias = Callable[..., Any]

DEFAULT_MAX_RECOVERIES: Final = 1
"""One recovery for one line of descent: a recovery that ends in the same failure must not go round for ever."""


class Limiter(Protocol):
    """What ``limiter=`` takes; ``trio.CapacityLimiter`` is one (the core does not import trio)."""

    @property
    def total_tokens(self) -> int | float:
        """How many tokens there are in all."""
        ...

    def acquire_on_behalf_of_nowait(self, borrower: Any, /) -> None:
        """Take a token for ``borrower``; raises ``trio.WouldBlock`` if there is none."""
        ...

    def release_on_behalf_of(self, borrower: Any, /) -> None:
        """Give back the token that ``borrower`` holds."""
        ...


class StepOptions(TypedDict, total=False):
    """The keywords of ``step`` and ``Step.with_options``; ``Step`` says what they mean."""

    name: str
    max_concurrency: float | None
    timeout: float | None
    retry: RetryConfig | None
    limiter: Limiter | None
    recovers: Sequence[str] | None
    max_recoveries: int
    sends: Sequence[type[Event]]


class StepKind:
    """How a step function is run; the values are only compared by identity."""

    ASYNC = "async"
    GENERATOR = "generator"
    THREAD = "thread"


def _names(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _classes(classes: Iterable[type[Event]]) -> tuple[type[Event], ...]:
    return tuple(classes)


@attrs.frozen(eq=False)
class Step:
    """One step of a workflow. Made by ``step``; every attribute is read-only.

    Attributes:
        name: the name in the workflow, in errors, in snapshots; unique inside one workflow.
        function: the user's function, bound if it is a method.
        accepts: the event classes that start a call; for a join the classes that it collects.
        emits: the event classes that a call may return or yield; ``(Event,)`` if any.
        max_concurrency: calls of one run that may run at once; ``None`` is the default of 100, ``math.inf`` no bound.
        timeout: seconds for one attempt, or ``None``.
        retry: how a failed call is retried, or ``None`` (then the workflow's ``retry`` holds).
        limiter: a ``trio.CapacityLimiter`` shared with other steps and runs, or ``None``.
        recovers: names of the steps whose failures this step takes, or ``None`` for all (only for a step that
            accepts ``StepFailedEvent``).
        max_recoveries: recoveries for one line of descent.
        sends: event classes that calls send through ``ctx.send_event`` beside what they return.
        is_join: whether the event parameter is ``list[E]``.
        child: the workflow that runs inside each call (``Workflow.as_step``), or ``None``.
        is_remote: whether each call runs a workflow on a peer.
    """

    name: str
    function: StepFunction
    accepts: tuple[type[Event], ...] = ()
    emits: tuple[type[Event], ...] = ()
    max_concurrency: float | None = None
    timeout: float | None = None
    retry: RetryConfig | None = None
    limiter: Limiter | None = None
    recovers: tuple[str, ...] | None = attrs.field(default=None, converter=_names)
    max_recoveries: int = DEFAULT_MAX_RECOVERIES
    sends: tuple[type[Event], ...] = attrs.field(default=(), converter=_classes)
    is_join: bool = False
    child: "WorkflowDefinition | None" = attrs.field(default=None, repr=False)
    is_remote: bool = attrs.field(default=False, repr=False)
    kind: str = attrs.field(default=StepKind.ASYNC, repr=False)
    signature: Signature | None = attrs.field(default=None, repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the step's function as it was written, without a workflow."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> "Step":
        """A step in a class body is a method: on an instance it is bound to it."""
        if instance is None or not hasattr(self.function, "__get__"):
            return self
        signature = None if self.signature is None else attrs.evolve(self.signature, is_unbound=False)
        return attrs.evolve(self, function=self.function.__get__(instance, owner), signature=signature)

    def with_options(self, **options: Unpack[StepOptions]) -> "Step":
        """A new step with other options (the keywords of ``step``); this one stays as it is.

        Values are checked when a workflow is built, together with everything else.

        Raises:
            TypeError: an option that does not exist.
        """
        known = StepOptions.__annotations__
        unknown = ", ".join(sorted(set(options) - set(known)))
        if unknown:
            raise TypeError(f"step {self.name!r} has no option {unknown}; the options are {', '.join(known)}")
        return attrs.evolve(self, **options)

    def resolved(self) -> "Step":
        """This step with its annotations read, for one whose annotations named classes that were defined later.

        Raises:
            NameError: an annotation still names something that is not defined.
            TypeError: an annotation that no step can have.
        """
        return self if self.signature is not None else _with_signature(self, read_signature(self.function))

    @property
    def is_recovery(self) -> bool:
        """Whether calls of this step take the place of calls that failed."""
        return StepFailedEvent in self.accepts

    @property
    def returns(self) -> Emits:
        """What one call may return alone and what in a fan-out."""
        return self.signature.emits if self.signature is not None else Emits()


@overload
def step(function: StepFunction, /) -> Step: ...


@overload
def step(**options: Unpack[StepOptions]) -> Callable[[StepFunction], Step]: ...


def step(
    function: StepFunction | None = None, /, **options: Unpack[StepOptions]
) -> Step | Callable[[StepFunction], Step]:
    """Make a step of an ``async def`` function, a plain function, an async generator function or a bound method.

    Exactly one parameter is annotated with what the step accepts: an event class, a union of event classes, or
    ``list[E]`` for a join; one more may be annotated with ``Context``. A plain ``def`` runs in a worker thread.

    Args:
        function: the function, when used as ``@step`` without options.
        **options: see ``Step``; their values are checked when a workflow is built.

    Raises:
        TypeError: annotations that no step can have, or an option that does not exist.
    """
    if function is None:
        return partial(_make, options=options)
    return _make(function, options)


def _make(function: StepFunction, options: StepOptions) -> Step:
    if isinstance(function, Step):
        return function.with_options(**options) if options else function
    if not callable(function):
        raise TypeError(f"@step is for functions, not for {function!r}")
    bare = Step(name=_name_of(function), function=function, kind=_kind_of(function)).with_options(**options)
    try:
        return _with_signature(bare, read_signature(function))
    except NameError:  # a class that is defined further down: the workflow reads the annotations when it is built
        return bare


def _with_signature(step: Step, signature: Signature) -> Step:
    return attrs.evolve(
        step,
        signature=signature,
        accepts=signature.accepts,
        emits=signature.emits.classes,
        is_join=signature.is_join,
    )


def _name_of(function: StepFunction) -> str:
    inner = without_partial(function)
    return getattr(inner, "__name__", type(inner).__name__)


def _kind_of(function: StepFunction) -> str:
    inner = without_partial(function)
    if not hasattr(inner, "__name__"):  # a callable object
        inner = type(inner).__call__
    if inspect.isgeneratorfunction(inner):
        raise TypeError(
            f"step function {_name_of(function)} is a plain generator; make it an async generator (async def with "
            "yield) or return a list"
        )
    if inspect.isasyncgenfunction(inner):
        return StepKind.GENERATOR
    return StepKind.ASYNC if inspect.iscoroutinefunction(inner) else StepKind.THREAD


def option_problems(step: Step) -> list[str]:
    """What is wrong with a step's options, each with the fix; a workflow lists them when it is built."""
    problems: list[str] = []
    if not isinstance(step.name, str) or not step.name:
        problems.append(f"its name is {step.name!r}; give a non-empty str")
    timeout = timeout_problem(step.timeout)
    if timeout:
        problems.append(f"timeout={step.timeout!r}: {timeout}")
    if not _is_limit(step.max_concurrency):
        problems.append(f"max_concurrency={step.max_concurrency!r}: give an int of at least 1, or math.inf")
    if step.signature is not None and step.signature.is_unbound:
        problems.append("it is a method without its object; take the step from an instance: instance.method")
    if not _is_count(step.max_recoveries):
        problems.append(f"max_recoveries={step.max_recoveries!r}: give an int of at least 0")
    if step.retry is not None and not isinstance(step.retry, RetryConfig):
        problems.append(f"retry={step.retry!r}: give a RetryConfig")
    if step.limiter is not None and not hasattr(step.limiter, "acquire_on_behalf_of_nowait"):
        problems.append(f"limiter={step.limiter!r}: give a trio.CapacityLimiter")
    problems += [f"sends= has {each!r}: list event classes" for each in step.sends if not is_event_class(each)]
    if step.recovers is not None and step.signature is not None and not step.is_recovery:
        problems.append("recovers= is for a step that accepts StepFailedEvent; annotate its event so")
    return problems


def timeout_problem(timeout: object) -> str | None:
    """What is wrong with a timeout in seconds, or ``None``; ``math.inf`` means no timeout, as in Trio."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        return "give a number of seconds"
    try:
        is_positive = float(timeout) > 0  # false for nan, too
    except OverflowError:  # an int beyond all floats
        is_positive = False
    if not is_positive:
        return "give a number of seconds greater than 0, or leave it out for no timeout"
    return None


def _is_limit(limit: object) -> bool:
    return limit is None or limit == math.inf or (_is_count(limit) and limit != 0)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def event_classes(values: Iterable[object]) -> tuple[type[Event], ...]:
    """Those values that are event classes; the others are told when the workflow is built."""
    return tuple(each for each in values if is_event_class(each))
