"""Do the tests of engines catch bugs? Plants them, one at a time, each in a process of its own, and runs the tests.

``python -m tests.engine.planted_bugs`` prints a table and exits with 1 if a bug survives.
"""

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from trio.lowlevel import checkpoint

from blazen_trio.core.effects import Finish, Publish, StartStep
from blazen_trio.core.events import InputRequestEvent
from blazen_trio.core.messages import OnceRecorded, StateWritten
from blazen_trio.durable import DurableRunner, Journal
from blazen_trio.durable import journal as journal_module
from blazen_trio.engine import commands as commands_module
from blazen_trio.engine import engine as engine_module
from blazen_trio.engine import opening
from blazen_trio.engine.holding import HeldRun
from blazen_trio.stores import memory

TESTS = ("answers", "visibility", "lifetimes", "crashes")
CPU_S = 10
"""Many times what one test takes; a run that is claimed again and again keeps the clock of a test jumping for ever."""

HANG_S = 150
NOTHING = "nothing is planted (the tests must be content)"
BUGS: dict[str, Callable[[], None]] = {NOTHING: lambda: None}


def bug(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Name a function that plants a bug."""

    def register(plant: Callable[[], None]) -> Callable[[], None]:
        BUGS[name] = plant
        return plant

    return register


def around(owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """Put a function around one of a class or module: it is called with that one and then its arguments."""

    def plant(wrapper: Callable[..., Any]) -> None:
        inner = getattr(owner, name)
        setattr(owner, name, lambda *args, **kwargs: wrapper(inner, *args, **kwargs))

    return plant


def replace(owner: Any, **replacements: Any) -> None:
    """Put something else in the place of what a class or module has."""
    for name, replacement in replacements.items():
        setattr(owner, name, replacement)


def does_not_wait(effect_type: type) -> None:
    """Effects of this class are carried out before their rows are saved."""

    @around(Journal, "_must_wait")
    def _(inner: Any, journal: Any, runner: Any, effect: Any) -> bool:
        return type(effect) is not effect_type and inner(journal, runner, effect)


def is_not_written(message_type: type) -> None:
    """Messages of this class get no row."""

    @around(Journal, "_keep")
    def _(inner: Any, journal: Any, row: bytes, message: Any) -> None:
        if type(message) is not message_type:
            inner(journal, row, message)


@bug("a promise is given before it is saved")
def _() -> None:
    async def wait_saved(_journal: Any) -> None:
        await checkpoint()

    replace(Journal, wait_saved=wait_saved)


@bug("a call starts before that is saved which led to it")
def _() -> None:
    does_not_wait(StartStep)


@bug("a stream item is shown before it is saved")
def _() -> None:
    does_not_wait(Publish)


@bug("the end is told before it is saved")
def _() -> None:
    does_not_wait(Finish)


@bug("effects wait for the row before theirs")
def _() -> None:
    @around(Journal, "_hold")
    def _(inner: Any, journal: Any, runner: Any, effects: Any) -> None:
        journal._number -= 1
        try:
            inner(journal, runner, effects)
        finally:
            journal._number += 1


@bug("the fence is not looked at")
def _() -> None:
    @around(memory, "_problem")
    def _(inner: Any, write: Any, run: Any) -> Any:
        return None if run is not None else inner(write, run)


@bug("what a call writes to the state has no row")
def _() -> None:
    is_not_written(StateWritten)


@bug("what is done once has no row")
def _() -> None:
    is_not_written(OnceRecorded)


@bug("a base forgets the calls that run")
def _() -> None:
    @around(journal_module, "write_live")
    def _(_inner: Any, *_args: Any) -> None:
        return None


@bug("the first row behind a base is lost")
def _() -> None:
    folded: set[Any] = set()

    @around(Journal, "_base")
    def _(inner: Any, journal: Any) -> bytes:
        folded.add(journal)
        base: bytes = inner(journal)
        return base

    @around(Journal, "_keep")
    def _(inner: Any, journal: Any, row: bytes, message: Any) -> None:
        if journal not in folded:
            inner(journal, row, message)
        folded.discard(journal)


@bug("a run is parked under the hands of whoever uses it")
def _() -> None:
    @asynccontextmanager
    async def unlocked(_held: Any) -> AsyncGenerator[None, None]:
        await checkpoint()
        yield

    replace(HeldRun, _locked=unlocked)


@bug("a run that was paused goes on when it is loaded")
def _() -> None:
    @around(HeldRun, "_begin")
    async def _(inner: Any, held: Any, runner: Any, **_options: Any) -> None:
        await inner(held, runner)


@bug("a run that was told again goes on behind its old rows")
def _() -> None:
    @around(HeldRun, "_journal")
    def _(inner: Any, held: Any, _base: Any, **options: Any) -> Any:
        return inner(held, None, **options)


@bug("a run that is loaded numbers its stream from the beginning")
def _() -> None:
    @around(DurableRunner, "__init__")
    def _(inner: Any, runner: Any, *args: Any) -> None:
        inner(runner, *args)
        runner._seq_before = 0


@bug("the error of a run that cannot be saved is shown on its stream")
def _() -> None:
    @around(Journal, "failed")
    def _(inner: Any, journal: Any, error: Exception) -> None:
        root, is_first = journal._root, journal.error is None
        inner(journal, error)
        if is_first and root._stream is not None:
            root._stream._closed, root._stream.last_seq = False, root._stream.last_seq + 1
            root._stream._records.append(Publish(root._stream.last_seq, 0.0, InputRequestEvent("?")))
            root._stream.close()


@bug("what a run inside is told while it rests has no row")
def _() -> None:
    def tell_resting(_journal: Any, machine: Any, message: Any) -> None:
        machine.handle(message)

    replace(Journal, tell_resting=tell_resting)


@bug("a command is forgotten although its run is stopped")
def _() -> None:
    @around(commands_module, "obey_commands")
    async def _(inner: Any, engine: Any) -> None:
        waiting = await engine.store.commands(engine.owner)
        await inner(engine)
        await engine.store.done([each.command_id for each in waiting])

    replace(opening, obey_commands=commands_module.obey_commands)


@bug("a run that was just made counts as paused")
def _() -> None:
    replace(engine_module, begun=lambda snapshot: snapshot)


def catches(name: str) -> bool:
    """Whether the tests fail, in a process of their own; a test that hangs has failed."""
    command = [sys.executable, "-m", "tests.engine.planted_bugs", name]
    try:
        code = subprocess.run(command, capture_output=True, timeout=HANG_S, check=False).returncode
    except subprocess.TimeoutExpired:
        return True
    return code in {1, -signal.SIGPROF}


class Bounded:
    """Ends the process with a signal when a test has used too much of the CPU: a busy machine changes nothing."""

    @staticmethod
    def pytest_runtest_setup() -> None:
        signal.setitimer(signal.ITIMER_PROF, CPU_S)


def run_planted(name: str) -> int:
    """Plant a bug and run the tests: 1 if one fails."""
    BUGS[name]()
    files = [f"tests/engine/test_{each}.py" for each in TESTS]
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files], plugins=[Bounded()]))


def main() -> int:
    """Try all; 1 if one survives."""
    if len(sys.argv) > 1:
        return run_planted(sys.argv[1])
    survivors = 0
    for name in BUGS:
        is_caught = catches(name)
        is_right = is_caught != (name == NOTHING)
        survivors += not is_right
        sys.stdout.write(f"{'caught  ' if is_caught else 'survived'}  {'' if is_right else '<- '}{name}\n")
        sys.stdout.flush()
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main())
