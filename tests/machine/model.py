"""What the contract says a run does, as simply as it can be said: a tree of descent, and all else worked out from it.

* Nothing is ever deleted and nothing is counted. Work has a condition; whatever the machine keeps in counters, queues
  and piles is looked up here by walking over all work that ever was.
* A fan-out is done when its owner is over and nothing that is alive descends from it: one asks every living thing for
  the fan-outs around it.
* State values and usage are a log of writes, each with the attempt that made it; what failed attempts wrote is skipped.
* The model does not choose. Which call starts next is told by the machine (``start``), and checked: it must wait, its
  step must have a free slot, and none of its step may have waited longer.
"""

from collections.abc import Iterator
from typing import Any

import attrs

from blazen_trio.core.errors import InputRequestExistsError, NoHandlerError, RunStalledError
from blazen_trio.core.events import (
    Event,
    InputRequestEvent,
    InputResponseEvent,
    StepFailedEvent,
    StopEvent,
)
from blazen_trio.core.ids import JOIN_PLACE, RECOVERY_PLACE, derive_id
from tests.machine.programs import RETRY_DELAY_S, Letter, Program, Spec

MISSING = object()


@attrs.define(eq=False, repr=False)
class Fan:
    """A fan-out, or the run itself (without an opener)."""

    opener: "Work | None" = None
    owner: "Work | None" = None
    promises: list[tuple[int, tuple[type[Event], ...]]] = attrs.Factory(list)
    items: list[tuple[int, "Token"]] = attrs.Factory(list)
    joined: set[int] = attrs.Factory(set)
    is_closed: bool = False

    def around(self) -> Iterator["Fan"]:
        """This fan-out and those around it, outwards."""
        yield self
        if self.opener is not None:
            yield from self.opener.token.fan.around()


@attrs.define(eq=False)
class Token:
    """An event in the run: whose child it is, at which place, in which fan-out, and from which item of that.

    Where several steps take one item, or several joins stand for one, each adds its number to the item.
    """

    event: Event
    parent_id: int
    place: int
    fan: Fan
    item: tuple[int, ...]
    recoveries: int

    def of(self, step: int) -> "Token":
        """The same, for one of several steps."""
        return attrs.evolve(self, item=(*self.item, step))


@attrs.define(eq=False)
class Work:
    """A call or a question, from its cause to its end; ``condition`` says where it is now."""

    step: int
    event: Any
    id: int
    token: Token
    recoveries: int
    condition: str = "waiting"  # running, sleeping, asking, over
    age: tuple[int, int] = (0, 0)
    attempt: int = 1
    due: float = 0.0
    places: int = 0
    fan: Fan | None = None
    run: object = None
    waits: list["Wait"] = attrs.Factory(list)


@attrs.define(eq=False)
class Wait:
    """A task of a call that waits: for mail, or for the answer to a question."""

    work: Work
    event_class: type[Event]
    is_picky: bool = False
    question: str | None = None
    declined: list["Mail"] = attrs.Factory(list)
    offer: "Mail | None" = None
    is_over: bool = False


@attrs.define(eq=False)
class Mail:
    """An event that somebody may wait for; a copy is one that steps took as well, for those who wait right now."""

    event: Event
    copy_for: list[Wait] | None = None
    taken_by: Wait | None = None
    on_offer: bool = False


@attrs.define(eq=False)
class Entry:
    """A call's own event in a collector, and the attempt that took it out last."""

    work: Work
    event_class: type[Event]
    taken_by: object = None


