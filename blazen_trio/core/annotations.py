"""Reading a step's signature: which parameter takes the event, which the context, and what may come back.

Rules of this file:

* Parameters are found by their annotations, never by name or position, so ``(event, ctx)`` and ``(ctx, event)`` both
  work.
* An annotation may be a string, wholly or in part, and may name a class that is local to the function where the step is
  written: names are looked up in the step's module, its closure, and the frames of that module that are on the stack.
* What cannot be read is a ``TypeError`` that says which parameter and what to write instead. A name that cannot be
  resolved *yet* is a ``NameError``; the workflow tries again when it is built.
"""
# pyright: reportUnnecessaryContains=false
# (annotations are compared as values, which a type checker takes for impossible)

import collections.abc
import inspect
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Never, NoReturn, Union, get_args, get_origin

import attrs

from blazen_trio.core.events import Event, is_event_class

_UNIONS: Final[tuple[object, ...]] = (Union, types.UnionType)

_STREAMS: Final = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
)
_NOTHING: Final = (None, type(None), Never, NoReturn)
_ANYTHING: Final = (Any, object, inspect.Signature.empty)


class ContextParameter:
    """The base of ``Context``: what the pure core knows of it is how to recognise the parameter that wants it."""

    __slots__ = ()


@attrs.frozen
class Emits:
    """What a step may return: event classes alone (``single``), and in a list, tuple or stream (``many``)."""

    single: tuple[type[Event], ...] = ()
    many: tuple[type[Event], ...] = ()

    @property
    def classes(self) -> tuple[type[Event], ...]:
        """All classes, each once, in the order of the annotation."""
        return tuple(dict.fromkeys(self.single + self.many))

    def __or__(self, other: "Emits") -> "Emits":
        return Emits(self.single + other.single, self.many + other.many)


ANY_EVENT: Final = Emits(single=(Event,), many=(Event,))


@attrs.frozen
class Signature:
    """A step function's parameters and results, as read from its annotations.

    ``is_unbound``: it is a method that still lacks its object.
    """

    event_parameter: str
    context_parameter: str | None
    by_keyword: frozenset[str]
    context_first: bool
    accepts: tuple[type[Event], ...]
    is_join: bool
    emits: Emits
    is_unbound: bool = False


def read_signature(function: Callable[..., object], names: Mapping[str, object] | None = None) -> Signature:
    """Read the annotations of ``function``; ``names`` are extra names for string annotations.

    Raises:
        NameError: a string annotation names something that is not defined yet.
        TypeError: no event parameter, more than one, or an annotation that no step can have.
    """
    hints = _type_hints(function, names)
    parameters = list(inspect.signature(function).parameters.values())
    is_unbound = bool(parameters) and parameters[0].name in ("self", "cls") and parameters[0].name not in hints
    if is_unbound:
        del parameters[0]  # a method inside its class body: bound later
    _check_annotated(function, parameters, hints)
    by_keyword = _only_by_keyword(parameters)
    parameters = [p for p in parameters if p.name in hints]
    contexts = [p for p in parameters if _is_context(hints[p.name])]
    events = [p for p in parameters if p not in contexts and p.default is inspect.Parameter.empty]
    _check_parameters(function, events, contexts)
    event, context = events[0], contexts[0] if contexts else None
    accepts, is_join = _read_event(event.name, hints[event.name])
    return Signature(
        event_parameter=event.name,
        context_parameter=context.name if context else None,
        by_keyword=by_keyword.intersection(p.name for p in events[:1] + contexts),
        context_first=context is not None and parameters.index(context) < parameters.index(event),
        accepts=accepts,
        is_join=is_join,
        emits=_read_result(hints.get("return", inspect.Signature.empty)),
        is_unbound=is_unbound,
    )


def stack_names(function: Callable[..., object]) -> Mapping[str, object]:
    """The local names of the frames on the stack that belong to the module of ``function``, innermost first."""
    module = getattr(inspect.unwrap(_plain(function)), "__globals__", None)
    frames: list[dict[str, object]] = []
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is module and frame.f_locals is not module:
            frames.append(dict(frame.f_locals))
        frame = frame.f_back
    return ChainMap(*frames)


def _type_hints(function: Callable[..., object], names: Mapping[str, object] | None) -> dict[str, Any]:
    plain = _plain(function)
    try:
        return typing.get_type_hints(plain, localns=_closure(plain), include_extras=True)
    except NameError:
        local = {**(names or {}), **stack_names(plain), **_closure(plain)}
        return typing.get_type_hints(plain, localns=local, include_extras=True)


