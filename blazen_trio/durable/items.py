"""Stream items and headers of runs as rows of a store, and back."""

from collections.abc import Iterator
from typing import Any, Final, cast

from msgspec import msgpack

from blazen_trio.abc import RunHeader, StreamRow
from blazen_trio.codec import Codec, DecodeError, Plain, codec_of, from_msgpack, to_msgpack
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.effects import Publish
from blazen_trio.core.errors import EventDecodeError, StoreCorruptError
from blazen_trio.core.events import Event, InputRequestEvent
from blazen_trio.core.publication import StreamItem
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus
from blazen_trio.snapshot.fields import checked_list

_PLAIN_CODEC: Final = Codec()
_FIELDS: Final = ("prompt", "request_id", "metadata")


class ItemCodec:
    """Events of a workflow and of those inside it: where two classes have one name, the outermost is meant."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self._codecs: tuple[Codec, ...] = tuple(map(codec_of, _with_inner(definition)))
        self._by_class: dict[type[Event], Codec] = {}

    def write(self, effect: Publish, plain: dict[str, Plain] | None = None) -> StreamRow:
        """A stream item as a row; ``plain`` is its event, if that was encoded already.

        Raises:
            EncodeError: the event cannot be encoded.
        """
        item: list[Plain] = [
            plain or self.event_to_plain(effect.event),
            effect.source_step,
            effect.call_text,
            effect.attempt,
        ]
        return StreamRow(effect.seq, effect.timestamp, to_msgpack(item))

    def event_to_plain(self, event: Event) -> dict[str, Plain]:
        """An event as plain data, by the codec of the workflow whose class it is.

        Raises:
            EncodeError: it cannot be encoded.
        """
        cls = type(event)
        codec = self._by_class.get(cls)
        if codec is None:
            codec = next((each for each in self._codecs if each.event_class(cls.event_type) is cls), self._codecs[0])
            self._by_class[cls] = codec
        return codec.event_to_plain(event)

    def read(self, row: StreamRow) -> StreamItem:
        """The item of a row; an event of a class that is not known any more is a ``DynamicEvent``.

        Raises:
            StoreCorruptError: it is none.
        """
        try:
            event, *origin = checked_list(from_msgpack(row.blob), "item")
            names: list[Any] = origin
            return StreamItem(row.seq, row.timestamp, self._read_event(event), *names)
        except (DecodeError, EventDecodeError, TypeError, ValueError) as error:
            raise StoreCorruptError(f"stream item {row.seq} cannot be read: {error}") from None

    def _read_event(self, plain: Plain) -> Event:
        name = plain.get("event_type") if type(plain) is dict else None
        known = (each for each in self._codecs if type(name) is str and each.event_class(name) is not None)
        return next(known, self._codecs[0]).event_from_plain(plain, dynamic=True)


def parts_of(blob: bytes) -> list[Any]:
    """What ``ItemCodec.write`` put into a blob: the event as plain data, its step, its call and the attempt.

    For a blob that was made in this process: nothing is checked, nor made an event.
    """
    parts: list[Any] = msgpack.decode(blob)
    return parts


def _with_inner(definition: WorkflowDefinition) -> Iterator[WorkflowDefinition]:
    yield definition
    for child in definition.children.values():
        yield from _with_inner(child)


def header_of(state: RunState, status: RunStatus, updated: float) -> RunHeader:
    """What lists show of a run."""
    error = None if state.outcome is None or state.outcome.error is None else str(state.outcome.error)
    questions = [] if state.outcome is not None else [each.event for each in state.questions.values()]
    return RunHeader(status.value, updated, write_questions(questions), None if error is None else safe(error))


def safe(text: str) -> str:
    """The text as every store can keep it."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def write_questions(questions: list[InputRequestEvent]) -> bytes:
    """Open questions as bytes; of a subclass only what every question has.

    Raises:
        EncodeError: one cannot be encoded.
    """
    if not questions:
        return b""
    return to_msgpack([[_PLAIN_CODEC.to_plain(getattr(each, name), name) for name in _FIELDS] for each in questions])


def read_questions(data: bytes) -> tuple[InputRequestEvent, ...]:
    """The questions that ``write_questions`` wrote.

    Raises:
        StoreCorruptError: these are none.
    """
    if not data:
        return ()
    try:
        rows = [checked_list(row, "question") for row in checked_list(from_msgpack(data), "questions")]
        return tuple(_question(dict(zip(_FIELDS, row, strict=True))) for row in rows)
    except (DecodeError, TypeError, ValueError) as error:
        raise StoreCorruptError(f"the open questions cannot be read: {error}") from None


def _question(plain: dict[str, Plain]) -> InputRequestEvent:
    prompt, request_id, metadata = [_PLAIN_CODEC.from_plain(plain[name]) for name in _FIELDS]
    if not isinstance(prompt, str) or not isinstance(request_id, str) or not isinstance(metadata, dict):
        raise DecodeError("expected a text, an id and an object", "question")
    return InputRequestEvent(prompt, request_id, cast("dict[str, Any]", metadata))
