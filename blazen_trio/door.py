"""The door of a run: whatever happens goes through it as a message to the machine, which decides.

It is synchronous, so atomic under Trio: the effects are carried out before anything else can happen. User code is never
called from ``feed`` or from an effect.
"""

from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any, ClassVar

from trio.lowlevel import current_clock, enable_ki_protection

from blazen_trio.codec import Codec
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import Effect, Reject, Reply
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import Message
from blazen_trio.core.state import RunState


class Door:
    """What every runner begins with: a machine, and the way to it.

    Attributes:
        blocked_senders: how many wait for room in the run; they look again after each message.
        decide: the machine, or what stands before it.
        thread: the thread of Trio, which alone may touch the run.
    """

    __slots__ = (
        "_answer",
        "_is_doing_later",
        "_later",
        "blocked_senders",
        "clock",
        "codec",
        "decide",
        "definition",
        "machine",
        "run_id",
        "state",
        "thread",
    )

    PERFORM: ClassVar[dict[type, Callable[[Any, Any], None]]] = {}
    """How each effect is carried out, by its class."""

    def __init__(self, definition: WorkflowDefinition, state: RunState, codec: Codec) -> None:
        self.definition: WorkflowDefinition = definition
        self.state: RunState = state
        self.codec: Codec = codec
        self.run_id: str = state.run_id
        self.machine: Machine = Machine(definition, state)
        self.decide: Callable[[Message], list[Effect]] = self.decider(self.machine)
        self.clock: Callable[[], float] = current_clock().current_time
        self.thread: int = get_ident()
        self.blocked_senders: int = 0
        self._later: list[Callable[[], None]] = []
        self._is_doing_later = False
        self._answer: Reply | Reject | None = None

    def decider(self, machine: Machine) -> Callable[[Message], list[Effect]]:
        """What decides for this run, and for those inside it: their machines."""
        return machine.handle

    @enable_ki_protection
    def feed(self, message: Message) -> None:
        """Tell the machine what happened and carry out what it decides."""
        self.carry_out(self.decide(message))

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Do what the machine decided, in order."""
        perform = self.PERFORM
        for effect in effects:
            perform[effect.__class__](self, effect)
        if self._later:
            self.do_later()
        if self.blocked_senders:
            self.admit_senders()

    @enable_ki_protection
    def post(self, message: Message) -> Any:
        """``feed``, with a worker for what is ready now. Gives the machine's reply; raises what it rejects."""
        self.feed(message)
        answer, self._answer = self._answer, None
        self.arm_if_needed()
        if answer is None:
            return None
        if isinstance(answer, Reject):
            raise answer.error
        return answer.value

    def later(self, action: Callable[[], None]) -> None:
        """Do something that may feed, after the effects at hand."""
        self._later.append(action)

    def do_later(self) -> None:
        """Do now what was left for later."""
        if self._is_doing_later:  # then the loop that runs already does it, not one on top of it
            return
        self._is_doing_later = True
        try:
            while self._later:
                self._later.pop(0)()
        finally:
            self._is_doing_later = False

    def count_blocked(self, more: int) -> None:
        """So many more senders wait for room."""
        self.blocked_senders += more

    # --- What the runner has to give ----------------------------------------------------------------------------------

    def arm_if_needed(self) -> None:
        """Schedule a worker if there are calls for one and none is."""
        raise NotImplementedError

    def admit_senders(self, count: float = 1) -> None:
        """Let so many senders look whether they still have to wait."""
        raise NotImplementedError
