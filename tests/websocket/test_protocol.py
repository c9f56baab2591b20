"""``blazen.v1`` as data: what is written is read back equal, and nothing else is read."""

import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blazen_trio
from blazen_trio.core.errors import SessionRefsNotSerializableError, WorkflowError, WorkflowValidationError
from blazen_trio.core.events import InputRequestEvent, ProgressEvent
from blazen_trio.core.usage import TokenUsage
from blazen_trio.websocket.protocol import (
    REQUESTS,
    Fault,
    RequestCancelledError,
    encode,
    encode_item,
    events_message,
    read_error,
    read_from_client,
    read_from_server,
    write_error,
)
from blazen_trio.websocket.protocol.asyncapi import document, text
from blazen_trio.websocket.protocol.errors import ErrorView
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.messages import FROM_CLIENT, FROM_SERVER, Events, verb
from blazen_trio.websocket.protocol.reading import FAULT_CHARS_MAX
from blazen_trio.websocket.protocol.views import ItemView, ProgressView, QuestionView, UsageView
from tests.test_errors import EXAMPLES

BYTES_MAX = 1024**2
DOCS = Path(__file__).parents[2] / "docs"

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('abcé"\\\n{}', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)
st.register_type_strategy(EventData, st.builds(EventData, event_type=st.just("Page"), data=plain))


def messages(classes: tuple[type[Any], ...]) -> st.SearchStrategy[Any]:
    """Any message of these classes: made from its own JSON schema's kinds, by msgspec's field types."""
    return st.one_of([_made(each) for each in classes])


def _made(cls: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{field.name: _value(field.type) for field in msgspec.structs.fields(cls)})


def _value(kind: Any) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911 - one case for each kind
    kind = msgspec.inspect.type_info(kind) if not isinstance(kind, msgspec.inspect.Type) else kind
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            return _value(inner)
        case msgspec.inspect.AnyType():
            return plain
        case msgspec.inspect.IntType(ge=ge, le=le):
            return st.integers(0 if ge is None else ge, 2**53 if le is None else le)
        case msgspec.inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.StrType(min_length=low):
            return st.text('abc"\\é', min_size=low or 0, max_size=8)
        case msgspec.inspect.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case msgspec.inspect.ListType(item_type=item, min_length=low):
            return st.lists(_value(item), min_size=low or 0, max_size=3)
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_value(key), _value(value), max_size=3)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([_value(each) for each in types])
        case msgspec.inspect.StructType(cls=cls):
            return _made(cls)
    raise AssertionError(f"no values of {kind}")


@given(messages(FROM_CLIENT))
def test_what_a_client_says_arrives_as_it_was(message):
    assert read_from_client(encode(message), bytes_max=BYTES_MAX) == message


@given(messages(FROM_SERVER))
def test_what_a_server_says_arrives_as_it_was(message):
    assert read_from_server(encode(message), bytes_max=BYTES_MAX) == message


@given(st.integers(1, 2**53 - 1), st.integers(0, 2**63 - 1), st.lists(_made(ItemView), max_size=4))
def test_items_that_were_encoded_once_make_the_same_message(subscription, until, items):
    joined = events_message(subscription, until, [encode_item(each) for each in items])
    assert joined == encode(Events(subscription, until, items))


@given(messages(FROM_CLIENT), st.data())
def test_a_message_with_one_field_of_another_kind_is_a_fault(message, data):
    fields = json.loads(encode(message))
    name = data.draw(st.sampled_from([each for each in fields if each not in {"response", "metadata"}]))
    fields[name] = {"no such": [0.5]}
    assert isinstance(read_from_client(json.dumps(fields), bytes_max=BYTES_MAX), Fault)


