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
    ended: subprocess.CompletedProcess[bytes] = await trio.run_process(
        [sys.executable, *arguments], capture_stdout=True, env=_environment()
    )
    return float(ended.stdout.split()[-1])


def _environment() -> dict[str, str]:
    """This one, with the package to be found and bytecode kept: else each import would compile the sources again."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}
