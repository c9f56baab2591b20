"""Random workflows that really run, to be interrupted anywhere: the machine's programs, with steps to them.

``tests.machine.programs`` wires steps at random: fan-outs in fan-outs, joins of one class or two, classes with two
takers, recoveries, limits, retries, questions. Here each call plays a part that its own id decides: it sleeps, fails,
writes, sends, asks, and then returns one of the results that its step may have. Rules, so that the end is the same in
any order of tasks and after any interruption:

* What a call does depends on its id, its event and its attempt, never on when it runs.
* Each event has a number, which is less in what follows from it; at 0 a path ends in a ``Leaf``.
* Nothing but the join of all leaves ends the run. It waits until other calls in no fan-out are through, and these
  return nothing.
"""

import functools
from collections.abc import Callable
from random import Random
from types import MappingProxyType
from typing import Any, Final

import attrs
import trio
from hypothesis import strategies as st

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    StartEvent,
    Step,
    StepFailedEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    WorkflowValidationError,
    step,
)
from blazen_trio.core.ids import JOIN_PLACE, ROOT_ID, derive_id
from tests.machine.programs import Letter, Program, Spec, programs, step_of

DEPTH_MAX = 2
ITEMS_MAX = 3
ANSWERS: Final = MappingProxyType({str(number): number for number in range(DEPTH_MAX + 1)})
LONG_S = 10_000.0
"""Longer than all that calls of the outermost level do."""


class Leaf(Event):
    """The end of a path, or of all that a fan-out led to."""

    paths: list[str]


def join_of_leaves(index: int) -> Step:
    """The step with this number, which ends the run; of the calls in no fan-out only the one for the first step's."""
    the_last = derive_id(derive_id(ROOT_ID, 0, 0), JOIN_PLACE, index)

    @step
    async def join_leaves(leaves: list[Leaf], ctx: Context) -> Leaf | StopEvent | None:
        paths = [path for leaf in leaves for path in leaf.paths]
        if not is_outermost(ctx):
            return Leaf(paths)
        if ctx.call.id != the_last:
            return None
        await trio.sleep(LONG_S)
        return StopEvent(paths)

    return join_leaves


def is_outermost(ctx: Context) -> bool:
    """Whether the call is in no fan-out."""
    return ctx.call.scope.parent is None


@attrs.frozen
class RandomWorkflow:
    """A program and what decides the parts of its calls."""

    program: Program
    salt: int
    depth: int

    def make(self) -> Workflow:
        """The workflow, with steps of its own."""
        limiter = trio.CapacityLimiter(2)
        steps = [self._step(index, spec, limiter) for index, spec in enumerate(self.program.specs)]
        return Workflow("random", [*steps, join_of_leaves(len(steps))], events=(Letter, Leaf))

    def _step(self, index: int, spec: Spec, limiter: trio.CapacityLimiter) -> Step:
        single = tuple(cls for cls in spec.single if cls is not StopEvent)
        sends = () if spec.is_join else spec.sends  # a join in the empty fan-out of its own sends would never end
        many: tuple[type[Event], ...] = (*spec.many, Leaf) if index == 0 else spec.many
        spec = attrs.evolve(spec, single=(*single, Leaf), many=many, sends=sends)

        async def play(event: Any, ctx: Context) -> Any:
            return await _Part(self, index, spec, event, ctx).play()

        made = step_of(spec, play, ctx=Context)
        return made.with_options(limiter=limiter) if spec.shares_limiter else made