def without_partial(function: Any) -> Any:
    """What a ``functools.partial`` calls in the end; anything else as it is."""
    while hasattr(function, "func"):
        function = function.func
    return function


def _plain(function: Any) -> Callable[..., object]:
    """The function that carries the annotations: below a bound method, a partial or a callable object."""
    function = without_partial(function)
    if isinstance(function, types.MethodType):
        return function.__func__
    return function if isinstance(function, types.FunctionType) else type(function).__call__


def _closure(function: Callable[..., object]) -> dict[str, object]:
    if not isinstance(function, types.FunctionType) or function.__closure__ is None:
        return {}
    found: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # assigned later
            continue
    return found


def _is_context(annotation: object) -> bool:
    parts = [get_origin(part) or part for part in _union_parts(annotation) if part not in _NOTHING]
    return bool(parts) and all(isinstance(part, type) and issubclass(part, ContextParameter) for part in parts)


def _check_annotated(
    function: Callable[..., object], parameters: list[inspect.Parameter], hints: Mapping[str, object]
) -> None:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for each in parameters:
        if each.name not in hints and each.default is each.empty and each.kind not in variadic:
            raise TypeError(
                f"parameter {each.name!r} of step function {getattr(function, '__qualname__', function)!s} has no "
                "annotation; annotate it with the event class it takes, or with Context"
            )


def _check_parameters(
    function: Callable[..., object], events: list[inspect.Parameter], contexts: list[inspect.Parameter]
) -> None:
    name = getattr(function, "__qualname__", repr(function))
    if len(contexts) > 1:
        raise TypeError(f"step function {name} has {len(contexts)} Context parameters; leave one")
    if len(events) != 1:
        found = ", ".join(p.name for p in events) or "none"
        raise TypeError(
            f"step function {name} needs exactly one parameter annotated with an event class, a union of event "
            f"classes or list[EventClass]; found: {found}"
        )


def _only_by_keyword(parameters: list[inspect.Parameter]) -> frozenset[str]:
    """The parameters that no position reaches: keyword-only ones, and those behind one that keeps its default."""
    reached = 0
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY or each.default is not each.empty:
            break
        reached += 1
    return frozenset(each.name for each in parameters[reached:])


def _read_event(name: str, annotation: object) -> tuple[tuple[type[Event], ...], bool]:
    """The classes that an event parameter accepts, and whether it is a join (``list[E]``)."""
    annotation = _bare(annotation)
    if get_origin(annotation) is list:
        return _event_classes(name, get_args(annotation)[0]), True
    return _event_classes(name, annotation), False


def _event_classes(name: str, annotation: object) -> tuple[type[Event], ...]:
    classes = [_bare(part) for part in _union_parts(annotation)]
    for each in classes:
        if not is_event_class(each):
            raise TypeError(
                f"{name!r} is annotated with {_show(each)}, which is no event class; "
                "write an Event subclass, a union of them, or list[EventClass]"
            )
    return tuple(dict.fromkeys(typing.cast("list[type[Event]]", classes)))


def _read_result(annotation: object) -> Emits:
    if annotation in _ANYTHING:
        return ANY_EVENT
    emits = Emits()
    for part in _union_parts(_bare(annotation)):
        emits |= _read_result_part(_bare(part))
    return emits


def _read_result_part(part: object) -> Emits:
    if part in _NOTHING:
        return Emits()
    if part in _ANYTHING:
        return ANY_EVENT
    if is_event_class(part):
        return Emits(single=(part,))
    origin, arguments = get_origin(part), get_args(part)
    if part in (list, tuple):
        return Emits(many=(Event,))
    if origin in (list, tuple):
        return Emits(many=_members(tuple(a for a in arguments if a is not Ellipsis)))
    if origin in _STREAMS:
        return Emits(many=_members(arguments[:1]))
    raise TypeError(
        f"the return annotation has {_show(part)}; a step returns an event class, None, "
        "list[EventClass], tuple[EventClass, ...] or AsyncIterator[EventClass]"
    )


def _members(arguments: tuple[object, ...]) -> tuple[type[Event], ...]:
    found: list[type[Event]] = []
    for argument in arguments:
        if argument in _ANYTHING:
            return (Event,)
        found.extend(_event_classes("return", argument))
    return tuple(dict.fromkeys(found))


def _union_parts(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)


def _bare(annotation: Any) -> object:
    """Without ``Annotated`` and ``type X = ...`` aliases around it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def _show(annotation: object) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else repr(annotation)
