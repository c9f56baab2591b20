"""The session refs in a snapshot: written by policy, rebuilt with permission.

The rules of this file:

* Writing changes nothing in the registry, whether it fails or not: who takes the snapshot purges ``UNTIL_SNAPSHOT``
  when all is well. Reading gives a new registry, or an error.
* Whatever a user's object raises becomes one ``SessionRefsNotSerializableError`` that names the keys it concerns.
* Refs that share an object share it again afterwards, parts of it too if they are pickled.
* What is remote, or was saved before and never rebuilt, is data: every policy keeps it.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

import attrs

from blazen_trio.core.errors import SessionRefCapacityError, SessionRefsNotSerializableError, describe_exception
from blazen_trio.core.policies import SessionPausePolicy
from blazen_trio.session_refs import pickles
from blazen_trio.session_refs.entries import (
    RefEntry,
    RefKind,
    RefLifetime,
    RemoteRefDescriptor,
    SavedValue,
    SessionRefSerializable,
)
from blazen_trio.session_refs.keys import RegistryKey
from blazen_trio.session_refs.registry import CAPACITY, SessionRefRegistry

Deserializers: TypeAlias = Mapping[str, Callable[[bytes], object]]
"""By type tag: what makes an object of the bytes that its ``blazen_serialize`` gave."""

Entries: TypeAlias = dict[RegistryKey, RefEntry]
Lifetimes: TypeAlias = dict[str, RefLifetime]

logger: Final = logging.getLogger("blazen_trio")

_KEY: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _check_keys(_self: object, _field: object, keys: Iterable[str]) -> None:
    for key in keys:
        if not _KEY.fullmatch(key):  # ten times as fast as a RegistryKey: there may be many, and of no use
            raise ValueError(f"{key[:60]!r} is not the key of a session ref")


@attrs.frozen
class SerializedRef:
    """One serializable object; ``keys`` are all of its refs, with their lifetimes."""

    keys: Lifetimes = attrs.field(validator=_check_keys)
    type_tag: str
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class RemoteRef:
    """One ref to an object on another server."""

    keys: Lifetimes = attrs.field(validator=_check_keys)
    descriptor: RemoteRefDescriptor


@attrs.frozen
class SavedRefs:
    """The session refs of a run, as a snapshot holds them.

    Attributes:
        pickled: the refs whose objects are in ``pickle``, with their lifetimes.
        pickle: one pickle of a dict: the objects by key.
        serializable: those of ``pickled`` that were inserted as serializable.
        serialized: the objects that gave their own bytes.
        remote: refs to objects on other servers.
        dropped: the keys of those that were left behind.
        in_events: the keys that only ``Live`` fields of events know; the run has no refs of these objects.
    """

    pickled: Lifetimes = attrs.field(factory=dict[str, RefLifetime], validator=_check_keys)
    pickle: bytes = attrs.field(default=b"", repr=False)
    serializable: tuple[str, ...] = attrs.field(default=(), validator=_check_keys)
    serialized: tuple[SerializedRef, ...] = ()
    remote: tuple[RemoteRef, ...] = ()
    dropped: tuple[str, ...] = attrs.field(default=(), validator=_check_keys)
    in_events: tuple[str, ...] = attrs.field(default=(), validator=_check_keys)

    def __attrs_post_init__(self) -> None:
        keys = self.keys()
        if len(set(keys)) != len(keys):
            raise ValueError("one session ref is saved twice")

    def keys(self) -> list[str]:
        """The keys of all refs that are saved."""
        of_others = [each.keys for each in self.serialized] + [each.keys for each in self.remote]
        return [key for each in (self.pickled, *of_others) for key in each]


# --- Out -------------------------------------------------------------------------------------------------------------


def export_refs(
    registry: SessionRefRegistry, policy: SessionPausePolicy = SessionPausePolicy.PICKLE_OR_ERROR
) -> SavedRefs:
    """The refs of a registry as a snapshot holds them, but those that live ``UNTIL_SNAPSHOT``.

    Raises:
        SessionRefsNotSerializableError: the policy forbids to go on.
    """
    entries = _lasting(registry)
    here = {key: entry for key, entry in entries.items() if entry.kind.is_here}
    saved = _EXPORTS[policy](here)
    asleep = [_serialized(refs, _content_of(refs)) for refs in _groups(entries, RefKind.SAVED)]
    remote = [RemoteRef(_lifetimes(refs), _content_of(refs)) for refs in _groups(entries, RefKind.REMOTE)]
    return attrs.evolve(saved, serialized=(*saved.serialized, *asleep), remote=tuple(remote))


def _lasting(registry: SessionRefRegistry) -> Entries:
    """The refs that a snapshot has to do with."""
    return {key: e for key, e in registry.entries().items() if e.lifetime is not RefLifetime.UNTIL_SNAPSHOT}


def _pickle_all(here: Entries) -> SavedRefs:
    if not here:
        return SavedRefs()
    try:
        data = pickles.dump({str(key): entry.content for key, entry in here.items()})
    except Exception as error:
        keys = [key for key, entry in here.items() if not _is_picklable(entry.content)]
        raise SessionRefsNotSerializableError(keys or here, describe_exception(error)) from error
    serializable = [str(key) for key, entry in here.items() if entry.kind is RefKind.SERIALIZABLE]
    return SavedRefs(_lifetimes(here), data, tuple(serializable))


def _is_picklable(value: object) -> bool:
    try:
        pickles.dump(value)
    except Exception:  # noqa: BLE001 - a user's object may raise anything
        return False
    return True


def _serialize_some(here: Entries) -> SavedRefs:
    others = {key: entry for key, entry in here.items() if entry.kind is not RefKind.SERIALIZABLE}
    saved = [_serialized(refs, _value_of(refs)) for refs in _groups(here, RefKind.SERIALIZABLE)]
    return SavedRefs(serialized=tuple(saved), dropped=_drop(others))


def value_of(key: RegistryKey, entry: RefEntry) -> SavedValue:
    """The object of one ref as bytes.

    Raises:
        SessionRefsNotSerializableError: it does not know its own bytes, or they are not here.
    """
    if entry.kind is RefKind.SAVED:
        return cast("SavedValue", entry.content)
    if entry.kind is not RefKind.SERIALIZABLE:
        raise SessionRefsNotSerializableError([key], "it was not inserted with insert_serializable() here")
    return _value_of({key: entry})


def _value_of(refs: Entries) -> SavedValue:
    """What a serializable object says of itself."""
    value: SessionRefSerializable = _content_of(refs)
    type_tag: str | None = None
    try:
        type_tag = value.blazen_type_tag
        data = value.blazen_serialize()
    except Exception as error:
        raise SessionRefsNotSerializableError(refs, describe_exception(error), type_tag) from error
    problem = _problem_of(type_tag, data)
    if problem:
        raise SessionRefsNotSerializableError(refs, problem, type_tag if isinstance(type_tag, str) else None)
    return SavedValue(type_tag, bytes(data))


def _problem_of(type_tag: object, data: object) -> str:
    if not isinstance(type_tag, str):
        return f"blazen_type_tag is {type(type_tag).__name__}, not str"
    if not isinstance(data, bytes):
        return f"blazen_serialize() gave {type(data).__name__}, not bytes"
    is_big = len(data) > pickles.SAVED_BYTES_MAX
    return f"it takes more than {pickles.SAVED_BYTES_MAX:,} bytes" if is_big else ""


def _drop_all(here: Entries) -> SavedRefs:
    return SavedRefs(dropped=_drop(here))


def _drop(entries: Entries) -> tuple[str, ...]:
    keys = tuple(map(str, entries))
    if keys:
        logger.warning("%d live session refs are not in the snapshot: %s", len(keys), ", ".join(keys[:10]))
    return keys


def _refuse_any(here: Entries) -> SavedRefs:
    if here:
        raise SessionRefsNotSerializableError(here, "the policy is HARD_ERROR, and they are live")
    return SavedRefs()


_EXPORTS: Final[Mapping[SessionPausePolicy, Callable[[Entries], SavedRefs]]] = {
    SessionPausePolicy.PICKLE_OR_ERROR: _pickle_all,
    SessionPausePolicy.PICKLE_OR_SERIALIZE: _serialize_some,
    SessionPausePolicy.WARN_DROP: _drop_all,
    SessionPausePolicy.HARD_ERROR: _refuse_any,
}


def _lifetimes(refs: Entries) -> Lifetimes:
    return {str(key): entry.lifetime for key, entry in refs.items()}


def _serialized(refs: Entries, value: SavedValue) -> SerializedRef:
    return SerializedRef(_lifetimes(refs), value.type_tag, value.data)


def _content_of(refs: Entries) -> Any:
    """What these refs share."""
    return next(iter(refs.values())).content


def _groups(entries: Entries, kind: RefKind) -> list[Entries]:
    """The refs of one kind, those of the same object together."""
    groups: dict[int, Entries] = {}
    for key, entry in entries.items():
        if entry.kind is kind:
            groups.setdefault(id(entry.content), {})[key] = entry
    return list(groups.values())


# --- In --------------------------------------------------------------------------------------------------------------


def import_refs(
    saved: SavedRefs,
    *,
    capacity: int = CAPACITY,
    allow_pickle: bool = False,
    deserializers: Deserializers | None = None,
) -> SessionRefRegistry:
    """A registry with the refs of a snapshot, under their old keys and with their old lifetimes.

    Without any deserializer the serialized refs stay as they are: ``get`` gives ``None`` for them, and the next
    snapshot has them again.

    Raises:
        SessionRefCapacityError: there are more refs than fit.
        SessionRefsNotSerializableError: objects cannot be rebuilt, or only by unpickling without permission.
    """
    if len(saved.keys()) > capacity:  # before anything is rebuilt
        raise SessionRefCapacityError(capacity)
    registry = SessionRefRegistry(capacity)
    values, serializable = _unpickled(saved, allow_pickle=allow_pickle), frozenset(saved.serializable)
    for key, lifetime in saved.pickled.items():
        kind = RefKind.SERIALIZABLE if key in serializable else RefKind.LIVE
        registry.put(RegistryKey(key), RefEntry(values[key], kind, lifetime))
    for each in saved.serialized:
        value = _rebuilt(each, deserializers) if deserializers else SavedValue(each.type_tag, each.data)
        for key, lifetime in each.keys.items():
            registry.put(RegistryKey(key), RefEntry(value, _kind_of(value), lifetime))
    for remote in saved.remote:
        for key, lifetime in remote.keys.items():
            registry.insert_remote(RegistryKey(key), remote.descriptor, lifetime)
    return registry


def _unpickled(saved: SavedRefs, *, allow_pickle: bool) -> Mapping[str, object]:
    """The objects of the pickle, by key."""
    if not saved.pickled:
        return {}
    if not allow_pickle:
        raise SessionRefsNotSerializableError(
            saved.pickled,
            "they are pickled, and unpickling runs code: set allow_pickle=True, or verify_key= of a signed one",
        )
    try:
        values = pickles.load(saved.pickle)
    except Exception as error:
        raise SessionRefsNotSerializableError(saved.pickled, describe_exception(error)) from error
    if type(values) is not dict or values.keys() != saved.pickled.keys():
        raise SessionRefsNotSerializableError(saved.pickled, "the pickle does not hold these objects")
    return cast("dict[str, object]", values)


def _rebuilt(ref: SerializedRef, deserializers: Deserializers) -> object:
    deserialize = deserializers.get(ref.type_tag)
    if deserialize is None:
        raise SessionRefsNotSerializableError(ref.keys, "there is no deserializer for it", ref.type_tag)
    try:
        return deserialize(ref.data)
    except Exception as error:
        raise SessionRefsNotSerializableError(ref.keys, describe_exception(error), ref.type_tag) from error


def _kind_of(value: object) -> RefKind:
    """What a rebuilt object is to be: it came from a serializable one, but need not be one itself."""
    if isinstance(value, SavedValue):
        return RefKind.SAVED
    return RefKind.SERIALIZABLE if isinstance(value, SessionRefSerializable) else RefKind.LIVE


# --- Live fields -----------------------------------------------------------------------------------------------------


class LiveKeys:
    """The keys of objects in ``Live[T]`` fields: ``live=`` of ``Codec.event_to_plain``.

    An object that has a ref already keeps its key; another one gets a ref. Give it a copy of the run's registry, so
    that the refs of one snapshot do not stay in the run.

    Raises:
        SessionRefCapacityError: there are more objects than fit.
    """

    __slots__ = ("_keys", "_registry")

    def __init__(self, registry: SessionRefRegistry) -> None:
        self._registry = registry
        self._keys = {id(entry.content): str(key) for key, entry in _lasting(registry).items() if entry.kind.is_here}

    def __call__(self, value: object) -> str:
        """The key of an object, which the registry keeps alive, so that no other object gets its ``id``."""
        key = self._keys.get(id(value))
        if key is None:
            key = self._keys[id(value)] = str(self._registry.put(RegistryKey(), _entry_of(value)))
        return key


def _entry_of(value: object) -> RefEntry:
    """What stands only in events was never inserted as anything: it is what its class says."""
    kind = RefKind.SERIALIZABLE if hasattr(type(value), "blazen_serialize") else RefKind.LIVE
    return RefEntry(value, kind, RefLifetime.UNTIL_CONTEXT_DROP)
