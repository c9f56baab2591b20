"""``ctx.state``: the run's values as a mapping with value semantics; with fields if the workflow has a ``state_type``.

What you set is encoded at once; what you read is a fresh copy that is yours to change; set it again to change the run.
"""

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import attrs

from blazen_trio.codec import DecodeError, Plain
from blazen_trio.core.errors import EventDecodeError
from blazen_trio.core.messages import StateWritten
from blazen_trio.core.shared_state import MISSING

if TYPE_CHECKING:
    from blazen_trio.context import Context

T = TypeVar("T")
D = TypeVar("D")


class State(MutableMapping[str, object]):
    """The values of a run, as one call sees and changes them. Nothing here blocks.

    Writes are visible to all calls at once. They count when the call succeeds, and are undone when it does not.
    """

    __slots__ = ("_context",)
    _context: "Context[Any]"

    def __init__(self, context: "Context[Any]") -> None:
        object.__setattr__(self, "_context", context)

    def _visible(self) -> dict[str, Plain]:
        return cast("dict[str, Plain]", self._context.runner.state.values.visible)

    def __getitem__(self, key: str) -> object:
        """A fresh copy of the value; ``KeyError`` if there is none."""
        return self._context.runner.codec.from_plain(self._visible()[key])

    def __setitem__(self, key: str, value: object) -> None:
        """Set a value.

        Raises:
            EncodeError: the value (or something in it) cannot be encoded; nothing was changed.
            TypeError: the key is no str.
        """
        if not isinstance(key, str):
            raise TypeError(f"a state key is a str, not {key!r}")
        self._write(key, self._context.runner.codec.to_plain(value, f"state[{key!r}]"))

    def __delitem__(self, key: str) -> None:
        """Delete a value; ``KeyError`` if there is none."""
        if key not in self._visible():
            raise KeyError(key)
        self._write(key, MISSING)

    def __iter__(self) -> Iterator[str]:
        """The keys that are there now."""
        return iter(list(self._visible()))

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._visible())

    def __contains__(self, key: object) -> bool:
        """Whether there is such a key; cheaper than reading it."""
        return key in self._visible()

    @overload
    def get(self, key: str, /) -> Any: ...

    @overload
    def get(self, key: str, default: object, /) -> Any: ...

    @overload
    def get(self, key: str, default: None = None, *, type: type[T]) -> T | None: ...

    @overload
    def get(self, key: str, default: D, *, type: type[T]) -> T | D: ...

    # pyright compares the overloads one by one, and would have that with a default twice, as typeshed has it
    def get(self, key: str, default: object = None, *, type: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The value, or ``default``. With ``type=T`` it is structured into ``T``, strictly.

        Raises:
            EventDecodeError: the value does not fit ``type``.
        """
        plain = self._visible().get(key, MISSING)
        if plain is MISSING:
            return default
        return self._context.runner.codec.from_plain(plain) if type is None else self._structure(plain, type, key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {dict(self)!r}>"

    def _structure(self, plain: Plain, type: Any, key: str) -> Any:
        try:
            return self._context.runner.codec.structure(plain, type)
        except DecodeError as error:
            raise EventDecodeError("ctx.state", key + error.path, error.problem) from None

    def _write(self, key: str, plain: Any) -> None:
        self._context.post(StateWritten(self._context.call, key, plain))


class TypedState(State):
    """The values of a run whose workflow has a ``state_type``: its fields are attributes, with its defaults."""

    __slots__ = ("_fields",)
    _fields: "dict[str, attrs.Attribute[Any]]"

    def __init__(self, context: "Context[Any]", state_type: type) -> None:
        super().__init__(context)
        object.__setattr__(self, "_fields", attrs.fields_dict(attrs.resolve_types(state_type)))

    def __getattr__(self, name: str) -> Any:
        """The value of a field, or its default while it was never set."""
        field = self._field(name)
        plain = self._visible().get(name, MISSING)
        if plain is MISSING:
            return _default(field)
        return self._structure(plain, field.type or object, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field; its type is checked.

        Raises:
            AttributeError: the state type has no such field.
            EncodeError: the value cannot be encoded.
            EventDecodeError: the value does not fit the field's type.
        """
        field = self._field(name)
        codec = self._context.runner.codec
        plain = codec.to_plain(value, f"state.{name}")
        if field.type is not None:
            self._structure(plain, field.type, name)
        self._write(name, plain)

    def __delattr__(self, name: str) -> None:
        """Set a field back to its default."""
        self._field(name)
        self.pop(name, None)

    def __setitem__(self, key: str, value: object) -> None:
        """As attribute; ``KeyError`` if there is no such field."""
        if key not in self._fields:
            raise KeyError(key)
        setattr(self, key, value)

    def _field(self, name: str) -> "attrs.Attribute[Any]":
        fields: dict[str, attrs.Attribute[Any]] = object.__getattribute__(self, "_fields")
        if name not in fields:
            raise AttributeError(f"the state type has no field {name!r}; its fields are {', '.join(fields)}")
        return fields[name]


def _default(field: "attrs.Attribute[Any]") -> Any:
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]  # a class at run time
