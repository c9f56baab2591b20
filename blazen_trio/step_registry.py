"""``StepRegistry``: steps by name, for a server that is told by names which workflow to run.

The rules of this file:

* What is not registered cannot be named: no code is ever found by a name that stands in data.
* One name is one step. The same step may be registered again, as a module that is imported twice does.
"""

from collections.abc import Iterable

from blazen_trio.core.errors import UnknownStepError
from blazen_trio.core.steps import Step


class StepRegistry:
    """Steps by name. ``len()`` counts them; ``name in registry`` tells whether there is one."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def register(self, step: Step) -> Step:
        """Make a step known by its name; gives the step, so it may stand above ``@step`` as a decorator.

        Raises:
            TypeError: no ``Step``.
            ValueError: another step has this name.
        """
        if not isinstance(step, Step):
            raise TypeError(f"register() takes a step, not {step!r}; put @step below it")
        if self._steps.setdefault(step.name, step) is not step:
            raise ValueError(f"another step is registered as {step.name!r}; give this one a name of its own")
        return step

    def get(self, name: str) -> Step:
        """The step of this name.

        Raises:
            UnknownStepError: none is registered so.
        """
        return self.steps([name])[0]

    def steps(self, names: Iterable[str]) -> list[Step]:
        """The steps of these names, in this order.

        Raises:
            UnknownStepError: with all names that are not known.
        """
        wanted = list(names)
        unknown = tuple(dict.fromkeys(name for name in wanted if name not in self))
        if unknown:
            raise UnknownStepError(unknown[0], self.names, unknown)
        return [self._steps[name] for name in wanted]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all steps, in the order in which they were registered."""
        return tuple(self._steps)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._steps

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return f"<StepRegistry of {len(self)} steps>"
