"""Events that calls wait for: one event goes to one waiter, the one that waits longest and wants it.

Rules of this file:

* Mail of a class is kept in the order of arrival until somebody claims it. A waiter without a predicate gets the oldest
  at once.
* A waiter with a predicate is offered the mail it has not seen, one at a time; the predicate is user code and is
  evaluated in the step's own task, which claims or declines. While an offer is open nobody else is offered that event.
* An event that steps take as well is a copy here, for those who wait when it comes: it lapses with the last of them who
  may want it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import attrs

from blazen_trio.core.calls import Call
from blazen_trio.core.events import Event


@attrs.define(eq=False)
class Waiter:
    """A task of a call that sits in ``wait_for_event``.

    Attributes:
        token: the runner's own name for the task that waits.
        is_final: nothing but an event lets the call go on: no deadline, no other task of the step.
        picky: whether it has a predicate.
        seen: it has no interest in mail below this number.
        declined: numbers, from there on, of mail that it did not want.
        offered: the mail that it is deciding about.
    """

    call: Call
    event_class: type[Event]
    picky: bool
    token: Any
    is_final: bool = False
    seen: int = 0
    declined: set[int] = attrs.Factory(set[int])
    offered: "Mail | None" = None


@attrs.define(eq=False)
class Mail:
    """An event that nobody has claimed yet; ``readers`` are those who may want a copy, or ``None`` if anybody may."""

    event: Event
    number: int
    readers: set[Waiter] | None = None
    taken: bool = False
    on_offer: bool = False


@attrs.define(eq=False)
class _Box:
    """Mail and waiters of one class."""

    mails: deque[Mail] = attrs.Factory(deque[Mail])
    waiters: dict[Waiter, None] = attrs.Factory(dict[Waiter, None])
    next_number: int = 0
    copies: list[Mail] = attrs.Factory(list[Mail])
    free: int = 0
    """Mails that are neither taken nor on offer: with none of them nobody needs to be asked."""

    def unclaimed(self, waiter: Waiter) -> Mail | None:
        """The oldest mail that this waiter may have and has not seen."""
        self._trim()
        for mail in islice(self.mails, self._skip_seen(waiter), None):
            is_for_it = mail.readers is None or waiter in mail.readers
            if not is_for_it or mail.taken or mail.number in waiter.declined:
                continue
            if not mail.on_offer:
                return mail
            if waiter.picky:  # whoever is asked now decides first, whatever order the tasks run in
                return None
        return None

    def _skip_seen(self, waiter: Waiter) -> int:
        """Index of the first mail that the waiter may still want; all before it is taken, or was declined."""
        index = start = max(0, waiter.seen - (self.mails[0].number if self.mails else self.next_number))
        for mail in islice(self.mails, start, None):
            if not (mail.taken or mail.number in waiter.declined):
                break
            waiter.declined.discard(mail.number)
            waiter.seen, index = mail.number + 1, index + 1
        return index

    def _trim(self) -> None:
        while self.mails and self.mails[0].taken:
            self.mails.popleft()


class Mailbox:
    """All unclaimed events and waiters of a run; ``size`` counts the events."""

    __slots__ = ("_boxes", "size")

    def __init__(self) -> None:
        self._boxes: dict[type[Event], _Box] = {}
        self.size: int = 0

    def has_waited(self, event_class: type[Event]) -> bool:
        """Whether any call ever waited for this class: then it is never an event that nobody accepts."""
        return event_class in self._boxes

    def has_waiter(self, event_class: type[Event]) -> bool:
        """Whether a call waits for this class now."""
        box = self._boxes.get(event_class)
        return box is not None and bool(box.waiters)

    def put(self, event: Event, *, is_copy: bool = False) -> None:
        """Keep an event until somebody claims it; a copy for as long as one of those waits who wait for it now."""
        box = self._box(type(event))
        mail = Mail(event, box.next_number, set(box.waiters) if is_copy else None)
        box.mails.append(mail)
        if is_copy:
            box.copies.append(mail)
        box.next_number += 1
        box.free += 1
        self.size += 1

    def put_promised(self, event: Event, calls: Iterable[Call]) -> None:
        """Keep a copy, as before a resume, for calls that waited for it and will wait again."""
        self.put(event, is_copy=True)
        mail = self._box(type(event)).copies[-1]
        mail.readers = {Waiter(call, type(event), picky=True, token=None) for call in calls}

    def expect(self, event_class: type[Event]) -> None:
        """Note that events of this class are wanted, now or later."""
        self._box(event_class)

    def add_waiter(self, waiter: Waiter) -> None:
        """Let a waiter stand in line."""
        box = self._box(waiter.event_class)
        box.waiters[waiter] = None
        for mail in box.copies:
            promised = {each for each in mail.readers or () if each.token is None and each.call is waiter.call}
            if mail.readers is not None and promised:
                mail.readers -= promised
                mail.readers.add(waiter)

    def remove_waiter(self, waiter: Waiter) -> None:
        """Take a waiter out of the line, its open offer included; harmless if it is not there."""
        box = self._box(waiter.event_class)
        box.waiters.pop(waiter, None)
        self._withdraw(waiter)
        for mail in list(box.copies):
            self._lose_reader(box, mail, waiter)

    def matches(self, event_class: type[Event]) -> Iterator[tuple[Waiter, Event]]:
        """Offer mail of a class to those who wait for it; a waiter that is not picky has it at once."""
        box = self._box(event_class)
        for waiter in list(box.waiters) if box.free else ():
            mail = box.unclaimed(waiter) if waiter.offered is None and box.free else None
            if mail is None:
                continue
            waiter.offered, mail.on_offer = mail, True
            box.free -= 1
            if not waiter.picky:
                self.claim(waiter)
            yield waiter, mail.event

    def claim(self, waiter: Waiter) -> None:
        """The waiter takes what it was offered and leaves the line."""
        if waiter.offered is not None:
            waiter.offered.taken = True
            waiter.offered = None
            self.size -= 1
        self.remove_waiter(waiter)

    def decline(self, waiter: Waiter) -> None:
        """The waiter does not want what it was offered and looks at the next."""
        mail = waiter.offered
        if mail is not None:
            waiter.declined.add(mail.number)
            self._withdraw(waiter)
            self._lose_reader(self._box(waiter.event_class), mail, waiter)

    def _withdraw(self, waiter: Waiter) -> None:
        if waiter.offered is not None:
            waiter.offered.on_offer = False
            waiter.offered = None
            self._box(waiter.event_class).free += 1

    def _lose_reader(self, box: _Box, mail: Mail, waiter: Waiter) -> None:
        """One waiter less may want a copy; it lapses with the last."""
        if mail.readers is None:
            return
        mail.readers.discard(waiter)
        if not (mail.readers or mail.taken):
            mail.taken = True
            box.free -= 1
            self.size -= 1
        if mail.taken:
            box.copies.remove(mail)

    def waited_classes(self) -> list[type[Event]]:
        """The classes that calls wait for now."""
        return [event_class for event_class, box in self._boxes.items() if box.waiters]

    def waiters(self) -> list[Waiter]:
        """All tasks that wait."""
        return [waiter for box in self._boxes.values() for waiter in box.waiters]

    def waiters_of(self, call: Call) -> list[Waiter]:
        """The tasks of a call that wait."""
        return [waiter for waiter in self.waiters() if waiter.call is call]

    def mails(self) -> dict[type[Event], list[Mail]]:
        """By class, for all classes that anybody ever waited for: what nobody has claimed, oldest first."""
        return {cls: [mail for mail in box.mails if not mail.taken] for cls, box in self._boxes.items()}

    def interest(self, waiter: Waiter) -> tuple[list[int], int | None]:
        """What a waiter declined, and what it was offered: places among the mail of its class that nobody has."""
        mails = [mail for mail in self._box(waiter.event_class).mails if not mail.taken]
        declined = [
            place for place, mail in enumerate(mails) if mail.number < waiter.seen or mail.number in waiter.declined
        ]
        return declined, None if waiter.offered is None else mails.index(waiter.offered)

    def stand(self, waiter: Waiter, declined: Iterable[int], offered: int | None) -> None:
        """Let a waiter stand in line as ``interest`` told, in a mailbox where nobody has had any mail yet."""
        self.add_waiter(waiter)
        box = self._box(waiter.event_class)
        waiter.declined.update(box.mails[place].number for place in declined)
        if offered is not None:
            waiter.offered = box.mails[offered]
            waiter.offered.on_offer = True
            box.free -= 1

    def pending(self) -> list[Event]:
        """The events that nobody has claimed."""
        return [mail.event for mails in self.mails().values() for mail in mails]

    def _box(self, event_class: type[Event]) -> _Box:
        box = self._boxes.get(event_class)
        if box is None:
            box = self._boxes[event_class] = _Box()
        return box
