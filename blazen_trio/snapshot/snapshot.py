"""``WorkflowSnapshot``: a run's condition as data, as JSON and MessagePack, signed if wanted.

Rules of this file:

* Reading checks what each field is; what is in them is checked by the workflow that resumes it, before anything runs.
* A signature is an HMAC-SHA256 over the very text that ``to_json`` gives, so it says nothing but what was signed.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final, Self

import attrs

from blazen_trio.codec import Codec, DecodeError, Plain
from blazen_trio.codec import from_json as plain_from_json
from blazen_trio.codec import from_msgpack as plain_from_msgpack
from blazen_trio.codec import to_json as plain_to_json
from blazen_trio.codec import to_msgpack as plain_to_msgpack
from blazen_trio.core.errors import (
    EventDecodeError,
    SnapshotCorruptError,
    SnapshotSignatureError,
    SnapshotVersionError,
)
from blazen_trio.core.events import InputRequestEvent
from blazen_trio.core.history import HistoryEvent
from blazen_trio.core.status import RunStatus
from blazen_trio.snapshot.blazen import is_of_blazen, translated
from blazen_trio.snapshot.fields import Fields, checked, checked_list, checked_number, checked_object, checked_seconds
from blazen_trio.snapshot.format import VERSION

_CODEC: Final = Codec()
"""For what stands outside of any workflow: history, questions."""

_SIGNED: Final = b"blazen_trio snapshot 2\n"
"""In front of what is signed, so that no other signature with the same key fits."""

_OBJECTS: Final = (
    "context_state",
    "collected_events",
    "pending_events",
    "input_requests",
    "timers",
    "children",
    "session_refs",
    "usage",
    "metadata",
)


@attrs.frozen(kw_only=True)
class WorkflowSnapshot:
    """A run at one instant, exact: resume it with ``workflow.resume``, as often as you like, in any process.

    Made by ``run.snapshot()``; its fields are plain data, to look at rather than to change.

    Attributes:
        version: of the format.
        workflow_name: only a workflow of this name can resume it.
        run_id: kept by the run that goes on.
        timestamp: when it was taken, in seconds since the epoch.
        status: the run's status then.
        elapsed: seconds of running time used.
        context_state: the values of ``ctx.state``, without those of unfinished calls.
        collected_events: open fan-outs with what their joins collected, and the buffers of ``collect_events``.
        pending_events: events that are queued, waited for a slot or a retry, or were being worked on.
        input_requests: open questions, and the answers given so far.
        timers: seconds that remain before the next attempt, by the id of the call.
        children: runs inside this one.
        session_refs: live objects that could be saved.
        usage: tokens and cost of finished calls.
        metadata: what the caller gave the run to know, and the run's counters.
        history: its history entries; ``None`` if none are collected.
        stream_position: the number of the last event on the stream.
        signature: given by ``sign``, 64 hexadecimal digits.
        is_verified: it was read with a ``verify_key``, and the signature fitted.
    """

    version: int
    workflow_name: str
    run_id: str
    timestamp: float
    status: RunStatus
    elapsed: float
    context_state: dict[str, Plain]
    collected_events: dict[str, Plain]
    pending_events: dict[str, Plain]
    input_requests: dict[str, Plain]
    timers: dict[str, Plain]
    children: dict[str, Plain]
    session_refs: dict[str, Plain]
    usage: dict[str, Plain]
    metadata: dict[str, Plain]
    history: tuple[HistoryEvent, ...] | None
    stream_position: int
    signature: str | None = None
    is_verified: bool = attrs.field(default=False, init=False, eq=False, repr=False)

    # --- Out ----------------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The snapshot as compact JSON."""
        return plain_to_json(self.to_plain())

    def to_msgpack(self) -> bytes:
        """The snapshot as MessagePack."""
        return plain_to_msgpack(self.to_plain())

    def sign(self, key: bytes | str) -> Self:
        """A copy that is signed with a secret key (HMAC-SHA256); ``from_json(text, verify_key=key)`` takes no other."""
        unsigned = attrs.evolve(self, signature=None)
        return attrs.evolve(self, signature=_signature(unsigned.to_json(), key))

    def input_request(self) -> InputRequestEvent | None:
        """The oldest open question, or ``None``.

        Raises:
            SnapshotCorruptError: there is one, but it cannot be read.
        """
        try:
            asked = next(Fields(self.input_requests, "input_requests").objects("open"), None)
            return None if asked is None else _question(asked.value("event"))
        except (DecodeError, EventDecodeError) as error:
            raise SnapshotCorruptError(str(error), self.run_id) from None

    # --- In -----------------------------------------------------------------------------------------------------------

    @classmethod
    def from_json(cls, text: str | bytes, *, verify_key: bytes | str | None = None) -> Self:
        """Read JSON: of this library or of Blazen, which becomes a snapshot of this format.

        With a ``verify_key`` the text must be signed with it, and be as it was signed.

        Raises:
            SnapshotCorruptError: it is no snapshot, or damaged.
            SnapshotSignatureError: with ``verify_key``: it is unsigned, or the signature does not fit.
            SnapshotVersionError: another format.
        """
        snapshot = cls._from_plain(_decoded(plain_from_json, text))
        if verify_key is not None:
            given = text if isinstance(text, bytes) else text.encode()
            snapshot.verify(verify_key)
            if given != snapshot.to_json().encode():
                raise SnapshotSignatureError("it is not the text that was signed", snapshot.run_id)
        return snapshot

    @classmethod
    def from_msgpack(cls, data: bytes, *, verify_key: bytes | str | None = None) -> Self:
        """Read MessagePack; errors as for ``from_json``."""
        snapshot = cls._from_plain(_decoded(plain_from_msgpack, data))
        if verify_key is not None:
            snapshot.verify(verify_key)
        return snapshot

    def verify(self, key: bytes | str) -> None:
        """Check the signature; sets ``is_verified``.

        Raises:
            SnapshotSignatureError: there is none, or it does not fit.
        """
        if self.signature is None:
            raise SnapshotSignatureError("it is not signed", self.run_id)
        expected = _signature(attrs.evolve(self, signature=None).to_json(), key)
        fits = hmac.compare_digest(expected.encode(), self.signature.encode("utf-8", "replace"))
        if not fits:
            raise SnapshotSignatureError("its signature does not fit: another key, or it was changed", self.run_id)
        object.__setattr__(self, "is_verified", fits)

    # --- Plain data ---------------------------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Plain]:
        """The snapshot as plain data, not copied: what ``to_json`` writes."""
        plain: dict[str, Plain] = {
            "version": self.version,
            "workflow_name": self.workflow_name,
            "run_id": self.run_id,
            "timestamp": self.timestamp,
            "status": self.status.value,
            "elapsed": self.elapsed,
            **{name: getattr(self, name) for name in _OBJECTS},
            "history": None if self.history is None else [_entry_to_plain(each) for each in self.history],
            "stream_position": self.stream_position,
        }
        return plain if self.signature is None else {**plain, "signature": self.signature}

    @classmethod
    def _from_plain(cls, plain: Plain) -> Self:
        if type(plain) is not dict or "version" not in plain:
            raise SnapshotCorruptError("it is no snapshot: expected an object with a version")
        try:
            current = translated(plain) if is_of_blazen(plain) else plain
            check_version(current["version"])
            return cls.from_fields(Fields(current, "snapshot"))
        except DecodeError as error:
            raise SnapshotCorruptError(str(error)) from None

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read the fields of what ``to_plain`` gave, whose version was looked at.

        Raises:
            DecodeError: one is not what it must be.
        """
        history = fields.value("history")
        snapshot = cls(
            version=fields.value("version"),
            workflow_name=fields.text("workflow_name"),
            run_id=fields.text("run_id"),
            timestamp=checked_number(fields.value("timestamp"), "timestamp"),
            status=_status(fields.text("status")),
            elapsed=fields.seconds("elapsed"),
            **{name: fields.members(name) for name in _OBJECTS},
            history=None if history is None else _entries(checked_list(history, "history")),
            stream_position=fields.count("stream_position"),
            signature=fields.optional_text("signature"),
        )
        fields.end()
        return snapshot

    def check(self) -> None:
        """Whether each field is what it must be: also of a snapshot that was not read but made by hand.

        Raises:
            DecodeError: one is not.
        """
        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        for name in _OBJECTS:
            checked_object(given[name], name)
        checked(self.run_id, str, "run_id")
        checked_seconds(self.elapsed, "elapsed")
        status, history = given["status"], given["history"]
        if not isinstance(status, RunStatus):
            raise DecodeError("expected a RunStatus", "status")
        if not _is_history(history):
            raise DecodeError("expected entries of a history", "history")


def check_version(version: object, run_id: str | None = None) -> None:
    """Refuse a format that this library does not read.

    Raises:
        SnapshotCorruptError: that is no version at all.
        SnapshotVersionError: another one.
    """
    if type(version) is not int or version < 1:
        raise SnapshotCorruptError("its version is no number", run_id)
    if version != VERSION:
        raise SnapshotVersionError(version, VERSION, run_id)


def _decoded(read: Callable[[Any], Plain], data: object) -> Plain:
    try:
        return read(data)
    except DecodeError as error:
        raise SnapshotCorruptError(str(error)) from None


def _signature(text: str, key: bytes | str) -> str:
    secret = key.encode() if isinstance(key, str) else key
    if not secret:
        raise ValueError("an empty key signs nothing; give some secret bytes")
    return hmac.new(secret, _SIGNED + text.encode(), hashlib.sha256).hexdigest()


def _status(text: str) -> RunStatus:
    try:
        return RunStatus(text)
    except ValueError:
        raise DecodeError(f"no run has the status {text[:60]!r}", "status") from None


def _question(plain: Plain) -> InputRequestEvent:
    """The question as such: a subclass of the workflow's own is known there only."""
    fields = Fields(plain, "event")
    data = Fields(fields.value("data"), "event.data")
    known = {name: data.value(name) for name in ("prompt", "request_id", "metadata")}
    event = _CODEC.event_from_plain({"event_type": InputRequestEvent.event_type, "data": known})
    assert isinstance(event, InputRequestEvent)
    return event


