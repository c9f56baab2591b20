"""Walking over a value, or over plain data: depth, number, and the path in an error.

The rules of this file:

* A walk is one object that lives for one call; its methods go down into containers, its tables say what to do there.
* Both walks are bounded in depth, the writing one also in the number of values, so that neither a cycle nor a part
  that is shared over and over can exhaust stack, memory or time.
* A failure starts as what is wrong with one value, and gathers its path on the way out: no path is kept while
  everything is well.
* They are on the hot path: every ``ctx.state[...] = ...`` and every read goes through here. So a flat list or dict
  (only texts, numbers, ``None``) is checked and copied in C, and only the rest is walked.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from math import isfinite
from typing import Any, Final, TypeAlias, cast

from blazen_trio.codec.plain import (
    CONTAINER_COST,
    DEPTH_MAX,
    INT_MAX,
    INT_MIN,
    MARKER_PREFIX,
    READ_DEPTH_MAX,
    VALUES_MAX,
    DecodeError,
    Plain,
)

Encoder: TypeAlias = Callable[[Any, "Writer"], Plain]
"""Writes a value of a known kind."""

Loader: TypeAlias = Callable[[Plain, "Reader"], Any]
"""Reads a value of a known kind."""

SCALARS: Final = frozenset({str, int, float, bool, type(None)})
"""The classes of plain data that hold nothing else."""

_TEXT_ONLY: Final = frozenset({str})
_SEGMENT_LENGTH_MAX: Final = 60
_ONE_KIND: Final[Mapping[frozenset[type], Callable[[Any], bool]]] = {
    frozenset({str}): lambda texts: "".join(texts).isascii(),
    frozenset({int}): lambda ints: min(ints) >= INT_MIN and max(ints) <= INT_MAX,
    frozenset({float}): lambda floats: isfinite(sum(floats)),
    frozenset({bool}): lambda _: True,
    frozenset({type(None)}): lambda _: True,
}


class Refused(Exception):  # noqa: N818 - a signal inside the codec: it becomes an EncodeError that names the place
    """This value cannot be written; ``path`` grows on the way out."""

    def __init__(self, value: object, problem: str) -> None:
        super().__init__(problem)
        self.type_name: str = type(value).__qualname__
        self.problem = problem
        self.path: str = ""

    def within(self, step: str) -> "Refused":
        """The same refusal, seen from one level further out."""
        self.path = step + self.path
        return self


def segment(key: object) -> str:
    """One step of a path: ``['seen']`` or ``[3]``, cut if it is long."""
    try:
        text = repr(key)
    except Exception:  # noqa: BLE001 - a user's repr may raise anything, and the error at hand matters more
        text = f"a {type(key).__qualname__}"
    return f"[{text if len(text) <= _SEGMENT_LENGTH_MAX else text[:_SEGMENT_LENGTH_MAX] + '...'}]"


def is_flat(items: Collection[object]) -> bool:
    """Whether all items are scalars that JSON holds exactly (and texts are ASCII). False means: look closer."""
    kinds = frozenset(map(type, items))
    check = _ONE_KIND.get(kinds)
    return check(items) if check is not None else kinds <= SCALARS and _each_exact(items)


def _each_exact(items: Iterable[object]) -> bool:
    for item in items:
        if type(item) is str:
            exact = item.isascii()
        elif type(item) is int:
            exact = INT_MIN <= item <= INT_MAX
        else:
            exact = type(item) is not float or isfinite(item)
        if not exact:
            return False
    return True


def flat_copy(value: object) -> list[Plain] | dict[str, Plain] | None:
    """A copy of a list or dict that is plain and flat; ``None`` if it has to be walked."""
    kind = type(value)
    if kind is dict:
        mapping = cast("dict[Any, Any]", value)
        return mapping.copy() if len(mapping) > 1 and _clean_keys(mapping) and is_flat(mapping.values()) else None
    if kind is list:
        items = cast("list[Any]", value)
        return items.copy() if is_flat(items) else None
    return None


def _clean_keys(mapping: dict[Any, object]) -> bool:
    return frozenset(map(type, mapping)) == _TEXT_ONLY and "".join(mapping).isascii()


class Writer:
    """One walk over one value. ``live`` gives the registry's key of a live object."""

    __slots__ = ("_depth", "_encoders", "_left", "_live")

    def __init__(self, encoders: Mapping[type, Encoder], live: Callable[[object], str] | None = None) -> None:
        self._encoders = encoders
        self._live = live
        self._depth = 0
        self._left = VALUES_MAX

    def encode(self, value: object) -> Plain:
        """The plain form of any value, saying what it is; raises ``Refused``."""
        if type(value) is str and value.isascii():
            return value
        kind = type(value)
        encoder = self._encoders.get(kind)
        if encoder is None:
            raise Refused(value, _advice(kind))
        return encoder(value, self)

    def flat(self, value: list[Any] | dict[Any, Any]) -> list[Plain] | dict[str, Plain] | None:
        """A copy of a list or dict that is plain and flat; ``None`` if it has to be walked."""
        self.enter(value)
        self._depth -= 1
        return flat_copy(value)

    def items(self, values: Collection[object], encoder: Encoder | None = None) -> list[Plain]:
        """The plain forms of the items of one container; ``encoder`` knows what they have to be."""
        self.enter(values)
        encode = self._with(encoder)
        written: list[Plain] = []
        try:
            for value in values:
                written.append(encode(value))  # noqa: PERF401 - its length is the place of a failure
        except Refused as refused:
            raise refused.within(f"[{len(written)}]") from None
        self._depth -= 1
        return written

    def fields(self, mapping: Mapping[str, object], encoder: Encoder | None = None) -> dict[str, Plain]:
        """The plain forms of the values of a dict whose keys are plain."""
        self.enter(mapping)
        encode = self._with(encoder)
        written: dict[str, Plain] = {}
        key = ""
        try:
            for key, value in mapping.items():
                written[key] = encode(value)
        except Refused as refused:
            raise refused.within(segment(key)) from None
        self._depth -= 1
        return written

    def enter(self, container: Collection[object]) -> None:
        """Go one level down; ``leave`` undoes it."""
        self._depth += 1
        self._left -= len(container) + CONTAINER_COST
        if self._depth > DEPTH_MAX:
            raise Refused(container, f"it nests more than {DEPTH_MAX} levels deep, or contains itself")
        if self._left < 0:
            raise Refused(container, f"it holds more than {VALUES_MAX:,} values (a shared part counts each time)")

    def leave(self) -> None:
        """Come one level up again."""
        self._depth -= 1

    def live_key(self, value: object) -> str:
        """The key under which the session-ref registry holds a live object."""
        if self._live is None:
            raise Refused(value, "it is a live object, and no session refs are kept here")
        return self._live(value)

    def _with(self, encoder: Encoder | None) -> Callable[[object], Plain]:
        return self.encode if encoder is None else lambda value: encoder(value, self)


