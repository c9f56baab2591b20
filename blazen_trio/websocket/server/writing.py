"""Frames as the server writes them: whole, and not masked."""

from typing import Final

from wsproto.frame_protocol import FrameProtocol


def text_frame(payload: bytes) -> bytes:
    """A text message as the one frame that carries it.

    Args:
        payload: UTF-8.
    """
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(payload.decode()))


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; a long reason is cut."""
    return bytes(FrameProtocol(client=False, extensions=[]).close(code, reason))


PING: Final = bytes(FrameProtocol(client=False, extensions=[]).ping(b""))
