"""The head of a request, however it drips in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.websocket.server.head import Head, HeadReader, RefusedError, answer
from tests.websocket.clients import request


def read(data: bytes, sizes: tuple[int, ...] = ()) -> Head | int | None:
    """The head, the status of the refusal, or that it is not whole."""
    reader = HeadReader(16 * 1024)
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    try:
        for piece in [*pieces, data[at:]]:
            if (head := reader.feed(piece)) is not None:
                return attach(head, data)
    except RefusedError as refused:
        return refused.status
    return None


def attach(head: Head, data: bytes) -> Head:
    """The head as if all had come at once: what came behind depends on the pieces."""
    return Head(head.method, head.path, head.headers, head.version, data.partition(b"\r\n\r\n")[2])


def test_a_head_is_its_method_path_and_headers():
    head = read(b"GET /health?x=1 HTTP/1.1\r\nHost: here\r\nX-Two: a, b\r\nX-Two: c\r\n\r\nmore")
    assert isinstance(head, Head)
    assert (head.method, head.path, head.version, head.rest) == ("GET", "/health", "1.1", b"more")
    assert head.one("host") == "here"
    assert head.listed("x-two") == ["a", "b", "c"]
    assert head.one("absent") is None
    with pytest.raises(RefusedError, match="repeated"):
        head.one("x-two")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        "GET / HTTP/1.1\r\nHost: hé".encode(),
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgräde".encode(),
        b"GET / HTTP/1.1\nHost: x\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: yes",
        b"GET / HTTP/1.1\r\nHost: x\rX: y",
        b"GET / HTTP/1.1\r\nHost: \x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/3\r\nHost: a\r\n\r\n",
        b"GET\r\n\r\n",
        b"hello\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nSpace : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_can_never_be_a_head_is_refused_at_once(data):
    assert read(data) == 400


def test_a_head_that_is_too_long_is_refused_before_it_ends():
    assert read(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 16 * 1024) == 431


def test_what_comes_behind_a_head_does_not_make_it_too_long():
    head = read(request() + b"x" * 100_000)
    assert isinstance(head, Head)
    assert len(head.rest) == 100_000


HEADS = st.sampled_from(
    [
        request(),
        request(Host="a\r\nHost: b"),
        request() + b"\xff" * 10,
        request(Host="b\xe4d"),
        request(Host="a\nb"),
        request(Host="a\r\n b"),
        b"GET / HTTP/1.1\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r",
    ]
)


@given(HEADS | st.binary(max_size=60), st.lists(st.integers(1, 40), max_size=30))
def test_the_pieces_change_nothing(data, sizes):
    assert read(data, tuple(sizes)) == read(data)


def test_an_answer_says_that_it_is_the_last():
    assert answer(200, b"{}", kind="application/json").startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in answer(200, b"{}")
    assert answer(200, b"{}").endswith(b"\r\n\r\n{}")
    assert answer(200, b"{}", is_head=True).endswith(b"\r\n\r\n")
    assert b"Content-Length: 2" in answer(200, b"{}", is_head=True)
