"""A workflow as a step of another one: what ``Workflow.as_step`` makes."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

import attrs

from blazen_trio.child_runner import run_child
from blazen_trio.context import Context
from blazen_trio.core.annotations import Emits, Signature
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import StepResultError
from blazen_trio.core.events import Event, StartEvent, is_event_class
from blazen_trio.core.steps import Step
from blazen_trio.endings import Ending
from blazen_trio.run import WorkflowResult, make_result

EventClasses: TypeAlias = type[Event] | Iterable[type[Event]]
InputMapper: TypeAlias = Callable[[Any], object]
OutputMapper: TypeAlias = Callable[[WorkflowResult], object]
MakeFunction: TypeAlias = Callable[[WorkflowDefinition, InputMapper, OutputMapper], "SubWorkflow"]


@attrs.frozen(eq=False)
class SubWorkflow:
    """The function of a step that runs a workflow.

    Attributes:
        workflow: that it runs.
        input: gives the input of the workflow for an event; may be async.
        output: gives the event for its result; may be async.
    """

    workflow: WorkflowDefinition
    input: InputMapper
    output: OutputMapper

    @property
    def child(self) -> WorkflowDefinition | None:
        """The workflow, if it runs inside the calls of the step."""
        return self.workflow

    @property
    def is_remote(self) -> bool:
        """Whether it runs on a peer."""
        return False

    async def __call__(self, event: Event, ctx: Context[Any]) -> object:
        """Run the workflow inside this call, to its end; a checkpoint."""
        has_begun = ctx.call in (ctx.runner.state.children or {})
        start = None if has_begun else start_event(await awaited(self.input(event)))
        child = await run_child(ctx.runner, ctx.call, start)
        return await awaited(self.output(make_result(child, Ending(child.state))))


@attrs.frozen(eq=False)
class _FieldsOf:
    """The output of a step that says nothing else: the result's items are the fields of its event."""

    step_name: str
    event_class: type[Event]

    def __call__(self, result: WorkflowResult) -> Event:
        value = result.result
        if type(value) is self.event_class:
            return value
        fields = fields_of(value) if isinstance(value, Event) else value
        wanted = f"a dict with the fields of {self.event_class.__name__}, or output= that makes one of it"
        if not isinstance(fields, Mapping):
            raise StepResultError(self.step_name, f"runs a workflow whose result is a {type(value).__name__}", wanted)
        try:
            return self.event_class(**cast("Mapping[str, Any]", fields))
        except TypeError as error:
            raise StepResultError(
                self.step_name, f"runs a workflow whose result does not fit: {error}", wanted
            ) from None


def sub_workflow_step(
    workflow: WorkflowDefinition,
    name: str,
    classes: tuple[EventClasses, EventClasses],
    mappers: tuple[InputMapper | None, OutputMapper | None],
    make: MakeFunction = SubWorkflow,
) -> Step:
    """The step that runs a workflow, without options: see ``Workflow.as_step``; ``make`` gives its function."""
    accepts, emits = _classes(classes[0], "accepts"), _classes(classes[1], "emits")
    given, made = mappers
    if made is None and len(emits) != 1:
        raise TypeError(f"as_step of workflow {workflow.name!r}: with more than one class in emits=, give output=")
    input, output = given or fields_of, made or _FieldsOf(name, emits[0])
    return step_of(name, make(workflow, input, output), accepts, Emits(single=emits))


def step_of(name: str, function: SubWorkflow, accepts: tuple[type[Event], ...], emits: Emits) -> Step:
    """A step without options that runs a workflow."""
    signature = Signature(
        event_parameter="event",
        context_parameter="ctx",
        by_keyword=frozenset(),
        context_first=False,
        accepts=accepts,
        is_join=False,
        emits=emits,
    )
    return Step(
        name, function, accepts, emits.classes, child=function.child, is_remote=function.is_remote, signature=signature
    )


def fields_of(event: Event) -> dict[str, Any]:
    """An event's fields by name; nothing is copied."""
    return {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}


def start_event(given: object) -> Event:
    """What a run begins with: the event that was given, or a ``StartEvent`` with what was given."""
    return given if isinstance(given, Event) else StartEvent(given)


async def awaited(value: object) -> object:
    """A value, waited for if it is to be; what a mapper gave."""
    return await value if inspect.isawaitable(value) else value


def _classes(given: EventClasses, what: str) -> tuple[type[Event], ...]:
    classes: tuple[Any, ...] = tuple(dict.fromkeys(given)) if isinstance(given, Iterable) else (given,)
    for each in classes:
        if not is_event_class(each) or each is Event:
            raise TypeError(f"as_step({what}=...) takes an event class or several, not {each!r}")
    if not classes:
        raise TypeError(f"as_step({what}=...) takes an event class or several, not none")
    return classes
