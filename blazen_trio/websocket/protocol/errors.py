"""Exceptions as data, and back: a client raises what the engine raised, with the same class and attributes.

Rules of this file:

* Only the errors of this library and a few of Python's own are named in messages; a name in data is looked up among
  these and nowhere else. Any other error is told as text.
* Attributes are texts, numbers, flags and lists of texts; a cause is not told, since it is a user's own exception (what
  matters of it is text in the error).
* What is read is checked against the annotations of the error's class: its ``str()`` never fails.
"""

from collections.abc import Iterable
from typing import Any, Final, cast, get_type_hints

import msgspec

from blazen_trio.core import errors
from blazen_trio.core.errors import WorkflowError, describe_exception
from blazen_trio.websocket.protocol.fields import Exact, Name


class RequestCancelledError(WorkflowError):
    """The answer to a request whose client cancelled it."""

    def __str__(self) -> str:
        """Say who did not wait, and what goes on."""
        return "the client cancelled this request; what it asked for may go on"


_PYTHONS: Final[tuple[type[Exception], ...]] = (ValueError, TypeError, RuntimeError)

_CLASSES: Final[dict[str, type[WorkflowError]]] = {
    each.__name__: each
    for each in (*vars(errors).values(), RequestCancelledError)
    if isinstance(each, type) and issubclass(each, WorkflowError)
}

_SCALARS: Final = (str, int, float, bool, type(None))


class ErrorView(Exact):
    """An error: the name of its class, what ``str()`` says, and its attributes."""

    type: Name
    message: str
    attributes: dict[str, Any] = {}


def write_error(error: BaseException) -> ErrorView:
    """The error as data. One that is neither of this library nor a plain one of Python's is a ``WorkflowError``."""
    known = type(error) if type(error) in _CLASSES.values() or type(error) in _PYTHONS else WorkflowError
    message = str(error) if known is type(error) else describe_exception(error)
    attributes = {} if known is not type(error) else dict(_attributes(error))
    return ErrorView(type=known.__name__, message=_utf8(message), attributes=attributes)


def _attributes(error: BaseException) -> Iterable[tuple[str, Any]]:
    hints = get_type_hints(type(error)) if isinstance(error, WorkflowError) else {}
    for name in hints:
        value = getattr(error, name, None)
        if isinstance(value, tuple):
            yield name, [_utf8(str(each)) for each in cast("tuple[object, ...]", value)]
        elif isinstance(value, str):
            yield name, _utf8(value)
        else:
            yield name, value if type(value) in _SCALARS else _utf8(repr(value))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def read_error(view: ErrorView) -> Exception:
    """The exception that this stands for, never raised before; one of an unknown class is a ``WorkflowError``."""
    for each in _PYTHONS:
        if each.__name__ == view.type:
            return each(view.message)
    cls = _CLASSES.get(view.type, WorkflowError)
    if cls is WorkflowError:
        return WorkflowError(view.message)
    try:
        return _revived(cls, view.attributes)
    except msgspec.ValidationError:
        return WorkflowError(f"{view.type}: {view.message}")


def _revived(cls: type[WorkflowError], attributes: dict[str, Any]) -> WorkflowError:
    """An error of this class with these attributes; raises ``ValidationError`` if they are not those of the class."""
    hints = {name: Any if hint is object else hint for name, hint in get_type_hints(cls).items()}
    if attributes.keys() != hints.keys():
        raise msgspec.ValidationError("other attributes than the class has")
    values = {name: msgspec.convert(attributes[name], hint, strict=True) for name, hint in hints.items()}
    error = cls.__new__(cls, *values.values())
    error.__dict__.update(values)
    return error
