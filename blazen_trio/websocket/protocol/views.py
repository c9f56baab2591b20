"""What stands in messages: runs, results, items of streams, workflows.

A view is what somebody afar sees of a thing. Servers make it of what they hold; clients make of it what their users
know from local runs.

What steps say is theirs, and JSON does not have all of it. In a view, half a character (a lone surrogate) is escaped,
and a number that is not finite is ``null``: one odd run must not hide the others. Events are exact: their codec has
words for these.
"""

import math
from typing import Any, Final, cast

import msgspec

from blazen_trio.codec import Codec
from blazen_trio.core.description import WorkflowDescription
from blazen_trio.core.events import InputRequestEvent, ProgressEvent
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.status import RunStatus
from blazen_trio.core.usage import TokenUsage
from blazen_trio.websocket.protocol.fields import Count, EventData, Exact, Name, PlainData, Seq

_CODEC: Final = Codec()


class QuestionView(Exact):
    """An open question of a run."""

    prompt: str
    request_id: str
    metadata: PlainData = {}

    @classmethod
    def of(cls, question: InputRequestEvent) -> "QuestionView":
        """The view of a question; of a subclass only what every question has. Raises ``EncodeError``."""
        metadata = _CODEC.to_plain(question.metadata, "metadata")
        return cls(prompt=_utf8(question.prompt), request_id=_utf8(question.request_id), metadata=metadata)

    def question(self) -> InputRequestEvent:
        """The question. Raises ``DecodeError``."""
        metadata = cast("dict[str, Any]", _CODEC.from_plain(self.metadata))
        return InputRequestEvent(self.prompt, self.request_id, metadata)


class UsageView(Exact, omit_defaults=True):
    """Tokens used by a run's successful calls."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    reasoning_tokens: int = 0
    cached_input_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0

    @classmethod
    def of(cls, usage: TokenUsage) -> "UsageView":
        """The view of these counts."""
        return cls(**{name: getattr(usage, name) for name in cls.__struct_fields__})

    def usage(self) -> TokenUsage:
        """The counts."""
        return TokenUsage(**{name: getattr(self, name) for name in self.__struct_fields__})


class ProgressView(Exact):
    """The last progress that a step reported; ``null``: it is no finite number."""

    current: float | None
    total: float | None = None
    label: str = ""
    step_name: str | None = None

    @classmethod
    def of(cls, progress: ProgressEvent) -> "ProgressView":
        """The view of this progress."""
        return cls(progress.current, progress.total, _utf8(progress.label), progress.step_name)

    def progress(self) -> ProgressEvent:
        """The progress."""
        return ProgressEvent(_number(self.current), self.total, self.label, self.step_name)


class RunView(Exact, omit_defaults=True):
    """A run as a handle shows it.

    ``running``: how many calls of each step run now, as far as the server knows. ``cost_usd``: ``null`` if it is no
    finite number. ``history``: the number of the last entry of its history, which is a request of its own.
    ``created``: when it was, in seconds since the epoch.
    """

    run_id: Name
    workflow: Name
    status: RunStatus
    questions: list[QuestionView] = []
    usage: UsageView = msgspec.field(default_factory=UsageView)
    cost_usd: float | None = 0.0
    progress: ProgressView | None = None
    running: dict[str, Count] = {}
    history: Count = 0
    created: float = 0.0

    def cost(self) -> float:
        """The cost in dollars."""
        return _number(self.cost_usd)


class InfoView(Exact, omit_defaults=True):
    """A run as lists show it; times in seconds since the epoch."""

    run_id: Name
    workflow: Name
    status: RunStatus
    created: float
    updated: float
    questions: list[QuestionView] = []
    error: str | None = None


class RefView(Exact):
    """A live object that stays where it is: its key, and what is known of it, as a ``RemoteRefDescriptor``."""

    key: Name
    origin_node_id: str
    type_tag: str
    created_at_epoch_ms: Count
    lifetime: str


class ResultView(Exact, omit_defaults=True):
    """What a completed run gave: the event that ended it; of a call also the live objects that stay there."""

    run: RunView
    event: EventData
    refs: list[RefView] = []


class ItemView(Exact, omit_defaults=True):
    """One item of a stream: see ``StreamItem``. A gap bears the number of the last event missed."""

    seq: Seq
    timestamp: float
    event: EventData
    source_step: str | None = None
    call_id: str | None = None
    attempt: int | None = None


class HistoryView(Exact, omit_defaults=True):
    """One entry of a run's history: see ``HistoryEvent``."""

    sequence: Count
    timestamp: float
    kind: str
    step_name: str | None = None
    event_type: str | None = None
    duration_ms: float | None = None
    error: str | None = None
    data: PlainData = {}

    @classmethod
    def of(cls, entry: HistoryEvent) -> "HistoryView":
        """The view of an entry. Raises ``EncodeError``."""
        view = cls(**{name: getattr(entry, name) for name in cls.__struct_fields__})
        view.data = _CODEC.to_plain(entry.data, "data")
        return view

    def entry(self) -> HistoryEvent:
        """The entry. Raises ``DecodeError``."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__struct_fields__}
        fields["data"] = _CODEC.from_plain(self.data)
        return HistoryEvent(**fields)


class NodeView(Exact):
    """A step or an end in the graph of a workflow: see ``Node``."""

    name: str
    kind: str
    accepts: list[str] = []
    emits: list[str] = []
    is_remote: bool = False


class EdgeView(Exact):
    """Events of one class that go from one node to another: see ``Edge``."""

    source: str
    target: str
    event: str
    is_fan_out: bool = False


class WorkflowView(Exact):
    """A workflow that a server's engine has, as a graph."""

    name: Name
    nodes: list[NodeView]
    edges: list[EdgeView]

    @classmethod
    def of(cls, graph: WorkflowDescription) -> "WorkflowView":
        """The view of what ``workflow.describe()`` gives."""
        nodes = [NodeView(n.name, n.kind, list(n.accepts), list(n.emits), n.is_remote) for n in graph.nodes]
        edges = [
            EdgeView(source=e.source, target=e.target, event=e.event, is_fan_out=e.is_fan_out) for e in graph.edges
        ]
        return cls(name=graph.name, nodes=nodes, edges=edges)


class LimitsView(Exact):
    """What a server lets a client do, as far as a client must know it: see ``WebsocketLimits``.

    ``message_bytes`` of one message of the client, ``window`` events of a subscription, ``requests`` at once.
    """

    message_bytes: Count
    window: Count
    requests: Count


class RefDataView(Exact):
    """The bytes of a live object, by its own account; ``data`` is base64."""

    type_tag: str
    data: bytes


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _number(value: float | None) -> float:
    return math.nan if value is None else value
