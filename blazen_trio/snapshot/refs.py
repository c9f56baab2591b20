"""Session refs in snapshots, and the objects in ``Live`` fields of events: saved by policy, rebuilt with permission.

Rules of this file:

* The run's own registry is never changed: objects of ``Live`` fields get their keys in a copy. Keys that only events
  know are told apart, so that the resumed run has no refs of them either: they would pile up from resume to resume.
* A ``Live`` field whose object the policy dropped is ``None`` afterwards. One whose object could be had, if only its
  deserializer were given, is an error: nobody wants a step to begin without its connection.
* A run that has nothing of it pays nothing: its ``session_refs`` are ``{}``.
"""

from functools import cache
from typing import Any, Final

import attrs

from blazen_trio.codec import Codec, DecodeError, Plain
from blazen_trio.core.definition import WorkflowOptions
from blazen_trio.core.errors import SessionRefsNotSerializableError, SnapshotCorruptError
from blazen_trio.session_refs import RegistryKey, SessionRefRegistry
from blazen_trio.session_refs.entries import RefEntry, RefKind
from blazen_trio.session_refs.saving import Deserializers, LiveKeys, SavedRefs, export_refs, import_refs

_WHERE: Final = "session_refs"
_LISTS: Final = frozenset({"serializable", "serialized", "remote", "dropped", "in_events"})


@cache
def _codec() -> Codec:
    return Codec((), [SavedRefs])


class RefWriter:
    """Writes the refs of one run, once.

    Args:
        registry: of the run; ``None`` if it has none yet.
        options: of the workflow.
    """

    __slots__ = ("_copy", "_known", "_live", "_options", "_registry")

    def __init__(self, registry: SessionRefRegistry | None, options: WorkflowOptions) -> None:
        self._registry = registry
        self._options = options
        self._copy: SessionRefRegistry | None = None
        self._known: tuple[RegistryKey, ...] = ()
        self._live: LiveKeys | None = None

    def key(self, value: object) -> str:
        """The key of an object in a ``Live`` field.

        Raises:
            SessionRefCapacityError: there are more of them than fit.
        """
        if self._live is None:
            self._live = LiveKeys(self._scratch())
        return self._live(value)

    def write(self) -> dict[str, Plain]:
        """The refs as plain data; called when all events are written.

        Raises:
            SessionRefsNotSerializableError: the policy forbids to go on.
        """
        if self._copy is None and not self._registry:
            return {}
        scratch = self._scratch()
        saved = export_refs(scratch, self._options.session_pause_policy)
        in_events = tuple(map(str, scratch.keys()[len(self._known) :]))  # keys are in the order of their insertion
        return refs_to_plain(attrs.evolve(saved, in_events=in_events))

    def _scratch(self) -> SessionRefRegistry:
        if self._copy is None:
            registry = self._registry
            self._copy = SessionRefRegistry(self._options.max_session_refs) if registry is None else registry.copy()
            self._known = self._copy.keys()
        return self._copy


def refs_to_plain(saved: SavedRefs) -> dict[str, Plain]:
    """Only what there is, as plainly as can be: people look here for the keys that were dropped."""
    plain: dict[str, Plain] = {}
    for field in attrs.fields(SavedRefs):
        value: Any = getattr(saved, field.name)
        if value:
            bare: object = list(value) if field.name in _LISTS else value
            plain[field.name] = _codec().to_plain(bare, f"{_WHERE}.{field.name}")
    return plain


class RefReader:
    """Reads the refs of one run, once, and finds the objects of its events.

    Args:
        plain: what ``RefWriter`` wrote.
        options: of the workflow that goes on.
        deserializers: what the caller gave for this.
        is_verified: only who has the key can have written it.

    Raises:
        DecodeError: that is nothing that was ever written.
        SessionRefCapacityError: there are more refs than fit.
        SessionRefsNotSerializableError: objects cannot be rebuilt, or only by unpickling without permission.
    """

    __slots__ = ("_dropped", "_entries", "_in_events", "_registry")

    def __init__(
        self,
        plain: dict[str, Plain],
        options: WorkflowOptions,
        deserializers: Deserializers | None,
        *,
        is_verified: bool,
    ) -> None:
        self._registry: SessionRefRegistry | None = None
        self._entries: dict[str, RefEntry] = {}
        self._in_events: tuple[str, ...] = ()
        self._dropped: frozenset[str] = frozenset()
        if plain:
            self._read(_from_plain(plain), options, deserializers, is_verified=is_verified)

    def _read(
        self, saved: SavedRefs, options: WorkflowOptions, deserializers: Deserializers | None, *, is_verified: bool
    ) -> None:
        self._dropped = frozenset(saved.dropped)
        self._in_events = saved.in_events
        self._registry = registry = import_refs(
            saved,
            capacity=options.max_session_refs,
            allow_pickle=options.allow_pickle or is_verified,
            deserializers=deserializers,
        )
        self._entries = {str(key): entry for key, entry in registry.entries().items()}

    def value(self, key: str) -> object:
        """The object of a ``Live`` field.

        Raises:
            SessionRefsNotSerializableError: nobody said how to rebuild it.
            SnapshotCorruptError: there never was one.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.kind is RefKind.SAVED:
            problem = "an event holds it in a Live field, so its deserializer is needed"
            raise SessionRefsNotSerializableError([key], problem, entry.content.type_tag)
        if entry is None or not entry.kind.is_here:
            if key in self._dropped:
                return None
            raise SnapshotCorruptError(f"an event holds a live object that is not in it: {key[:60]!r}")
        return entry.content

    def finish(self) -> SessionRefRegistry | None:
        """The registry of the run that goes on, if it needs one; called when all events are read."""
        registry = self._registry
        if registry is not None:
            for key in self._in_events:
                registry.remove(RegistryKey(key))
        return registry or None


def _from_plain(plain: dict[str, Plain]) -> SavedRefs:
    try:
        saved: SavedRefs = _codec().structure(plain, SavedRefs)
    except DecodeError as error:
        raise error.within(_WHERE) from None
    return saved
