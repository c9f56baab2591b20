"""What a registry knows of one session ref."""

import enum
from typing import Any, Protocol, runtime_checkable

import attrs
from attrs.validators import instance_of


class RefLifetime(enum.Enum):
    """How long a registry keeps a session ref that nobody removes."""

    UNTIL_CONTEXT_DROP = "until_context_drop"
    """Until the block of the run that owns the registry ends; ``workflow.run()`` hands it over in its result."""

    UNTIL_EXPLICIT_DROP = "until_explicit_drop"
    """Until ``remove`` or ``drain``."""

    UNTIL_SNAPSHOT = "until_snapshot"
    """Until the next snapshot, which does not hold it; at most as long as ``UNTIL_CONTEXT_DROP``."""

    UNTIL_PARENT_FINISH = "until_parent_finish"
    """Until the run that owns the registry is over and its last call has ended, whichever child run inserted it."""


@runtime_checkable
class SessionRefSerializable(Protocol):
    """An object that knows its own bytes; see ``SessionRefRegistry.insert_serializable``."""

    @property
    def blazen_type_tag(self) -> str:
        """Names the kind of object, and so its deserializer at a resume. A plain class attribute will do."""
        ...

    def blazen_serialize(self) -> bytes:
        """What the deserializer needs to rebuild the object."""
        ...


@attrs.frozen
class RemoteRefDescriptor:
    """Says of a live object that lives elsewhere where it is and what.

    Attributes:
        origin_node_id: the server that holds the object.
        type_tag: what kind of object it is.
        created_at_epoch_ms: when it was registered there, in milliseconds since 1970.
    """

    origin_node_id: str = attrs.field(validator=instance_of(str))
    type_tag: str = attrs.field(validator=instance_of(str))
    created_at_epoch_ms: int = attrs.field(validator=instance_of(int))


@attrs.frozen(eq=False)
class SavedValue:
    """A serializable object as a snapshot had it, not rebuilt since: no deserializer was given."""

    type_tag: str
    data: bytes


class RefKind(enum.Enum):
    """What a registry holds under a key."""

    LIVE = "live"
    SERIALIZABLE = "serializable"
    REMOTE = "remote"
    SAVED = "saved"

    @property
    def is_here(self) -> bool:
        """Whether the object itself is here."""
        return self is RefKind.LIVE or self is RefKind.SERIALIZABLE


@attrs.frozen(eq=False)
class RefEntry:
    """One ref: ``content`` is the object itself, a ``RemoteRefDescriptor`` or a ``SavedValue``, as ``kind`` says."""

    content: Any = attrs.field(repr=False)
    kind: RefKind
    lifetime: RefLifetime = attrs.field(validator=instance_of(RefLifetime))
