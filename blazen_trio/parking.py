"""One task waits for one value that somebody hands to it, before or after it begins to wait."""

from typing import Any

import trio


class Parking:
    """A place where one task waits for one value."""

    __slots__ = ("_is_set", "_task", "_value")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._is_set = False
        self._value: Any = None

    def set(self, value: Any) -> None:
        """Hand over the value; only the first one counts."""
        if self._is_set:
            return
        self._is_set, self._value = True, value
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> Any:
        """Wait for the value; a checkpoint. A value that was handed over is not lost to a cancellation that follows."""
        if self._is_set:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        return self._value

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
