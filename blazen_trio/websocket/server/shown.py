"""Things of the engine as clients see them."""

from functools import lru_cache
from typing import Final

from blazen_trio.core.effects import Publish
from blazen_trio.core.errors import ProtocolError
from blazen_trio.core.events import Event, StreamGap
from blazen_trio.core.publication import Publication
from blazen_trio.durable.items import ItemCodec, parts_of
from blazen_trio.engine import EngineRun, RunInfo
from blazen_trio.run import WorkflowResult
from blazen_trio.websocket.protocol import encode_item
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.views import (
    HistoryView,
    InfoView,
    ItemView,
    ProgressView,
    QuestionView,
    ResultView,
    RunView,
    UsageView,
)
from blazen_trio.websocket.server.window import EncodedItem
from blazen_trio.workflow import Workflow

CLASSES_KNOWN_MAX: Final = 10_000
"""Event classes whose names are remembered; more only cost time."""


def run_view(run: EngineRun) -> RunView:
    """A run as its handle shows it now."""
    progress, history = run.progress, run.history
    return RunView(
        run_id=run.run_id,
        workflow=run.workflow.name,
        status=run.status,
        questions=list(map(QuestionView.of, run.pending_inputs)),
        usage=UsageView.of(run.usage_total),
        cost_usd=run.cost_total_usd,
        progress=None if progress is None else ProgressView.of(progress),
        running=run.running_steps(),
        history=history[-1].sequence if history else 0,
        created=run.created,
    )


def info_view(info: RunInfo) -> InfoView:
    """A run as lists show it."""
    return InfoView(
        run_id=info.run_id,
        workflow=info.workflow_name,
        status=info.status,
        created=info.created,
        updated=info.updated,
        questions=list(map(QuestionView.of, info.pending_inputs)),
        error=info.error,
    )


def result_view(run: EngineRun, result: WorkflowResult) -> ResultView:
    """What a run gave. Raises ``EncodeError``."""
    return ResultView(run=run_view(run), event=event_data(ItemCodec(run.workflow), result.event))


def history_view(run: EngineRun) -> list[HistoryView]:
    """What happened in a run. Raises ``EncodeError``."""
    return list(map(HistoryView.of, run.history))


def event_data(codec: ItemCodec, event: Event) -> EventData:
    """An event as data. Raises ``EncodeError``."""
    plain = codec.event_to_plain(event)
    return EventData(event_type=str(plain["event_type"]), data=plain["data"])


def event_class(workflow: Workflow, name: str) -> type[Event]:
    """The event class of this wire name; raises ``ProtocolError`` if the workflow has none."""
    cls = workflow.codec.event_class(name)
    if cls is None:
        raise ProtocolError(f"the workflow {workflow.name!r} has no event class {name!r:.200}")
    return cls


def read_event(workflow: Workflow, sent: EventData) -> Event:
    """The event that a client sent to a run of this workflow. Raises ``EventDecodeError``."""
    return workflow.codec.event_from_plain(sent.plain())


class ItemWriter:
    """Encodes the items of the streams of one workflow's runs."""

    def __init__(self, workflow: Workflow) -> None:
        self._codec = ItemCodec(workflow)

    def write(self, record: Publication) -> EncodedItem:
        """The item as it stands in messages. Raises ``EncodeError``."""
        if isinstance(record, Publish) and record.blob is not None:
            plain, *origin = parts_of(record.blob)
            view = ItemView(record.seq, record.timestamp, EventData(plain["event_type"], plain["data"]), *origin)
        else:
            item = record.envelope()
            data = event_data(self._codec, item.event)
            view = ItemView(item.seq, item.timestamp, data, item.source_step, item.call_id, item.attempt)
        cls = type(record.event)
        return EncodedItem(record.seq, names_of(cls), encode_item(view), cls is StreamGap)


def gap_item(seq: int, missed: int, now: float) -> bytes:
    """In place of events that one subscriber missed, the last of which had this number."""
    return encode_item(ItemView(seq, now, EventData(StreamGap.event_type, {"missed": missed})))


@lru_cache(CLASSES_KNOWN_MAX)
def names_of(cls: type[Event]) -> frozenset[str]:
    """The wire names of an event class and of those that it derives from: who asks for those gets it, too."""
    return frozenset(each.event_type for each in cls.__mro__ if isinstance(each, type(Event)))
