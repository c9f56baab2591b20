"""Plain data as JSON text and as MessagePack, read strictly.

The rules of this file:

* Writing is msgspec alone. What is given must be plain (see ``plain``); numbers and texts come back exactly.
* Reading is msgspec, and then what msgspec lets pass: keys that stand twice in one object, nesting, and in MessagePack
  also bytes, dates, extensions, keys that are no texts, NaN. Malformed or trailing data, NaN literals, numbers out of
  range (an int of 4,301 digits too), lone surrogates and bad UTF-8 are msgspec's own errors. Each is one
  ``DecodeError``.
* Each check is linear in the size of the data, which is limited.
* A key that stands twice leaves no trace in what is read, so what is read is held against the text. If it cannot be
  written any shorter than the text is, or is the same text when it is written again, nothing was lost. Only text of
  other writers, with blanks and the like, is parsed a second time, by a parser that shows every key.
* MessagePack must be as this library writes it, byte for byte: it is for machines, and that rules out everything odd.
"""

import json
from collections.abc import Callable, Collection, Iterable
from math import isfinite
from typing import Any, Final, cast

from msgspec import DecodeError as MsgspecError
from msgspec import json as json_codec
from msgspec import msgpack as msgpack_codec

from blazen_trio.codec.plain import DecodeError, Plain
from blazen_trio.codec.walkers import SCALARS
from blazen_trio.core.errors import EncodeError

BYTES_MAX: Final = 1024**3
"""Bytes of one text: more is no state but a file. What comes from strangers gets a smaller limit from its reader."""

NESTING_MAX: Final = 512
"""Levels of brackets: 64 levels of a user's value take up to 3 each, a snapshot and its children the rest."""

_VALUE_BYTES: Final = 200
"""With fewer bytes for each value than this, writing the data again is the faster way."""

_MEMBER_BYTES: Final = len('"":0,')
"""No member of an object is shorter than this."""

_PIECE_ITEMS: Final = 128
_SAMPLE_CHARS: Final = 8_192
_CHARS_PER_ESCAPE: Final = 25
"""With more characters for each escape than this, writing a text is faster than counting its escapes."""

_FEW_CHILDREN: Final = 8
"""With fewer children than this, looking at each is faster than a set of their types."""

_PLAIN: Final = SCALARS | {list, dict}
_SAFE: Final = SCALARS - {float}
_TEXT_ONLY: Final = frozenset({str})


def to_json(plain: Plain) -> str:
    """Plain data as compact JSON."""
    return json_codec.encode(plain).decode()


def to_msgpack(plain: Plain) -> bytes:
    """Plain data as MessagePack. Raises ``EncodeError`` for an int over 64 bits: only foreign JSON brings one in."""
    try:
        return msgpack_codec.encode(plain)
    except OverflowError:
        raise EncodeError("int", "data", "MessagePack holds 64 bits; read it through a codec first") from None


def from_json(text: str | bytes, bytes_max: int = BYTES_MAX) -> Plain:
    """Read JSON; raises ``DecodeError`` for anything that is not exactly one plain value within the limits."""
    data = _utf8(text)
    _check_size(data, bytes_max)
    plain: Plain = _decoded(json_codec.decode, data, "JSON")
    if not _is_whole(plain, _containers(plain), data):
        _refuse_doubled_keys(data)
    return plain


def from_msgpack(data: bytes, bytes_max: int = BYTES_MAX) -> Plain:
    """Read MessagePack that ``to_msgpack`` wrote; raises ``DecodeError`` for anything else."""
    _check_size(data, bytes_max)
    plain: Plain = _decoded(msgpack_codec.decode, data, "MessagePack")
    _check_kinds(plain)
    if msgpack_codec.encode(plain) != data:
        raise DecodeError("the MessagePack has doubled keys, or is not in the form that this library writes")
    return plain


def _utf8(text: str | bytes) -> str | bytes:
    """The same text, one byte for each item of it: an ASCII ``str`` need not be copied."""
    if isinstance(text, bytes) or text.isascii():
        return text
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DecodeError(f"the text has a lone surrogate at character {error.start}") from None


def _check_size(data: str | bytes, bytes_max: int) -> None:
    if len(data) > bytes_max:
        raise DecodeError(f"{len(data):,} bytes are more than the limit of {bytes_max:,}")


def _decoded(decode: Callable[[Any], Any], data: str | bytes, kind: str) -> Any:
    try:
        return decode(data)
    except RecursionError:
        raise DecodeError(f"nested more than {NESTING_MAX} levels deep") from None
    except (MsgspecError, ValueError, OverflowError) as error:
        raise DecodeError(f"not valid {kind}: {error}") from None


def _children(container: Any) -> Collection[Any]:
    if type(container) is list:
        return cast("Collection[Any]", container)
    if type(container) is dict:
        return cast("dict[str, Any]", container).values()
    raise DecodeError(f"{type(container).__name__} is not plain data")  # MessagePack holds more


