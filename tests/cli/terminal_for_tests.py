"""The command in processes of their own: with pipes, or at a pseudo terminal where a scripted person sits."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = [sys.executable, "-m", "blazen_trio.cli"]
SECONDS_MAX = 20


@attrs.frozen
class Ended:
    """What a process said and how it ended; at a terminal, `err` is what was on it."""

    code: int
    out: str
    err: str


def run_piped(*argv: str, cwd: Path = ROOT) -> Ended:
    """Run the command with nobody at its standard input."""
    with begin_piped(*argv, cwd=cwd) as process:
        return end_of(process)


def end_of(process: subprocess.Popen[bytes]) -> Ended:
    """Wait for the end of a process; it is killed if it never ends."""
    try:
        out, err = process.communicate(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ended(process.returncode, out.decode(), err.decode())


def begin_piped(*argv: str, cwd: Path = ROOT, command: Sequence[str] = COMMAND) -> subprocess.Popen[bytes]:
    """Begin the command with nobody at its standard input."""
    return subprocess.Popen(
        [*command, *argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextlib.contextmanager
def running(*argv: str, cue: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command at work in another process, from the moment when it says the cue; then it is killed."""
    with begin_piped(*argv) as process:
        try:
            wait_for(process, cue)
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[bytes], cue: str) -> None:
    """Read what a process says on stderr up to a line with the cue."""
    assert process.stderr is not None
    patience = threading.Timer(SECONDS_MAX, process.kill)
    patience.start()
    try:
        assert any(cue in line.decode() for line in process.stderr), f"the cue never came: {cue}"
    finally:
        patience.cancel()


Act: TypeAlias = str | int | Callable[[], object]
"""What is done at a cue: type a line, send a signal, or whatever else."""


def run_at_terminal(*argv: str, script: Sequence[tuple[str, Act]], cwd: Path = ROOT) -> Ended:
    """Run the command at a terminal. `script`: when this text has come, do that."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen(
        [*COMMAND, *argv], cwd=cwd, env=environment, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = _play(process, ours, list(script))
        assert process.stdout is not None
        out = process.stdout.read().decode()
        code = process.wait(SECONDS_MAX)
    os.close(ours)
    return Ended(code, out, seen)


def _play(process: subprocess.Popen[bytes], terminal: int, script: list[tuple[str, Act]]) -> str:
    seen, read_from = "", 0
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while data := _read(process, terminal):
            seen += data.decode("utf-8", "replace")
            while script and (place := seen.find(script[0][0], read_from)) >= 0:
                cue, act = script.pop(0)
                read_from = place + len(cue)
                if isinstance(act, int):
                    process.send_signal(act)
                elif isinstance(act, str):
                    os.write(terminal, act.encode())
                else:
                    act()
    assert not script, f"these cues never came: {script}\n{seen}"
    return seen


def _read(process: subprocess.Popen[bytes], terminal: int) -> bytes:
    """What came; nothing, and the process is killed, if nothing came for a long time."""
    if select.select([terminal], [], [], SECONDS_MAX)[0]:
        return os.read(terminal, 65536)
    process.kill()
    return b""


def interrupt() -> int:
    """What Ctrl-C sends."""
    return int(signal.SIGINT)


def terminate() -> int:
    """What a service manager sends."""
    return int(signal.SIGTERM)
