"""Whether a process of this host still lives: what a lease needs, so that a dead owner's runs are taken over at once.

A process is told by host, pid and start. Where the system keeps no start times (not Linux), a pid that is in use counts
as alive, and its lease has to run out; on Windows every process does. To be wrong in that direction is slow; in the
other it would hand a living engine's runs to somebody else (who is then held back by the fencing numbers alone).
"""

import os
import socket
import sys
import uuid
from functools import cache
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_STATE, _START_TICKS = 0, 19
"""Places in ``/proc/PID/stat`` behind the name of the program, see proc(5)."""

_DEAD_STATES: Final = ("Z", "X", "x")
"""A zombie holds nothing any more; its parent merely did not look yet."""


@cache
def this_host() -> str:
    """Where pids mean the same: the host's name, this boot of it, and the namespace of its pids.

    Two containers of one machine have other pids, and often share a file. A machine that was started anew is another
    host: the leases from before run out.
    """
    return f"{socket.gethostname()}/{_boot()}/{_pid_namespace()}"


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{uuid.getnode():012x}"


def _pid_namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return "-"


def started(pid: int) -> str:
    """When a process of this host began, as a token to compare; empty where the system does not tell."""
    stat = _stat(pid)
    return stat[_START_TICKS] if stat else ""


def is_gone(pid: int, start: str) -> bool:
    """Whether that process of this host lives no more; blocks for some 20 us."""
    if sys.platform == "win32":
        return False
    if not (_PROC / "self/stat").exists():
        return not _is_used(pid)
    stat = _stat(pid)
    return stat is None or stat[_STATE] in _DEAD_STATES or bool(start and stat[_START_TICKS] != start)


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` behind the program's name, which may have spaces and brackets itself."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _is_used(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
