"""Which event classes are known here: of the workflows that the client was given, and the library's own.

* What is of no known class is a ``DynamicEvent``, so a stream can be read without knowing anything.
* An event of a class that no workflow here has can be sent all the same: its class says how it is written.
* Where two classes have one name, that of the outermost workflow is meant, as in the engine.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final
from weakref import WeakKeyDictionary

from blazen_trio.codec import BUILT_IN_EVENTS, Codec, codec_of
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import EventDecodeError
from blazen_trio.core.events import DynamicEvent, Event, StreamGap
from blazen_trio.websocket.protocol.fields import TYPES_MAX, EventData
from blazen_trio.workflow import Workflow

_PLAIN: Final = Codec()


class Knowledge:
    """The workflows that are known here, by name, and what is read and written with them."""

    def __init__(self, workflows: Iterable[Workflow]) -> None:
        self._workflows: dict[str, Workflow] = {}
        self._codecs: dict[str, tuple[Codec, ...]] = {}
        self._own_codecs: WeakKeyDictionary[type[Event], Codec] = WeakKeyDictionary()
        for each in workflows:
            self._add(each)

    def _add(self, workflow: object) -> None:
        if not isinstance(workflow, Workflow):
            raise TypeError(f"workflows= takes workflows, not {workflow!r:.60}")
        if self._workflows.setdefault(workflow.name, workflow) is not workflow:
            raise ValueError(f"two workflows are named {workflow.name!r}; runs are told apart by the name")
        self._codecs[workflow.name] = tuple(map(codec_of, _with_inner(workflow)))

    def workflow(self, name: str) -> Workflow:
        """The workflow of this name; raises ``ValueError`` if it is not known here."""
        workflow = self._workflows.get(name)
        if workflow is None:
            raise ValueError(f"this client knows no workflow {name!r:.60}; pass it in workflows=")
        return workflow

    def codec(self, name: str) -> Codec:
        """What values of runs of this workflow are written with."""
        return self._codecs.get(name, (_PLAIN,))[0]

    # --- Out ----------------------------------------------------------------------------------------------------------

    def write(self, event: Event, name: str | None = None) -> EventData:
        """An event for a run of the workflow of this name, or for whichever run; raises ``EncodeError``."""
        if isinstance(event, DynamicEvent):
            return EventData(event_type=event.event_type, data=_PLAIN.to_plain(event.data, "event.data"))
        plain: dict[str, Any] = self._writer(type(event), name).event_to_plain(event)
        return EventData(event_type=plain["event_type"], data=plain["data"])

    def _writer(self, cls: type[Event], name: str | None) -> Codec:
        if name in self._codecs:
            return self._codecs[name][0]
        codec = self._own_codecs.get(cls)
        if codec is None:
            codec = self._own_codecs[cls] = _PLAIN if cls in BUILT_IN_EVENTS else Codec([cls])
        return codec

    # --- In -----------------------------------------------------------------------------------------------------------

    def read(self, data: EventData, name: str) -> Event:
        """An event of a run of this workflow; of an unknown class a ``DynamicEvent``. Raises ``EventDecodeError``."""
        codecs = self._codecs.get(name, (_PLAIN,))
        known = (each for each in codecs if each.event_class(data.event_type) is not None)
        return next(known, codecs[0]).event_from_plain(data.plain(), dynamic=True)

    def read_result(self, data: EventData, name: str) -> Event:
        """The event that ended a run of this workflow.

        Raises:
            EventDecodeError: its class, or that of something in it, is not known here.
        """
        try:
            return self.codec(name).event_from_plain(data.plain())
        except EventDecodeError as error:
            if name in self._workflows:
                raise
            problem = f"{error.problem}; pass the workflow {name!r} in workflows= of open_websocket_client"
            raise EventDecodeError(error.event_type, error.field, problem) from None

    def type_names(self, types: tuple[type[Event], ...] | None, name: str) -> list[str] | None:
        """The names of all classes that a server should send, ``None`` for all: then it is for the client to choose.

        A class that is not known here may be the base of anything, and so may ``Event`` and ``DynamicEvent``.
        """
        if types is None or Event in types or DynamicEvent in types:
            return None
        known = set(self._classes(name))
        if not known.issuperset(types):
            return None
        names = {each.event_type for each in known if issubclass(each, types) and each is not StreamGap}
        return sorted(names) if 0 < len(names) <= TYPES_MAX else None

    def _classes(self, name: str) -> Iterator[type[Event]]:
        yield from BUILT_IN_EVENTS
        if name in self._workflows:
            for each in _with_inner(self._workflows[name]):
                yield from each.event_classes.values()


def _with_inner(definition: WorkflowDefinition) -> Iterator[WorkflowDefinition]:
    yield definition
    for child in definition.children.values():
        yield from _with_inner(child)
