"""Session refs of finished calls, kept alive for the peers that called: until released, too old, or too many.

The rules of this file:

* What a call's run leaves behind when it ends well is the caller's, as with ``workflow.run()``. But the caller is on
  another machine, which may never come back: so there is a bound on their number, and one on their age.
* Nothing here awaits. What a ref was is looked up by its key, and by the call that left it.
* They live in this process only. A call that is asked for again after the engine was opened anew has its result, but
  no refs any more.
"""

import time
from collections.abc import Callable
from typing import Final

import attrs

from blazen_trio.core.errors import SessionRefNotFoundError
from blazen_trio.peers import SessionRefData
from blazen_trio.session_refs import RefLifetime, RegistryKey, RemoteRefDescriptor, SessionRefRegistry
from blazen_trio.session_refs.entries import RefEntry, RefKind, SavedValue
from blazen_trio.session_refs.registry import CAPACITY
from blazen_trio.session_refs.saving import value_of

KEPT_S: Final = 3600.0
"""How long a ref that nobody releases is kept: long enough for a caller that was away, short for what holds a lock."""

_MS_PER_S: Final = 1_000


@attrs.frozen(eq=False)
class _Kept:
    entry: RefEntry
    run_id: str
    since: float


class KeptRefs:
    """The session refs that calls of peers left in this engine. All methods are synchronous.

    Args:
        node_id: of the engine: where the refs are.
        capacity: refs at most; beyond that the oldest go.
        clock: gives the seconds since the epoch.
    """

    def __init__(self, node_id: str, capacity: int = CAPACITY, clock: Callable[[], float] = time.time) -> None:
        self.node_id: str = node_id
        self._capacity = capacity
        self._clock = clock
        self._kept: dict[RegistryKey, _Kept] = {}
        self._by_run: dict[str, dict[RegistryKey, None]] = {}

    def keep(self, run_id: str, registry: SessionRefRegistry) -> None:
        """Keep what a run leaves behind that has ended well, but what lives only until then."""
        now = self._clock()
        for key, entry in registry.entries().items():
            if entry.lifetime is not RefLifetime.UNTIL_PARENT_FINISH:
                self._forget(key)
                self._kept[key] = _Kept(entry, run_id, now)
                self._by_run.setdefault(run_id, {})[key] = None
        self.expire()

    def describe(self, run_id: str) -> SessionRefRegistry:
        """What is still here of a call's refs, as remote ones: what its caller gets."""
        self.expire()
        registry = SessionRefRegistry(self._capacity)
        for key in self._by_run.get(run_id, ()):
            registry.insert_remote(key, self._descriptor(self._kept[key]))
        return registry

    def _descriptor(self, kept: _Kept) -> RemoteRefDescriptor:
        if kept.entry.kind is RefKind.REMOTE:  # it is on a third machine, which knows it
            descriptor: RemoteRefDescriptor = kept.entry.content
            return descriptor
        return RemoteRefDescriptor(self.node_id, _type_tag(kept.entry), int(kept.since * _MS_PER_S))

    def run_of(self, key: RegistryKey) -> str | None:
        """The id of the run that left an object, if that is here."""
        self.expire()
        kept = self._kept.get(key)
        return None if kept is None else kept.run_id

    def deref(self, key: RegistryKey) -> SessionRefData:
        """An object as bytes.

        Raises:
            SessionRefNotFoundError: it is not here (any more).
            SessionRefsNotSerializableError: it does not know its own bytes.
        """
        self.expire()
        kept = self._kept.get(key)
        if kept is None:
            raise SessionRefNotFoundError(key)
        value = value_of(key, kept.entry)
        return SessionRefData(value.type_tag, value.data)

    def release(self, key: RegistryKey) -> bool:
        """Let go of an object; whether it was here."""
        self.expire()
        return self._forget(key)

    def forget_run(self, run_id: str) -> None:
        """Let go of all that a call left."""
        for key in tuple(self._by_run.get(run_id, ())):
            self._forget(key)

    def close(self) -> None:
        """Let go of everything: the engine closes."""
        self._kept.clear()
        self._by_run.clear()

    def expire(self) -> None:
        """Let go of what is too old, and of the oldest while there are too many."""
        due = self._clock() - KEPT_S
        while self._kept:
            key, kept = next(iter(self._kept.items()))
            if kept.since > due and len(self._kept) <= self._capacity:
                return
            self._forget(key)

    def _forget(self, key: RegistryKey) -> bool:
        kept = self._kept.pop(key, None)
        if kept is None:
            return False
        keys = self._by_run[kept.run_id]
        del keys[key]
        if not keys:
            del self._by_run[kept.run_id]
        return True

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)


def _type_tag(entry: RefEntry) -> str:
    """What kind of object it is: by its own word, or the name of its class."""
    if entry.kind is RefKind.SAVED:
        saved: SavedValue = entry.content
        return saved.type_tag
    if entry.kind is RefKind.SERIALIZABLE:
        try:
            tag = entry.content.blazen_type_tag
        except Exception:  # noqa: BLE001 - a user's object may raise anything; it is told when it is asked for
            tag = None
        if isinstance(tag, str):
            return tag
    return f"{type(entry.content).__module__}.{type(entry.content).__qualname__}"
