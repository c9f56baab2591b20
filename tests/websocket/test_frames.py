"""The meter of frames: bits, lengths, order, amounts; any chopping; wsproto agrees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, ParseFailed

from blazen_trio.websocket import WebsocketLimits
from blazen_trio.websocket.server.frames import FrameMeter
from tests.websocket.clients import BINARY, CLOSE, PING, PONG, TEXT, masked

SMALL = WebsocketLimits(message_bytes=1_000, fragments=5, control_frames=4, control_frames_per_s=2)


def verdict(*pieces: bytes, limits: WebsocketLimits = SMALL) -> tuple[int, int | None, bool, int, int]:
    """Bytes let through, code, closed, messages, their bytes."""
    meter = FrameMeter(limits)
    passed = sum(meter.feed(piece, 0.0) for piece in pieces)
    code = meter.violation.code if meter.violation else None
    return passed, code, meter.is_closed, meter.messages, meter.message_bytes


def test_whole_frames_pass_and_messages_are_counted():
    hello, half = masked(TEXT, b"hello"), masked(TEXT, b"half of it")[:-1]
    assert verdict(hello + half) == (len(hello), None, False, 1, 5)


def test_a_message_is_counted_over_its_fragments_with_pings_between():
    data = masked(TEXT, b"ab", fin=False) + masked(PING) + masked(0, b"", fin=False) + masked(0, b"c")
    assert verdict(data) == (len(data), None, False, 1, 3)


def test_nothing_passes_behind_a_close():
    close = masked(CLOSE, b"\x03\xe8")
    assert verdict(close + masked(PING) + b"\xff\xff") == (len(close), None, True, 0, 0)


def test_what_was_right_before_a_violation_passes():
    hello = masked(TEXT, b"hello")
    assert verdict(hello + masked(3)) == (len(hello), 1002, False, 1, 5)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(TEXT, b"x" * 1_000), None),
        (masked(TEXT, b"x" * 1_001)[:8], 1009),  # before its payload comes
        (masked(TEXT, b"x" * 600, fin=False) + masked(0, b"x" * 401), 1009),
        (masked(TEXT, fin=False) + masked(0, fin=False) * 4, None),
        (masked(TEXT, fin=False) + masked(0, fin=False) * 5, 1008),
        (masked(PING) * 4, None),
        (masked(PING) * 5, 1008),
        (b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"mask", 1009),
        (b"\x81\xff" + b"\x80" + b"\0" * 7 + b"mask", 1002),
    ],
)
def test_amounts_are_bounded(data, code):
    assert verdict(data)[1] == code


def test_control_frames_are_allowed_again_as_time_passes():
    meter = FrameMeter(SMALL)
    for second in range(100):
        meter.feed(masked(PING) * 2, float(second))
    assert meter.violation is None
    meter.feed(masked(PING) * 5, 1_000.0)  # but not saved up
    assert meter.violation


FRAMES = st.one_of(
    st.builds(
        masked,
        st.sampled_from([0, TEXT, CLOSE, PING, PONG, BINARY, 3]),
        st.binary(max_size=140),
        fin=st.booleans(),
        rsv=st.sampled_from([0, 0, 0, 0, 4]),
    ),
    st.binary(max_size=12),
)


@given(st.lists(FRAMES, max_size=8).map(b"".join), st.lists(st.integers(1, 30), max_size=40))
def test_any_chopping_gives_the_same_verdict(data, sizes):
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    assert verdict(*pieces, data[at:]) == verdict(data)


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Frames of a client that keeps to the rules."""
    data = b""
    for text in draw(st.lists(st.text(max_size=200), max_size=6)):
        raw = text.encode()
        cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=3)))
        parts = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
        for number, part in enumerate(parts):
            data += masked(
                0 if number else TEXT, part, fin=number == len(parts) - 1, mask=draw(st.binary(min_size=4, max_size=4))
            )
            if draw(st.booleans()):
                data += masked(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=125)))
    return data


@given(conversations())
def test_what_keeps_to_the_rules_passes_whole_and_wsproto_takes_it(data):
    plenty = WebsocketLimits()
    passed, code, _, messages, _ = verdict(data, limits=plenty)
    assert (passed, code) == (len(data), None)
    frames = list(read_by_wsproto(data))
    assert sum(frame.message_finished for frame in frames if not frame.opcode.iscontrol()) == messages


@given(st.lists(FRAMES, max_size=6).map(b"".join))
def test_what_passes_wsproto_reads_too_but_for_what_stands_in_a_payload(data):
    passed = verdict(data, limits=WebsocketLimits())[0]
    try:
        list(read_by_wsproto(data[:passed]))
    except ParseFailed as error:
        assert "decod" in str(error) or "codec" in str(error) or "CLOSE" in str(error)  # noqa: PT017 - most raise nothing


def read_by_wsproto(data: bytes):
    reader = FrameProtocol(client=False, extensions=[])
    reader.receive_bytes(data)
    yield from reader.received_frames()
