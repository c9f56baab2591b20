"""Every message of ``blazen.v1``. A class is a message; its tag is the message's ``type``, its docstring says the rest.

A request's ``is_repeatable`` says whether a client may send it again after its connection was lost, when nobody knows
whether the first one arrived: the outcome is the same. ``is_long`` says that its answer may take as long as a run; its
client may ``Cancel`` the waiting, and nothing else: what a request does is done, whole. ``answer`` is the kind of value
that its ``ok`` has.
"""

from typing import Any, ClassVar, Final, TypeAlias

from blazen_trio.core.status import RunStatus
from blazen_trio.websocket.protocol.errors import ErrorView
from blazen_trio.websocket.protocol.fields import (
    EventData,
    EventTypes,
    Exact,
    Labels,
    Name,
    PageSize,
    PlainData,
    RequestId,
    Seq,
    StepNames,
    Text,
    Window,
)
from blazen_trio.websocket.protocol.views import (
    HistoryView,
    InfoView,
    ItemView,
    LimitsView,
    RefDataView,
    ResultView,
    RunView,
    WorkflowView,
)

VERSION: Final = "blazen.v1"
"""The version that this library speaks best: the name of the websocket's subprotocol."""

VERSIONS: Final = (VERSION,)
"""All versions that it speaks, best first."""

Look: TypeAlias = RunView | None
"""How a run is after what was done to it; ``null``: it is done, and the run cannot be looked at just now."""


# --- Requests ---------------------------------------------------------------------------------------------------------


class Request(Exact, omit_defaults=True):
    """What a client asks for; ``id`` is its choice, unique among its requests that have no answer yet."""

    is_repeatable: ClassVar[bool] = True
    is_long: ClassVar[bool] = False
    answer: ClassVar[Any] = None
    id: RequestId

    @property
    def subject(self) -> str | None:
        """The id of the run that it is about, or shall have; ``None``: of none."""
        return None

    @property
    def about(self) -> str | None:
        """The name of the workflow that it says it is about."""
        return None


class OfRun(Request):
    """What is asked of one run."""

    run_id: Name

    @property
    def subject(self) -> str | None:
        """The id of that run."""
        return self.run_id


class Start(Request, tag="start"):
    """Start a run; gives a ``RunView``. Repeatable if the client made the ``run_id`` up: nobody else has it."""

    answer: ClassVar[Any] = RunView
    is_repeatable: ClassVar[bool] = False
    workflow: Name
    event: EventData
    run_id: Name | None = None
    metadata: dict[str, PlainData] = {}
    require: Labels = {}

    @property
    def subject(self) -> str | None:
        """The id that the run shall have."""
        return self.run_id

    @property
    def about(self) -> str | None:
        """The workflow."""
        return self.workflow


class Get(OfRun, tag="get"):
    """Look at a run; gives a ``RunView``."""

    answer: ClassVar[Any] = RunView


class Runs(Request, tag="runs"):
    """A page of runs, newest first; gives a list of ``InfoView``. ``after``: the last ``run_id`` of the page before."""

    answer: ClassVar[Any] = list[InfoView]
    status: RunStatus | None = None
    workflow: Name | None = None
    limit: PageSize = 100
    after: Name | None = None

    @property
    def about(self) -> str | None:
        """The workflow."""
        return self.workflow


class Info(OfRun, tag="info"):
    """What the store says of a run; gives an ``InfoView``."""

    answer: ClassVar[Any] = InfoView


class RespondToInput(OfRun, tag="respond_to_input"):
    """Answer a question; gives a ``RunView``."""

    answer: ClassVar[Any] = Look
    request_id: str
    response: PlainData


class SendEvent(OfRun, tag="send_event"):
    """Put an event into a run; gives a ``RunView``. Only events of classes marked ``external=True``."""

    answer: ClassVar[Any] = Look
    is_repeatable: ClassVar[bool] = False
    event: EventData


class Pause(OfRun, tag="pause"):
    """Pause a run, and wait until none of its calls runs; gives a ``RunView``."""

    answer: ClassVar[Any] = Look
    is_long: ClassVar[bool] = True
    interrupt: bool = False


class Resume(OfRun, tag="resume"):
    """Go on with a run that is paused; gives a ``RunView``."""

    answer: ClassVar[Any] = Look


class Abort(OfRun, tag="abort"):
    """End a run now; gives a ``RunView``."""

    answer: ClassVar[Any] = Look
    reason: Text | None = None


class Delete(OfRun, tag="delete"):
    """Forget a run that is over; gives ``null``."""

    is_repeatable: ClassVar[bool] = False


class Result(OfRun, tag="result"):
    """Wait for the end of a run; gives a ``ResultView``, or the error that ended it, and with it the ``run``."""

    answer: ClassVar[Any] = ResultView
    is_long: ClassVar[bool] = True


class Snapshot(OfRun, tag="snapshot"):
    """The whole condition of a run; gives the JSON object that ``WorkflowSnapshot.to_json`` writes."""

    answer: ClassVar[Any] = dict[str, PlainData]


