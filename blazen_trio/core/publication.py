"""What a run publishes: the records a stream keeps, and the envelope a reader sees around an event.

* The machine makes one record per published event and numbers it; a stream stores the records themselves.
* A ``StreamItem`` is made only when somebody asks for envelopes: most readers want the event alone.
* A gap is a record too. It belongs to one reader, bears the number of the last event missed, and is never stored.
"""

from typing import Protocol

import attrs

from blazen_trio.core.events import Event, StreamGap


@attrs.frozen
class StreamItem:
    """One event of a run's stream with what is known about it.

    ``seq`` counts a run's published events from 1, without holes; a ``StreamGap`` bears the number of the last event
    missed. ``timestamp`` is in seconds since the epoch. ``source_step``, ``call_id`` and ``attempt`` (from 1) name the
    call that published the event; each is ``None`` when the event did not come from a step. Of a call in a run inside
    this one, the first two are paths: ``"review/check"`` is the step ``check`` of the workflow that ``review`` runs.
    """

    seq: int
    timestamp: float
    event: Event
    source_step: str | None = None
    call_id: str | None = None
    attempt: int | None = None

    def envelope(self) -> "StreamItem":
        """The item itself: it can stand wherever a record can."""
        return self


class Publication(Protocol):
    """A record that a stream can keep: numbered, and able to make its envelope."""

    @property
    def seq(self) -> int:
        """The event's number in its run, from 1."""
        ...

    @property
    def event(self) -> Event:
        """The event itself."""
        ...

    def envelope(self) -> StreamItem:
        """The event with its number, time and origin."""
        ...


@attrs.frozen
class MissedEvents:
    """The record of a gap: what one reader gets in place of the ``missed`` events up to and including number ``seq``.

    ``timestamp`` is that of the reading: a gap happens to a reader, not to the run.
    """

    seq: int
    missed: int
    timestamp: float

    @property
    def event(self) -> Event:
        """The ``StreamGap`` that the reader sees."""
        return StreamGap(missed=self.missed)

    def envelope(self) -> StreamItem:
        """The gap with its number."""
        return StreamItem(seq=self.seq, timestamp=self.timestamp, event=self.event)
