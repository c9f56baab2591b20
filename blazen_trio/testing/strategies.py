"""Hypothesis strategies for events, values and snapshots. Hypothesis is imported when one of them is called.

What they give is what the codec takes, with values that are equal to themselves: no NaN.
"""

import datetime as dt
import decimal
import inspect
import pathlib
import types
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import attrs
import trio
from trio.testing import MockClock

from blazen_trio.core.events import Event, field_types, is_event_class, is_live
from blazen_trio.snapshot import WorkflowSnapshot
from blazen_trio.testing.living import NO_ANSWERS, Answers
from blazen_trio.testing.resumable import record
from blazen_trio.testing.scheduling import shuffled_by
from blazen_trio.workflow import Workflow

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

E = TypeVar("E", bound=Event)

_SIZE_MAX: Final = 4
"""Members of a collection, and leaves of a value: more find no more faults."""

_SEED_MAX: Final = 99


def events(cls: type[E], **fields: "SearchStrategy[Any]") -> "SearchStrategy[E]":
    """Events of a class, each field by its annotation, or as given: ``events(Page, url=urls())``.

    Raises:
        ImportError: Hypothesis is not installed.
        TypeError: not a class of events; a name that is no field; a ``Live`` field for which no strategy is given.
    """
    if not is_event_class(cls) or cls is Event:
        raise TypeError(f"events() takes a subclass of Event, not {cls!r}")
    hints = field_types(cls)
    unknown = fields.keys() - hints.keys()
    if unknown:
        raise TypeError(
            f"event class {cls.__name__} has no field {min(unknown)!r}; it has {', '.join(hints) or 'none'}"
        )
    for name, hint in hints.items():
        if is_live(hint) and name not in fields:
            raise TypeError(f"field {name!r} of event class {cls.__name__} is Live: give a strategy, {name}=...")
    given = {name: fields[name] if name in fields else _of_type(hint) for name, hint in hints.items()}
    return cast("SearchStrategy[E]", _strategies().builds(cls, **given))


def state_values() -> "SearchStrategy[Any]":
    """Values of all kinds that ``ctx.state`` takes, nested.

    Raises:
        ImportError: Hypothesis is not installed.
    """
    st = _strategies()
    keys = st.one_of(*map(_of_type, _SCALARS))
    return cast("SearchStrategy[Any]", st.recursive(st.none() | keys, _around, max_leaves=_SIZE_MAX))


def snapshots(
    workflow: Workflow, inputs: "SearchStrategy[Any] | None" = None, *, answers: Answers = NO_ANSWERS
) -> "SearchStrategy[WorkflowSnapshot]":
    """Snapshots of runs of a workflow, at any point and in any order of tasks, with an input of ``inputs`` if given.

    Each example is a whole run on a clock that jumps, so this is for tests that are not themselves inside of Trio.

    Raises:
        ImportError: Hypothesis is not installed.
    """
    st = _strategies()

    def at_some_point(drawn: tuple[object, int]) -> Any:
        input, seed = drawn
        with shuffled_by(seed):
            clock = MockClock(autojump_threshold=0)
            recording = trio.run(record, workflow, input, answers, clock=clock)
        return st.sampled_from(_saved(point.saved for point in recording.points))

    seeds = st.integers(0, _SEED_MAX)
    given = st.none() if inputs is None else inputs
    return cast("SearchStrategy[WorkflowSnapshot]", st.tuples(given, seeds).flatmap(at_some_point))


def _saved(points: Any) -> list[WorkflowSnapshot]:
    """The snapshots; raises the error of the first that could not be taken."""
    saved: list[WorkflowSnapshot] = []
    for each in points:
        if not isinstance(each, WorkflowSnapshot):
            raise each
        saved.append(each)
    return saved


def _strategies() -> Any:
    try:
        return import_module("hypothesis.strategies")
    except ImportError as error:
        raise ImportError("the strategies of blazen_trio.testing need Hypothesis: pip install hypothesis") from error


# --- Types ------------------------------------------------------------------------------------------------------------

_SCALARS: Final = (
    bool,
    int,
    float,
    str,
    bytes,
    decimal.Decimal,
    dt.datetime,
    dt.date,
    dt.time,
    dt.timedelta,
)


def _around(inner: Any) -> Any:
    """Collections of values."""
    st = _strategies()
    members = st.integers() | st.text(max_size=_SIZE_MAX)
    return st.one_of(
        st.lists(inner, max_size=_SIZE_MAX),
        st.lists(inner, max_size=_SIZE_MAX).map(tuple),
        st.dictionaries(members, inner, max_size=_SIZE_MAX),
        st.sets(members, max_size=_SIZE_MAX),
        st.frozensets(members, max_size=_SIZE_MAX),
    )


def _of_type(hint: Any) -> Any:
    """Values of an annotation."""
    st = _strategies()
    if hint in (Any, object):
        return state_values()
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _of_type(arguments[0])
    if origin in _GENERICS:
        return _GENERICS[origin](st, arguments)
    return _of_class(st, hint)


def _of_class(st: Any, cls: Any) -> Any:
    if cls in _CLASSES:
        return _CLASSES[cls](st)
    if is_event_class(cls):
        return st.deferred(lambda: events(cls))
    if inspect.isclass(cls) and attrs.has(cls):
        return st.deferred(lambda: _record(cls))
    return st.from_type(cls)


_CLASSES: Final[dict[Any, Callable[[Any], Any]]] = {
    float: lambda st: st.floats(allow_nan=False),
    decimal.Decimal: lambda st: st.decimals(allow_nan=False),
    pathlib.Path: lambda st: st.text("abc/._-", min_size=1).map(pathlib.Path),
}
"""Where Hypothesis gives more than can be compared, or nothing."""


def _record(cls: Any) -> Any:
    """Objects of an attrs class."""
    hints = get_type_hints(cls, include_extras=True)
    given = {field.alias: _of_type(hints[field.name]) for field in attrs.fields(cls) if field.init}
    return _strategies().builds(cls, **given)


def _tuple(st: Any, arguments: tuple[Any, ...]) -> Any:
    if arguments[1:] == (...,):
        return st.lists(_of_type(arguments[0]), max_size=_SIZE_MAX).map(tuple)
    return st.tuples(*map(_of_type, arguments))


def _collection(name: str) -> Callable[[Any, tuple[Any, ...]], Any]:
    return lambda st, arguments: getattr(st, name)(*map(_of_type, arguments), max_size=_SIZE_MAX)


def _union(st: Any, arguments: tuple[Any, ...]) -> Any:
    return st.one_of(*map(_of_type, arguments))


_GENERICS: Final[dict[Any, Callable[[Any, tuple[Any, ...]], Any]]] = {
    list: _collection("lists"),
    set: _collection("sets"),
    frozenset: _collection("frozensets"),
    dict: _collection("dictionaries"),
    tuple: _tuple,
    Union: _union,
    types.UnionType: _union,
}
