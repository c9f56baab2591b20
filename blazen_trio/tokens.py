"""Tokens of capacity limiters, taken on behalf of calls: those of the run (``max_concurrency``) and shared ones.

The machine counts a run's own calls, so a token of the run's limiter is always there; it is taken so that a user sees
in the limiter's statistics what runs. A shared limiter may be empty: then one task per step and run waits for a token,
however many calls wait, and the first of them gets it.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, cast

import trio

from blazen_trio.core.calls import Call, Lane
from blazen_trio.core.plans import StepPlan

if TYPE_CHECKING:
    from blazen_trio.runner import Runner


class Tokens:
    """All tokens that the calls of one run hold, and the tasks that wait for one.

    A granted token has an owner only when a call begins with it: on the way there it is ``_granted``, by step. That way
    is long in a durable run, where the start of the call waits to be saved.
    """

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._own: dict[int, trio.CapacityLimiter] = {}
        self._held: dict[Call, object] = {}
        self._granted: dict[int, deque[object]] = {}
        self._waits: dict[int, trio.CancelScope] = {}

    def take(self, call: Call) -> None:
        """A call is started: it holds a token from now on."""
        plan = call.plan
        if plan.limiter is None:
            self._own_limiter(plan).acquire_on_behalf_of_nowait(call)
        else:
            self._held[call] = self._granted[plan.index].popleft()
            if plan.limit != inf:
                self._own_limiter(plan).acquire_on_behalf_of_nowait(call)

    def forgo(self, call: Call) -> None:
        """A call is taken back whose start was not carried out yet."""
        if call.plan.limiter is not None:
            call.plan.limiter.release_on_behalf_of(self._granted[call.plan.index].popleft())

    def release(self, call: Call) -> None:
        """A call is over or was taken back: it holds no token any more."""
        plan = call.plan
        borrower = self._held.pop(call, None)
        if plan.limiter is not None and borrower is not None:
            plan.limiter.release_on_behalf_of(borrower)
        if plan.limit != inf:
            self._own_limiter(plan).release_on_behalf_of(call)

    def request(self, lane: Lane) -> None:
        """Get a token of the step's shared limiter, now or later, and tell the machine."""
        self._runner.later(lambda: self._try(lane))

    def withdraw(self, lane: Lane) -> None:
        """Nobody needs a token of the step's shared limiter now."""
        scope = self._waits.pop(lane.plan.index, None)
        if scope is not None:
            scope.cancel()

    def withdraw_all(self) -> None:
        """The run is over, or goes away."""
        for scope in self._waits.values():
            scope.cancel()
        self._waits.clear()
        for index, granted in self._granted.items():
            while granted:
                _limiter(self._runner.state.lanes[index]).release_on_behalf_of(granted.popleft())

    def statistics(self) -> dict[str, trio.CapacityLimiterStatistics]:
        """By step name: the limiters of the run."""
        plans = self._runner.definition.plans
        return {plans[index].name: limiter.statistics() for index, limiter in self._own.items()}

    def _own_limiter(self, plan: StepPlan) -> trio.CapacityLimiter:
        limiter = self._own.get(plan.index)
        if limiter is None:
            limiter = self._own[plan.index] = trio.CapacityLimiter(plan.limit)
        return limiter

    def _try(self, lane: Lane) -> None:
        if not lane.slot_asked or self._runner.state.outcome is not None:
            return
        borrower = object()
        limiter = _limiter(lane)
        try:
            limiter.acquire_on_behalf_of_nowait(borrower)
        except trio.WouldBlock:
            self._waits[lane.plan.index] = scope = trio.CancelScope()
            self._runner.start_task(self._waiting(lane, borrower, scope))
        else:
            self._grant(lane, borrower)

    def _waiting(self, lane: Lane, borrower: object, scope: trio.CancelScope) -> Callable[[], Any]:
        async def wait_for_token() -> None:
            limiter = _limiter(lane)
            with scope:
                await limiter.acquire_on_behalf_of(borrower)
                if self._waits.get(lane.plan.index) is scope:
                    del self._waits[lane.plan.index]
                    self._grant(lane, borrower)
                else:
                    limiter.release_on_behalf_of(borrower)

        return wait_for_token

    def _grant(self, lane: Lane, borrower: object) -> None:
        """The machine starts the first call that waits, if any; else the token goes back."""
        granted, running = self._granted.setdefault(lane.plan.index, deque()), lane.running
        granted.append(borrower)
        self._runner.grant_slot(lane)
        if lane.running == running:
            granted.remove(borrower)
            _limiter(lane).release_on_behalf_of(borrower)


def _limiter(lane: Lane) -> trio.CapacityLimiter:
    return cast("trio.CapacityLimiter", lane.plan.limiter)
