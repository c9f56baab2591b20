"""Values that hold no others: how each type beyond JSON is written, and read back exactly.

The rules of this file:

* One ``Leaf`` for a type: its tag, ``dump`` (value to content) and ``load`` (content to value). The same content is
  used behind a marker (``{"__blazen_uuid__": "..."}``) and, bare, where an annotation says what it is.
* ``load(dump(value))`` is equal to ``value`` and of the same type. What cannot keep that promise is refused by ``dump``
  with a ``ValueError`` that says why.
* What is promised of the odd ones: a NaN keeps its bits; a ``Decimal`` its digits, exponent and sign (NaN included); a
  ``datetime`` or ``time`` its ``fold`` and its zone, if that is ``datetime.timezone`` (offset and name) or a
  ``zoneinfo.ZoneInfo`` made by key; a ``UUID`` its value, not its ``is_safe``; a ``Path`` its parts.
* Everything here takes time linear in the size of the value: ints are hexadecimal, so that neither the quadratic
  conversion nor the interpreter's limit of 4,300 digits is met.
"""

import base64
import math
import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs

from blazen_trio.codec.plain import DecodeError, Plain


@attrs.frozen
class Leaf:
    """How values of one exact type are written and read."""

    type: type
    tag: str
    dump: Callable[[Any], Plain]
    load: Callable[[Plain], object]


