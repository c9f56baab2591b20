"""What the runner shall do: effects of the machine, in the imperative, carried out in the order given."""

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from blazen_trio.core.calls import Call, Lane
from blazen_trio.core.events import Event
from blazen_trio.core.ids import format_id_again
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.publication import StreamItem
from blazen_trio.core.status import Rest, RunStatus

if TYPE_CHECKING:
    from blazen_trio.core.state import RunState

StartStep: TypeAlias = Call
"""Run a call's step function, once, and tell how it ended: a call among the effects is itself the order to run it.

An object around it would say no more, and cost 5 % of a step.
"""


@attrs.define(eq=False)
class Publish:
    """Append an event to the stream. The stream keeps the effect itself; the item is made when somebody asks for it.

    ``call_id`` is a text if the call is one of a run inside: a path, as is the name of its step. ``blob`` is the item
    as a store has it, if it was written for one: whoever needs it encoded need not do so again.
    """

    seq: int
    timestamp: float
    event: Event
    source_step: str | None = None
    call_id: int | str | None = None
    attempt: int | None = None
    blob: bytes | None = None

    @property
    def call_text(self) -> str | None:
        """The call's id as people see it."""
        return format_id_again(self.call_id) if isinstance(self.call_id, int) else self.call_id

    def envelope(self) -> StreamItem:
        """The event with its number and origin."""
        return StreamItem(self.seq, self.timestamp, self.event, self.source_step, self.call_text, self.attempt)


@attrs.define(eq=False)
class WakeTask:
    """Give a waiting task of a call what it waits for."""

    token: Any
    value: object


@attrs.define(eq=False)
class OfferEvent:
    """Ask a waiter's predicate, in the waiter's own task, whether it wants an event."""

    waiter: Waiter
    event: Event


@attrs.define(eq=False)
class SetTimer:
    """Tell when ``at`` has come: a call's wait before its next attempt is over then."""

    call: Call
    at: float


@attrs.define(eq=False)
class CancelTimer:
    """Forget a call's timer."""

    call: Call


@attrs.define(eq=False)
class SetDeadline:
    """Tell when ``at`` has come: the running time is used up then."""

    at: float


@attrs.define(eq=False)
class ClearDeadline:
    """Forget the deadline."""


@attrs.define(eq=False)
class CancelCalls:
    """Cancel running calls; their ends are awaited."""

    calls: tuple[Call, ...]


@attrs.define(eq=False)
class RequestSlot:
    """Take a token of the shared limiter of ``lane`` on behalf of the run, when there is one, and tell."""

    lane: Lane


@attrs.define(eq=False)
class WithdrawSlot:
    """Nobody waits for the shared limiter of ``lane`` any more."""

    lane: Lane


@attrs.define(eq=False)
class TellRun:
    """Feed a message to a run inside this one: to its runner, or if it has none now, to its machine."""

    run: "RunState"
    message: Any


@attrs.define(eq=False)
class TellRest:
    """Tell the run around this one how this one rests now."""

    rest: Rest


@attrs.define(eq=False)
class Quiesce:
    """Nothing runs now: let those go on who wait for the pause."""


@attrs.define(eq=False)
class Reject:
    """Raise this error where the message came from; nothing was changed."""

    error: Exception


@attrs.define(eq=False)
class Reply:
    """Give this back where the message came from."""

    value: Any


@attrs.define(eq=False)
class Outcome:
    """How a run ended: with an event, or with an error and the exception that caused it."""

    status: RunStatus
    event: Event | None = None
    error: BaseException | None = None
    cause: BaseException | None = None


@attrs.define(eq=False)
class Finish:
    """The run is over: end what still runs, close the stream, give the outcome to everybody who waits for it."""

    outcome: Outcome


Effect: TypeAlias = (
    StartStep
    | Publish
    | WakeTask
    | OfferEvent
    | SetTimer
    | CancelTimer
    | SetDeadline
    | ClearDeadline
    | CancelCalls
    | RequestSlot
    | WithdrawSlot
    | TellRun
    | TellRest
    | Quiesce
    | Reject
    | Reply
    | Finish
)
