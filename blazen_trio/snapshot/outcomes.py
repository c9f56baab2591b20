"""How a run ended, as plain data: with an event, or with one of the errors that end runs.

An error is kept with its attributes. Its cause was an exception of the user's own and is kept only as its text, which
the error holds.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import attrs

from blazen_trio.codec import Codec, DecodeError, Plain
from blazen_trio.core.effects import Outcome
from blazen_trio.core.errors import RUN_ENDS, WorkflowAbortedError, WorkflowError, describe_exception
from blazen_trio.core.events import Event
from blazen_trio.core.status import RunStatus
from blazen_trio.snapshot.fields import Fields

_ENDS: Final[dict[str, type[WorkflowError]]] = {cls.__name__: cls for cls in RUN_ENDS}
"""The errors that end runs, by name: the data can name no other."""

_KINDS: Final[dict[object, tuple[type, ...]]] = {
    str: (str,),
    int: (int,),
    float: (float, int),
    str | None: (str, type(None)),
    float | None: (float, int, type(None)),
    tuple[str, ...]: (tuple,),
}
"""What an attribute of such an error may be, by its annotation."""


def write_outcome(outcome: Outcome, codec: Codec, dump: Callable[[Event], Plain]) -> dict[str, Plain]:
    """The outcome as plain data."""
    if outcome.event is not None:
        return {"event": dump(outcome.event)}
    error = outcome.error
    if type(error).__name__ not in _ENDS:  # KeyboardInterrupt and the like: the program ended, and the run with it
        assert error is not None
        error = WorkflowAbortedError(describe_exception(error))
    fields = {field.name: getattr(error, field.name) for field in attrs.fields(cast("type[Any]", type(error)))}
    attributes = {name: codec.to_plain(value, f"the run's error, {name}") for name, value in fields.items()}
    return {"error": type(error).__name__, "attributes": attributes}


def read_outcome(plain: Plain, status: RunStatus, codec: Codec, load: Callable[[Plain], Event]) -> Outcome:
    """The outcome that was written."""
    fields = Fields(plain, "outcome")
    if fields.has("event"):
        event = fields.read("event", load)
        fields.end()
        if status is not RunStatus.COMPLETED:
            raise DecodeError(f"a run that is {status.value} has a result", "outcome")
        return Outcome(status, event=event)
    if status is RunStatus.COMPLETED:
        raise DecodeError("a completed run has an error", "outcome")
    error = _read_error(fields, codec)
    fields.end()
    return Outcome(status, error=error)


def _read_error(fields: Fields, codec: Codec) -> WorkflowError:
    cls = _ENDS.get(fields.text("error"))
    if cls is None:
        raise DecodeError("no run ends with this error", fields.at("error"))
    given = Fields(fields.value("attributes"), fields.at("attributes"))
    values: dict[str, Any] = {}
    for field in attrs.fields(cast("type[Any]", cls)):
        value = values[field.name] = given.read(field.name, codec.from_plain)
        if type(value) not in _KINDS[field.type] or not _holds_texts(value):
            raise DecodeError("not what such an error holds", given.at(field.name))
    given.end()
    return cls(**values)


def _holds_texts(value: object) -> bool:
    return not isinstance(value, tuple) or all(type(each) is str for each in cast("tuple[object, ...]", value))