def _advice(kind: type) -> str:
    base = next((base for base in (str, int, float, dict, list, tuple, set, bytes) if issubclass(kind, base)), None)
    if base is not None:
        return f"a subclass of {base.__name__} is not silently changed into one: convert it"
    return "its class is not known; declare attrs classes, dataclasses and Enums where the workflow is built"


class Reader:
    """One walk over plain data. ``live`` gives the live object behind a key of the registry."""

    __slots__ = ("_depth", "_live", "_tags")

    def __init__(self, tags: Mapping[str, Loader], live: Callable[[str], object] | None = None) -> None:
        self._tags = tags
        self._live = live
        self._depth = 0

    def decode(self, plain: Plain) -> object:
        """The value of plain data that says what it is; raises ``DecodeError``."""
        if type(plain) in SCALARS:
            return plain
        if type(plain) is list:
            return self.items(plain)
        if type(plain) is not dict:
            raise DecodeError(f"{type(plain).__qualname__} is not plain data")
        if len(plain) == 1:
            ((tag, content),) = plain.items()
            if tag.startswith(MARKER_PREFIX):
                return self._marked(tag, content)
        return self.fields(plain)

    def items(self, plain: Plain, loader: Loader | None = None) -> list[Any]:
        """The values in a list; ``loader`` knows what they have to be."""
        if type(plain) is not list:
            raise DecodeError(f"expected a list, got {type(plain).__name__}")
        if loader is None and SCALARS.issuperset(map(type, plain)):
            return plain.copy()
        self.enter()
        decode = self._with(loader)
        read: list[Any] = []
        try:
            for item in plain:
                read.append(decode(item))  # noqa: PERF401 - its length is the place of a failure
        except DecodeError as error:
            raise error.within(f"[{len(read)}]") from None
        self._depth -= 1
        return read

    def fields(self, plain: Plain, loader: Loader | None = None) -> dict[str, Any]:
        """The values in a dict whose keys are taken as they stand."""
        if type(plain) is not dict:
            raise DecodeError(f"expected an object, got {type(plain).__name__}")
        if loader is None and SCALARS.issuperset(map(type, plain.values())):
            return plain.copy()
        self.enter()
        decode = self._with(loader)
        read: dict[str, Any] = {}
        key = ""
        try:
            for key, item in plain.items():
                read[key] = decode(item)
        except DecodeError as error:
            raise error.within(segment(key)) from None
        self._depth -= 1
        return read

    def enter(self) -> None:
        """Go one level down; ``leave`` undoes it."""
        self._depth += 1
        if self._depth > READ_DEPTH_MAX:
            raise DecodeError(f"nested more than {DEPTH_MAX} levels deep")

    def leave(self) -> None:
        """Come one level up again."""
        self._depth -= 1

    def live_value(self, key: Plain) -> object:
        """The live object under a key of the session-ref registry."""
        if self._live is None or type(key) is not str:
            raise DecodeError("a session ref where none can be")
        return self._live(key)

    def _marked(self, tag: str, content: Plain) -> object:
        loader = self._tags.get(tag)
        if loader is None:
            raise DecodeError(f"unknown tag {tag[:60]!r}")
        return loader(content, self)

    def _with(self, loader: Loader | None) -> Callable[[Plain], Any]:
        return self.decode if loader is None else lambda plain: loader(plain, self)