def clean_text(text: str) -> bool:
    """Whether UTF-8 can hold the text: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(plain: Plain) -> str:
    if type(plain) is not str:
        raise DecodeError(f"expected a string, got {type(plain).__name__}")
    return plain


def _items(plain: Plain, length: int) -> list[Plain]:
    if type(plain) is not list or len(plain) != length:
        raise DecodeError(f"expected a list of {length}")
    return plain


def _reading(load: Callable[[Plain], object], what: str) -> Callable[[Plain], object]:
    """The same reader; whatever its parser raises becomes one ``DecodeError``."""

    def guarded(plain: Plain) -> object:
        try:
            return load(plain)
        except DecodeError:
            raise
        except (ValueError, ArithmeticError, TypeError, LookupError, OSError, struct.error):
            raise DecodeError(f"not a valid {what}") from None

    return guarded


def dump_str(value: str) -> Plain:
    """A text with lone surrogates, as base64 of its (extended) UTF-8."""
    return base64.b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")


def load_str(plain: Plain) -> str:
    """The text that ``dump_str`` wrote."""
    return base64.b64decode(_text(plain), validate=True).decode("utf-8", "surrogatepass")


def dump_int(value: int) -> Plain:
    """An int of any size, in hexadecimal."""
    return hex(value)


def load_int(plain: Plain) -> int:
    """The int that ``dump_int`` wrote."""
    text = _text(plain)
    value = int(text, 16)
    if hex(value) != text:
        raise DecodeError("not a hexadecimal int")
    return value


_FLOAT_NAMES: Final = {"inf": math.inf, "-inf": -math.inf}


def dump_float(value: float) -> Plain:
    """An infinity by name, a NaN by its 64 bits."""
    return struct.pack(">d", value).hex() if math.isnan(value) else str(value)


def load_float(plain: Plain) -> float:
    """The float that ``dump_float`` wrote: never a finite one."""
    text = _text(plain)
    if text in _FLOAT_NAMES:
        return _FLOAT_NAMES[text]
    (value,) = struct.unpack(">d", bytes.fromhex(text))
    if not math.isnan(value):
        raise DecodeError("not a NaN")
    return float(value)


def _dump_complex(value: complex) -> Plain:
    return [struct.pack(">d", part).hex() for part in (value.real, value.imag)]


def _load_complex(plain: Plain) -> complex:
    real, imag = (struct.unpack(">d", bytes.fromhex(_text(part)))[0] for part in _items(plain, 2))
    return complex(real, imag)


def _dump_bytes(value: bytes | bytearray) -> Plain:
    return base64.b64encode(value).decode("ascii")


def _load_bytes(plain: Plain) -> bytes:
    return base64.b64decode(_text(plain), validate=True)


def _load_bytearray(plain: Plain) -> bytearray:
    return bytearray(_load_bytes(plain))


def _fixed_name(zone: timezone) -> str | None:
    """The name given to a fixed zone, if it is not the usual ``UTC+02:00``."""
    name = zone.tzname(None)
    return None if name == timezone(zone.utcoffset(None)).tzname(None) else name


def _dump_zone(zone: tzinfo) -> Plain:
    """A key of the zone database, or ``[offset, name]`` of a fixed zone."""
    if type(zone) is timezone:
        name = _fixed_name(zone)
        if name is None or clean_text(name):
            return [_dump_timedelta(zone.utcoffset(None)), name]
    if type(zone) is ZoneInfo and zone.key and ZoneInfo(zone.key) is zone:
        return zone.key
    raise ValueError(f"its time zone is {zone!r}: use datetime.timezone or zoneinfo.ZoneInfo(key)")


def _load_zone(plain: Plain) -> tzinfo:
    if type(plain) is str:
        return ZoneInfo(plain)
    offset_plain, name = _items(plain, 2)
    offset = _load_timedelta(offset_plain)
    return timezone(offset) if name is None else timezone(offset, _text(name))


def _dump_clock(value: datetime | time) -> Plain:
    """ISO text where that says all, else ``[ISO text without zone, fold, zone]``."""
    zone = value.tzinfo
    if value.fold == 0 and (zone is None or _is_iso(zone)):
        return value.isoformat()
    return [value.replace(tzinfo=None).isoformat(), value.fold, None if zone is None else _dump_zone(zone)]


def _is_iso(zone: tzinfo) -> bool:
    """Whether ISO text says it all: Python reads ``+00:00:00.000001`` as UTC, so whole seconds only."""
    return type(zone) is timezone and _fixed_name(zone) is None and not zone.utcoffset(None).microseconds


def _load_clock(plain: Plain, kind: type[datetime] | type[time]) -> datetime | time:
    if type(plain) is str:
        return kind.fromisoformat(plain)
    text, fold, zone = _items(plain, 3)
    if type(fold) is not int:
        raise DecodeError("fold is 0 or 1")
    value = kind.fromisoformat(_text(text))
    return value.replace(fold=fold, tzinfo=None if zone is None else _load_zone(zone))


def _load_datetime(plain: Plain) -> datetime | time:
    return _load_clock(plain, datetime)


def _load_time(plain: Plain) -> datetime | time:
    return _load_clock(plain, time)


def _load_date(plain: Plain) -> date:
    return date.fromisoformat(_text(plain))


def _dump_timedelta(value: timedelta) -> Plain:
    return [value.days, value.seconds, value.microseconds]


def _load_timedelta(plain: Plain) -> timedelta:
    numbers = _items(plain, 3)
    days, seconds, microseconds = (number for number in numbers if type(number) is int)
    value = timedelta(days, seconds, microseconds)
    if _dump_timedelta(value) != numbers:
        raise DecodeError("not a timedelta's days, seconds and microseconds")
    return value


def _load_decimal(plain: Plain) -> Decimal:
    text = _text(plain)
    if not text.isascii() or "_" in text or text != text.strip():
        raise DecodeError("not a decimal number")
    return Decimal(text)


def _load_uuid(plain: Plain) -> UUID:
    text = _text(plain)
    value = UUID(text)
    if str(value) != text.lower():
        raise DecodeError("not a UUID")
    return value


def _path_leaf(kind: type[PurePath], tag: str) -> Leaf:
    def dump(value: PurePath) -> Plain:
        text = str(value)
        if kind(text) != value or not clean_text(text):
            raise ValueError("its text does not give the same path back: keep its parts instead")
        return text

    def load(plain: Plain) -> PurePath:
        return kind(_text(plain))

    return Leaf(kind, tag, dump, _reading(load, "path"))


def _leaf(kind: type, dump: Callable[[Any], Plain], load: Callable[[Plain], object]) -> Leaf:
    name = kind.__name__.lower()
    return Leaf(kind, f"__blazen_{name}__", dump, _reading(load, name))


LEAVES: Final = (
    _leaf(bytes, _dump_bytes, _load_bytes),
    _leaf(bytearray, _dump_bytes, _load_bytearray),
    _leaf(complex, _dump_complex, _load_complex),
    _leaf(datetime, _dump_clock, _load_datetime),
    _leaf(date, date.isoformat, _load_date),
    _leaf(time, _dump_clock, _load_time),
    _leaf(timedelta, _dump_timedelta, _load_timedelta),
    _leaf(Decimal, str, _load_decimal),
    _leaf(UUID, str, _load_uuid),
    _path_leaf(type(Path()), "__blazen_path__"),
    _path_leaf(PurePosixPath, "__blazen_posixpath__"),
    _path_leaf(PureWindowsPath, "__blazen_windowspath__"),
)
"""Every type that has a form of its own. Ints, floats and texts that JSON cannot hold are written by the walkers."""

LOADERS: Final[dict[str, Callable[[Plain], object]]] = {
    **{leaf.tag: leaf.load for leaf in LEAVES},
    "__blazen_str__": _reading(load_str, "text"),
    "__blazen_int__": _reading(load_int, "int"),
    "__blazen_float__": _reading(load_float, "float"),
}
"""The reader behind each tag."""
