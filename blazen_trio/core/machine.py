"""The machine: takes a message, changes the state, gives effects. Pure: no trio, clock, random, logging or I/O.

It is total: no message makes it raise, whatever users do. What a user did wrong is an effect (``Reject``, ``Finish``).
Each message class has one handler; the handlers of one idea stand together:

===============  ==================================================================================
``outcomes``     how calls end: success, failure, retry, recovery, interruption, slots and timers
``records``      what calls do while they run: values, stream items, usage, ``once``, collectors
``inbox``        events that calls or outsiders send, and calls that wait for events
``questions``    what people are asked and answer
``children``     runs inside this one: what they tell it
``controls``     start, pause, resume, abort, time-out, hold
===============  ==================================================================================
"""

from typing import Final

from blazen_trio.core import children, controls, inbox, outcomes, questions, records
from blazen_trio.core.dispatch import Dispatcher, Handlers
from blazen_trio.core.effects import Effect
from blazen_trio.core.messages import Message

HANDLERS: Final[Handlers] = {
    **outcomes.HANDLERS,
    **records.HANDLERS,
    **inbox.HANDLERS,
    **questions.HANDLERS,
    **children.HANDLERS,
    **controls.HANDLERS,
}


class Machine(Dispatcher):
    """One run's decisions. ``handle`` is its only door."""

    __slots__ = ()

    def handle(self, message: Message) -> list[Effect]:
        """Take in what happened; give what is to be done, in order."""
        effects: list[Effect] = []
        self.effects = effects
        HANDLERS[message.__class__](self, message)
        return effects
