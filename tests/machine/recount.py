"""Counters worked out anew, by walking the whole state: what the machine counts must come out the same."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from blazen_trio.core.calls import Batch, Call, Lane
from blazen_trio.core.scopes import Scope
from blazen_trio.core.state import RunState


def waiting_in(lane: Lane) -> int:
    """How many calls wait for a slot of a step."""
    return sum(len(each) if isinstance(each, Batch) else 1 for each in lane.waiting or ())


def whole_calls(state: RunState) -> Iterator[Call]:
    """Every call that exists as an object and is not over."""
    yield from state.running
    yield from state.timers
    for lane in state.lanes:
        yield from (each for each in lane.waiting or () if isinstance(each, Call))


def live_scopes(state: RunState) -> Counter[Scope]:
    """Every scope, with the number of things that can still add to it."""
    members: Counter[Scope] = Counter()
    for call in whole_calls(state):
        members[call.scope] += 1
        if call.fan_out is not None:
            members[call.fan_out] += 1
    for lane in state.lanes:
        for each in lane.waiting or ():
            if isinstance(each, Batch):
                members[each.scope] += len(each)
    members.update(question.origin.scope for question in state.questions.values() if question.call is None)
    members.update(emission.origin.scope for emission in state.queue)
    return _with_parents(members)


def _with_parents(members: Counter[Scope]) -> Counter[Scope]:
    todo = list(members)
    seen = set(todo)
    while todo:
        parent = todo.pop().parent
        if parent is None:
            continue
        members[parent] += 1
        if parent not in seen:
            seen.add(parent)
            todo.append(parent)
    return members


def counted(state: RunState) -> dict[str, Any]:
    """The machine's own counters."""
    scopes = live_scopes(state)
    return {
        "alive": state.alive,
        "asking": state.asking,
        "parked": state.parked,
        "kept": state.kept,
        "mail": 0 if state.mailbox is None else state.mailbox.size,
        "pending": state.pending,
        "running": [lane.running for lane in state.lanes],
        "scopes": {f"{scope.id:x}": scope.active for scope in scopes},
    }


def recounted(state: RunState) -> dict[str, Any]:
    """The same, from nothing but the things themselves."""
    waiting = sum(waiting_in(lane) for lane in state.lanes)
    routed = sum(question.call is None for question in state.questions.values())
    working = waiting + len(state.running) + len(state.timers) + routed
    scopes = live_scopes(state)
    kept = sum(len(each) for scope in {**scopes, state.root: 0} for each in (scope.collected or {}).values())
    kept += sum(map(len, state.collectors.values()))
    mail = 0 if state.mailbox is None else len(state.mailbox.pending())
    return {
        "alive": working + len(state.queue),
        "asking": routed + sum(call.asks == call.waits > 0 for call in state.running),
        "parked": sum(call.waits > 0 for call in state.running),
        "kept": kept,
        "mail": mail,
        "pending": working + sum(len(emission.events) for emission in state.queue) + kept + mail,
        "running": [sum(call.lane is lane for call in state.running) for lane in state.lanes],
        "scopes": {f"{scope.id:x}": count for scope, count in scopes.items()},
    }