def _is_history(value: tuple[object, ...] | None) -> bool:
    return value is None or (type(value) is tuple and all(isinstance(each, HistoryEvent) for each in value))


# --- History ----------------------------------------------------------------------------------------------------------


def _entry_to_plain(entry: HistoryEvent) -> Plain:
    row = [getattr(entry, field.name) for field in attrs.fields(HistoryEvent)]
    return _CODEC.to_plain(row, "history")


def _entries(rows: list[Plain]) -> tuple[HistoryEvent, ...]:
    return tuple(_entry(row) for row in rows)


def _entry(row: Plain) -> HistoryEvent:
    decoded: Any = _CODEC.from_plain(row)
    values = checked_list(decoded, "history")
    names = [field.name for field in attrs.fields(HistoryEvent)]
    if len(values) != len(names):
        raise DecodeError("expected an entry of the history", "history")
    fields = Fields(dict(zip(names, values, strict=True)), "history")
    return HistoryEvent(
        sequence=fields.count("sequence"),
        timestamp=checked_number(fields.value("timestamp"), "history"),
        kind=fields.text("kind"),
        step_name=fields.optional_text("step_name"),
        event_type=fields.optional_text("event_type"),
        duration_ms=_optional_number(fields.value("duration_ms")),
        error=fields.optional_text("error"),
        data=fields.members("data"),
    )


def _optional_number(value: Plain) -> float | None:
    return None if value is None else checked_number(value, "history")
