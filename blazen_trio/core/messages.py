"""What can happen to a run: messages to the machine, in the past tense.

``at`` is the time in seconds on the runner's clock, ``jitter`` a random fraction in [0, 1): clocks and chance are
outside of the machine. A message is fed once and not kept.
"""

from typing import Any, TypeAlias

import attrs

from blazen_trio.core.calls import Call
from blazen_trio.core.events import Event, InputRequestEvent, ProgressEvent, UsageEvent
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.status import Rest


@attrs.frozen(eq=False)
class Failure:
    """Why a call failed, as a value. Made where user code runs; the machine only carries the exception.

    Attributes:
        error_type: the name of the exception's class.
        text: what the exception says.
        is_retryable: whether the step's ``retry_on`` lists it.
        retry_after_s: the wait that the exception itself asks for.
        is_violation: the step broke its own declaration; neither retried nor recovered.
        passes: not a failure of the step but of the program (``KeyboardInterrupt``, ``SystemExit``): leaves as it is.
    """

    error_type: str
    text: str
    exception: BaseException
    is_retryable: bool = False
    retry_after_s: float | None = None
    is_violation: bool = False
    passes: bool = False

    @property
    def error(self) -> str:
        """Type and text, such as ``"ValueError: no such page"``."""
        return f"{self.error_type}: {self.text}" if self.text else self.error_type


@attrs.define(eq=False)
class RunStarted:
    """The run's block was entered; ``wall_offset`` turns ``at`` into seconds since the epoch."""

    at: float
    event: Event
    wall_offset: float


@attrs.define(eq=False)
class RunResumed:
    """The block of a run was entered that goes on from a snapshot; its state is that of a paused run."""

    at: float
    wall_offset: float


# --- Calls -----------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class StepSucceeded:
    """A call returned; ``result`` is an event, a list or tuple of events, or ``None``, checked against the step."""

    call: Call
    result: Any
    at: float


@attrs.define(eq=False)
class StepFailed:
    """A call raised, timed out or broke its declaration."""

    call: Call
    failure: Failure
    at: float
    jitter: float


@attrs.define(eq=False)
class StepInterrupted:
    """A call was cancelled by the engine and did not end by itself before."""

    call: Call
    at: float


@attrs.define(eq=False)
class SlotGranted:
    """The shared limiter of a step (its plan's index) has a token for the first call that waits for one."""

    step_index: int
    at: float


@attrs.define(eq=False)
class TimerFired:
    """The wait of a call before its next attempt is over."""

    call: Call
    at: float


# --- What a call does while it runs -----------------------------------------------------------------------------------


@attrs.define(eq=False)
class EventSent:
    """A call sent or yielded an event."""

    call: Call
    event: Event
    at: float


@attrs.define(eq=False)
class StreamWritten:
    """A call wrote an event to the stream."""

    call: Call
    event: Event
    at: float


@attrs.define(eq=False)
class StateWritten:
    """A call set a state key to a value in plain data; ``MISSING`` if it deleted the key."""

    call: Call
    key: str
    value: Any


@attrs.define(eq=False)
class OnceRecorded:
    """A call did something that must not be done again."""

    call: Call
    name: str
    result: object


@attrs.define(eq=False)
class AnswerKept:
    """The workflow's own handler answered a call's question."""

    call: Call
    request_id: str
    response: object


@attrs.define(eq=False)
class UsageReported:
    """A call used tokens or money."""

    call: Call
    event: UsageEvent
    at: float


@attrs.define(eq=False)
class ProgressReported:
    """A call told how far it is."""

    call: Call
    event: ProgressEvent
    at: float


@attrs.define(eq=False)
class ChildStarted:
    """A call began a run inside this one with an event."""

    call: Call
    event: Event


@attrs.define(eq=False)
class ChildPublished:
    """The run inside a call published an event; the rest tells what call did it there, if it was one."""

    call: Call
    event: Event
    source_step: str | None
    call_id: int | str | None
    attempt: int | None
    at: float


