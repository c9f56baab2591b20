"""``SessionRefRegistry``: live objects by key.

The rules of this file:

* Nothing here blocks, and every method may be called from any thread: plain ``def`` steps use the registry of their run
  from theirs. One lock serves all registries, so a transfer between two cannot end in a deadlock; it is held for a few
  dict operations. It is reentrant, since a garbage collection inside of it may run a ``__del__`` that comes back here.
* Ctrl-C does not strike inside (``enable_ki_protection``): between taking the lock and the block that gives it back it
  would leave it locked for ever.
* No object is released while the lock is held: its ``__del__`` may take as long as it likes.
* Each change is whole or not at all: checked first, then made.
* A key that is not there is ``None`` where a value is asked for (``get``, ``get_serializable``, ``get_remote``,
  ``remove``) and ``SessionRefNotFoundError`` where there would be nothing to do (``clone_ref``, ``transfer_ref``,
  ``lifetime_of``). What is no key at all is a ``TypeError``.
"""

from collections.abc import Iterator
from threading import RLock
from typing import Any, Final, TypeVar, cast, overload
from uuid import UUID

import attrs
from trio.lowlevel import enable_ki_protection

from blazen_trio.core.errors import SessionRefCapacityError, SessionRefError, SessionRefNotFoundError
from blazen_trio.session_refs.entries import (
    RefEntry,
    RefKind,
    RefLifetime,
    RemoteRefDescriptor,
    SessionRefSerializable,
)
from blazen_trio.session_refs.keys import RegistryKey

T = TypeVar("T")

CAPACITY: Final = 10_000
"""Refs in one registry: far more handles than a run needs, so that a step which forgets to remove its own is found."""

_lock: Final = RLock()


