"""Holds real messages against the AsyncAPI document, as somebody would who knows nothing but the document.

* ``problems`` is JSON Schema, as far as the document uses it; a keyword that it does not know is an error, not a yes.
* ``Watch`` looks at a server's connections from within: whatever it takes from a client, and all that it sends, must be
  a message of the document; an answer must be one of those that the document has for its request.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from blazen_trio.websocket.protocol import Fault, read_from_client
from blazen_trio.websocket.protocol.asyncapi import document
from tests.websocket.fakes import payload_of

Schema = dict[str, Any]

DOCUMENT: Final = document()

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_REMARKS: Final = {"title", "description", "default", "contentEncoding", "$comment", "examples"}


def at(reference: str) -> Any:
    """What a reference stands for."""
    found: Any = DOCUMENT
    for key in reference.removeprefix("#/").split("/"):
        found = found[key.replace("~1", "/").replace("~0", "~")]
    return found


def problems(value: Any, schema: Schema, place: str = "$") -> Iterator[str]:
    """What is wrong with a value: where, and against which keyword."""
    for keyword, wanted in schema.items():
        if keyword in _REMARKS:
            continue
        if keyword in _INSIDE:
            yield from _INSIDE[keyword](value, wanted, schema, place)
        elif not _HOLDS[keyword](value, wanted):
            yield f"{place}: {value!r:.100} against {keyword} {wanted!r:.100}"


# --- Keywords that say something of the value itself ------------------------------------------------------------------


def _is_of_type(value: Any, wanted: str) -> bool:
    return isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))


def _is_in(value: Any, wanted: list[Any]) -> bool:
    return any(value == each and type(value) is type(each) for each in wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_HOLDS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "type": _is_of_type,
    "enum": _is_in,
    "const": lambda value, wanted: _is_in(value, [wanted]),
    "minimum": lambda value, wanted: not _is_number(value) or value >= wanted,
    "maximum": lambda value, wanted: not _is_number(value) or value <= wanted,
    "minLength": lambda value, wanted: not isinstance(value, str) or len(value) >= wanted,
    "maxLength": lambda value, wanted: not isinstance(value, str) or len(value) <= wanted,
    "pattern": lambda value, wanted: not isinstance(value, str) or re.search(wanted, value) is not None,
    "minItems": lambda value, wanted: not isinstance(value, list) or len(value) >= wanted,
    "maxItems": lambda value, wanted: not isinstance(value, list) or len(value) <= wanted,
    "required": lambda value, wanted: not isinstance(value, dict) or set(wanted) <= value.keys(),
    "anyOf": lambda value, wanted: any(not [*problems(value, each)] for each in wanted),
    "oneOf": lambda value, wanted: sum(not [*problems(value, each)] for each in wanted) == 1,
}


# --- Keywords that lead further in ------------------------------------------------------------------------------------


def _referred(value: Any, wanted: str, _schema: Schema, place: str) -> Iterator[str]:
    yield from problems(value, at(wanted), place)


def _all_of(value: Any, wanted: list[Schema], _schema: Schema, place: str) -> Iterator[str]:
    for each in wanted:
        yield from problems(value, each, place)


def _items(value: Any, wanted: Schema, _schema: Schema, place: str) -> Iterator[str]:
    for number, each in enumerate(value if isinstance(value, list) else []):
        yield from problems(each, wanted, f"{place}[{number}]")


def _properties(value: Any, wanted: dict[str, Schema], _schema: Schema, place: str) -> Iterator[str]:
    for name in wanted.keys() & value.keys() if isinstance(value, dict) else ():
        yield from problems(value[name], wanted[name], f"{place}.{name}")


def _others(value: Any, wanted: bool | Schema, schema: Schema, place: str) -> Iterator[str]:
    for name in value.keys() - schema.get("properties", {}).keys() if isinstance(value, dict) else ():
        if wanted is False:
            yield f"{place}: no property {name!r:.100} is known"
        elif wanted is not True:
            yield from problems(value[name], wanted, f"{place}.{name}")


def _names(value: Any, wanted: Schema, _schema: Schema, place: str) -> Iterator[str]:
    for name in value if isinstance(value, dict) else ():
        yield from problems(name, wanted, f"{place}, name")


_INSIDE: Final[dict[str, Callable[[Any, Any, Schema, str], Iterator[str]]]] = {
    "$ref": _referred,
    "allOf": _all_of,
    "items": _items,
    "properties": _properties,
    "additionalProperties": _others,
    "propertyNames": _names,
}


# --- Messages ---------------------------------------------------------------------------------------------------------


def message_problems(message: Any, action: str) -> list[str]:
    """What is wrong with a message that the server receives (``"receive"``) or sends (``"send"``)."""
    operation = DOCUMENT["operations"].get(message["type"], {})
    if operation.get("action") != action:
        return [f"a server does not {action} {message['type']!r}"]
    return [each for kind in operation["messages"] for each in problems(message, _payload(kind))]


def answer_problems(message: Any, asked: str) -> list[str]:
    """What is wrong with an answer to a request of the type ``asked``."""
    replies = DOCUMENT["operations"][asked]["reply"]["messages"]
    fitting = [_payload(each) for each in replies if at(at(each["$ref"])["$ref"])["name"] == message["type"]]
    if not fitting:
        return [f"{message['type']!r} is no answer to {asked!r}"]
    return [each for schema in fitting for each in problems(message, schema)]


def _payload(message: dict[str, str]) -> Schema:
    payload: Schema = at(at(message["$ref"])["$ref"])["payload"]
    return payload


@attrs.define
class Watch:
    """What went through the connections of a server.

    Attributes:
        seen: how many messages of each kind; of answers ``"start.ok"`` and the like.
        wrong: each that the document does not have.
    """

    seen: Counter[str] = attrs.Factory(Counter)
    wrong: list[str] = attrs.Factory(list)
    _asked: WeakKeyDictionary[Any, dict[int, str]] = attrs.Factory(WeakKeyDictionary)

    def heard(self, connection: Any, text: str) -> None:
        """The server got this; what it refuses is nothing that the document has to have."""
        if isinstance(read_from_client(text, bytes_max=10**9), Fault):
            return
        message = json.loads(text)
        self._note(message["type"], message, message_problems(message, "receive"))
        if "reply" in DOCUMENT["operations"][message["type"]]:
            self._asked.setdefault(connection, {}).setdefault(message["id"], message["type"])

    def said(self, connection: Any, payload: bytes) -> None:
        """The server sends this."""
        message = json.loads(payload)
        self._note(message["type"], message, message_problems(message, "send"))
        asked = self._asked.get(connection, {}).pop(message.get("id"), None)
        if asked is not None:
            self._note(f"{asked}.{message['type']}", message, answer_problems(message, asked))

    def said_frame(self, connection: Any, frame: bytes) -> None:
        """The server sends this frame."""
        self.said(connection, payload_of(frame))

    def _note(self, kind: str, message: Any, found: list[str]) -> None:
        self.seen[kind] += 1
        if found:
            self.wrong.append(f"{json.dumps(message):.300}: {found[:3]}")