FAULTS = {
    "": "not JSON",
    "{": "not JSON",
    "[]": "expected an object, got list",
    "null": "expected an object, got NoneType",
    '"get"': "expected an object, got str",
    "{}": "unknown type NoneType",
    '{"type":7}': "unknown type int",
    '{"type":"gett","id":7}': "unknown type 'gett'; there are: abort,",
    '{"type":"welcome","id":7}': "unknown type 'welcome'",
    '{"type":"get","id":7}': "get: Object missing required field `run_id`",
    '{"type":"get","id":7,"run_id":"r","more":1}': "unknown field `more`",
    '{"type":"get","id":7,"run_id":""}': "length >= 1",
    '{"type":"get","id":7,"run_id":1}': "Expected `str`, got `int` - at `$.run_id`",
    '{"type":"get","id":7,"id":7,"run_id":"r"}': "the key 'id' stands twice",
    '{"type":"get","id":true,"run_id":"r"}': "Expected `int`, got `bool`",
    '{"type":"get","id":7.0,"run_id":"r"}': "Expected `int`, got `float`",
    '{"type":"get","id":0,"run_id":"r"}': ">= 1",
    '{"type":"get","id":9007199254740992,"run_id":"r"}': "9007199254740991",
    '{"type":"get","id":"7","run_id":"r"}': "Expected `int`, got `str`",
    '{"type":"runs","id":7,"limit":1001}': "<= 1000",
    '{"type":"runs","id":7,"status":"asleep"}': "Invalid enum value 'asleep'",
    '{"type":"subscribe","id":7,"run_id":"r","after":-1}': ">= 0",
    '{"type":"subscribe","id":7,"run_id":"r","types":[]}': "length >= 1",
    '{"type":"subscribe","id":7,"run_id":"r","window":0}': ">= 1",
    '{"type":"start","id":7,"workflow":"w","event":{"event_type":"A"}}': "missing required field `data`",
    '{"type":"respond_to_input","id":7,"run_id":"r","request_id":"q","response":NaN}': "not JSON",
    '{"type":"get","id":7,"run_id":"\\ud800"}': "not JSON",
    '{"type":"get","id":7,"run_id":"r"} x': "not JSON",
}


def test_a_cancel_that_makes_no_sense_is_no_answer_to_the_request_that_it_names():
    fault = read_from_client('{"type":"cancel","id":7,"why":"late"}', bytes_max=BYTES_MAX)
    assert isinstance(fault, Fault)
    assert "unknown field `why`" in fault.problem
    assert fault.request_id is None


@pytest.mark.parametrize("given_text", FAULTS)
def test_what_is_no_message_is_a_fault_that_says_why(given_text):
    fault = read_from_client(given_text, bytes_max=BYTES_MAX)
    assert isinstance(fault, Fault)
    assert FAULTS[given_text] in fault.problem
    expected = 7 if '"id":7,' in given_text.replace("}", ",") and "not JSON" not in FAULTS[given_text] else None
    if "stands twice" not in fault.problem:
        assert fault.request_id == expected


@pytest.mark.parametrize(
    "given_text",
    [
        '{"type":"get","id":1,"run_id":"' + "r" * 1001 + '"}',
        '{"type":"' + "x" * 100_000 + '","id":1}',
        "[" * 100_000,
        '{"a":' * 600 + "1" + "}" * 600,
    ],
)
def test_what_is_huge_or_deep_is_a_short_fault(given_text):
    fault = read_from_client(given_text, bytes_max=BYTES_MAX)
    assert isinstance(fault, Fault)
    assert len(fault.problem) <= FAULT_CHARS_MAX


def test_a_text_beyond_the_limit_is_not_even_parsed():
    assert isinstance(read_from_client('{"type":"statistics","id":1}', bytes_max=20), Fault)


@given(st.text() | st.binary())
def test_no_text_makes_the_reader_raise(anything):
    read_from_client(anything, bytes_max=BYTES_MAX)
    read_from_server(anything, bytes_max=BYTES_MAX)


