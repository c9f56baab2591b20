"""Standard output and error while the command runs: they may be closed, or on a disk that is full.

Rules of this file:

* Output that cannot be written is one line on standard error and the exit code 1, also if its reader has seen enough.
* What cannot be said on standard error is not said: the exit code tells it.
* A closed stream stays closed for the command: else the next file that is opened would be standard output.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Generator
from typing import Any, Final, TextIO, TypeAlias, cast

from blazen_trio.cli.exits import CommandError, Exit

_STDOUT, _STDERR = 1, 2

Failed: TypeAlias = Callable[[OSError], object]


@contextlib.contextmanager
def guarded_streams() -> Generator[None]:
    """Make output that cannot be written a ``CommandError``, as long as the block lasts."""
    former = sys.stdout, sys.stderr
    sys.stdout = _guarded(sys.stdout, _STDOUT, _raise)
    sys.stderr = _guarded(sys.stderr, _STDERR, _keep_silent)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former


def _guarded(file: TextIO | None, number: int, failed: Failed) -> TextIO:
    return cast("TextIO", _Guarded(_closed(number) if file is None else file, failed))


def _closed(number: int) -> TextIO:
    """A stream that cannot be written, in the place of one that is closed."""
    opened = os.open(os.devnull, os.O_RDONLY)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    return os.fdopen(number, "w", closefd=False)


def _raise(error: OSError) -> None:
    raise CommandError(f"standard output: {error.strerror or error}", Exit.FAILED) from error


def _keep_silent(error: OSError) -> None:
    """There is nobody to tell it to."""


class _Guarded:
    """A text stream, all of whose attributes are those of ``file``."""

    def __init__(self, file: TextIO, failed: Failed) -> None:
        self._file: Final = file
        self._failed: Final = failed

    def write(self, text: str) -> int:
        """Write a text."""
        try:
            return self._file.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write what waits."""
        try:
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        with contextlib.suppress(OSError, ValueError):  # what waits would else fail again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())
        self._failed(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
