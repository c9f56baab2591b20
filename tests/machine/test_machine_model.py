"""The machine against its model: Hypothesis writes the program, plays the workers and everybody outside, in any order.

Each rule is one thing that can happen: it is done to the model and told to the machine; ``Driver.tell`` compares both.
"""

from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from blazen_trio.core.effects import Reject, Reply
from blazen_trio.core.errors import AnswerConflictError
from blazen_trio.core.events import (
    Event,
    InputRequestEvent,
    InputResponseEvent,
    StopEvent,
    UsageEvent,
)
from blazen_trio.core.mailbox import Waiter
from blazen_trio.core.messages import (
    AbortRequested,
    DeadlinePassed,
    DispatchHeld,
    DispatchReleased,
    EventAwaited,
    EventClaimed,
    EventCollected,
    EventDeclined,
    EventReceived,
    EventSent,
    Failure,
    InputAnswered,
    InputRequested,
    InputWithdrawn,
    PauseRequested,
    ResumeRequested,
    SenderClosed,
    SenderOpened,
    SlotGranted,
    StateWritten,
    StepFailed,
    StepInterrupted,
    StepSucceeded,
    TimerFired,
    UsageReported,
    WaitEnded,
)
from blazen_trio.core.shared_state import MISSING as NO_VALUE
from tests.budget import share
from tests.machine.driver import Driver
from tests.machine.model import MISSING, Entry, Token, Wait, Work
from tests.machine.programs import WORK, Letter, Program, Stray, programs

picks = st.integers(0, 31)
COLLECTED = 2