def _containers(plain: Any) -> list[Any]:
    """All lists and dicts in the data, from the outside in; raises ``DecodeError`` if they are nested too deep."""
    level = [] if type(plain) in SCALARS else [plain]
    found: list[Any] = []
    for _ in range(NESTING_MAX):
        found += level
        below: list[Any] = []
        for container in level:
            children = _children(container)
            if len(children) < _FEW_CHILDREN:
                for child in children:
                    if type(child) not in SCALARS:
                        below.append(child)  # noqa: PERF401 - a list for each small container costs as much again
            elif not SCALARS.issuperset(map(type, children)):  # in C: most containers hold nothing else
                below += [child for child in children if type(child) not in SCALARS]
        if not below:
            return found
        level = below
    raise DecodeError(f"nested more than {NESTING_MAX} levels deep")


def _check_kinds(plain: Any) -> None:
    """Refuse what MessagePack holds and plain data does not."""
    _check_scalars([plain])
    for container in _containers(plain):
        children = _children(container)
        if children is not container:
            _check_keys(container)
        _check_scalars(children)


def _check_keys(mapping: dict[Any, Any]) -> None:
    if not _TEXT_ONLY.issuperset(map(type, mapping)):
        raise DecodeError("a key that is not a text")


def _check_scalars(values: Iterable[object]) -> None:
    if _SAFE.issuperset(map(type, values)):
        return
    for value in values:
        if type(value) not in _PLAIN:
            raise DecodeError(f"{type(value).__name__} is not plain data")
        if type(value) is float and not isfinite(value):
            raise DecodeError("NaN and infinity are not plain data")


def _is_whole(plain: Any, containers: list[Any], data: str | bytes) -> bool:
    """Whether it is sure that nothing of the text is missing in what was read from it."""
    is_big = sum(map(len, containers)) * _VALUE_BYTES < len(data)
    if is_big and len(data) - _least_length(containers, data) < _MEMBER_BYTES:
        return True
    written = json_codec.encode(plain)
    return written == (data if isinstance(data, bytes) else data.encode())


def _least_length(containers: list[Any], data: str | bytes) -> int:
    """How short JSON of these containers can be; of ASCII texts that is known without writing what they hold.

    Each escape is a backslash and at least one character more, or two backslashes for one. So the backslashes of the
    text, less those of the values, are characters that no value accounts for; those of a lost value account for no
    more than their own place.
    """
    if isinstance(data, bytes) or _has_few_escapes(data):
        return sum(_own_length(container, _written_length) for container in containers)
    if "\\" not in data:
        return sum(_own_length(container, _bare_length) for container in containers)
    return data.count("\\") + sum(_own_length(container, _unescaped_length) for container in containers)


def _has_few_escapes(data: str) -> bool:
    """Whether writing texts with their escapes is faster than counting these, by the first of them."""
    escapes = data.count("\\", 0, _SAMPLE_CHARS)
    return 0 < escapes * _CHARS_PER_ESCAPE < min(_SAMPLE_CHARS, len(data))


def _own_length(container: Any, texts_length: Callable[[Collection[str]], int]) -> int:
    """The least length of a container without the containers in it: brackets, commas, keys, scalars."""
    children = _children(container)
    length = 2 + max(0, len(children) - 1)
    if type(container) is dict:
        keys = "".join(cast("dict[str, Any]", container))
        length += texts_length([keys]) + 3 * len(children) - 2  # each in quotes, with a colon
    if _TEXT_ONLY.issuperset(map(type, children)):
        return length + texts_length(children)
    texts = [child for child in children if type(child) is str]
    others = [child for child in children if type(child) is not str and type(child) in SCALARS]
    return length + texts_length(texts) + sum(map(_least_number, others))


def _bare_length(texts: Collection[str]) -> int:
    return sum(map(len, texts)) + 2 * len(texts)


def _unescaped_length(texts: Collection[str]) -> int:
    return _bare_length(texts) - sum([text.count("\\") for text in texts if "\\" in text])


def _written_length(texts: Collection[str]) -> int:
    whole = list(texts)
    pieces = range(0, len(whole), _PIECE_ITEMS)  # small pieces stay in the cache: 20 MB at once are 5,000 page faults
    return sum(len(json_codec.encode(whole[i : i + _PIECE_ITEMS])) - 1 for i in pieces) - len(whole)


def _least_number(value: float | None) -> int:
    """The least length of a number: all digits of its shortest form are needed, and for a float one ``.`` or ``e``."""
    text = json_codec.encode(value).decode()
    if type(value) is not float:
        return len(text)
    digits = text.partition("e")[0].replace(".", "").lstrip("-").strip("0")
    return max(1, len(digits)) + 1 + text.startswith("-")


def _refuse_doubled_keys(data: str | bytes) -> None:
    """Parse again with the standard library's parser, which shows each object with all its keys."""
    try:
        json.loads(data, object_pairs_hook=_check_pairs, parse_int=len, parse_float=len)
    except RecursionError:
        raise DecodeError(f"nested more than {NESTING_MAX} levels deep") from None


def _check_pairs(pairs: list[tuple[str, object]]) -> None:
    if len(pairs) == len(dict(pairs)):
        return
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise DecodeError(f"the key {key[:60]!r} stands twice in one object")
        seen.add(key)
