"""Ctrl-C and SIGTERM as requests: the first one stops the run and keeps it, the second one stops at once.

A third one does what it does to any process. A signal's handler only leaves word for Trio, so it strikes between tasks
and never inside of one.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Self

import trio

from blazen_trio.cli.exits import Exit

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_CODES: Final = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}


class Interruption:
    """What a signal cancels while this context manager is entered, inside of Trio.

    Attributes:
        soon: a scope for what the first signal cancels: watching the run.
        now: a scope for what the second one cancels: waiting for calls to end.
        code: the exit code of the first signal; ``None`` if there was none.
    """

    def __init__(self) -> None:
        self.soon: trio.CancelScope = trio.CancelScope()
        self.now: trio.CancelScope = trio.CancelScope()
        self.code: Exit | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._token = trio.lowlevel.current_trio_token()
        if threading.current_thread() is threading.main_thread():  # others cannot have handlers
            heard = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]  # as `nohup` wants it
            self._former = {each: signal.signal(each, self._handle) for each in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.code is None:
            self.code = _CODES[signal.Signals(number)]
            self._token.run_sync_soon(self.soon.cancel)
        else:
            self._restore()
            self._token.run_sync_soon(self.now.cancel)

    def _restore(self) -> None:
        for each, handler in self._former.items():
            signal.signal(each, handler)
        self._former = {}
