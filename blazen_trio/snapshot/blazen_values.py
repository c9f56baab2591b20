"""What Blazen's snapshots hold: JSON values, tagged values of the state, bytes, pickles, session refs, times.

The rules of this file:

* JSON is data: an object that looks like one of our markers is escaped. Session refs are the exception, since their
  marker is Blazen's own.
* Nothing is unpickled here. What Blazen's Python package pickled (``Native``) becomes a session ref, with its key in
  its place; so whoever resumes it needs the same permission as for every pickled ref.
* What Blazen never wrote is a ``DecodeError`` that names the place.
"""

import re
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

import attrs

from blazen_trio.codec import DecodeError, Plain
from blazen_trio.codec.values import ENCODERS, encode_dict
from blazen_trio.codec.walkers import Encoder, Refused, Writer
from blazen_trio.session_refs import RegistryKey
from blazen_trio.session_refs.entries import RefLifetime
from blazen_trio.session_refs.pickles import Unread, dump
from blazen_trio.session_refs.saving import Lifetimes, SavedRefs, SerializedRef
from blazen_trio.snapshot.fields import Fields, checked, checked_list, checked_object
from blazen_trio.snapshot.refs import refs_to_plain

SERIALIZED_REFS: Final = "__blazen_serialized_session_refs"
DROPPED_REFS: Final = "__blazen_dropped_session_refs"
"""In Blazen's metadata: the refs that could be saved, with their bytes, and the keys of the others."""

_TAGS: Final = frozenset({"Json", "Bytes", "Native"})
_LENGTH_BYTES: Final = 4
_LIFETIME: Final = RefLifetime.UNTIL_CONTEXT_DROP
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _encode_object(value: dict[str, object], writer: Writer) -> Plain:
    try:
        return {**RegistryKey.from_plain(value).to_plain()}
    except ValueError:
        return encode_dict(value, writer)


_ENCODERS: Final[dict[type, Encoder]] = {**ENCODERS, dict: _encode_object}


def encoded(value: object, where: str) -> Plain:
    """A JSON value (or bytes) as plain data that says what it is."""
    try:
        return Writer(_ENCODERS).encode(value)
    except Refused as refused:
        raise DecodeError(refused.problem, where + refused.path) from None


def encoded_members(members: dict[str, Plain], where: str) -> dict[str, Plain]:
    """The values of a JSON object, each by itself."""
    return {key: encoded(each, _at(where, key)) for key, each in members.items()}


def _at(where: str, key: str) -> str:
    return f"{where}[{key[:60]!r}]"


def read_timestamp(text: str, where: str) -> float:
    """Seconds since the epoch, of a time as ``chrono`` writes it; its nanoseconds are cut off."""
    if _TIMESTAMP.fullmatch(text):
        with suppress(ValueError):
            return datetime.fromisoformat(text).timestamp()
    raise DecodeError(f"{text[:60]!r} is no time as RFC 3339 has it", where)


def _read_bytes(plain: Plain, where: str) -> bytes:
    """What ``serde_bytes`` writes in JSON: a list of numbers."""
    items: Any = checked_list(plain, where)
    if {int}.issuperset(map(type, items)):
        with suppress(ValueError):
            return bytes(items)
    raise DecodeError("expected a list of numbers from 0 to 255", where)


# --- State ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class State:
    """The values of a run, and by their new keys the pickles of those that were pickled."""

    values: dict[str, Plain] = attrs.field(factory=dict[str, Plain])
    pickles: dict[str, bytes] = attrs.field(factory=dict[str, bytes])

    @classmethod
    def read(cls, members: dict[str, Plain], run_id: str) -> "State":
        """Read ``context_state``. The key of a pickle comes from the run and the name, so it is always the same."""
        state = cls()
        for name, plain in members.items():
            where = _at("context_state", name)
            tag, content = _tagged(plain, where)
            value: object = content if tag == "Json" else _read_bytes(content, where)
            if tag == "Native":
                key = RegistryKey(uuid5(NAMESPACE_OID, f"{run_id} {name}"))
                state.pickles[str(key)] = _read_bytes(content, where)
                value = key
            state.values[name] = encoded(value, where)
        return state


def _tagged(plain: Plain, where: str) -> tuple[str, Plain]:
    if type(plain) is dict and len(plain) == 1 and _TAGS.issuperset(plain):
        return next(iter(plain.items()))
    raise DecodeError("expected an object with one key: Json, Bytes or Native", where)


# --- Session refs -----------------------------------------------------------------------------------------------------


def read_session_refs(metadata: dict[str, Plain], pickles: dict[str, bytes]) -> dict[str, Plain]:
    """The refs as our snapshots hold them. What was in Blazen's metadata for them is taken out of it."""
    serialized = checked_object(metadata.pop(SERIALIZED_REFS, {}), SERIALIZED_REFS)
    dropped = checked_list(metadata.pop(DROPPED_REFS, []), DROPPED_REFS)
    if not (pickles or serialized or dropped):
        return {}
    try:
        saved = SavedRefs(
            pickled=dict.fromkeys(pickles, _LIFETIME),
            pickle=dump({key: Unread(data) for key, data in pickles.items()}) if pickles else b"",
            serialized=tuple(_serialized(key, each) for key, each in serialized.items()),
            dropped=tuple(checked(each, str, DROPPED_REFS) for each in dropped),
        )
    except DecodeError:
        raise
    except ValueError as error:  # a key that is none, or stands twice; too big
        raise DecodeError(str(error), "session refs") from None
    return refs_to_plain(saved)


def _serialized(key: str, plain: Plain) -> SerializedRef:
    fields = Fields(plain, _at(SERIALIZED_REFS, key))
    type_tag, data = fields.text("type_tag"), _read_bytes(fields.value("data"), fields.at("data"))
    fields.end()
    keys: Lifetimes = {key: _LIFETIME}
    return SerializedRef(keys, type_tag, _without_class(data, type_tag))


def _without_class(data: bytes, type_tag: str) -> bytes:
    """What the object itself gave: Blazen's Python package puts the class's name in front, which is the tag, too."""
    name = type_tag.encode()
    return data.removeprefix(len(name).to_bytes(_LENGTH_BYTES, "big") + name)
