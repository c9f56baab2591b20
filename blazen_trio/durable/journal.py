"""One run's journal while it runs: rows that wait to be written, and effects that wait for them.

Rules of this file:

* The row of a message is made before the machine takes it in: what cannot be encoded does not happen. A call whose
  result cannot be encoded has failed.
* Effects wait in the order of their messages. Those that only go on inside (a reply to the step that asks, a word to a
  run inside this one) do not wait; with ``durability="group"`` only those wait that lead outside.
* When the rows have become many beside what the run holds, a base takes their place.
* A journal that is *closed* (parked, dropped, failed) takes nothing in any more. What waits to be saved then and is not
  learns the error: nobody is promised what was not written.
"""

import copy
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs
from trio.lowlevel import checkpoint

from blazen_trio.abc import RunHeader, RunWrite, StreamRow
from blazen_trio.codec import codec_of, to_msgpack
from blazen_trio.core.calls import Call
from blazen_trio.core.effects import (
    CancelCalls,
    Effect,
    Finish,
    Publish,
    Reject,
    Reply,
    StartStep,
    TellRest,
    TellRun,
)
from blazen_trio.core.errors import EncodeError, StoreError
from blazen_trio.core.events import InputRequestEvent
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import Message, StepFailed, StepSucceeded, StoreFailed, TimerFired
from blazen_trio.core.state import RunState
from blazen_trio.core.status import RunStatus
from blazen_trio.durable.items import ItemCodec, header_of
from blazen_trio.failures import failure_of
from blazen_trio.journal import Path, RowWriter, base_of, base_plain, write_live
from blazen_trio.journal.rows import NOT_WRITTEN
from blazen_trio.parking import Parking
from blazen_trio.snapshot import WorkflowSnapshot, take

if TYPE_CHECKING:
    from blazen_trio.durable.committer import Committer
    from blazen_trio.durable.runner import DurableRunner
    from blazen_trio.runner import Runner

Durability: TypeAlias = Literal["step", "group"]

FOLD_BYTES_MIN: Final = 256 * 1024
"""Bytes of rows before a base may take their place: to tell so much again takes some 10 ms."""

FOLD_FACTOR: Final = 2
"""So many times the size of the last base must the rows have: then bases cost at most half of what rows cost."""

FOLD_AT_END: Final = 4
"""At the end a base is written if the rows have a quarter of the last one's size: what is read later should be short,
but a run that holds much and did little since must not write it all again."""

OnHeader: TypeAlias = Callable[[RunStatus, tuple[InputRequestEvent, ...]], None]

_INNER: Final = frozenset({Reply, Reject, TellRun, TellRest})
_OUTWARD: Final = frozenset({Publish, Finish})


@attrs.define(eq=False)
class _Held:
    """Effects of one runner that wait until the row of this number is saved."""

    number: int
    runner: "Runner"
    effects: list[Effect]