@attrs.define(eq=False)
class ChildRested:
    """The run inside a call came to rest, or went on."""

    call: Call
    rest: Rest
    at: float


@attrs.define(eq=False)
class EventCollected:
    """A call added its event to a buffer of ``count`` events."""

    call: Call
    event_class: type[Event]
    count: int


@attrs.define(eq=False)
class EventAwaited:
    """A task of a call waits for an event."""

    waiter: Waiter
    at: float


@attrs.define(eq=False)
class EventWanted:
    """A call opened a channel for events of a class; what comes before it receives is kept for it."""

    event_class: type[Event]


@attrs.define(eq=False)
class EventClaimed:
    """The predicate of a waiter wanted the event on offer."""

    waiter: Waiter


@attrs.define(eq=False)
class EventDeclined:
    """The predicate of a waiter did not want the event on offer."""

    waiter: Waiter
    at: float


@attrs.define(eq=False)
class WaitEnded:
    """A task of a call left ``wait_for_event`` without an event."""

    waiter: Waiter
    at: float


@attrs.define(eq=False)
class InputRequested:
    """A call asks a question and waits for the answer; ``is_final`` if nothing else lets it go on."""

    call: Call
    event: InputRequestEvent
    token: Any
    is_final: bool
    at: float


@attrs.define(eq=False)
class InputWithdrawn:
    """A call stopped waiting for the answer to its question."""

    call: Call
    request_id: str
    at: float


# --- From outside -----------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class EventReceived:
    """Somebody outside of the run sent an event into it."""

    event: Event
    at: float


@attrs.define(eq=False)
class SenderOpened:
    """Somebody outside holds a channel into the run: more events may come, so it cannot stall."""

    at: float


@attrs.define(eq=False)
class SenderClosed:
    """A channel into the run was closed."""

    at: float


@attrs.define(eq=False)
class InputAnswered:
    """Somebody answered a question."""

    request_id: str
    response: object
    at: float


@attrs.define(eq=False)
class PauseRequested:
    """The run shall stop dispatching; ``unbegun`` are calls that were started but not taken by a worker yet."""

    at: float
    interrupt: bool
    unbegun: tuple[Call, ...]


@attrs.define(eq=False)
class ResumeRequested:
    """The paused run shall go on."""

    at: float


@attrs.define(eq=False)
class AbortRequested:
    """The run shall end now."""

    at: float
    reason: str | None


@attrs.define(eq=False)
class StoreFailed:
    """What the run did could not be saved, so it did not happen; nothing of it was seen outside."""

    at: float
    error: Exception


@attrs.define(eq=False)
class DeadlinePassed:
    """The running time that the workflow's timeout allows is used up."""

    at: float


@attrs.define(eq=False)
class ObservationChanged:
    """Somebody began to watch the stream, or the last one went."""

    is_observed: bool


@attrs.define(eq=False)
class DispatchHeld:
    """A lossless subscriber fell behind."""

    at: float


@attrs.define(eq=False)
class DispatchReleased:
    """The lossless subscribers caught up."""

    at: float


Message: TypeAlias = (
    RunStarted
    | RunResumed
    | StepSucceeded
    | StepFailed
    | StepInterrupted
    | SlotGranted
    | TimerFired
    | EventSent
    | StreamWritten
    | StateWritten
    | OnceRecorded
    | AnswerKept
    | UsageReported
    | ProgressReported
    | ChildStarted
    | ChildPublished
    | ChildRested
    | EventCollected
    | EventAwaited
    | EventWanted
    | EventClaimed
    | EventDeclined
    | WaitEnded
    | InputRequested
    | InputWithdrawn
    | EventReceived
    | SenderOpened
    | SenderClosed
    | InputAnswered
    | PauseRequested
    | ResumeRequested
    | AbortRequested
    | StoreFailed
    | DeadlinePassed
    | ObservationChanged
    | DispatchHeld
    | DispatchReleased
)