ERRORS = [
    *(error for error, _ in EXAMPLES),
    SessionRefsNotSerializableError(["a", "b"], "detail", "tag"),
    WorkflowValidationError("w", ["first", "second"]),
    RequestCancelledError(),
    ValueError("a value"),
    TypeError("a type"),
    RuntimeError("at the wrong time"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
def test_an_error_arrives_with_its_class_its_attributes_and_its_words(error):
    view = msgspec.json.decode(msgspec.json.encode(write_error(error)), type=ErrorView)
    arrived = read_error(view)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert str(pickle.loads(pickle.dumps(arrived))) == str(error)


def test_every_error_of_the_library_is_among_them():
    public = {each for each in vars(blazen_trio).values() if isinstance(each, type) and issubclass(each, WorkflowError)}
    assert len(public) > 25
    assert public <= {type(error) for error in ERRORS}


def test_a_foreign_error_is_told_as_text():
    arrived = read_error(write_error(KeyError("secret-key")))
    assert type(arrived) is WorkflowError
    assert str(arrived) == "KeyError: 'secret-key'"


@pytest.mark.parametrize(
    "view",
    [
        ErrorView("StepFailedError", "m", {"step_name": ["a"]}),
        ErrorView("StepFailedError", "m", {}),
        ErrorView("RunNotFoundError", "m", {"problem": 1, "run_id": {}}),
        ErrorView("os.system", "m", {"a": 1}),
        ErrorView("KeyboardInterrupt", "m"),
    ],
)
def test_an_error_of_a_hostile_server_is_a_plain_one_with_its_words(view):
    assert type(read_error(view)) is WorkflowError
    assert "m" in str(read_error(view))


def test_views_give_back_what_they_were_made_of():
    question = InputRequestEvent("Well?", "q", {"choices": ("yes", "no"), "due": b"\x00"})
    assert QuestionView.of(question).question() == question
    assert UsageView.of(TokenUsage(1, 2, 3)).usage() == TokenUsage(1, 2, 3)
    assert ProgressView.of(ProgressEvent(1.0, 2.0, "half", "s")).progress() == ProgressEvent(1.0, 2.0, "half", "s")


def test_the_asyncapi_document_in_the_docs_is_that_of_the_code():
    assert (DOCS / "asyncapi.json").read_text(encoding="utf-8") == text(), (
        "run: python -m blazen_trio.websocket.protocol.asyncapi > docs/asyncapi.json"
    )


def test_the_asyncapi_document_has_every_message_and_each_request_an_answer():
    spec = document()
    answers = {f"{verb(each)}.ok" for each in REQUESTS}
    assert spec["components"]["messages"].keys() == {*answers, *(verb(each) for each in (*FROM_CLIENT, *FROM_SERVER))}
    for each in REQUESTS:
        reply = spec["operations"][verb(each)]["reply"]["messages"]
        assert [m["$ref"].rpartition("/")[2] for m in reply] == [f"{verb(each)}.ok", "error"]
    assert all(_resolves(spec, reference) for reference in _references(spec))


def test_the_asyncapi_document_says_what_each_answer_holds():
    spec = document()
    values = {
        name.removesuffix(".ok"): each["payload"]["allOf"][1]["properties"]["value"]
        for name, each in spec["components"]["messages"].items()
        if name.endswith(".ok")
    }
    assert values["get"] == {"$ref": "#/components/schemas/RunView"}
    assert values["runs"]["items"] == {"$ref": "#/components/schemas/InfoView"}
    assert values["delete"] == values["subscribe"] == {"type": "null"}
    views = ("InfoView", "ResultView", "RefView", "HistoryView", "WorkflowView", "NodeView", "EdgeView", "RefDataView")
    assert all(each in spec["components"]["schemas"] for each in views)


def _references(node: Any) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for each in node.values():
            yield from _references(each)
    elif isinstance(node, list):
        for each in node:
            yield from _references(each)


def _resolves(spec: Any, reference: str) -> bool:
    for key in reference.removeprefix("#/").split("/"):
        spec = spec[key]
    return bool(spec)
