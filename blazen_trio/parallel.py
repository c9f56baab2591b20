"""Several workflows at once as one step.

A parallel step is itself a sub-workflow: its workflow hands the event to every child step, as a fan-out, and ends with
what they emitted. So pauses, snapshots, time-outs, retries and questions of the children are those of any step.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import attrs

from blazen_trio.context import Context
from blazen_trio.core.annotations import Emits, Signature
from blazen_trio.core.errors import SubWorkflowError
from blazen_trio.core.events import Event, StartEvent, StopEvent
from blazen_trio.core.steps import Step
from blazen_trio.run import WorkflowResult
from blazen_trio.sub_workflow import SubWorkflow, step_of
from blazen_trio.workflow import Workflow

Join: TypeAlias = Literal["all", "first"]

BEGIN: Final = "parallel_begin"
FIRST: Final = "parallel_first"
END: Final = "parallel_end"
"""The names of the steps around the children; no child may be named so."""


class ParallelStart(StartEvent, event_type="blazen_trio.ParallelStart"):
    """What the children are given is its ``data``."""


class ParallelEnd(StopEvent, event_type="blazen_trio.ParallelEnd"):
    """Its ``result`` is the list of events that the step emits. Any other ``StopEvent`` is one that a child emitted."""


@attrs.frozen(eq=False)
class _Parallel(SubWorkflow):
    """A sub-workflow that fails as its child did."""

    async def __call__(self, event: Event, ctx: Context[Any]) -> object:
        try:
            return await super().__call__(event, ctx)
        except SubWorkflowError as error:
            child = error.__cause__ and error.__cause__.__cause__
            if not isinstance(child, SubWorkflowError):
                raise
            raise child from child.__cause__


def parallel_step(name: str, steps: Sequence[Step], join: Join = "all") -> Step:
    """A step that runs several sub-workflows on the same event, at once.

    Args:
        name: of the step.
        steps: made by ``Workflow.as_step`` or ``parallel_step``, accepting the same events. Their own ``timeout``,
            ``retry`` and ``max_concurrency`` hold.
        join: with ``"all"`` the step emits the events of all of them as one fan-out, in the order of ``steps``; with
            ``"first"`` the event of the one that ends first, and cancels the others.

    The first child that fails for good fails the step, with its ``SubWorkflowError``, and cancels the others.

    Raises:
        TypeError: steps that run no workflow or do not accept the same events; ``join="all"`` with a child that emits a
            ``StopEvent``, which would end the run before the others' events are there.
        ValueError: no steps, or another ``join``.
        WorkflowValidationError: two of the steps have one name.
    """
    children = tuple(steps)
    _check(name, children, join)
    accepts = children[0].accepts
    emits = tuple(dict.fromkeys(cls for each in children for cls in each.emits))
    workflow = Workflow(name, [_begin(accepts), *children, *_ends(emits, join)])
    if join == "all":
        return step_of(name, _Parallel(workflow, _start, _all_results), accepts, Emits(many=emits))
    return step_of(name, _Parallel(workflow, _start, _first_result), accepts, Emits(single=emits))


def _check(name: str, children: tuple[Step, ...], join: str) -> None:
    if join not in {"all", "first"}:
        raise ValueError(f'parallel_step {name!r}: join={join!r} is neither "all" nor "first"')
    if not children:
        raise ValueError(f"parallel_step {name!r} has no steps")
    for each in children:
        if not isinstance(each, Step) or each.child is None:
            raise TypeError(f"parallel_step {name!r} takes steps made by Workflow.as_step, not {each!r}")
        if set(each.accepts) != set(children[0].accepts):
            raise TypeError(f"parallel_step {name!r}: {each.name!r} and {children[0].name!r} accept different events")
        if join == "all" and any(issubclass(cls, StopEvent) for cls in each.emits):
            raise TypeError(f'parallel_step {name!r}: {each.name!r} emits a StopEvent, which join="all" cannot collect')


def _begin(accepts: tuple[type[Event], ...]) -> Step:
    async def begin(event: ParallelStart) -> list[Event]:
        return [event.data]

    return _step(BEGIN, begin, (ParallelStart,), Emits(many=accepts))


def _ends(emits: tuple[type[Event], ...], join: Join) -> list[Step]:
    """What ends the workflow: all events are there, or the first; ``[]`` if every child gave ``None``."""
    collected = tuple(cls for cls in emits if not issubclass(cls, StopEvent))

    async def end(events: list[Event]) -> ParallelEnd:
        return ParallelEnd(result=events)

    async def first(event: Event) -> ParallelEnd:
        return ParallelEnd(result=[event])

    stop = Emits(single=(ParallelEnd,))
    ends = [_step(END, end, collected, stop, is_join=True)] if collected else []
    return [_step(FIRST, first, collected, stop), *ends] if join == "first" and collected else ends


def _step(
    name: str, function: Callable[[Any], Any], accepts: tuple[type[Event], ...], emits: Emits, *, is_join: bool = False
) -> Step:
    """A step whose events are not in its annotations."""
    signature = Signature("event", None, frozenset(), False, accepts, is_join, emits)  # noqa: FBT003 - in their order
    return Step(name, function, accepts, emits.classes, is_join=is_join, signature=signature)


def _start(event: Event) -> ParallelStart:
    return ParallelStart(data=event)


def _all_results(result: WorkflowResult) -> list[Event]:
    return cast("list[Event]", cast("ParallelEnd", result.event).result)


def _first_result(result: WorkflowResult) -> Event | None:
    if type(result.event) is not ParallelEnd:
        return result.event
    return result.event.result[0] if result.event.result else None
