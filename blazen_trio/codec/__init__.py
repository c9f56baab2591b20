"""Exact and strict coding of values and events: see `Codec`, and `text` for JSON and MessagePack.

plain     what plain data is, markers, limits            leaves    types beyond JSON, one form each
values    any value to self-describing data and back     classes   the classes a codec knows, by name
"""

from blazen_trio.codec.codec import Codec
from blazen_trio.codec.plain import DecodeError, Plain

__all__ = ["Codec", "DecodeError", "Plain"]