class History(OfRun, tag="history"):
    """What happened in a run; gives a list of ``HistoryView``."""

    answer: ClassVar[Any] = list[HistoryView]


class Statistics(Request, tag="statistics"):
    """Counters of the engine and of the server; gives an object."""

    answer: ClassVar[Any] = dict[str, PlainData]


class Workflows(Request, tag="workflows"):
    """The workflows that runs can be started of; gives a list of ``WorkflowView``."""

    answer: ClassVar[Any] = list[WorkflowView]


class Subscribe(OfRun, tag="subscribe"):
    """Read a run's stream behind ``after``; gives ``null``. This request's ``id`` names the subscription from now on.

    ``types``: only events of these types, and gaps. ``window``: at most so many events are on their way that were not
    said to be received. ``created``: only of the run that was created then, not of one that has its id since.
    """

    after: Seq = 0
    types: EventTypes | None = None
    window: Window | None = None
    created: float | None = None


class Unsubscribe(Request, tag="unsubscribe"):
    """Leave a subscription; gives ``null``, also if there is none.

    Nothing of it comes behind the answer, the answer to its ``subscribe`` included.
    """

    subscription: RequestId


class Call(Request, tag="call"):
    """Run a workflow here for another server; gives a ``ResultView`` with ``refs``.

    ``call_id`` is the run's id: who calls again with the same one gets the first one's result. ``steps``: the names of
    the workflow's steps; a server that has no such workflow makes it of its registered steps.
    """

    answer: ClassVar[Any] = ResultView
    is_long: ClassVar[bool] = True
    call_id: Name
    workflow: Name
    steps: StepNames
    event: EventData
    metadata: dict[str, PlainData] = {}

    @property
    def subject(self) -> str | None:
        """The id that the run shall have."""
        return self.call_id

    @property
    def about(self) -> str | None:
        """The workflow."""
        return self.workflow


class DerefSessionRef(Request, tag="deref_session_ref"):
    """The bytes of a live object that stays here; gives a ``RefDataView``."""

    answer: ClassVar[Any] = RefDataView
    key: Name


class ReleaseSessionRef(Request, tag="release_session_ref"):
    """Forget a live object that stays here; gives whether it was there."""

    answer: ClassVar[Any] = bool
    key: Name


class Received(Exact, tag="received"):
    """No request: the client has taken all events of a subscription up to ``seq``, and has room for more."""

    subscription: RequestId
    seq: Seq


class Cancel(Exact, tag="cancel"):
    """No request: the client does not wait any more for the answer to its request with this ``id``.

    It ends the waiting of a ``result``, ``pause`` or ``call``, and only that: a run is paused, a call's run begins and
    goes on. The answer is a ``RequestCancelledError`` then, or the one that was there already. To any other request, to
    one that is answered and to one that there never was it does nothing.
    """

    id: RequestId


# --- What a server says -----------------------------------------------------------------------------------------------


class Welcome(Exact, tag="welcome"):
    """The first message. ``node_id`` is another one each time the server is opened."""

    version: str
    library: str
    node_id: Name
    limits: LimitsView


class Ok(Exact, tag="ok"):
    """The answer to the request with this ``id``."""

    id: RequestId
    value: PlainData = None


class Error(Exact, tag="error", omit_defaults=True):
    """The request with this ``id`` failed; without an ``id``: a message could not be read at all.

    ``run``: how the run is whose ``result`` was asked for, when this is the error that ended it.
    """

    id: RequestId | None
    error: ErrorView
    run: RunView | None = None


class Events(Exact, tag="events"):
    """Events of a subscription, in order. It now has everything up to number ``until``."""

    subscription: RequestId
    until: Seq
    items: list[ItemView]


class Ended(Exact, tag="ended"):
    """A subscription is over: after the last event of the run, or with an error."""

    subscription: RequestId
    error: ErrorView | None = None


class Run(Exact, tag="run"):
    """The status or the open questions of a run that this client subscribes to are others now."""

    run: RunView


REQUESTS: Final[tuple[type[Request], ...]] = (
    Start,
    Get,
    Runs,
    Info,
    RespondToInput,
    SendEvent,
    Pause,
    Resume,
    Abort,
    Delete,
    Result,
    Snapshot,
    History,
    Statistics,
    Workflows,
    Subscribe,
    Unsubscribe,
    Call,
    DerefSessionRef,
    ReleaseSessionRef,
)
"""All requests."""

FROM_CLIENT: Final[tuple[type[Any], ...]] = (*REQUESTS, Received, Cancel)
"""All messages of a client."""

FROM_SERVER: Final[tuple[type[Any], ...]] = (Welcome, Ok, Error, Events, Ended, Run)
"""All messages of a server."""

ClientMessage: TypeAlias = Request | Received | Cancel
ServerMessage: TypeAlias = Welcome | Ok | Error | Events | Ended | Run
Message: TypeAlias = ClientMessage | ServerMessage


def tag(message: Message | type[Message]) -> str:
    """The ``type`` of a message in JSON."""
    return str(message.__struct_config__.tag)


def verb(request: Request | type[Request]) -> str:
    """What a request asks for: its ``type``, as ``authorize`` hooks know it."""
    return tag(request)