class SessionRefRegistry:
    """Live objects under keys that can stand in data. All methods are synchronous, and safe from any thread.

    ``len()`` counts all refs, remote ones too; ``key in registry`` tells whether there is one.

    Args:
        capacity: one entry more is a ``SessionRefCapacityError``.
    """

    __slots__ = ("__weakref__", "_capacity", "_entries")

    def __init__(self, capacity: int = CAPACITY) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ValueError(f"capacity={capacity!r}: give an int of at least 1")
        self._capacity = capacity
        self._entries: dict[RegistryKey, RefEntry] = {}

    # --- In -----------------------------------------------------------------------------------------------------------

    def insert(self, value: object, lifetime: RefLifetime = RefLifetime.UNTIL_CONTEXT_DROP) -> RegistryKey:
        """Keep a live object; its key.

        Raises:
            SessionRefCapacityError: the registry is full.
        """
        return self.put(RegistryKey(), RefEntry(value, RefKind.LIVE, lifetime))

    def insert_serializable(
        self, value: SessionRefSerializable, lifetime: RefLifetime = RefLifetime.UNTIL_CONTEXT_DROP
    ) -> RegistryKey:
        """Keep a live object that a snapshot may save as its own bytes; its key.

        Raises:
            SessionRefCapacityError: the registry is full.
            TypeError: it has no ``blazen_serialize`` and ``blazen_type_tag``.
        """
        if not isinstance(value, SessionRefSerializable):
            raise TypeError(f"{type(value).__qualname__} has no blazen_serialize() and blazen_type_tag; use insert()")
        return self.put(RegistryKey(), RefEntry(value, RefKind.SERIALIZABLE, lifetime))

    @enable_ki_protection
    def insert_remote(
        self,
        key: UUID,
        descriptor: RemoteRefDescriptor,
        lifetime: RefLifetime = RefLifetime.UNTIL_CONTEXT_DROP,
    ) -> None:
        """Note that a key belongs to an object on another server. A newer descriptor replaces the older one.

        Raises:
            SessionRefCapacityError: the registry is full.
            SessionRefError: the key belongs to an object that is here.
            TypeError: no ``RemoteRefDescriptor``.
        """
        if not isinstance(descriptor, RemoteRefDescriptor):
            raise TypeError(f"insert_remote takes a RemoteRefDescriptor, not {descriptor!r}")
        with _lock:
            entry = self._find(key)
            if entry is not None and entry.kind is RefKind.REMOTE:
                self._entries[_checked(key)] = RefEntry(descriptor, RefKind.REMOTE, lifetime)
            else:
                self.put(RegistryKey(key), RefEntry(descriptor, RefKind.REMOTE, lifetime))

    @enable_ki_protection
    def put(self, key: RegistryKey, entry: RefEntry) -> RegistryKey:
        """Keep a whole entry under a key of its own; for the library.

        Raises:
            SessionRefCapacityError: the registry is full.
            SessionRefError: the key is taken.
        """
        with _lock:
            if key in self._entries:
                raise SessionRefError(f"session ref {str(key)!r} is in this registry already")
            if len(self._entries) >= self._capacity:
                raise SessionRefCapacityError(self._capacity)
            self._entries[key] = entry
        return key

    # --- Out ----------------------------------------------------------------------------------------------------------

    @overload
    def get(self, key: UUID) -> Any: ...

    @overload
    def get(self, key: UUID, type: type[T]) -> T | None: ...

    def get(self, key: UUID, type: type[Any] | None = None) -> Any:
        """The live object under a key, if it is here and of this type; else ``None``."""
        entry = self._find(key)
        if entry is None or not entry.kind.is_here or (type is not None and not isinstance(entry.content, type)):
            return None
        return entry.content

    def get_serializable(self, key: UUID) -> SessionRefSerializable | None:
        """The object under a key, if it was inserted as serializable; else ``None``."""
        entry = self._find(key)
        return entry.content if entry is not None and entry.kind is RefKind.SERIALIZABLE else None

    def get_remote(self, key: UUID) -> RemoteRefDescriptor | None:
        """Where the object under a key lives, if that is another server; else ``None``."""
        entry = self._find(key)
        return entry.content if entry is not None and entry.kind is RefKind.REMOTE else None

    def is_remote(self, key: UUID) -> bool:
        """Whether the object under a key lives on another server."""
        return self.get_remote(key) is not None

    def lifetime_of(self, key: UUID) -> RefLifetime:
        """How long a ref is kept.

        Raises:
            SessionRefNotFoundError: there is none.
        """
        return self._require(key).lifetime

    def keys(self) -> tuple[RegistryKey, ...]:
        """The keys that are there now, oldest first."""
        return tuple(self.entries())

    @enable_ki_protection
    def entries(self) -> dict[RegistryKey, RefEntry]:
        """All refs that are there now, oldest first; for the library."""
        with _lock:
            return self._entries.copy()

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[RegistryKey]:
        """The keys that are there now."""
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._entries)

    def statistics(self) -> dict[str, int]:
        """How many refs of each kind are held, and how many may be."""
        kinds = [entry.kind for entry in self.entries().values()]
        return {"capacity": self._capacity, **{kind.value: kinds.count(kind) for kind in RefKind}}

    # --- Away ---------------------------------------------------------------------------------------------------------

    @enable_ki_protection
    def remove(self, key: UUID) -> Any:
        """Forget a ref; what was under the key (the object, or the descriptor of a remote one), or ``None``."""
        with _lock:
            entry = self._find(key)
            self._entries.pop(_checked(key), None)
        return None if entry is None or entry.kind is RefKind.SAVED else entry.content

    def drain(self) -> int:
        """Forget all refs, whatever their lifetimes; how many there were."""
        return self.purge(*RefLifetime)

    @enable_ki_protection
    def purge(self, *lifetimes: RefLifetime) -> int:
        """Forget the refs that have one of these lifetimes; how many there were."""
        with _lock:
            gone = {key: entry for key, entry in self._entries.items() if entry.lifetime in lifetimes}
            for key in gone:
                del self._entries[key]
        return len(gone)

    # --- From one to another ------------------------------------------------------------------------------------------

    @enable_ki_protection
    def clone_ref(self, key: UUID) -> RegistryKey:
        """A new key for the same object, with the same lifetime.

        Raises:
            SessionRefCapacityError: the registry is full.
            SessionRefError: the object is on another server, which knows it by this key only.
            SessionRefNotFoundError: there is no such ref.
        """
        with _lock:
            entry = self._require(key)
            if entry.kind is RefKind.REMOTE:
                raise SessionRefError(f"session ref {str(key)!r} is remote: its server knows it by this key only")
            return self.put(RegistryKey(), attrs.evolve(entry))

    @enable_ki_protection
    def transfer_ref(self, key: UUID, other: "SessionRefRegistry") -> RegistryKey:
        """Move a ref to another registry, under the same key and with the same lifetime. All or nothing.

        Raises:
            SessionRefCapacityError: the other registry is full.
            SessionRefError: the other registry has this key already.
            SessionRefNotFoundError: there is no such ref here.
        """
        with _lock:
            entry = self._require(key)
            if other is not self:
                other.put(RegistryKey(key), entry)
                del self._entries[_checked(key)]
        return RegistryKey(key)

    @enable_ki_protection
    def copy(self) -> "SessionRefRegistry":
        """Another registry with the same refs: the same keys, and the very same objects."""
        registry = SessionRefRegistry(self._capacity)
        with _lock:
            registry._entries.update(self._entries)
        return registry

    def _find(self, key: UUID) -> RefEntry | None:
        return self._entries.get(_checked(key))

    def _require(self, key: UUID) -> RefEntry:
        entry = self._find(key)
        if entry is None:
            raise SessionRefNotFoundError(key)
        return entry

    def __repr__(self) -> str:
        return f"<SessionRefRegistry with {len(self)} of at most {self._capacity} refs>"


def _checked(key: UUID) -> RegistryKey:
    """A key as dicts of keys take it: any ``UUID``, since it is equal to the key of the same number."""
    if not isinstance(key, UUID):
        raise TypeError(f"a session ref has a RegistryKey, not {key!r}; RegistryKey(text) makes one")
    return cast("RegistryKey", key)
