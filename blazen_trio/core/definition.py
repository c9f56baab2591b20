"""A workflow's definition: its steps and options, checked, with the tables the machine works from. Immutable."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias, TypedDict

import attrs

from blazen_trio.core.errors import WorkflowValidationError
from blazen_trio.core.events import Event, InputRequestEvent, InputResponseEvent
from blazen_trio.core.plans import StepPlan, compile_plans
from blazen_trio.core.policies import SessionPausePolicy
from blazen_trio.core.retry import RetryConfig
from blazen_trio.core.routing import Routing
from blazen_trio.core.steps import Step
from blazen_trio.core.validation import definition_problems, named_classes, read_steps

InputHandler: TypeAlias = Callable[[InputRequestEvent], Awaitable[object]]

HANDLER_STEP: Final = "input_handler"
"""The name of the step that the engine makes of ``input_handler``."""


def _classes(classes: Iterable[type[Event]]) -> tuple[type[Event], ...]:
    return tuple(classes)


@attrs.frozen(eq=False, kw_only=True)
class WorkflowOptions:
    """The options of ``Workflow``; it documents them."""

    timeout: float | None = None
    retry: RetryConfig | None = None
    input_handler: InputHandler | None = None
    publish_lifecycle: bool = True
    session_pause_policy: SessionPausePolicy = SessionPausePolicy.PICKLE_OR_ERROR
    state_type: type | None = None
    collect_history: bool = False
    allow_pickle: bool = False
    events: tuple[type[Event], ...] = attrs.field(default=(), converter=_classes)
    max_session_refs: int = 10_000
    max_pending_events: int = 1_000_000
    stream_buffer: int = 10_000


class OptionKeywords(TypedDict, total=False):
    """The keywords of ``Workflow``; ``Workflow`` says what they mean."""

    timeout: float | None
    retry: RetryConfig | None
    input_handler: InputHandler | None
    publish_lifecycle: bool
    session_pause_policy: SessionPausePolicy
    state_type: type | None
    collect_history: bool
    allow_pickle: bool
    events: Iterable[type[Event]]
    max_session_refs: int
    max_pending_events: int
    stream_buffer: int


class WorkflowDefinition:
    """Steps and options that fit together, and the tables made of them.

    Attributes:
        plans: what the engine needs of each step, in the order of ``steps``; last that of ``input_handler``, if any.
        routing: where events go.
        has_timeouts: whether any step has a timeout of its own.
        children: by plan index, the workflows that run inside calls; their questions are answered by ``input_handler``
            unless they have one of their own.
        recoveries: by plan index, the step that takes its failures.
        expected: by plan index, the joins (their indexes) that each of its fan-outs must run; never itself.
        event_classes: by wire name, all event classes that the workflow mentions.

    Raises:
        WorkflowValidationError: with every problem at once, each with its fix.
    """

    def __init__(self, name: str, steps: Iterable[Step], options: WorkflowOptions) -> None:
        self.name = name
        self.options = options
        self.steps: tuple[Step, ...]
        self.steps, problems = read_steps(steps)
        runnable = (*self.steps, *_handler_steps(options.input_handler))
        self.plans: tuple[StepPlan, ...] = compile_plans(runnable, options.retry)
        declared = [each for each in options.events if isinstance(each, type)]
        handler = self.plans[-1] if len(self.plans) > len(self.steps) else None
        self.routing: Routing = Routing(self.plans, declared, handler)
        problems += definition_problems(name, self.steps, options, self.routing)
        if problems:
            raise WorkflowValidationError(name, tuple(problems))
        self.children: Mapping[int, WorkflowDefinition] = {
            plan.index: plan.step.child.answered_by(options.input_handler)
            for plan in self.plans
            if plan.step.child is not None
        }
        self.recoveries: tuple[StepPlan | None, ...] = tuple(map(self.routing.recovery_of, self.plans))
        announced = ({*plan.fan_types} - {Event} for plan in self.plans)  # of "any event" the run sees what comes
        self.has_timeouts: bool = any(plan.timeout_s is not None for plan in self.plans)
        self.expected: tuple[tuple[int, ...], ...] = tuple(
            tuple(
                join for join in self.routing.expected_joins(classes) if join != index
            )  # else [] leads to [] for ever
            for index, classes in enumerate(announced)
        )
        self.event_classes: Mapping[str, type[Event]] = {
            each.event_type: each for each in named_classes(self.steps, options) if each is not Event
        }

    def with_options(self, options: WorkflowOptions) -> "WorkflowDefinition":
        """The same steps under other options."""
        return WorkflowDefinition(self.name, self.steps, options)

    def answered_by(self, handler: InputHandler | None) -> "WorkflowDefinition":
        """This workflow, with ``handler`` for its questions unless it has one of its own."""
        if handler is None or self.options.input_handler is not None:
            return self
        return self.with_options(attrs.evolve(self.options, input_handler=handler))


def _handler_steps(handler: InputHandler | None) -> tuple[Step, ...]:
    if handler is None or not callable(handler):
        return ()

    async def answer(event: InputRequestEvent) -> InputResponseEvent:
        return InputResponseEvent(event.request_id, await handler(event))

    return (Step(name=HANDLER_STEP, function=answer).resolved(),)
