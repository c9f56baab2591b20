"""JSON and MessagePack, read strictly: whatever is odd is one clear error, soon."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from blazen_trio.codec import DecodeError
from blazen_trio.codec.text import NESTING_MAX, from_json, from_msgpack, to_json, to_msgpack
from tests.budget import soon
from tests.codec.values_for_tests import same

LONG = "long text: " * 300
ESCAPED = 'a\\b "c"\n' * 300
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
plains = st.recursive(
    st.none() | st.booleans() | numbers | st.text() | st.sampled_from([LONG, ESCAPED]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(plains, st.sampled_from([None, 1]), st.booleans())
def test_json_of_any_writer_is_read_exactly(plain, indent, ascii_only):
    assert same(from_json(json.dumps(plain, indent=indent, ensure_ascii=ascii_only)), plain)
    assert same(from_json(to_json(plain)), plain)
    assert same(from_json(to_json(plain).encode()), plain)


@given(plains)
def test_messagepack_is_read_exactly(plain):
    assert same(from_msgpack(to_msgpack(plain)), plain)


@given(
    st.lists(st.tuples(st.text(max_size=1), plains), min_size=1, max_size=4),
    st.sampled_from(["", LONG, LONG + "\n", ESCAPED, ESCAPED + "\x1f", "é" + LONG]),
    st.sampled_from(["1", "1e10", "1E+300", "0.5", "-0.0"]),
    st.sampled_from(["", " "]),
    st.booleans(),
)
def test_a_doubled_key_is_found_and_nothing_else_is_taken_for_one(pairs, padding, number, blank, ascii_only):
    members = [f"{json.dumps(key, ensure_ascii=ascii_only)}:{blank}{to_json(value)}" for key, value in pairs]
    text = f"[{json.dumps(padding, ensure_ascii=ascii_only)},{number},{number},{{{','.join(members)}}}]"
    if len({key for key, _ in pairs}) == len(pairs):
        read: Any = from_json(text)
        assert same(read[3], dict(pairs))
    else:
        with pytest.raises(DecodeError, match="stands twice"):
            from_json(text)


@pytest.mark.parametrize(
    "padding",
    [LONG, LONG + "\n", ESCAPED, ESCAPED + "\x1f", "é" + LONG],
    ids=["bare", "few escapes", "many escapes", "a control character", "not ASCII"],
)
@pytest.mark.parametrize("lost", ['"":0', '"\\n":"\\n"', r'"\\":"\\\\"', r'"\\":"\u005c\u005c"', '"a":{"b":[]}'])
def test_a_doubled_key_is_found_in_a_big_text_however_it_is_escaped(lost, padding):
    around = json.dumps([padding, {"key": "a"}], separators=(",", ":"))
    assert from_json(around) == [padding, {"key": "a"}]
    key, _, _ = lost.partition(":")
    with pytest.raises(DecodeError, match="stands twice"):
        from_json(f"{around[:-2]},{lost},{key}:{json.dumps(padding)}}}]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "1 2",
        "[1,]",
        "NaN",
        "-Infinity",
        "1e400",
        "9" * 4_301,
        "'a'",
        '"\\ud800"',
        '"\ud800"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf1",
        '"\x00"',
        "[" * 1_000_000,
        "[" * (NESTING_MAX + 1) + "]" * (NESTING_MAX + 1),
        '{"a":' * 600 + "1" + "}" * 600,
        '{"a":1,"a":1}',
        '{"a":1,"\\u0061":2}',
        '[{"a":{"b":":", "b":":"}}]',
    ],
    ids=lambda text: repr(text[:20]),
)
def test_bad_json_is_one_error_in_little_time(text):
    with soon(), pytest.raises(DecodeError) as caught:
        from_json(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x01",
        b"\xc4\x01a",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xd4\x05\x00",
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\x91\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        b"\x81\x01\x02",
        b"\x82\xa1a\x01\xa1a\x01",
        b"\xa1\xff",
        b"\xd9\x01a",
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xc4\x01a",
        b"\x81\xa1a\xd6\xff\x00\x00\x00\x00",
        b"\x91\x91\xd4\x05\x00",
        b"\x91" * 1_000_000,
        b"\x91" * 600 + b"\x01",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_bad_messagepack_is_one_error_in_little_time(data):
    with soon(), pytest.raises(DecodeError):
        from_msgpack(data)


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(data):
    for read in (from_json, from_msgpack):
        try:
            read(data)
        except DecodeError:
            continue


@given(plains, st.data())
def test_a_flipped_byte_is_an_error_or_other_plain_data(plain, data):
    text = bytearray(to_json(plain).encode())
    assume(text)
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = from_json(bytes(text))
    except DecodeError:
        return
    assert same(from_json(to_json(read)), read)


def test_what_is_nested_just_deep_enough_is_read():
    text = "[" * NESTING_MAX + "]" * NESTING_MAX
    assert to_json(from_json(text)) == text


def test_too_many_bytes_are_refused_before_they_are_read():
    with pytest.raises(DecodeError, match="more than the limit of 10"):
        from_json("[" * 11, bytes_max=10)
    with pytest.raises(DecodeError, match="more than the limit of 3"):
        from_json('"é"'[:3], bytes_max=3)
    with pytest.raises(DecodeError, match="more than the limit"):
        from_msgpack(b"x" * 11, bytes_max=10)


def test_the_shortest_form_of_a_text_is_never_underestimated():
    """`from_json` relies on it: msgspec writes each character as short as JSON allows."""
    shortest = {'"': 2, "\\": 2, "\b": 2, "\f": 2, "\n": 2, "\r": 2, "\t": 2}
    for code in [*range(0xD800), *range(0xE000, 0x11000)]:
        character = chr(code)
        least = shortest.get(character, 6 if code < 0x20 else len(character.encode()))
        assert len(msgspec.json.encode(character)) - 2 == least
