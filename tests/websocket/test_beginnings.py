"""How messages begin, read off the bytes of a connection however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.websocket.client.beginnings import KEPT_BYTES, Addressee, Beginnings
from blazen_trio.websocket.protocol import encode
from blazen_trio.websocket.protocol.errors import ErrorView
from blazen_trio.websocket.protocol.messages import Ended, Error, Events, Ok, ServerMessage

HANDSHAKE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def frame(payload: bytes, opcode: int = 1, *, is_final: bool = True) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([size])
    else:
        length = bytes([126]) + size.to_bytes(2, "big") if size < 2**16 else bytes([127]) + size.to_bytes(8, "big")
    return bytes([opcode | 128 * is_final]) + length + payload


texts = st.one_of(st.binary(max_size=10), st.sampled_from([b"x" * 125, b"y" * 126, b"z" * 65_536]))


@given(st.lists(st.tuples(texts, texts)), st.lists(st.one_of(st.integers(1, 9), st.integers(1, 70_000)), max_size=100))
def test_however_the_bytes_are_cut_the_beginning_is_that_of_the_last_message(
    messages: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    data = HANDSHAKE
    for first, second in messages:
        data += frame(first, is_final=False) + frame(b"ping", 9) + frame(second, 0) + frame(b"", 10)
    watched = Beginnings(1_000)
    for cut in cuts:
        watched.feed(data[:cut])
        data = data[cut:]
    watched.feed(data)
    whole = b"".join(messages[-1]) if messages else b""
    assert (watched.text, watched.size) == (whole[:KEPT_BYTES], len(whole))
    big = [first + second for first, second in messages if len(first + second) > 1_000]
    assert watched.too_big == (big[-1][:KEPT_BYTES] if big else None)


@pytest.mark.parametrize(
    ("message", "addressee"),
    [
        (Ok(7, "x" * 1_000), Addressee(7, is_subscription=False)),
        (Ok(2**53 - 1), Addressee(2**53 - 1, is_subscription=False)),
        (Error(7, ErrorView("ValueError", "x" * 1_000)), Addressee(7, is_subscription=False)),
        (Error(None, ErrorView("ValueError", "x")), None),
        (Events(12, 1, []), Addressee(12, is_subscription=True)),
        (Ended(12), None),
    ],
)
def test_the_beginning_says_whom_a_message_is_for(message: ServerMessage, addressee: Addressee | None) -> None:
    watched = Beginnings(20)
    watched.feed(HANDSHAKE + frame(b"{}") + frame(encode(message)) + frame(b"{}"))
    assert watched.addressee() == addressee
    assert watched.text == b"{}"