class Model:
    """One run by the contract. Verbs change the tree; ``settle`` draws the conclusions."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.root = Fan()
        self.fans: list[Fan] = [self.root]
        self.works: list[Work] = []
        self.queue: list[tuple[Fan, list[Token]]] = []
        self.questions: dict[str, Work | Wait] = {}
        self.answers: dict[str, object] = {}
        self.mails: list[Mail] = []
        self.waits: list[Wait] = []
        self.known: set[type[Event]] = set()
        self.entries: list[Entry] = []
        self.runs: dict[object, str] = {}
        self.writes: list[tuple[object, str, Any]] = []
        self.usage: list[tuple[object, int]] = []
        self.outcome: tuple[str, Any] | None = None
        self.is_paused = self.is_held = False
        self.senders = self.outside = self.tick = 0

    # --- What is there -----------------------------------------------------------------------------------------------

    def spec(self, work: Work) -> Spec:
        """The step of a call."""
        return self.program.specs[work.step]

    def having(self, condition: str, step: int | None = None) -> list[Work]:
        """All work in a condition."""
        return [each for each in self.works if each.condition == condition and step in (None, each.step)]

    def alive(self) -> list[Fan]:
        """For each living thing the fan-out that it is in."""
        return [each.token.fan for each in self.works if each.condition != "over"] + [fan for fan, _ in self.queue]

    def is_idle(self, work: Work) -> bool:
        """Whether a call only waits for answers."""
        return bool(work.waits) and all(wait.question is not None for wait in work.waits)

    def is_awaiting(self) -> bool:
        """Whether nothing but answers is waited for."""
        living = [each for each in self.works if each.condition != "over"]
        asking = [each for each in living if each.condition == "asking" or self.is_idle(each)]
        return bool(living) and not self.queue and not self.senders and len(asking) == len(living)

    def is_quiet(self) -> bool:
        """Whether every running call sits in a wait."""
        return all(work.waits for work in self.having("running"))

    def values(self, *states: str) -> dict[str, Any]:
        """State as the log tells it, of attempts in these states."""
        found = {key: value for run, key, value in self.writes if self.runs[run] in states}
        return {key: value for key, value in found.items() if value is not MISSING}

    def tokens_used(self) -> int:
        """Usage of attempts that did not fail."""
        return sum(count for run, count in self.usage if self.runs[run] != "undone")

    def is_taken(self, entry: Entry) -> bool:
        """Whether an attempt that did not fail has an event out of a collector."""
        return self.runs.get(entry.taken_by, "undone") != "undone"

    def buffered(self, step: int, cls: type[Event]) -> list[Entry]:
        """What is in a collector."""
        return [e for e in self.entries if e.work.step == step and e.event_class is cls and not self.is_taken(e)]

    def free_mail(self) -> list[Mail]:
        """Events that nobody has claimed."""
        return [mail for mail in self.mails if mail.taken_by is None and not self._has_lapsed(mail)]

    def _has_lapsed(self, mail: Mail) -> bool:
        return mail.copy_for is not None and all(wait.is_over or mail in wait.declined for wait in mail.copy_for)

    # --- Routing -----------------------------------------------------------------------------------------------------

    def emit(self, fan: Fan, tokens: list[Token]) -> None:
        """Bring events to everybody who accepts them, or queue them while the run is paused."""
        if self.is_paused:
            self.queue.append((fan, tokens))
            return
        self.tick += 1
        stop = next((token.event for token in tokens if isinstance(token.event, StopEvent)), None)
        if stop is not None:
            self.end("completed", stop)
        for token in tokens:
            self._route(token)

    def route_queue(self) -> None:
        """The pause is over: one emission after the other, and after each the joins of the fan-outs that it ends."""
        while self.queue and self.outcome is None:
            self.emit(*self.queue.pop(0))
            self.close_all()
        self.queue = []

    def _route(self, token: Token) -> None:
        cls = type(token.event)
        if self.outcome is not None:
            return
        plain, joins = self.program.takers(cls, is_join=False), self.program.takers(cls, is_join=True)
        is_shared = len(plain) + len(joins) > 1
        for step in plain:
            mine = token.of(step) if is_shared else token
            self.call(step, token.event, derive_id(token.parent_id, token.place, step), mine)
        token.fan.items += [(join, token) for join in joins]
        if cls is InputRequestEvent:
            self._ask(token)
        elif cls in (Letter, InputResponseEvent) or cls in self.known:
            self._mail(token.event, is_copy=bool(plain or joins))
        elif not (plain or joins):
            self.end("failed", NoHandlerError)

    def _mail(self, event: Event, *, is_copy: bool) -> None:
        waiting = [wait for wait in self.waits if not wait.is_over and wait.event_class is type(event)]
        if waiting or not is_copy:
            self.mails.append(Mail(event, waiting if is_copy else None))

    def _ask(self, token: Token) -> None:
        event = token.event
        assert isinstance(event, InputRequestEvent)
        if event.request_id in self.questions or event.request_id in self.answers:
            self.end("failed", InputRequestExistsError)
            return
        step = len(self.program.specs)
        work = Work(step, event, derive_id(token.parent_id, token.place, step), token, token.recoveries, "asking")
        self.works.append(work)
        self.questions[event.request_id] = work

    def call(self, step: int, event: Any, call_id: int, token: Token, recoveries: int | None = None) -> Work:
        """New work for a step, behind what waits."""
        work = Work(step, event, call_id, token, token.recoveries if recoveries is None else recoveries)
        work.age = (1, self.tick)
        assert all(other.id != call_id for other in self.works), "two calls have one id"
        self.works.append(work)
        return work

    def end(self, how: str, what: Any) -> None:
        """The run is over; the first end counts."""
        if self.outcome is None:
            self.outcome = (how, what)
            for work in self.having("running"):
                self.runs[work.run] = "undone"

    # --- Calls -------------------------------------------------------------------------------------------------------

    def start(self, work: Work) -> None:
        """The machine chose this call to run: it may, if it is its turn."""
        assert work.condition == "waiting", f"{work} starts again"
        is_stopped = self.is_paused or self.is_held
        assert not is_stopped, f"{work} starts while nothing may"
        limit = self.spec(work).limit
        assert limit is None or len(self.having("running", work.step)) < limit, f"{work} starts beyond the limit"
        waiting = self.having("waiting", work.step)
        assert not any(self._is_before(other, work) for other in waiting), f"{work} overtakes"
        work.condition, work.run = "running", object()
        self.runs[work.run] = "running"

    def _is_before(self, one: Work, other: Work) -> bool:
        """Whether one call came first: emitted before, or at the same time with an earlier place among its like."""
        are_alike = type(one.event) is type(other.event) and one.token.parent_id == other.token.parent_id
        return one.age < other.age or (one.age == other.age and are_alike and one.token.place < other.token.place)

    def put_back(self, work: Work) -> None:
        """Undone, in front of all that wait; the attempt does not count."""
        self.undo(work)
        self.to_front(work)

    def to_front(self, work: Work) -> None:
        """Let a call wait for its turn again."""
        self.tick += 1
        work.condition, work.age = "waiting", (0, -self.tick)

    def undo(self, work: Work) -> None:
        """What this attempt did does not count; nobody of it waits any more."""
        self.runs[work.run] = "undone"
        self.leave_waits(work)

    def leave_waits(self, work: Work) -> None:
        """The call's tasks are gone."""
        for wait in work.waits:
            wait.is_over = True
        work.waits = []

    def fan_of(self, work: Work) -> Fan:
        """The fan-out of what a call emits in lists or sends."""
        if work.fan is None:
            work.fan = Fan(work, work, [(work.step, self.spec(work).fan_types)])
            self.fans.append(work.fan)
        return work.fan

    def succeed(self, work: Work, result: Any) -> None:
        """The call is over, its writes count, its events go on."""
        self.runs[work.run] = "done"
        self.leave_waits(work)
        self.forget_questions(work)
        work.condition = "over"
        if self.spec(work).sends:
            self.fan_of(work)
        if isinstance(result, list):
            fan = self.fan_of(work)
            places = range(work.places, work.places + len(result))
            items = zip(places, result, strict=True)
            self.emit(fan, [Token(event, work.id, n, fan, (n,), work.recoveries) for n, event in items])
        elif result is not None:
            cause = work.token
            self.emit(cause.fan, [Token(result, work.id, work.places, cause.fan, cause.item, work.recoveries)])

    def send(self, work: Work, event: Event) -> None:
        """An event of a call's fan-out, before the call ends."""
        fan = self.fan_of(work)
        if type(event) not in self.spec(work).fan_types:
            fan.promises.append((work.step, (type(event),)))
        place, work.places = work.places, work.places + 1
        self.emit(fan, [Token(event, work.id, place, fan, (place,), work.recoveries)])

    def fail(self, work: Work, error: Exception, *, now: float, is_retryable: bool, is_violation: bool) -> None:
        """Undone; then retried, recovered, or the end of the run."""
        self.undo(work)
        retries = self.spec(work).retries
        if is_retryable and retries is not None and work.attempt <= retries:
            delay_s = RETRY_DELAY_S * 2 ** (work.attempt - 1)
            work.condition, work.due, work.attempt = "sleeping", now + delay_s, work.attempt + 1
            return
        work.condition = "over"
        self.forget_questions(work)
        self.entries = [entry for entry in self.entries if entry.work is not work]  # taken or not, for good
        recovery = self.program.recovery_of(work.step)
        if recovery is None or is_violation or work.recoveries >= self.program.specs[recovery].max_recoveries:
            self.end("failed", error)
        else:
            self._recover(work, recovery)

    def _recover(self, work: Work, step: int) -> None:
        self.tick += 1
        call_id = derive_id(work.id, RECOVERY_PLACE, step)
        taken = self.call(step, StepFailedEvent, call_id, work.token, work.recoveries + 1)
        taken.places, taken.fan = work.places, work.fan
        if taken.fan is not None:
            taken.fan.owner = taken
            taken.fan.promises.append((step, self.program.specs[step].fan_types))

    def forget_questions(self, work: Work) -> None:
        """Nobody needs to answer what a call asked that is over."""
        for name, asker in list(self.questions.items()):
            if isinstance(asker, Wait) and asker.work is work:
                del self.questions[name]

    # --- Conclusions -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Close fan-outs that are done, innermost first; then see whether anything is left."""
        self.close_all()
        if self.outcome is None and not self.alive() and not self.senders:
            self.end("failed", RunStalledError)

    def close_all(self) -> None:
        """Close fan-outs that are done, innermost first."""
        while self.outcome is None and self._close_one():
            pass

    def _close_one(self) -> bool:
        busy = {fan for each in self.alive() for fan in each.around()}
        done = [fan for fan in self.fans[1:] if not fan.is_closed and fan not in busy and self._is_owner_over(fan)]
        if not done:
            return False
        self._close(max(done, key=lambda fan: len(list(fan.around()))))
        return True

    def _is_owner_over(self, fan: Fan) -> bool:
        return fan.owner is not None and fan.owner.condition == "over"

    def _close(self, fan: Fan) -> None:
        self.tick += 1
        fan.is_closed = True
        assert fan.opener is not None
        inside = [each for each in self.fans if each is not fan and fan in each.around()]
        ran_inside = {join for each in inside for join in each.joined}
        promised = {join for step, each in fan.promises for join in self.program.expected_joins(each) - {step}}
        fan.joined = (promised - ran_inside) | {join for join, _ in fan.items}
        for join in sorted(fan.joined):
            tokens = [token for each, token in fan.items if each == join]
            tokens.sort(key=lambda token: token.item)
            recoveries = max([token.recoveries for token in tokens], default=fan.opener.recoveries)
            place = fan.opener.token.of(join) if len(fan.joined) > 1 else fan.opener.token
            self.call(join, [t.event for t in tokens], derive_id(fan.opener.id, JOIN_PLACE, join), place, recoveries)

    def deliver(self) -> list[tuple[Wait, Event]]:
        """Mail for those who wait, in the order in which they came; nothing moves while the run is paused."""
        given: list[tuple[Wait, Event]] = []
        for wait in [] if self.is_paused or self.outcome is not None else self.waits:
            if wait.is_over or wait.offer is not None or wait.question is not None:
                continue
            mine = [mail for mail in self.free_mail() if self._may_have(wait, mail)]
            mail = next((mail for mail in mine if wait.is_picky or not mail.on_offer), None)
            if mail is not None and not mail.on_offer:  # a picky one is asked only when those before it have decided
                self._give(wait, mail)
                given.append((wait, mail.event))
        return given

    def _may_have(self, wait: Wait, mail: Mail) -> bool:
        is_for_it = mail.copy_for is None or wait in mail.copy_for
        return type(mail.event) is wait.event_class and is_for_it and mail not in wait.declined

    def _give(self, wait: Wait, mail: Mail) -> None:
        wait.work.waits.remove(wait)
        if wait.is_picky:
            wait.offer, mail.on_offer = mail, True
        else:
            wait.is_over, mail.taken_by = True, wait