class Journal:
    """The journal of one run and those inside it.

    Attributes:
        fence: that the store gave with the run.
        error: why nothing more is written, if so.
        on_header: is told the status and the open questions when what lists show of the run was written.

    Args:
        committer: what writes.
        durability: whether calls wait for the disk.
        fence: that the store gave with the run.
        base: to be written before all else, in place of what the store has of the run.
        base_bytes: the size of what the store has of it.
    """

    def __init__(
        self,
        committer: "Committer",
        durability: Durability,
        fence: int,
        base: bytes | None = None,
        *,
        base_bytes: int = 0,
    ) -> None:
        self.fence: int = fence
        self.error: Exception | None = None
        self._committer = committer
        self._is_group = durability == "group"
        self._rows: list[bytes] = []
        self._stream: list[StreamRow] = []
        self._writer = RowWriter()
        self._held: deque[_Held] = deque()
        self._publications: _Held | None = None
        self._waiting: deque[tuple[int, Parking]] = deque()
        self._number = self._saved = self._handed = 0
        self._bytes = 0
        self._base_bytes = base_bytes if base is None else len(base)
        self._told: object = None
        self._telling: tuple[RunStatus, tuple[InputRequestEvent, ...]] | None = None
        self._first: bytes | None = base
        self._final: RunWrite | None = None
        self.on_header: OnHeader = _ignore
        self._is_closed = False
        self._root: DurableRunner

    def bind(self, root: "DurableRunner") -> None:
        """Say whose journal it is; once, before anything else."""
        self._root = root
        self._items = ItemCodec(root.definition)

    # --- What happens -------------------------------------------------------------------------------------------------

    def feed(self, runner: "Runner", message: Message) -> None:
        """Write down what happened to the run or to one inside it, let its machine decide, and hold the effects."""
        if isinstance(message, StepFailed) and message.failure.passes:
            self._go_away(runner, message)
            return
        if self._is_closed and self._root.state.outcome is None:
            return
        if (
            self._is_closed
            or self._root.state.outcome is not None
            or type(message) in NOT_WRITTEN
            or _is_late(runner, message)
        ):
            self._hold(runner, runner.decide(message))
            return
        message, row = self._row(runner, message)
        effects = runner.decide(message)
        if not (effects and isinstance(effects[0], Reject)):  # then nothing has changed
            self._keep(row, message)
        self._hold(runner, effects)

    def tell_resting(self, machine: Machine, message: Message) -> None:
        """Write down what happened to a run inside that is in none of its calls now: it has no runner."""
        path = path_of(machine.state, self._root.run_id)
        self._keep(self._writer.write(path, codec_of(machine.definition), message), message)
        machine.handle(message)

    def _keep(self, row: bytes, message: Message) -> None:
        self._rows.append(row)
        self._number += 1
        self._bytes += len(row)
        self._writer.forget(message)
        self._committer.wake(self)

    def _go_away(self, runner: "Runner", message: StepFailed) -> None:
        """The program ends (``KeyboardInterrupt``), not the run: it goes on from what the store has."""
        self.drop()
        runner.carry_out(runner.decide(message))

    def _row(self, runner: "Runner", message: Message) -> tuple[Message, bytes]:
        """The row of a message; a result that cannot be encoded is a failure of its call."""
        path, codec = runner.path, runner.codec
        try:
            return message, self._writer.write(path, codec, message)
        except EncodeError as error:
            if not isinstance(message, StepSucceeded):
                raise
            failure = attrs.evolve(failure_of(message.call, error), is_violation=True, is_retryable=False)
            failed = StepFailed(message.call, failure, message.at, random.random())
            return failed, self._writer.write(path, codec, failed)

    def _hold(self, runner: "Runner", effects: list[Effect]) -> None:
        """Carry out what need not wait; the rest waits for the last row."""
        if not effects:
            return
        if self._is_closed:  # the run is over here, and nothing of it is written: only its own tasks have to end
            runner.carry_out([each for each in effects if type(each) not in _OUTWARD])
            return
        if len(effects) == 1 and runner is self._root and isinstance(effects[0], Publish):
            self._hold_publication(effects[0])
            return
        at_once = [each for each in effects if not self._must_wait(runner, each)]
        if len(at_once) < len(effects):
            held = [each for each in effects if self._must_wait(runner, each)] if at_once else effects
            self._held.append(_Held(self._number, runner, held))
            self._publications = None
            if runner is self._root:
                self._stream += [self._item(each) for each in held if isinstance(each, Publish)]
            self._committer.wake(self)
        if at_once:
            runner.carry_out(at_once)

    def _hold_publication(self, effect: Publish) -> None:
        """As ``_hold`` for one item of the stream: those that come one after another wait together; that is quicker."""
        waiting = self._publications
        if waiting is None:
            waiting = self._publications = _Held(self._number, self._root, [])
            self._held.append(waiting)
        waiting.number = self._number
        waiting.effects.append(effect)
        self._stream.append(self._item(effect))
        self._committer.wake(self)

    def _item(self, effect: Publish) -> StreamRow:
        """The row of a stream item; what was just written as a message is not encoded a second time."""
        written, self._writer.written = self._writer.written, None
        plain = written[1] if written is not None and written[0] is effect.event else None
        row = self._items.write(effect, plain)
        effect.blob = row.blob
        return row

    def _must_wait(self, runner: "Runner", effect: Effect) -> bool:
        if runner is not self._root and type(effect) is Publish:
            return False  # it goes to the run around it, which holds it
        return type(effect) in _OUTWARD if self._is_group else type(effect) not in _INNER

    def take_unbegun(self, runner: "Runner") -> tuple[Call, ...]:
        """Take back the calls of this run whose start waits for a row."""
        calls: list[Call] = []
        for held in self._held:
            if held.runner is runner:
                calls += [each for each in held.effects if isinstance(each, StartStep)]
                held.effects[:] = [each for each in held.effects if not isinstance(each, StartStep)]
        for call in calls:
            if call.plan.has_tokens:
                runner.tokens.forgo(call)
        return tuple(calls)

    # --- Writing ------------------------------------------------------------------------------------------------------

    def collect(self) -> list[RunWrite]:
        """What is to be written now, if anything, in order.

        Raises:
            WorkflowError: it cannot be encoded.
        """
        if self._final is not None:
            final, self._final = self._final, None
            self._handed = self._number
            return [final]
        if self._is_closed:
            return []
        self._handed, self._publications = self._number, None
        first, self._first = self._first, None
        begin = [] if first is None else [RunWrite(self._root.run_id, self.fence, snapshot=first)]
        return begin + self._next()

    def _next(self) -> list[RunWrite]:
        header = self._header()
        if not (self._rows or self._stream or header):
            return []
        rows, self._rows = self._rows, []
        stream, self._stream = self._stream, []
        base = self._base() if self._is_fold_due() else None
        state = self._root.state
        write = RunWrite(
            run_id=state.run_id,
            fence=self.fence,
            entries=() if base is not None else rows,
            snapshot=base,
            stream=stream,
            stream_floor=max(0, state.seq - self._root.definition.options.stream_buffer) if stream else 0,
            header=header,
            release=state.outcome is not None,
        )
        return [write]

    def _is_fold_due(self) -> bool:
        if self._root.state.outcome is not None:
            return self._bytes * FOLD_AT_END > self._base_bytes
        return self._bytes > max(FOLD_BYTES_MIN, FOLD_FACTOR * self._base_bytes)

    def _base(self) -> bytes:
        """The run as it is now, without session refs: what they stand for lives in this process only."""
        root, now = self._root, self._root.clock()
        snapshot = take(root.definition, root.state, root.codec, root.saved_metadata, now)
        live = write_live(root.definition, root.state, self._writer, root.is_observed_in)
        base = to_msgpack(base_plain(snapshot, live, now))
        self._bytes, self._base_bytes = 0, len(base)
        return base

    def _header(self) -> RunHeader | None:
        """What lists show, if that has changed since it was written last."""
        state = self._root.state
        tell = (state.status, len(state.questions), next(reversed(state.questions), None))
        if tell == self._told:
            return None
        self._told = tell
        questions = () if state.outcome is not None else tuple([each.event for each in state.questions.values()])
        self._telling = state.status, questions
        return header_of(state, state.status, self._committer.now())

    def saved(self) -> None:
        """What was collected is written: carry out what waited for it."""
        self._saved = self._handed
        telling, self._telling = self._telling, None
        if telling is not None and not self._is_closed:
            self.on_header(*telling)
        for runner, effects in self._due():
            runner.carry_out(effects)
            runner.arm_if_needed()
        while self._waiting and self._waiting[0][0] <= self._saved:
            self._waiting.popleft()[1].set(None)

    def _due(self) -> "Iterator[tuple[Runner, list[Effect]]]":
        while self._held and self._held[0].number <= self._saved:
            held = self._held.popleft()
            if held.runner.nursery is not None:  # else its call is over, and what it was about to do is of no use
                yield held.runner, held.effects

    def failed(self, error: Exception) -> None:
        """What was collected could not be written: the run ends here, and nothing that waited happens."""
        if self.error is not None:
            return
        cancels = [(held.runner, each) for held in self._held for each in held.effects if type(each) is CancelCalls]
        self._close(error)
        for runner, effect in cancels:  # the machine has given up these calls already, and will not name them again
            runner.carry_out([effect])
        root = self._root
        effects = root.decide(StoreFailed(root.clock(), error))
        root.carry_out([each for each in effects if type(each) is not Publish])  # its number is not saved

    @property
    def is_closed(self) -> bool:
        """Whether it takes nothing in any more: what happens to the run from now on does not count."""
        return self._is_closed

    async def wait_saved(self) -> None:
        """Wait until what happened so far is written; a checkpoint.

        Raises:
            StoreError: it could not be, or the engine was closed before.
        """
        number, error = self._number, self.error
        if number > self._saved and error is None:
            parking = Parking()
            self._waiting.append((number, parking))
            error = await parking.wait()
        else:
            await checkpoint()
        if error is not None:
            raise copy.copy(error)

    def drop(self) -> None:
        """Write nothing more: nothing of the run counts here from now on. Idempotent."""
        if not self._is_closed:
            self.abandon()

    def abandon(self) -> None:
        """Write nothing more, not even what is to be written: nobody is promised anything."""
        if self.error is None:
            self._close(StoreError("the engine was closed before that was saved; the run goes on from before it"))

    def _close(self, error: Exception) -> None:
        self.error = error
        self._is_closed = True
        self._final = None
        self._held.clear()
        self._publications = None
        self._rows.clear()
        self._stream.clear()
        while self._waiting:
            self._waiting.popleft()[1].set(error)

    def park(self, snapshot: WorkflowSnapshot, *, is_released: bool) -> None:
        """Write this and no more: from now on nothing of the run counts here; it goes on from the snapshot.

        ``wait_saved`` tells when it is written.
        """
        self._is_closed = True
        header = header_of(self._root.state, snapshot.status, self._committer.now())
        stream, self._stream = self._stream, []
        base = base_of(snapshot)
        self._number += 1
        self._final = RunWrite(
            self._root.run_id, self.fence, snapshot=base, stream=stream, header=header, release=is_released
        )
        self._committer.wake(self)


def _ignore(_status: RunStatus, _questions: tuple[InputRequestEvent, ...]) -> None:
    """Nobody wants to know."""


def path_of(run: RunState, root_id: str) -> Path:
    """The ids of the calls around a run inside another one, which its own id is made of."""
    return tuple([int(part, 16) for part in run.run_id.removeprefix(root_id).split("/")[1:]])


def _is_late(runner: "Runner", message: Message) -> bool:
    """Whether it comes from a call that does not run any more: it changes nothing."""
    call = getattr(message, "call", None)
    if call is None:
        waiter = getattr(message, "waiter", None)
        call = None if waiter is None else waiter.call
    return call is not None and call not in runner.state.running and not isinstance(message, TimerFired)
