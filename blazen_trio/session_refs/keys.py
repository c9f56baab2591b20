"""Keys of session refs, and how they stand in data: ``{"__blazen_session_ref__": "<uuid>"}``."""

from typing import Final, cast
from uuid import UUID, uuid4

SESSION_REF: Final = "__blazen_session_ref__"
"""The marker of a session ref in plain data: its content is the key."""


class RegistryKey(UUID):
    """The key of a session ref: a ``UUID`` of a type of its own. ``RegistryKey()`` is a new one.

    It may stand in event fields and in ``ctx.state``, where the object itself may not.

    Raises:
        ValueError: the text is no UUID.
    """

    __slots__ = ()

    def __init__(self, value: UUID | str | None = None) -> None:
        super().__init__(int=(uuid4() if value is None else UUID(str(value))).int)

    def to_plain(self) -> dict[str, str]:
        """The key as it stands in JSON."""
        return {SESSION_REF: str(self)}

    @classmethod
    def from_plain(cls, plain: object) -> "RegistryKey":
        """The key that ``to_plain`` wrote.

        Raises:
            ValueError: anything else.
        """
        if isinstance(plain, dict) and plain.keys() == {SESSION_REF}:
            return cls.from_text(cast("dict[str, object]", plain)[SESSION_REF])
        raise ValueError("not a session ref")

    @classmethod
    def from_text(cls, text: object) -> "RegistryKey":
        """The key that is written exactly so: one key has one text.

        Raises:
            ValueError: anything else.
        """
        if isinstance(text, str):
            key = cls(text)
            if str(key) == text:
                return key
        raise ValueError("not the key of a session ref")
