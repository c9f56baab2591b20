"""What goes over the wire is what the AsyncAPI document says: see also ``watch`` in the conformance and the fuzz."""

import json
from typing import Any

import pytest

from blazen_trio import Context, StartEvent, StopEvent, Workflow, step
from blazen_trio.websocket.protocol import Fault, read_from_client
from tests.peers.stories import Work, doubling
from tests.websocket.castle import WORKFLOWS, Guest, open_castle, start_event
from tests.websocket.fakes import Refused
from tests.websocket.nonsense import NONSENSE
from tests.websocket.schemas import DOCUMENT, Watch, answer_problems, message_problems, problems

BEYOND_SCHEMAS = {
    "type twice",
    "id twice",
    "a key twice deep inside",
    "deep input",
    "deep input of objects",
    "run id with half a character",
}
"""Texts that are refused for what no schema can say: how a JSON text is written."""


@step
async def remember(event: StartEvent, ctx: Context) -> StopEvent:
    ctx.report_progress(1, 2, "half")
    return StopEvent({"who": event.data})


remembering = Workflow("remembering", [remember], collect_history=True)


async def ask_for_everything(client: Guest) -> None:
    """Each request once, with a good answer, and each message beside."""
    await client.ask("workflows")
    await client.ask("start", workflow="remembering", event=start_event("me"), run_id="done", metadata={"a": [1]})
    await client.ask("result", run_id="done")
    assert await client.ask("history", run_id="done")
    await client.ask("start", workflow="asking", event=start_event(1), run_id="run")
    await client.ask("subscribe", id=1_000, run_id="run", types=["InputRequestEvent"], window=5)
    await client.got(1_000, 1)
    await client.received(1_000, client.reached[1_000])
    (question,) = (await client.ask("get", run_id="run"))["questions"]
    for verb in ("info", "snapshot", "pause", "resume"):
        await client.ask(verb, run_id="run")
    await client.ask("runs", limit=10)
    await client.ask("statistics")
    await client.ask("respond_to_input", run_id="run", request_id=question["request_id"], response={"a": 1})
    await client.ended(1_000)
    await client.ask("start", workflow="approving", event={"event_type": "Knock", "data": {}}, run_id="other")
    await client.ask("subscribe", id=2_000, run_id="other")
    await client.ask("unsubscribe", subscription=2_000)
    await client.ask("send_event", run_id="other", event={"event_type": "Approval", "data": {"by": "me"}})
    await client.ask("abort", run_id="other", reason="enough")
    await client.ask("delete", run_id="other")
    called = await client.ask(
        "call", call_id="called", workflow="doubling", steps=["double"], event=start_event({"number": 4})
    )
    key = called["refs"][0]["key"]
    await client.ask("deref_session_ref", key=key)
    await client.ask("release_session_ref", key=key)
    await client.send(0x1, b'{"type":"cancel","id":77}')
    with pytest.raises(Refused, match="RunNotFoundError"):
        await client.ask("get", run_id="absent")


async def test_every_request_and_every_answer_is_in_the_document(autojump_clock, watch):
    async with open_castle(*WORKFLOWS, remembering, doubling(Work())) as castle:
        await ask_for_everything(await castle.guest())
    requests = {name for name, each in DOCUMENT["operations"].items() if "reply" in each}
    assert len(requests) > 15
    assert DOCUMENT["operations"].keys() <= watch.seen.keys()
    assert {f"{each}.ok" for each in requests} <= watch.seen.keys()
    assert watch.seen["get.error"] == 1


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_refused_for_its_form_is_not_in_the_document_either(name):
    text, _ = NONSENSE[name]
    try:
        message = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        message = None
    is_refused = isinstance(read_from_client(text, bytes_max=10**9), Fault)
    is_message = isinstance(message, dict) and isinstance(message.get("type"), str)
    is_known = is_message and not message_problems(message, "receive")
    assert is_known is not is_refused or name in BEYOND_SCHEMAS


GOOD: dict[str, Any] = {"type": "subscribe", "id": 1, "run_id": "r", "after": 0, "types": ["a"], "window": 3}


def test_the_validator_takes_what_is_right():
    assert message_problems(GOOD, "receive") == []
    assert answer_problems({"type": "ok", "id": 1, "value": None}, "subscribe") == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": 0},
        {"id": "1"},
        {"id": 1.5},
        {"id": True},
        {"id": 2**53},
        {"run_id": ""},
        {"run_id": "r" * 1_001},
        {"types": []},
        {"types": ["a", 1]},
        {"types": ["a"] * 1_001},
        {"window": 0},
        {"window": False},
        {"more": 1},
        {"type": "welcome"},
        {"type": "none"},
    ],
)
def test_the_validator_refuses_what_is_wrong(change):
    assert message_problems(GOOD | change, "receive")
    for name in ("id", "run_id"):
        assert message_problems({key: value for key, value in GOOD.items() if key != name}, "receive")


def test_the_validator_knows_its_keywords():
    schemas: list[tuple[dict[str, Any], Any]] = [
        ({"allOf": [{"type": "null"}]}, 1),
        ({"oneOf": [{"type": "integer"}, {"minimum": 0}]}, 1),
        ({"const": 1}, True),
        ({"pattern": "^a$"}, "b"),
        ({"items": {"enum": [1]}}, [1, True]),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}),
        ({"additionalProperties": {"type": "string"}}, {"a": 1}),
    ]
    for schema, value in schemas:
        assert [*problems(value, schema)], schema
    with pytest.raises(KeyError):
        [*problems(1, {"multipleOf": 2})]


def test_a_watch_sees_what_is_wrong():
    watch = Watch()
    connection = Watch  # whatever can be referred to weakly
    watch.heard(connection, '{"type":"get","id":1,"run_id":"r"}')
    watch.said(connection, b'{"type":"ended","subscription":1}')
    assert watch.wrong == []
    watch.said(connection, b'{"type":"events","subscription":1}')
    assert "until" in watch.wrong.pop()
    watch.said(connection, b'{"type":"ok","id":1,"value":{},"more":1}')
    assert {"ok", "get.ok"} <= watch.seen.keys()
    assert len(watch.wrong) >= 2