class _Part:
    """What one attempt of a call does."""

    def __init__(self, whole: RandomWorkflow, index: int, spec: Spec, event: Any, ctx: Context) -> None:
        self._whole = whole
        self._index = index
        self._spec = spec
        self._ctx = ctx
        self._name = f"{spec.name} {ctx.call.id:x}"
        self._text = text_of(event)
        self._left = whole.depth if isinstance(event, StartEvent) else number_of(event) - 1
        self._random = Random(f"{whole.salt} {ctx.call.id}")  # the same for each attempt

    async def play(self) -> Event | list[Event] | None:
        for deed in self._random.choices(DEEDS, k=self._random.randint(0, 3)):
            await deed(self, self._ctx, self._random)
        fails = self._random.randint(0, self._spec.retries or 0)
        if self._ctx.attempt <= fails or (self._may_be_recovered() and self._random.random() < 0.3):
            raise OSError(self._name)
        self._ctx.state[self._name] = self._text
        return self._result()

    def _may_be_recovered(self) -> bool:
        recovery = self._whole.program.recovery_of(self._index)
        if recovery is None or self._index == 0:
            return False
        return self._ctx.call.recoveries < self._whole.program.specs[recovery].max_recoveries

    def _result(self) -> Event | list[Event] | None:
        is_first = self._index == 0
        if is_outermost(self._ctx) and not is_first:
            return None
        if self._left <= 0:
            return Leaf([self._name])
        if self._spec.many and (is_first or self._random.random() < 0.6):
            count = self._random.randint(0, ITEMS_MAX)
            first = [Leaf([self._name])] * is_first  # so that the last join is one of the first step's
            return first + [self._event(self._random.choice(self._spec.many)) for _ in range(count)]
        return self._event(self._random.choice([cls for cls in self._spec.single if self._is_taken(cls)]))

    def _is_taken(self, cls: type[Event]) -> bool:
        program = self._whole.program
        return cls is not InputRequestEvent or bool(program.takers(InputResponseEvent, is_join=False))

    def _event(self, cls: Any) -> Event:
        if cls is Leaf:
            return Leaf([self._name])
        if cls is InputRequestEvent:
            return InputRequestEvent(str(self._left), request_id=self._name)
        made: Event = cls(self._left)
        return made

    async def sleep(self, _ctx: Context, random: Random) -> None:
        await trio.sleep(random.choice([0.0, 0.5, 1.0, 3.0]))

    async def write(self, ctx: Context, _random: Random) -> None:
        ctx.state[f"{self._name} wrote"] = [self._text, ctx.state.get(f"{self._name} wrote")]
        ctx.write_event_to_stream(Letter(self._left))

    async def use(self, ctx: Context, random: Random) -> None:
        ctx.emit_usage(UsageEvent(total_tokens=random.randint(1, 99), cost_usd=0.01))

    async def do_once(self, ctx: Context, _random: Random) -> None:
        assert await ctx.once("it", lambda: (self._name, b"it")) == (self._name, b"it")

    async def ask(self, ctx: Context, _random: Random) -> None:
        assert await ctx.request_input("0") == 0

    async def send(self, ctx: Context, random: Random) -> None:
        is_inside = self._index == 0 or not is_outermost(ctx)
        if self._spec.sends and self._left > 0 and is_inside:
            ctx.send_event(self._event(random.choice(self._spec.sends)))


DEEDS: Final[list[Callable[[_Part, Context, Random], Any]]] = [
    _Part.sleep,
    _Part.sleep,
    _Part.write,
    _Part.use,
    _Part.do_once,
    _Part.ask,
    _Part.send,
]


@functools.singledispatch
def number_of(event: Any) -> int:
    """How deep what follows from an event may go."""
    number: int = event.n
    return number


@number_of.register
def _(event: StepFailedEvent) -> int:
    return number_of(event.event)


@number_of.register
def _(event: InputResponseEvent) -> int:
    number: int = event.response
    return number


@number_of.register
def _(event: list) -> int:
    return min((number_of(each) for each in event), default=0)


def text_of(event: Any) -> str:
    """What a call got, in the order it got it."""
    if isinstance(event, list):
        return ", ".join(map(text_of, event))
    return f"{type(event).__name__} {0 if isinstance(event, StartEvent) else number_of(event)}"


def random_workflows() -> st.SearchStrategy[RandomWorkflow]:
    """A random workflow that is valid with its additional join."""
    made = st.builds(RandomWorkflow, programs(), st.integers(0, 999), st.integers(1, DEPTH_MAX))
    return made.filter(is_valid)


def is_valid(workflow: RandomWorkflow) -> bool:
    """Whether it can be built."""
    try:
        workflow.make()
    except WorkflowValidationError:
        return False
    return True
