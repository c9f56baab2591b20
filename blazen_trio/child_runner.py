"""A run inside a call of another run: its runner, and the call that carries it.

Rules of this file:

* It has a machine, workers and a nursery of its own. The nursery is opened in the call, so whatever cancels the call
  cancels it, and no task of it outlives the call.
* What it publishes goes to the run around it, which numbers it; likewise it tells whether it has to be waited for.
* Cancelled, it is *suspended*: all is put back as by a pause. The machine around it decides what that was: an
  interrupted call is repeated and its run goes on from there; that of a failed attempt is dropped.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import trio
from trio.lowlevel import enable_ki_protection

from blazen_trio.codec import codec_of
from blazen_trio.core.calls import Call
from blazen_trio.core.children import published
from blazen_trio.core.effects import Effect, Publish, TellRest
from blazen_trio.core.errors import SubWorkflowError, WorkflowError, describe_exception
from blazen_trio.core.events import Event
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import (
    ChildRested,
    ChildStarted,
    DispatchHeld,
    DispatchReleased,
    Message,
    RunResumed,
)
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus
from blazen_trio.endings import Ending
from blazen_trio.groups import alone
from blazen_trio.runner import Runner
from blazen_trio.session_refs import SessionRefRegistry


class ChildRunner(Runner):
    """One run inside a call of ``parent``."""

    __slots__ = ("_is_suspended", "call", "parent")

    def __init__(self, parent: Runner, call: Call, state: RunState) -> None:
        assert state.nesting is not None
        self.parent: Runner = parent
        self.call: Call = call
        self._is_suspended = False
        definition = state.nesting.definition
        super().__init__(definition, state, codec_of(definition), parent.metadata)
        self.owns_session_refs = False
        self.has_worker_scopes = True
        self.outer_deadline: float = parent.outer_deadline

    @property
    def root(self) -> Runner:
        """The runner of the run around all others."""
        return self.parent.root

    @property
    def path(self) -> tuple[int, ...]:
        """The ids of the calls around this run, from the outside in."""
        return (*self.parent.path, self.call.id)

    def decider(self, machine: Machine) -> Callable[[Message], list[Effect]]:
        """What decides for this run."""
        return self.root.decider(machine)

    @property
    def session(self) -> dict[str, Any]:
        """Live objects of this run, by name; they outlive an interruption of the call."""
        assert self.state.nesting is not None
        return self.state.nesting.session

    @property
    def session_refs(self) -> SessionRefRegistry:
        """Those of the run around all others; this one only borrows them."""
        return self.root.session_refs

    def is_cancelling(self, call: Call) -> bool:
        """Whether the run, or the one around it, is cancelling a call now."""
        return super().is_cancelling(call) or self._is_suspended or self.parent.is_cancelling(self.call)

    def begin(self) -> None:
        """Go on from the state, which begins as that of a paused run; as far as the run around it goes on itself."""
        now, root = self.clock(), self.root
        self.observe(is_observed=root.is_observed)
        is_held = root.state.is_held
        if is_held is not self.state.is_held:  # it may have been released while this run was not in its call
            self.feed(DispatchHeld(now) if is_held else DispatchReleased(now))
        self.post(RunResumed(now, self.parent.state.wall_offset))
        if root.state.status is RunStatus.PAUSED and self.state.outcome is None:
            self.stop_dispatch(interrupt=False)

    def observe(self, *, is_observed: bool) -> None:
        """What is told here is told as far as the run around it wants to hear."""
        super().observe(is_observed=is_observed and self.parent.machine.is_observed)

    def go_on(self) -> None:
        """The pause is over, except for a run whose call is being cancelled: it goes on when that is repeated."""
        if not self._is_suspended:
            super().go_on()

    def cancelled_from_outside(self) -> None:
        """The call is being cancelled."""
        self.suspend()

    def suspend(self) -> None:
        """Put back what was not begun; what runs is put back by its workers, which are cancelled, too."""
        self._is_suspended = True
        if self.state.outcome is None:
            self.stop_dispatch(interrupt=False)

    def _publish(self, effect: Publish) -> None:
        self.parent.feed(published(self.call, effect, self.state))

    def _tell_rest(self, effect: TellRest) -> None:
        if not self._is_suspended:
            self.parent.post(ChildRested(self.call, effect.rest, self.clock()))

    PERFORM: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        **Runner.PERFORM,
        Publish: _publish,
        TellRest: _tell_rest,
    }


@enable_ki_protection
async def run_child(parent: Runner, call: Call, start: Event | None) -> ChildRunner:
    """Run the workflow of a call's step inside the call, to its end; without ``start`` it was begun before.

    Raises:
        SubWorkflowError: it failed; its error is the cause.
    """
    if start is not None:
        parent.post(ChildStarted(call, start))
    state = (parent.state.children or {}).get(call)
    if state is None:  # the call is late: it is being cancelled
        await trio.sleep_forever()
    runner = (parent.root.child_type or ChildRunner)(parent, call, state)
    await _live(runner)
    try:
        Ending(runner.state).take()
    except WorkflowError as error:
        name = runner.definition.name
        raise SubWorkflowError(call.step_name, name, describe_exception(error)) from error
    return runner


async def _live(runner: ChildRunner) -> None:
    """Be the body of the run: it lives in this task's nursery."""
    live = runner.root.live
    live[runner.state] = runner
    try:
        async with trio.open_nursery() as nursery:
            runner.nursery = nursery
            runner.begin()
            try:
                await runner.wait_finished()
            except trio.Cancelled:
                runner.suspend()
                raise
    except BaseException as error:  # noqa: ASYNC103, BLE001 - raised again, alone
        raise alone(error) from None  # noqa: ASYNC104 - it is what the nursery raised, without its group
    finally:
        del live[runner.state]
        runner.nursery = None