class MachineModel(RuleBasedStateMachine):
    """One run."""

    driver: Driver
    driver_type: ClassVar[type[Driver]] = Driver

    @initialize(
        program=programs(), is_open=st.sampled_from([True, True, True, False]), items=st.lists(picks, max_size=5)
    )
    def begin(self, program: Program, is_open: bool, items: list[int]) -> None:
        self.driver = self.driver_type(program)
        self.serial = 0
        self.asked: dict[tuple[Work, int], int] = {}
        self.model = self.driver.model
        self.driver.begin()
        if is_open:
            self.model.senders += 1
            self.driver.tell(SenderOpened(0.0))
        if items:
            self.succeed_one(self.driver.running()[0], 11, items)

    # --- What there is to choose from --------------------------------------------------------------------------------

    def free(self) -> list[Work]:
        """Calls that run and whose task is not waiting or deciding about an offer."""
        return [w for w in self.driver.running() if not w.waits and not any(o.work is w for o in self.driver.offers)]

    def pick(self, things: list[Any], pick: int) -> Any:
        return things[pick % len(things)]

    def touch(self, work: Work) -> Any:
        """The machine's call; it is begun now."""
        if work in self.driver.untouched:
            self.driver.untouched.remove(work)
        return self.driver.calls[work.id]

    def is_on(self) -> bool:
        return self.model.outcome is None

    def has_running(self) -> bool:
        return self.is_on() and bool(self.driver.running())

    def has_free(self) -> bool:
        return self.is_on() and bool(self.free())

    def event(self, classes: Any, pick: int) -> Event:
        self.serial += 1
        cls = self.pick(list(classes), pick)
        if cls is StopEvent:
            return StopEvent(self.serial)
        if cls is InputRequestEvent:
            return InputRequestEvent("?", "again" if self.serial % 11 == 0 else f"asked-{self.serial}")
        made: Event = cls(self.serial)
        return made

    # --- Calls end ----------------------------------------------------------------------------------------------------

    @precondition(has_free)
    @rule(calls=st.lists(st.tuples(picks, st.integers(0, 12), st.lists(picks, max_size=4)), min_size=1, max_size=5))
    def succeed(self, calls: list[tuple[int, int, list[int]]]) -> None:
        for which, kind, items in calls:
            if self.has_free():
                self.succeed_one(self.pick(self.free(), which), kind, items)

    @precondition(has_free)
    @rule(which=picks, items=st.lists(picks, min_size=1, max_size=4))
    def fan_out(self, which: int, items: list[int]) -> None:
        self.succeed_one(self.pick(self.free(), which), 11, items)

    def succeed_one(self, work: Work, kind: int, items: list[int]) -> None:
        call, result = self.touch(work), self.result(work, kind, items)
        self.model.succeed(work, result)
        self.driver.tell(StepSucceeded(call, result, self.driver.now))

    def result(self, work: Work, kind: int, items: list[int]) -> Any:
        spec = self.model.spec(work)
        going_on = [cls for cls in spec.single if cls is not StopEvent]
        if kind == 4 and len(items) in (1, 2) and StopEvent in spec.single:
            return StopEvent(kind)
        if 4 <= kind < 8 and going_on:
            return self.event(going_on, kind + sum(items))
        if kind >= 4 and spec.many:
            return [self.event(spec.many, item) for item in items]
        return None

    @precondition(has_running)
    @rule(
        which=picks, is_retryable=st.sampled_from([True] * 5 + [False]), violates=st.sampled_from([False] * 15 + [True])
    )
    def fail(self, which: int, is_retryable: bool, violates: bool) -> None:
        work = self.pick(self.driver.running(), which)
        if which % 8 and not self.survives(work, is_retryable=is_retryable):
            return
        call = self.touch(work)
        self.leave_mail(work)
        error = ValueError(work.id)
        now = 0.0 if self.model.is_paused else self.driver.now
        self.model.fail(work, error, now=now, is_retryable=is_retryable, is_violation=violates)
        failure = Failure("ValueError", "", error, is_retryable=is_retryable, is_violation=violates)
        self.driver.tell(StepFailed(call, failure, self.driver.now, 0.0))

    def survives(self, work: Work, *, is_retryable: bool) -> bool:
        """Whether the run may go on if this call fails; else most failures would be the last thing that is tried."""
        retries = self.model.spec(work).retries
        return (is_retryable and retries is not None) or self.driver.program.recovery_of(work.step) is not None

    def leave_mail(self, work: Work) -> None:
        """Before a call ends its tasks leave ``wait_for_event``; questions stay."""
        for wait, waiter in list(self.driver.waiters.items()):
            if wait.work is work and not wait.is_over:
                self.end_wait(wait, waiter)

    def end_wait(self, wait: Wait, waiter: Waiter) -> None:
        wait.is_over = True
        if wait.offer is not None:
            wait.offer.on_offer = False
            self.driver.offers.remove(wait)
        else:
            wait.work.waits.remove(wait)
        self.driver.tell(WaitEnded(waiter, self.driver.now))

    @precondition(lambda self: self.is_on() and any(w.condition == "running" for w in self.driver.cancelled))
    @rule(which=picks)
    def end_cancelled(self, which: int) -> None:
        work = self.pick([w for w in self.driver.running() if w in self.driver.cancelled], which)
        self.driver.cancelled.discard(work)
        call = self.touch(work)
        self.leave_mail(work)
        self.model.put_back(work)
        self.driver.tell(StepInterrupted(call, self.driver.now))

    @precondition(lambda self: self.is_on() and not self.model.is_paused and self.model.having("sleeping"))
    @rule(which=picks, late_s=st.sampled_from([0.0, 0.5]))
    def wake(self, which: int, late_s: float) -> None:
        work = self.pick(self.model.having("sleeping"), which)
        call = self.driver.calls[work.id]
        self.driver.pass_time(max(0.0, work.due - self.driver.now) + late_s)
        del self.driver.timers[call]
        self.model.to_front(work)
        self.driver.tell(TimerFired(call, self.driver.now))

    @precondition(lambda self: self.is_on() and self.driver.slots)
    @rule(which=picks)
    def grant(self, which: int) -> None:
        step = self.pick(sorted(self.driver.slots), which)
        self.driver.slots.discard(step)
        self.driver.tell(SlotGranted(step, self.driver.now))

    # --- Calls do something -------------------------------------------------------------------------------------------

    @precondition(has_free)
    @rule(which=picks, kind=picks, is_stray=st.sampled_from([False] * 7 + [True]))
    def send(self, which: int, kind: int, is_stray: bool) -> None:
        work = self.pick(self.free(), which)
        call = self.touch(work)
        classes = self.model.spec(work).sends or self.model.spec(work).many
        event = self.event([Letter] if is_stray or not classes else classes, kind)
        self.model.send(work, event)
        self.driver.tell(EventSent(call, event, self.driver.now))

    @precondition(has_free)
    @rule(which=picks, key=st.sampled_from("xy"), value=st.sampled_from([MISSING, 1, 2, 3, 4]))
    def write(self, which: int, key: str, value: Any) -> None:
        work = self.pick(self.free(), which)
        self.model.writes.append((work.run, key, value))
        self.driver.tell(StateWritten(self.touch(work), key, NO_VALUE if value is MISSING else value))

    @precondition(has_free)
    @rule(which=picks)
    def use(self, which: int) -> None:
        work = self.pick(self.free(), which)
        self.serial += 1
        self.model.usage.append((work.run, self.serial))
        self.driver.tell(UsageReported(self.touch(work), UsageEvent(total_tokens=self.serial), self.driver.now))

    @precondition(lambda self: self.is_on() and any(isinstance(w.event, WORK) for w in self.free()))
    @rule(which=picks)
    def collect(self, which: int) -> None:
        work = self.pick([w for w in self.free() if isinstance(w.event, WORK)], which)
        call, cls = self.touch(work), type(work.event)
        if not any(entry.work is work for entry in self.model.entries):
            self.model.entries.append(Entry(work, cls))
        has_taken = any(entry.taken_by is work.run for entry in self.model.entries)
        there = self.model.buffered(work.step, cls)
        taken = there if len(there) >= COLLECTED and not has_taken else []
        before = {id(entry.work.event): entry for entry in taken}
        (reply,) = self.driver.machine.handle(EventCollected(call, cls, COLLECTED))
        assert isinstance(reply, Reply)
        assert (reply.value is None) == (not taken)
        for event in reply.value or ():
            before.pop(id(event)).taken_by = work.run
        assert len(before) == max(0, len(taken) - COLLECTED)
        self.driver.check()

    # --- Mail and questions -------------------------------------------------------------------------------------------

    @precondition(has_free)
    @rule(
        waits=st.lists(st.tuples(st.sampled_from([Letter, Letter, Letter, Stray, WORK[0]]), st.booleans()), min_size=1)
    )
    def wait(self, waits: list[tuple[Any, bool]]) -> None:
        for kind, is_picky in waits:
            if self.has_free():
                self.wait_one(self.free()[-1], kind, is_picky)

    def wait_one(self, work: Work, kind: Any, is_picky: bool) -> None:
        wait = Wait(work, kind, is_picky)
        waiter = self.driver.waiters[wait] = Waiter(self.touch(work), kind, is_picky, wait)
        self.model.known.add(kind)
        self.model.waits.append(wait)
        work.waits.append(wait)
        self.driver.tell(EventAwaited(waiter, self.driver.now))

    @precondition(lambda self: self.is_on() and self.driver.offers)
    @rule(decisions=st.lists(st.tuples(picks, st.booleans()), min_size=1, max_size=4))
    def decide(self, decisions: list[tuple[int, bool]]) -> None:
        for which, wants in decisions:
            if self.driver.offers:
                self.decide_one(self.pick(self.driver.offers, which), wants)

    def decide_one(self, wait: Wait, wants: bool) -> None:
        self.driver.offers.remove(wait)
        mail, wait.offer = wait.offer, None
        assert mail is not None
        mail.on_offer = False
        if wants:
            wait.is_over, mail.taken_by = True, wait
            self.driver.tell(EventClaimed(self.driver.waiters[wait]))
        else:
            wait.declined.append(mail)
            wait.work.waits.append(wait)
            self.driver.tell(EventDeclined(self.driver.waiters[wait], self.driver.now))

    @precondition(lambda self: self.is_on() and any(not wait.is_over for wait in self.driver.waiters))
    @rule(which=picks)
    def stop_waiting(self, which: int) -> None:
        self.end_wait(*self.pick([pair for pair in self.driver.waiters.items() if not pair[0].is_over], which))

    @precondition(has_free)
    @rule(which=picks)
    def ask(self, which: int) -> None:
        work = self.pick(self.free(), which)
        place = self.asked.get((work, id(work.run)), 0)
        self.asked[work, id(work.run)] = place + 1
        name = f"{work.id:x}-{place}"
        if name in self.model.answers:
            assert self.driver.calls[work.id].recorded().answers[name] == self.model.answers[name]
            return
        wait = Wait(work, Event, question=name)
        self.model.questions[name] = wait
        self.model.waits.append(wait)
        work.waits.append(wait)
        question = InputRequestEvent("?", name)
        asked = InputRequested(self.touch(work), question, token=wait, is_final=False, at=self.driver.now)
        self.driver.tell(asked)

    @precondition(lambda self: self.is_on() and any(w.question and not w.is_over for w in self.model.waits))
    @rule(which=picks)
    def withdraw(self, which: int) -> None:
        wait = self.pick([w for w in self.model.waits if w.question and not w.is_over], which)
        wait.is_over = True
        wait.work.waits.remove(wait)
        self.model.questions.pop(wait.question, None)
        self.driver.tell(InputWithdrawn(self.driver.calls[wait.work.id], wait.question, self.driver.now))

    @precondition(lambda self: self.is_on() and self.model.questions)
    @rule(which=picks)
    def answer(self, which: int) -> None:
        name = self.pick(sorted(self.model.questions), which)
        asker = self.model.questions.pop(name)
        self.serial += 1
        self.model.answers[name] = self.serial
        if isinstance(asker, Work):
            asker.condition = "over"
            event, token = InputResponseEvent(name, self.serial), asker.token
            self.model.emit(token.fan, [Token(event, asker.id, 0, token.fan, token.item, token.recoveries)])
        self.driver.tell(InputAnswered(name, self.serial, self.driver.now))

    @precondition(lambda self: self.is_on() and self.model.answers)
    @rule(which=picks, is_same=st.booleans())
    def answer_again(self, which: int, is_same: bool) -> None:
        name = self.pick(sorted(self.model.answers), which)
        if name in self.model.questions:
            return
        response = self.model.answers[name] if is_same else "another"
        effects = self.driver.tell(InputAnswered(name, response, self.driver.now))
        errors = [type(effect.error) for effect in effects if isinstance(effect, Reject)]
        assert errors == ([] if is_same else [AnswerConflictError])

    # --- From outside -------------------------------------------------------------------------------------------------

    @precondition(is_on)
    @rule(
        kind=picks,
        classes=st.lists(st.sampled_from((*WORK, Letter, Letter, InputRequestEvent)), min_size=1, max_size=3),
    )
    def receive(self, kind: int, classes: list[Any]) -> None:
        for cls in classes:
            is_accepted = any(cls in spec.accepts for spec in self.driver.program.specs) or cls not in WORK
            event = self.event([cls if is_accepted else Stray if kind == 7 else Letter], 0)
            if self.is_on():
                self.model.emit(self.model.root, [self.driver.from_outside(event)])
                self.driver.tell(EventReceived(event, self.driver.now))

    @precondition(is_on)
    @rule(interrupt=st.booleans(), unbegun=picks)
    def pause(self, interrupt: bool, unbegun: int) -> None:
        driver, model = self.driver, self.model
        works = [work for work in driver.untouched if work.condition == "running"][unbegun % 3 :]
        driver.untouched = []
        if not model.is_paused:
            for work in reversed(works):
                model.put_back(work)
            for work in model.having("sleeping"):
                work.due = max(0.0, work.due - driver.now)
        model.is_paused = True
        calls = tuple(driver.calls[work.id] for work in works)
        driver.tell(PauseRequested(driver.now, interrupt, calls))

    @precondition(lambda self: self.is_on() and self.model.is_paused)
    @rule()
    def resume(self) -> None:
        driver, model = self.driver, self.model
        model.is_paused = False
        for work in model.having("sleeping"):
            work.due += driver.now
        model.route_queue()
        driver.tell(ResumeRequested(driver.now))

    @precondition(is_on)
    @rule(
        kind=st.sampled_from(["open", "close", "time", "time", "hold", "release", "release", "abort", "deadline"]),
        rare=picks,
    )
    def control(self, kind: str, rare: int) -> None:
        driver, model = self.driver, self.model
        if kind == "open" or (kind == "close" and model.senders):
            model.senders += 1 if kind == "open" else -1
            driver.tell((SenderOpened if kind == "open" else SenderClosed)(driver.now))
        elif kind == "time" and (model.is_paused or not model.having("sleeping")):
            driver.pass_time(rare / 4)
        elif kind in ("hold", "release"):
            model.is_held = kind == "hold"
            driver.tell((DispatchHeld if model.is_held else DispatchReleased)(driver.now))
        elif kind == "abort" and rare < 4:
            model.end("aborted", None)
            driver.tell(AbortRequested(driver.now, None))
        elif kind == "deadline" and rare < 4 and driver.is_clock_on:
            model.end("timed_out", None)
            driver.tell(DeadlinePassed(driver.now))

    # --- After the end ------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.is_on())
    @rule(which=picks, kind=picks)
    def come_late(self, which: int, kind: int) -> None:
        """After the end nothing is changed, whatever comes."""
        calls = list(self.driver.calls.values())
        now = self.driver.now
        error = ValueError()
        messages: list[Any] = [
            EventReceived(Letter(0), now),
            InputAnswered("?", 1, now),
            PauseRequested(now, True, ()),
            ResumeRequested(now),
        ]
        for call in [self.pick(calls, which)] if calls else []:
            messages += [
                StepSucceeded(call, None, now),
                StepSucceeded(call, [Letter(0)], now),
                StepFailed(call, Failure("", "", error), now, 0.0),
                StepInterrupted(call, now),
                TimerFired(call, now),
                EventSent(call, Letter(0), now),
                StateWritten(call, "x", 99),
            ]
        effects = self.driver.tell(self.pick(messages, kind))
        assert all(isinstance(effect, Reject) for effect in effects)
        assert self.state_is_kept()

    def state_is_kept(self) -> bool:
        return self.driver.state.values.visible == self.model.values("done")


def test_the_machine_does_what_the_contract_says():
    run_state_machine_as_test(MachineModel, settings=settings(stateful_step_count=50))


@pytest.mark.slow
def test_the_machine_does_what_the_contract_says_for_long():
    run_state_machine_as_test(MachineModel, settings=settings(stateful_step_count=120, max_examples=share(2000)))
