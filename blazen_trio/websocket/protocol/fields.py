"""Kinds of values that stand in messages, with their bounds: a reader refuses what is outside of them.

They are annotations for msgspec, so the same lines check what comes in and are the schema in the AsyncAPI document.
"""

from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta, Struct

from blazen_trio.abc import ID_CHARS_MAX, NUMBER_MAX

REQUEST_ID_MAX: Final = 2**53 - 1
"""The highest id of a request: what every JSON reader holds exactly, JavaScript's too."""

TYPES_MAX: Final = 1_000
"""Event types that one subscription asks for; more is no choice."""

STEPS_MAX: Final = 10_000
"""Steps named in one call."""

TEXT_CHARS_MAX: Final = 10_000
"""Characters of a text that is shown to people, as the reason of an abort."""

PAGE_MAX: Final = 1_000
"""Runs in one page of a list."""

RequestId: TypeAlias = Annotated[int, Meta(ge=1, le=REQUEST_ID_MAX)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)]
Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
Seq: TypeAlias = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Window: TypeAlias = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
PageSize: TypeAlias = Annotated[int, Meta(ge=1, le=PAGE_MAX)]
EventTypes: TypeAlias = Annotated[list[Name], Meta(min_length=1, max_length=TYPES_MAX)]
StepNames: TypeAlias = Annotated[list[Name], Meta(min_length=1, max_length=STEPS_MAX)]
Labels: TypeAlias = dict[Name, Name]
PlainData: TypeAlias = Any
"""A value of a user, as the codec writes it."""


class Exact(Struct, forbid_unknown_fields=True):
    """An object of exactly these members. Nobody changes one that was made."""


class EventData(Exact):
    """An event: the wire name of its class, and its fields as the codec writes them."""

    event_type: Name
    data: PlainData

    def plain(self) -> dict[str, Any]:
        """The event as plain data, for a codec."""
        return {"event_type": self.event_type, "data": self.data}
