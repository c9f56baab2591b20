"""Answers of a server as what users know of local runs. What is not as it should be is a ``ProtocolError``."""

from typing import Any, TypeVar

import attrs
import msgspec

from blazen_trio.codec import DecodeError
from blazen_trio.core.description import Edge, Node, WorkflowDescription
from blazen_trio.core.errors import ProtocolError
from blazen_trio.core.events import InputRequestEvent
from blazen_trio.core.history import HistoryEvent
from blazen_trio.engine import RunInfo
from blazen_trio.peers import SessionRefData
from blazen_trio.session_refs import RefLifetime, RegistryKey, RemoteRefDescriptor, SessionRefRegistry
from blazen_trio.websocket.protocol.views import (
    HistoryView,
    InfoView,
    QuestionView,
    RefDataView,
    RefView,
    ResultView,
    RunView,
    WorkflowView,
)

_V = TypeVar("_V")


@attrs.define(eq=False)
class Seen:
    """What was heard of a run last; all handles of a run have one.

    Attributes:
        view: of the run.
        questions: the open ones in it.
        history: as it was asked for last.
    """

    view: RunView
    questions: tuple[InputRequestEvent, ...]
    history: tuple[HistoryEvent, ...] = ()
    __weakref__: Any = attrs.field(init=False, repr=False)


def _read(value: object, kind: type[_V]) -> _V:
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the server's answer cannot be read: {error}") from None


def run_in(value: object) -> RunView:
    """An answer that is a run."""
    return _read(value, RunView)


def look_in(value: object) -> RunView | None:
    """An answer that is a run, if it could be looked at."""
    return None if value is None else run_in(value)


def result_in(value: object) -> ResultView:
    """An answer that is a result."""
    return _read(value, ResultView)


def questions_in(views: list[QuestionView]) -> tuple[InputRequestEvent, ...]:
    """The questions that a view of a run holds."""
    try:
        questions = tuple([each.question() for each in views])
    except DecodeError as error:
        raise ProtocolError(f"a question cannot be read: {error}") from None
    if all(type(each.metadata) is dict for each in questions):
        return questions
    raise ProtocolError("a question cannot be read: its metadata is no object")


def info_in(value: object) -> RunInfo:
    """An answer that is what the store says of a run."""
    view = _read(value, InfoView)
    questions = questions_in(view.questions)
    return RunInfo(view.run_id, view.workflow, view.status, view.created, view.updated, questions, view.error)


def infos_in(value: object) -> list[RunInfo]:
    """An answer that is a list of those."""
    return [info_in(each) for each in _read(value, list[Any])]


def history_in(value: object) -> tuple[HistoryEvent, ...]:
    """An answer that is a run's history."""
    try:
        return tuple([each.entry() for each in _read(value, list[HistoryView])])
    except DecodeError as error:
        raise ProtocolError(f"the history cannot be read: {error}") from None


def workflows_in(value: object) -> list[WorkflowDescription]:
    """An answer that is a list of workflows."""
    return [_described(each) for each in _read(value, list[WorkflowView])]


def _described(view: WorkflowView) -> WorkflowDescription:
    nodes = [Node(n.name, n.kind, tuple(n.accepts), tuple(n.emits), n.is_remote) for n in view.nodes]
    edges = [Edge(each.source, each.target, each.event, each.is_fan_out) for each in view.edges]
    return WorkflowDescription(view.name, tuple(nodes), tuple(edges))


def flag_in(value: object) -> bool:
    """An answer that is yes or no."""
    return _read(value, bool)


def ref_data_in(value: object) -> SessionRefData:
    """An answer that is a live object as bytes."""
    view = _read(value, RefDataView)
    return SessionRefData(view.type_tag, view.data)


def refs_in(views: list[RefView]) -> SessionRefRegistry:
    """The live objects that stay elsewhere."""
    registry = SessionRefRegistry(max(1, len(views)))
    for each in views:
        try:
            key, lifetime = RegistryKey.from_text(each.key), RefLifetime(each.lifetime)
        except ValueError as error:
            raise ProtocolError(f"a session ref cannot be read: {error}") from None
        registry.insert_remote(
            key, RemoteRefDescriptor(each.origin_node_id, each.type_tag, each.created_at_epoch_ms), lifetime
        )
    return registry


def object_in(value: object) -> dict[str, Any]:
    """An answer that is an object of anything."""
    return _read(value, dict[str, Any])
