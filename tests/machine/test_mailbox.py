"""The mailbox: one event, one waiter; who waits longest comes first, unless its predicate says no."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.core.mailbox import Mailbox, Waiter
from tests.machine.programs import Letter

CALL: Any = object()


def a_waiter(mailbox: Mailbox, *, picky: bool = False) -> Waiter:
    waiter = Waiter(CALL, Letter, picky, token=None)
    mailbox.add_waiter(waiter)
    return waiter


def offers(mailbox: Mailbox) -> list[tuple[Waiter, int]]:
    return [(waiter, number(event)) for waiter, event in mailbox.matches(Letter)]


def number(event: Any) -> int:
    return int(event.n)


def test_the_one_that_waits_longest_gets_the_oldest_letter():
    mailbox = Mailbox()
    first, second = a_waiter(mailbox), a_waiter(mailbox)
    mailbox.put(Letter(1))
    mailbox.put(Letter(2))
    assert offers(mailbox) == [(first, 1), (second, 2)]
    assert offers(mailbox) == []
    assert mailbox.size == 0


def test_a_letter_on_offer_goes_to_nobody_else_before_it_is_declined():
    mailbox = Mailbox()
    picky = a_waiter(mailbox, picky=True)
    mailbox.put(Letter(1))
    assert offers(mailbox) == [(picky, 1)]
    other = a_waiter(mailbox)
    assert offers(mailbox) == []
    mailbox.decline(picky)
    assert offers(mailbox) == [(other, 1)]


def test_two_picky_waiters_find_their_letters_whichever_is_asked_first():
    """Each first sees the letter of the other: declining it must not hide what was on offer to the other meanwhile."""
    mailbox = Mailbox()
    wants = {a_waiter(mailbox, picky=True): 2, a_waiter(mailbox, picky=True): 1}
    mailbox.put(Letter(1))
    mailbox.put(Letter(2))
    got = {}
    while found := offers(mailbox):
        for waiter, letter in found:
            if wants[waiter] == letter:
                mailbox.claim(waiter)
                got[waiter] = letter
            else:
                mailbox.decline(waiter)
    assert got == wants


def test_a_waiter_that_leaves_in_the_middle_of_an_offer_gives_the_letter_back():
    mailbox = Mailbox()
    leaving, staying = a_waiter(mailbox, picky=True), a_waiter(mailbox)
    mailbox.put(Letter(1))
    assert offers(mailbox) == [(leaving, 1)]
    mailbox.remove_waiter(leaving)
    assert offers(mailbox) == [(staying, 1)]


def test_a_copy_lapses_when_the_last_of_its_readers_is_gone():
    mailbox = Mailbox()
    picky, leaving = a_waiter(mailbox, picky=True), a_waiter(mailbox, picky=True)
    mailbox.put(Letter(1), is_copy=True)
    assert offers(mailbox) == [(picky, 1)]
    mailbox.decline(picky)
    assert mailbox.size == 1
    mailbox.remove_waiter(leaving)
    assert mailbox.size == 0
    a_waiter(mailbox)
    assert offers(mailbox) == []


def test_a_copy_is_not_for_those_who_come_later():
    mailbox = Mailbox()
    picky = a_waiter(mailbox, picky=True)
    mailbox.put(Letter(1), is_copy=True)
    assert offers(mailbox) == [(picky, 1)]
    late = a_waiter(mailbox)
    mailbox.put(Letter(2))
    assert offers(mailbox) == [(late, 2)]


@given(st.lists(st.sampled_from(["put", "copy", "wait", "pick", "claim", "decline", "leave"]), max_size=60))
def test_every_letter_is_with_one_waiter_or_pending_or_lapsed(program):
    mailbox = Mailbox()
    waiters: list[Any] = []
    given_to: dict[int, Waiter] = {}
    copies: set[int] = set()
    for turn, verb in enumerate(program):
        deciding = [waiter for waiter in waiters if waiter.offered is not None]
        if verb in ("put", "copy"):
            mailbox.put(Letter(turn), is_copy=verb == "copy")
            copies |= {turn} if verb == "copy" else set()
        elif verb in ("wait", "pick"):
            waiters.append(a_waiter(mailbox, picky=verb == "pick"))
        elif verb == "leave" and waiters:
            mailbox.remove_waiter(waiters.pop(turn % len(waiters)))
        elif verb == "claim" and deciding:
            given_to[number(deciding[0].offered.event)] = deciding[0]
            mailbox.claim(deciding[0])
            waiters.remove(deciding[0])
        elif verb == "decline" and deciding:
            mailbox.decline(deciding[0])
        for waiter, letter in offers(mailbox):
            assert letter not in given_to
            if not waiter.picky:
                given_to[letter] = waiter
                waiters.remove(waiter)
        pending = set(map(number, mailbox.pending()))
        sent = {n for n, each in enumerate(program[: turn + 1]) if each in ("put", "copy")}
        assert len(mailbox.pending()) == mailbox.size
        assert not pending & set(given_to)
        assert sent - copies <= pending | set(given_to) <= sent
