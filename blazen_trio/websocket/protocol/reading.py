"""Text to message: strict and bounded. What is wrong is a ``Fault``, a value: it is answered, not raised.

* A text is read as ``blazen_trio.codec.from_json`` reads: a key that stands twice, a NaN, brackets too deep, too many
  bytes are faults. Then each field must be of its kind, and no other fields may be there.
* Time and memory are linear in the size of the text.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

import attrs
import msgspec

from blazen_trio.codec import DecodeError, Plain, from_json
from blazen_trio.websocket.protocol.fields import REQUEST_ID_MAX
from blazen_trio.websocket.protocol.messages import FROM_CLIENT, FROM_SERVER, Cancel, ClientMessage, ServerMessage, tag

FAULT_CHARS_MAX: Final = 500
"""Characters of a fault's text: it may repeat what was wrong, which may be long."""

_CUT: Final = "..."


@attrs.frozen
class Fault:
    """A text that is no message: what is wrong, and the ``id`` of the request that it was to be, if one can be read."""

    problem: str
    request_id: int | None = None


def read_from_client(text: str | bytes, *, bytes_max: int) -> ClientMessage | Fault:
    """The message of a client, or why there is none. ``bytes_max``: of the text as UTF-8."""
    return cast("ClientMessage | Fault", _read(text, bytes_max, _CLIENT))


def read_from_server(text: str | bytes, *, bytes_max: int) -> ServerMessage | Fault:
    """The message of a server, or why there is none. ``bytes_max``: of the text as UTF-8."""
    return cast("ServerMessage | Fault", _read(text, bytes_max, _SERVER))


_Kinds: TypeAlias = Mapping[str, type[Any]]

_CLIENT: Final[_Kinds] = {tag(each): each for each in FROM_CLIENT}
_SERVER: Final[_Kinds] = {tag(each): each for each in FROM_SERVER}


def _read(text: str | bytes, bytes_max: int, kinds: _Kinds) -> object:
    try:
        plain = from_json(text, bytes_max)
    except DecodeError as error:
        return Fault(_cut(f"not JSON that can be read: {error}"))
    if type(plain) is not dict:
        return Fault(f"expected an object, got {type(plain).__name__}")
    request_id = _request_id(plain)
    named = plain.get("type")
    if type(named) is not str or named not in kinds:
        shown = repr(named) if type(named) is str else type(named).__name__
        return Fault(_cut(f"unknown type {shown[:100]}; there are: {', '.join(sorted(kinds))}"), request_id)
    if kinds[named] is Cancel:  # its id is that of another message, which has an answer of its own
        request_id = None
    try:
        return msgspec.convert(plain, kinds[named], strict=True)
    except msgspec.ValidationError as error:
        return Fault(_cut(f"{named}: {error}"), request_id)


def _request_id(plain: dict[str, Plain]) -> int | None:
    given = plain.get("id")
    return given if type(given) is int and 1 <= given <= REQUEST_ID_MAX else None


def _cut(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= FAULT_CHARS_MAX else text[: FAULT_CHARS_MAX - len(_CUT)] + _CUT
