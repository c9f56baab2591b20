"""What a step may give back. Whatever breaks its declaration is a ``StepResultError`` that says what was expected."""

import inspect
from typing import Any, cast

from blazen_trio.core.errors import StepResultError
from blazen_trio.core.events import Event
from blazen_trio.core.plans import StepPlan
from blazen_trio.core.steps import StepKind


def read_result(plan: StepPlan, result: Any) -> Any:
    """The result, if it is one that the step may return: an event, a list or tuple of events, or ``None``.

    Raises:
        StepResultError: it is not.
    """
    if result is None:
        return None
    if isinstance(result, (list, tuple)):
        items = tuple(cast("list[object]", result))  # the step may go on changing its list; the run keeps what it was
        check_items(plan, items, "list" if isinstance(result, list) else "tuple")
        return items
    if not isinstance(result, Event):
        raise StepResultError(plan.name, f"returned {_describe(result)}", expected(plan))
    cls = type(result)
    if cls not in plan.single and not (plan.any_single and not _is_abstract(cls)):
        raise StepResultError(plan.name, f"returned a {cls.__name__}", expected(plan))
    plan.single.add(cls)
    return result


def check_items(plan: StepPlan, items: tuple[Any, ...], kind: str) -> None:
    """Check what a step returned as a fan-out; ``kind`` is what it was, for messages.

    Raises:
        StepResultError: an item is not an event that the step may emit in a fan-out.
    """
    for cls in dict.fromkeys(map(type, items)):
        if cls not in plan.many and not (plan.any_many and issubclass(cls, Event) and not _is_abstract(cls)):
            index = next(index for index, item in enumerate(items) if type(item) is cls)
            shown = f"a {cls.__name__}" if issubclass(cls, Event) else _describe(items[index])
            raise StepResultError(plan.name, f"returned a {kind} whose item {index} is {shown}", expected(plan))
    if not (plan.many or plan.any_many):
        raise StepResultError(plan.name, f"returned a {kind}", expected(plan))


def check_yielded(plan: StepPlan, item: object) -> None:
    """Check what a step yielded.

    Raises:
        StepResultError: it is not an event that the step may emit.
    """
    cls = type(item)
    if cls not in plan.many and not (plan.any_many and isinstance(item, Event) and not _is_abstract(cls)):
        shown = f"a {cls.__name__}" if isinstance(item, Event) else _describe(item)
        raise StepResultError(plan.name, f"yielded {shown}", expected(plan))


def expected(plan: StepPlan) -> str:
    """What the step's annotation allows, for people."""
    returns = plan.step.returns
    parts = ["any event" if cls is Event else cls.__name__ for cls in returns.single]
    if returns.many:
        inner = " | ".join("any events" if cls is Event else cls.__name__ for cls in returns.many)
        parts.append(f"{'an async stream' if plan.kind is StepKind.GENERATOR else 'a list'} of {inner}")
    return " or ".join([*parts, "None"])


def _is_abstract(cls: type) -> bool:
    return cls is Event


def _describe(value: object) -> str:
    if value is None:
        return "None"
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited, which is what this error says better
        return f"the coroutine {value.__qualname__}; was an await forgotten?"
    return f"a {type(value).__name__}, which is no event"
