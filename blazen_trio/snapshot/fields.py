"""Reading plain data key by key: each value is of the kind that is asked for, and no key is left over.

Every fault is a ``DecodeError`` that names its place. Reading is linear in what is read.
"""

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, Final, TypeVar

from blazen_trio.codec import DecodeError, Plain
from blazen_trio.core.errors import EventDecodeError

T = TypeVar("T")

COUNT_MAX: Final = (1 << 62) - 3
"""The last place that an emission can have: those behind it are the engine's own. No run counts so far."""

_REQUIRED: Final[Any] = object()
_ID_DIGITS: Final = 32
_HEX: Final = frozenset("0123456789abcdef")
_SHOWN: Final = 60


def checked(value: Plain, kind: type[T], where: str) -> T:
    """The value, if it is exactly of this class; an int is no float, nor a bool an int."""
    if type(value) is not kind:
        raise DecodeError(f"expected {kind.__name__}, got {type(value).__name__}", where)
    return value


def checked_list(value: Plain, where: str) -> list[Plain]:
    """A list."""
    if type(value) is not list:
        raise DecodeError(f"expected list, got {type(value).__name__}", where)
    return value


def checked_object(value: Plain, where: str) -> dict[str, Plain]:
    """An object."""
    if type(value) is not dict:
        raise DecodeError(f"expected an object, got {type(value).__name__}", where)
    return value


def checked_id(value: Plain, where: str) -> int:
    """An id of a call that ``format_id`` wrote."""
    text = checked(value, str, where)
    if len(text) != _ID_DIGITS or not _HEX.issuperset(text):
        raise DecodeError(f"expected {_ID_DIGITS} hexadecimal digits", where)
    return int(text, 16)


def checked_count(value: Plain, where: str) -> int:
    """An int that is not negative, and not beyond what any run counts."""
    number = checked(value, int, where)
    if not 0 <= number <= COUNT_MAX:
        raise DecodeError("expected a count", where)
    return number


def checked_number(value: Plain, where: str) -> float:
    """A finite number as a float."""
    if type(value) is int and abs(value) <= COUNT_MAX:
        return float(value)
    number = checked(value, float, where)
    if not isfinite(number):
        raise DecodeError("expected a finite number", where)
    return number


def checked_seconds(value: Plain, where: str) -> float:
    """A finite number that is not negative."""
    number = checked_number(value, where)
    if number < 0:
        raise DecodeError("expected a number of seconds", where)
    return number


class Fields:
    """One object of a snapshot. Each method takes one key; ``end`` complains of what nobody took."""

    __slots__ = ("_plain", "_taken", "where")

    def __init__(self, plain: Plain, where: str) -> None:
        self._plain: dict[str, Plain] = checked_object(plain, where)
        self._taken: set[str] = set()
        self.where: str = where

    def value(self, key: str, default: Any = _REQUIRED) -> Any:
        """The plain value of a key."""
        found = self._plain.get(key, _REQUIRED)
        if found is _REQUIRED:
            if default is _REQUIRED:
                raise DecodeError(f"{key!r} is missing", self.where)
            return default
        self._taken.add(key)
        return found

    def has(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self._plain

    def text(self, key: str) -> str:
        """A text."""
        return checked(self.value(key), str, self.at(key))

    def optional_text(self, key: str) -> str | None:
        """A text, or ``None``."""
        value = self.value(key, None)
        return None if value is None else checked(value, str, self.at(key))

    def flag(self, key: str) -> bool:
        """A truth value; false if there is none."""
        return checked(self.value(key, default=False), bool, self.at(key))

    def count(self, key: str, default: Any = _REQUIRED) -> int:
        """An int that is not negative."""
        return checked_count(self.value(key, default), self.at(key))

    def seconds(self, key: str) -> float:
        """A finite number that is not negative."""
        return checked_seconds(self.value(key), self.at(key))

    def call_id(self, key: str) -> int:
        """An id of a call."""
        return checked_id(self.value(key), self.at(key))

    def order(self, key: str) -> tuple[int, ...]:
        """A place in a fan-out."""
        return read_order(self.value(key, []), self.at(key))

    def items(self, key: str, default: Any = _REQUIRED) -> list[Plain]:
        """A list."""
        return checked_list(self.value(key, default), self.at(key))

    def members(self, key: str, default: Any = _REQUIRED) -> dict[str, Plain]:
        """An object."""
        return checked_object(self.value(key, default), self.at(key))

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty if there is none."""
        return [checked(each, str, self.at(key)) for each in self.items(key, [])]

    def objects(self, key: str) -> "Iterator[Fields]":
        """The objects in a list; none if there is none."""
        for place, each in enumerate(self.items(key, [])):
            yield Fields(each, f"{self.at(key)}[{place}]")

    def read(self, key: str, read: Callable[[Plain], T]) -> T:
        """What a reader makes of the value of a key; its complaint names the place."""
        return self._read(self.value(key), read, self.at(key))

    def read_items(self, key: str, read: Callable[[Plain], T], default: Any = _REQUIRED) -> list[T]:
        """What a reader makes of each item of a list; its complaint names the place."""
        items, where = self.items(key, default), self.at(key)
        return [self._read(each, read, f"{where}[{place}]") for place, each in enumerate(items)]

    def read_members(self, key: str, read: Callable[[Plain], T], default: Any = _REQUIRED) -> dict[str, T]:
        """What a reader makes of each member of an object; its complaint names the place."""
        members, where = self.members(key, default), self.at(key)
        return {name: self._read(each, read, f"{where}[{name[:_SHOWN]!r}]") for name, each in members.items()}

    def _read(self, plain: Plain, read: Callable[[Plain], T], where: str) -> T:
        try:
            return read(plain)
        except DecodeError as error:
            raise error.within(where) from None
        except EventDecodeError as error:
            raise EventDecodeError(error.event_type, error.field, f"{error.problem} (at {where})") from None

    def at(self, key: str) -> str:
        """The name of a key's place."""
        return f"{self.where}.{key}"

    def end(self) -> None:
        """Every key was taken."""
        if len(self._taken) != len(self._plain):
            unknown = ", ".join(repr(key) for key in self._plain if key not in self._taken)
            raise DecodeError(f"unknown keys: {unknown[:_SHOWN]}", self.where)


def read_order(value: Plain, where: str) -> tuple[int, ...]:
    """A place in a fan-out: ints that are not negative."""
    return tuple([checked_count(place, where) for place in checked_list(value, where)])
