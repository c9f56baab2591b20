"""Several workflows at once as one step.

A parallel step is itself a sub-workflow: its workflow hands the event to every child step, as a fan-out, and ends with
what they emitted. So pauses, snapshots, time-outs, retries and questions of the children are those of any step.

What a child gives travels inside as one ``ParallelItem``: a child that emits a list, as another parallel step does,
would open a fan-out of its own, and the end would come with that.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from blazen_trio.context import Context
from blazen_trio.core.annotations import Emits, Signature
from blazen_trio.core.errors import SubWorkflowError
from blazen_trio.core.events import Event, StartEvent, StopEvent
from blazen_trio.core.plans import StepPlan, compile_plans
from blazen_trio.core.results import read_result
from blazen_trio.core.steps import Step, StepFunction
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


class ParallelItem(Event, event_type="blazen_trio.ParallelItem"):
    """What one child gave: an event, or a list."""

    given: Any


class ParallelEnd(StopEvent, event_type="blazen_trio.ParallelEnd"):
    """Its ``result`` is what the step emits. Any other ``StopEvent`` is one that a child emitted."""


@attrs.frozen(eq=False)
class _Child:
    """The function of a child step inside; its results are checked as the child says."""

    function: StepFunction
    plan: StepPlan

    async def __call__(self, event: Event, ctx: Context[Any]) -> Event | None:
        given = read_result(self.plan, await self.function(event, ctx))
        if isinstance(given, StopEvent):
            return given
        is_nothing = given is None or given == ()
        return None if is_nothing else ParallelItem(given=given)


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
            ``"first"`` what the first emits that emits anything, and cancels the others.

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
    workflow = Workflow(name, [_begin(accepts), *map(_inside, children), *_ends(join)], events=emits)
    if join == "all":
        return step_of(name, _Parallel(workflow, _start, _all_events), accepts, Emits(many=emits))
    returns = Emits()
    for each in children:
        returns |= each.returns
    return step_of(name, _Parallel(workflow, _start, _first_given), accepts, returns)


def _check(name: str, children: tuple[Step, ...], join: str) -> None:
    if join not in {"all", "first"}:
        raise ValueError(f'parallel_step {name!r}: join={join!r} is neither "all" nor "first"')
    if not children:
        raise ValueError(f"parallel_step {name!r} has no steps")
    for each in children:
        if not isinstance(each, Step) or not isinstance(each.function, SubWorkflow):
            raise TypeError(f"parallel_step {name!r} takes steps made by Workflow.as_step, not {each!r}")
        if set(each.accepts) != set(children[0].accepts):
            raise TypeError(f"parallel_step {name!r}: {each.name!r} and {children[0].name!r} accept different events")
        if join == "all" and any(issubclass(cls, StopEvent) for cls in each.emits):
            raise TypeError(f'parallel_step {name!r}: {each.name!r} emits a StopEvent, which join="all" cannot collect')


def _begin(accepts: tuple[type[Event], ...]) -> Step:
    async def begin(event: ParallelStart) -> list[Event]:
        return [event.data]

    return _step(BEGIN, begin, (ParallelStart,), Emits(many=accepts))


def _inside(child: Step) -> Step:
    """A child step, as it stands in the workflow."""
    assert child.signature is not None
    stops = tuple(cls for cls in child.emits if issubclass(cls, StopEvent))
    emits = Emits(single=(ParallelItem, *stops))
    function = _Child(child.function, compile_plans((child,), None)[0])
    signature = attrs.evolve(child.signature, emits=emits)
    return attrs.evolve(child, function=function, emits=emits.classes, signature=signature)


def _ends(join: Join) -> list[Step]:
    """What ends the workflow: all items are there, or the first; no items if every child gave ``None``."""

    async def end(items: list[ParallelItem]) -> ParallelEnd:
        return ParallelEnd(result=[event for item in items for event in _listed(item.given)])

    async def first(item: ParallelItem) -> ParallelEnd:
        return ParallelEnd(result=item.given)

    stop, items = Emits(single=(ParallelEnd,)), (ParallelItem,)
    ends = [_step(END, end, items, stop, is_join=True)]
    return [_step(FIRST, first, items, stop), *ends] if join == "first" else ends


def _listed(given: Event | Sequence[Event]) -> Sequence[Event]:
    return [given] if isinstance(given, Event) else given


def _step(
    name: str, function: Callable[[Any], Any], accepts: tuple[type[Event], ...], emits: Emits, *, is_join: bool = False
) -> Step:
    """A step whose events are not in its annotations."""
    signature = Signature("event", None, frozenset(), False, accepts, is_join, emits)  # noqa: FBT003 - in their order
    return Step(name, function, accepts, emits.classes, is_join=is_join, signature=signature)


def _start(event: Event) -> ParallelStart:
    return ParallelStart(data=event)


def _all_events(result: WorkflowResult) -> object:
    return result.result.result  # of a ``ParallelEnd``: an empty list is a fan-out, too


def _first_given(result: WorkflowResult) -> object:
    if not isinstance(result.event, ParallelEnd):
        return result.event
    return None if result.event.result == [] else result.event.result
