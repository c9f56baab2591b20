"""Measuring in a fresh interpreter, where nothing is imported and no memory is used yet."""

import os
import subprocess
import sys
from pathlib import Path

import trio

ROOT = Path(__file__).resolve().parent.parent


def figure_of(*arguments: str) -> float:
    """Run Python with these arguments; what it prints last is the figure.

    Raises:
        subprocess.CalledProcessError: it failed; its standard error was shown.
    """
    return trio.run(_figure_of, arguments)


async def _figure_of(arguments: tuple[str, ...]) -> float:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    ended: subprocess.CompletedProcess[bytes] = await trio.run_process(
        [sys.executable, *arguments],
        capture_stdout=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    return float(ended.stdout.split()[-1])
