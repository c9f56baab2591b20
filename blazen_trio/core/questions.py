"""Questions to people: asked by a call that waits, or routed as an event; answered from outside, once.

Rules of this file:

* Every question has its own id. One id is asked once in a run; an answer never answers two.
* The same answer given again is accepted and ignored; a different one is an error.
* A call that is repeated finds its question still open, or its answer in its record or, if the run that it was in was
  begun anew, among the answers of all: nobody is asked twice.
* The questions of runs inside a run are shown and answered there; each is told to the run that asked.
"""

from typing import Final

from blazen_trio.core.calls import Origin
from blazen_trio.core.dispatch import Dispatcher, Handlers
from blazen_trio.core.effects import Reject, TellRun, WakeTask
from blazen_trio.core.errors import (
    AnswerConflictError,
    InputRequestExistsError,
    RunClosedError,
    UnknownInputRequestError,
)
from blazen_trio.core.events import InputResponseEvent
from blazen_trio.core.messages import InputAnswered, InputRequested, InputWithdrawn
from blazen_trio.core.records import is_late
from blazen_trio.core.state import Question, RunState
from blazen_trio.core.status import RunStatus


def input_requested(machine: Dispatcher, message: InputRequested) -> None:
    """Record a call's question, or let the call wait for the one that it asked before it was repeated."""
    state, call, event = machine.state, message.call, message.event
    if is_late(machine, call):
        return
    machine.now = message.at
    if event.request_id in state.answered:
        answer = call.recorded().answers[event.request_id] = state.answered[event.request_id]
        machine.effects.append(WakeTask(message.token, answer))
        return
    question = state.questions.get(event.request_id)
    if question is None:
        origin = Origin(call.id, 0, call.scope, call.order, call.recoveries)
        question = Question(event, origin, state, call)
        state.ask(question)
        call.recorded().asked += (event.request_id,)
        machine.announce_question(event, call)
    if question.call is not call:
        machine.effects.append(Reject(InputRequestExistsError(event.request_id, state.run_id)))
        return
    question.token, question.is_final = message.token, message.is_final
    machine.park(call, is_question=True)
    machine.settle()


def input_withdrawn(machine: Dispatcher, message: InputWithdrawn) -> None:
    """The call does not want to know any more."""
    state = machine.state
    question = state.questions.get(message.request_id)
    held = (state.held_wakes or {}).pop(message.request_id, None)
    asker = held[0] if question is None and held is not None else question and question.call
    if asker is not message.call or state.outcome is not None:
        return
    machine.now = message.at
    if question is not None:
        state.close_question(message.request_id)
    if message.call in state.running:
        machine.unpark(message.call, is_question=True)
    machine.settle()


def input_answered(machine: Dispatcher, message: InputAnswered) -> None:
    """Give an answer to the call that waits for it, or route it."""
    state = machine.state
    error = _answer_error(state, message)
    if error is not None:
        machine.effects.append(Reject(error))
        return
    if message.request_id in state.answered:
        return
    asker = state.questions[message.request_id].run
    if asker is not state:
        machine.effects.append(TellRun(asker, message))
        return
    machine.now = message.at
    question = state.close_question(message.request_id)
    state.answered[message.request_id] = message.response
    machine.note("input_received", question.call, data={"request_id": message.request_id})
    if question.call is None:
        _route_answer(machine, question, message)
    else:
        _wake(machine, question, message)
    machine.settle()


def _answer_error(state: RunState, message: InputAnswered) -> Exception | None:
    """Why an answer is not accepted, if it is not."""
    if state.outcome is not None:
        return RunClosedError("respond_to_input", state.status.value, state.run_id)
    if message.request_id in state.questions:
        return None
    if message.request_id not in state.answered:
        return UnknownInputRequestError(message.request_id, state.run_id)
    if is_same(state.answered[message.request_id], message.response):
        return None
    return AnswerConflictError(message.request_id, state.run_id)


def is_same(one: object, other: object) -> bool:
    """Whether two values (answers, events) are equal and of one type; what cannot be compared is not the same."""
    try:
        return one is other or (type(one) is type(other) and bool(one == other))
    except Exception:  # noqa: BLE001 - a user's __eq__ may raise anything, and the machine is total
        return False


def _route_answer(machine: Dispatcher, question: Question, message: InputAnswered) -> None:
    event = InputResponseEvent(message.request_id, message.response)
    machine.state.asking -= 1
    machine.state.alive -= 1
    machine.route_one(event, question.origin)
    machine.leave(question.origin.scope)


def _wake(machine: Dispatcher, question: Question, message: InputAnswered) -> None:
    call = question.call
    assert call is not None
    call.recorded().answers[message.request_id] = message.response
    if call not in machine.state.running or question.token is None:
        return
    wake = WakeTask(question.token, message.response)
    if machine.state.status is RunStatus.PAUSED:
        machine.state.hold_wake(message.request_id, call, wake)
        return
    machine.unpark(call, is_question=True)
    machine.effects.append(wake)


HANDLERS: Final[Handlers] = {
    InputRequested: input_requested,
    InputWithdrawn: input_withdrawn,
    InputAnswered: input_answered,
}
