"""All messages as an AsyncAPI 3.0 document: what ``docs/asyncapi.json`` is, made from the classes themselves.

``python -m blazen_trio.websocket.protocol.asyncapi`` prints it.
"""

import inspect
import json
from typing import Any, Final

import msgspec

from blazen_trio.websocket.protocol.messages import FROM_CLIENT, FROM_SERVER, REQUESTS, VERSION, Error, Ok, Request, tag

ASYNCAPI: Final = "3.0.0"

_REFERENCE: Final = "#/components/schemas/{name}"
_CHANNEL: Final = {"$ref": "#/channels/connection"}

_INFO: Final = """\
One websocket carries the whole API of an engine of blazen_trio. The client opens it at path `/` with the subprotocol
`blazen.v1`, and with a token, if the server wants one, as `Authorization: Bearer TOKEN` or as the subprotocol
`bearer.TOKEN`. All messages are JSON objects in text frames. The server begins with `welcome`. Each request of the
client has an `id` and gets exactly one answer with that `id`: `ok` or `error`."""


def document() -> dict[str, Any]:
    """The document, as plain data."""
    values, schemas = _schemas()
    messages = {tag(each): _message(each) for each in (*FROM_CLIENT, *FROM_SERVER)}
    messages |= {_answer_name(each): _answer(each, value) for each, value in zip(REQUESTS, values, strict=True)}
    return {
        "asyncapi": ASYNCAPI,
        "info": {"title": "blazen_trio", "version": VERSION, "description": _INFO, "license": {"name": "MIT"}},
        "defaultContentType": "application/json",
        "channels": {
            "connection": {
                "address": "/",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {tag(each): _operation(each) for each in (*FROM_CLIENT, *FROM_SERVER)},
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def _schemas() -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """That of the value of each request's answer, and all that have names."""
    kinds = [*(each.answer for each in REQUESTS), *FROM_CLIENT, *FROM_SERVER]
    each_one, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    for each in schemas.values():
        if "description" in each:  # a docstring, which Python cleans by itself only since 3.13
            each["description"] = inspect.cleandoc(each["description"])
    return each_one[: len(REQUESTS)], schemas


def _message(message: type[Any]) -> dict[str, Any]:
    summary, _, rest = inspect.getdoc(message).partition("\n\n")  # type: ignore[union-attr]  # each has one
    described = {"description": " ".join(rest.split())} if rest else {}
    payload = {"$ref": _REFERENCE.format(name=message.__name__)}
    return {"name": tag(message), "summary": " ".join(summary.split()), **described, "payload": payload}


def _answer_name(request: type[Request]) -> str:
    return f"{tag(request)}.ok"


def _answer(request: type[Request], value: dict[str, Any]) -> dict[str, Any]:
    """The ``ok`` that answers a request: which kind of value it has."""
    ok = {"$ref": _REFERENCE.format(name=Ok.__name__)}
    payload = {"allOf": [ok, {"type": "object", "properties": {"value": value}}]}
    return {"name": tag(Ok), "summary": f"The answer to `{tag(request)}`.", "payload": payload}


def _operation(message: type[Any]) -> dict[str, Any]:
    """What a server does with it: it receives what clients say, and sends the rest."""
    operation: dict[str, Any] = {
        "action": "receive" if message in FROM_CLIENT else "send",
        "channel": _CHANNEL,
        "messages": [{"$ref": f"#/channels/connection/messages/{tag(message)}"}],
    }
    if issubclass(message, Request):
        answers = [{"$ref": f"#/channels/connection/messages/{name}"} for name in (_answer_name(message), tag(Error))]
        operation["reply"] = {"channel": _CHANNEL, "messages": answers}
    return operation


def text() -> str:
    """The document as JSON text."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - that is what it is for
