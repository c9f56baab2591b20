"""One message as one row: plain data in MessagePack, with ids in place of calls and numbers in place of waiters.

Rules of this file:

* A row is ``[kind, path, attribute, ...]``: the attributes in the order in which the message class has them, each
  written as its name says (``_ATTRIBUTES``). The path names the run inside the run that the message is for, by the
  calls around it; it is ``[]`` for the run itself.
* Tokens of waiting tasks and exceptions are nothing that could be told again: they are left out.
* What a user gave and cannot be encoded is an ``EncodeError`` when the row is written, which is before anything of it
  happens.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast, get_args

import attrs

from blazen_trio.codec import Codec, DecodeError, Plain, from_msgpack, to_msgpack
from blazen_trio.core import messages as m
from blazen_trio.core.calls import Call, Unencoded
from blazen_trio.core.errors import EncodeError
from blazen_trio.core.events import Event
from blazen_trio.core.ids import format_id, format_id_again
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.shared_state import MISSING
from blazen_trio.core.status import Rest
from blazen_trio.snapshot.fields import checked, checked_id, checked_list, checked_number

Path: TypeAlias = tuple[int, ...]
"""The ids of the calls around a run inside another one, from the outside in."""

_LAST_OF_WAITER: Final = (m.EventClaimed, m.WaitEnded)

NOBODY: Final[Any] = object()
"""The token of a task that waited when the message was written."""


class RowWriter:
    """Writes the messages of one run and those inside it; knows the waiters by number.

    Attributes:
        waiters: their numbers.
        written: the event that was written last, and as what: most are written once more, as an item of the stream.
    """

    __slots__ = ("_next_waiter", "waiters", "written")

    def __init__(self) -> None:
        self.waiters: dict[Waiter, int] = {}
        self.written: tuple[Event, dict[str, Plain]] | None = None
        self._next_waiter = 0

    def write(self, path: Path, codec: Codec, message: m.Message) -> bytes:
        """The row of a message; ``codec`` is that of the workflow of the run it is for.

        Raises:
            EncodeError: something in it cannot be encoded.
        """
        plan = _ROWS[type(message)]
        row: list[Plain] = [plan.kind, [format_id(each) for each in path] if path else []]
        for name, write in plan.writers:
            row.append(write(self, codec, getattr(message, name)))
        try:
            return to_msgpack(row)
        except (UnicodeEncodeError, OverflowError) as error:
            raise EncodeError(type(message).__name__, "journal", str(error)) from None

    def number(self, waiter: Waiter) -> int:
        """The number of a waiter."""
        number = self.waiters.get(waiter)
        if number is None:
            number = self.waiters[waiter] = self._next_waiter
            self._next_waiter += 1
        return number

    def forget(self, message: m.Message) -> None:
        """The message was written and taken in: a waiter that got its event, or gave up, comes no more."""
        if isinstance(message, _LAST_OF_WAITER):
            self.waiters.pop(message.waiter, None)


@attrs.define
class RunReader:
    """What the rows of one run refer to: its calls and its waiters, as they come up."""

    codec: Codec
    calls: dict[int, Call] = attrs.Factory(dict[int, Call])
    waiters: dict[int, Waiter] = attrs.Factory(dict[int, Waiter])

    def call(self, call_id: int) -> Call:
        """The call of this id, which was started."""
        call = self.calls.get(call_id)
        if call is None:
            raise DecodeError(f"no call {format_id(call_id)} was started")
        return call


def read_row(row: bytes) -> tuple[str, Path, list[Plain]]:
    """The kind of a row, the run it is for, and its attributes.

    Raises:
        DecodeError: it is no row.
    """
    parts = checked_list(from_msgpack(row), "row")
    if len(parts) < _HEAD:
        raise DecodeError("too short for a row")
    path = tuple(checked_id(each, "path") for each in checked_list(parts[1], "path"))
    return checked(parts[0], str, "kind"), path, parts[_HEAD:]


_HEAD: Final = 2


def read_message(kind: str, attributes: Sequence[Plain], reader: RunReader) -> m.Message:
    """The message of a row, with tokens of nobody.

    Raises:
        DecodeError: it is none.
        EventDecodeError: an event of a class that the workflow has not, or has otherwise.
    """
    plan = _KINDS.get(kind)
    if plan is None or len(plan.readers) != len(attributes):
        raise DecodeError(f"no message {kind[:60]!r} of {len(attributes)} attributes")
    values = {name: read(reader, plain) for (name, read), plain in zip(plan.readers, attributes, strict=True)}
    return cast("m.Message", plan.message(**values))


# --- Attributes -------------------------------------------------------------------------------------------------------

Write: TypeAlias = Callable[[RowWriter, Codec, Any], Plain]
Read: TypeAlias = Callable[[RunReader, Plain], Any]


def _write_value(_writer: RowWriter, codec: Codec, value: object) -> Plain:
    return codec.to_plain(value, "value")


def _write_event(writer: RowWriter, codec: Codec, event: Event) -> Plain:
    plain = codec.event_to_plain(event)
    writer.written = event, plain
    return plain


def _write_result(_writer: RowWriter, codec: Codec, result: Any) -> Plain:
    if result is None:
        return None
    if isinstance(result, Event):
        return codec.event_to_plain(result)
    return [codec.event_to_plain(each) for each in result]


def _read_result(reader: RunReader, plain: Plain) -> Any:
    if plain is None:
        return None
    if type(plain) is list:
        return tuple([reader.codec.event_from_plain(each) for each in plain])
    return reader.codec.event_from_plain(plain)


def _write_kept(_writer: RowWriter, codec: Codec, result: object) -> Plain:
    """A result of ``once``, which is plain data already, or cannot be."""
    if isinstance(result, Unencoded):
        return codec.to_plain(result.value, "the result of once()")
    return cast("Plain", result)


def _write_state_value(_writer: RowWriter, _codec: Codec, value: Any) -> Plain:
    return [] if value is MISSING else [value]


def _read_state_value(_reader: RunReader, plain: Plain) -> Any:
    values = checked_list(plain, "value")
    return values[0] if values else MISSING


def _write_failure(_writer: RowWriter, _codec: Codec, failure: m.Failure) -> Plain:
    kept = (failure.error_type, failure.text, failure.is_retryable, failure.retry_after_s, failure.is_violation)
    return [*kept, failure.passes]


def _read_failure(_reader: RunReader, plain: Plain) -> m.Failure:
    error_type, text, is_retryable, retry_after_s, is_violation, passes = _items(plain, 6)
    return m.Failure(
        error_type=checked(error_type, str, "failure"),
        text=checked(text, str, "failure"),
        exception=Exception(text),
        is_retryable=checked(is_retryable, bool, "failure"),
        retry_after_s=None if retry_after_s is None else checked_number(retry_after_s, "failure"),
        is_violation=checked(is_violation, bool, "failure"),
        passes=checked(passes, bool, "failure"),
    )


def write_waiter(writer: RowWriter, codec: Codec, waiter: Waiter) -> Plain:
    """A waiter, as much of it as never changes."""
    place = [format_id(waiter.call.id), _write_class(writer, codec, waiter.event_class)]
    return [writer.number(waiter), *place, waiter.picky, waiter.is_final]


def read_waiter(reader: RunReader, plain: Plain) -> Waiter:
    """The waiter of a number, which is a new one if it was not met before."""
    number, call, name, is_picky, is_final = _items(plain, 5)
    known = reader.waiters.get(checked(number, int, "waiter"))
    if known is not None:
        return known
    made = Waiter(
        _read_call(reader, call),
        read_class(reader, name),
        checked(is_picky, bool, "waiter"),
        None,
        checked(is_final, bool, "waiter"),
    )
    reader.waiters[checked(number, int, "waiter")] = made
    return made


def _write_class(_writer: RowWriter, codec: Codec, event_class: type[Event]) -> Plain:
    name = event_class.event_type
    if codec.event_class(name) is not event_class:
        raise EncodeError(name, "event class", "the workflow has no such class: name it in Workflow(events=)")
    return name


def read_class(reader: RunReader, plain: Plain) -> type[Event]:
    """The event class of a wire name."""
    name = checked(plain, str, "event class")
    found = reader.codec.event_class(name)
    if found is None:
        raise DecodeError(f"the workflow has no event class {name[:60]!r}")
    return found


def _write_call(_writer: RowWriter, _codec: Codec, call: Call) -> Plain:
    return format_id_again(call.id)


def _read_call(reader: RunReader, plain: Plain) -> Call:
    return reader.call(checked_id(plain, "call"))


def _items(plain: Plain, count: int) -> list[Plain]:
    items = checked_list(plain, "row")
    if len(items) != count:
        raise DecodeError(f"expected {count} items")
    return items


def _same(_writer: RowWriter, _codec: Codec, value: Any) -> Plain:
    return cast("Plain", value)


def _write_text(_writer: RowWriter, _codec: Codec, text: Any) -> Plain:
    if not isinstance(text, str):
        raise EncodeError(type(text).__name__, "a name", "it must be a text")
    return str(text)


def _write_reason(_writer: RowWriter, _codec: Codec, reason: Any) -> Plain:
    """Why a run was aborted; of an odd text as much as every store can keep."""
    return None if reason is None else str(reason).encode("utf-8", "backslashreplace").decode()


def _of(kind: type, *, is_optional: bool = False) -> Read:
    def read(_reader: RunReader, plain: Plain) -> Any:
        return None if is_optional and plain is None else checked(plain, cast("type[Any]", kind), "row")

    return read


def _write_rest(_writer: RowWriter, _codec: Codec, rest: Rest) -> Plain:
    return rest.value


def _read_rest(_reader: RunReader, plain: Plain) -> Rest:
    return Rest(checked(plain, str, "rest"))


def _write_calls(_writer: RowWriter, _codec: Codec, calls: Sequence[Call]) -> Plain:
    return [format_id(call.id) for call in calls]


def _read_calls(reader: RunReader, plain: Plain) -> tuple[Call, ...]:
    return tuple([_read_call(reader, each) for each in checked_list(plain, "calls")])


def _read_event(reader: RunReader, plain: Plain) -> Event:
    return reader.codec.event_from_plain(plain)


def _read_value(reader: RunReader, plain: Plain) -> object:
    return reader.codec.from_plain(plain)


def _read_number(_reader: RunReader, plain: Plain) -> float:
    return checked_number(plain, "number")


def _read_plain(_reader: RunReader, plain: Plain) -> Plain:
    return plain


def _write_nothing(_writer: RowWriter, _codec: Codec, _token: object) -> Plain:
    return None


def _read_nobody(_reader: RunReader, _plain: Plain) -> Any:
    return NOBODY


Way: TypeAlias = tuple[Write, Read]

_COUNT: Final[Way] = (_same, _of(int))
_FLAG: Final[Way] = (_same, _of(bool))
_NUMBER: Final[Way] = (_same, _read_number)
_TEXT: Final[Way] = (_write_text, _of(str))

_ATTRIBUTES: Final[Mapping[str, Way]] = {
    "at": _NUMBER,
    "call": (_write_call, _read_call),
    "count": _COUNT,
    "event": (_write_event, _read_event),
    "event_class": (_write_class, read_class),
    "failure": (_write_failure, _read_failure),
    "interrupt": _FLAG,
    "is_final": _FLAG,
    "is_observed": _FLAG,
    "jitter": _NUMBER,
    "key": _TEXT,
    "name": _TEXT,
    "reason": (_write_reason, _of(str, is_optional=True)),
    "request_id": _TEXT,
    "response": (_write_value, _read_value),
    "rest": (_write_rest, _read_rest),
    "result": (_write_result, _read_result),
    "step_index": _COUNT,
    "token": (_write_nothing, _read_nobody),
    "unbegun": (_write_calls, _read_calls),
    "value": (_write_state_value, _read_state_value),
    "waiter": (write_waiter, read_waiter),
    "wall_offset": _NUMBER,
}
"""How an attribute is written and read, by its name: one name means one thing in all messages, but for those below."""

_EXCEPTIONS: Final[Mapping[tuple[type, str], Way]] = {
    (m.OnceRecorded, "result"): (_write_kept, _read_plain),
}


@attrs.frozen
class _Row:
    """How one message class is written and read."""

    kind: str
    message: type
    writers: tuple[tuple[str, Write], ...]
    readers: tuple[tuple[str, Read], ...]


def _row_of(message: type) -> _Row:
    names: list[str] = [field.name for field in attrs.fields(message)]
    ways: dict[str, Way] = {name: _EXCEPTIONS.get((message, name)) or _ATTRIBUTES[name] for name in names}
    writers = tuple((name, write) for name, (write, _) in ways.items())
    readers = tuple((name, read) for name, (_, read) in ways.items())
    return _Row(message.__name__, message, writers, readers)


NOT_WRITTEN: Final = frozenset({m.ChildPublished, m.StoreFailed})
"""The first follows from what the run inside did, and is told again with that; the second cannot be written."""

_ROWS: Final[Mapping[type, _Row]] = {each: _row_of(each) for each in get_args(m.Message) if each not in NOT_WRITTEN}
_KINDS: Final[Mapping[str, _Row]] = {row.kind: row for row in _ROWS.values()}
