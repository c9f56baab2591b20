"""What a store does, as plainly as can be: one function for each call, on dictionaries; slow and obvious."""

from collections.abc import Callable
from typing import Any

import attrs

from blazen_trio.abc import RunHeader, RunWrite, Wanted

LEASE_S = 10.0


@attrs.define
class Run:
    """A run, as the model keeps it."""

    number: int
    workflow: str
    created: float
    header: RunHeader
    owner: str | None
    fence: int
    old_fence: int = 0
    snapshot: bytes | None = None
    entries: list[bytes] = attrs.Factory(list)
    stream: dict[int, bytes] = attrs.Factory(dict)
    floor: int = 0
    last: int = 0


class Model:
    """The stores must do as this does; fences are compared by their order alone, so here they are just counted."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.leases: dict[str, float] = {}
        self.lost: dict[str, set[str]] = {}
        self.commands: dict[str, str] = {}
        self.fence = 0

    def next_fence(self) -> int:
        self.fence += 1
        return self.fence

    def hand_over(self, run: Run, owner: str | None) -> None:
        run.owner, run.old_fence, run.fence = owner, run.fence, self.next_fence()

    def create(self, run_id: str, workflow: str, owner: str, now: float) -> object:
        if run_id in self.runs:
            return "exists"
        self.leases[owner] = now + LEASE_S
        self.lost.setdefault(owner, set()).discard(run_id)
        self.runs[run_id] = Run(len(self.runs), workflow, now, RunHeader("running", now), owner, self.next_fence())
        return "created"

    def write(self, write: RunWrite) -> str | None:
        run = self.runs.get(write.run_id)
        if run is None:
            return "RunNotFoundError"
        if write.fence != run.fence:
            return "RunLockedError"
        numbers = [row.seq for row in write.stream]
        if numbers != sorted(set(numbers)) or (numbers and numbers[0] <= run.last):
            return "StoreError"
        run.entries = [] if write.snapshot is not None else [*run.entries, *write.entries]
        run.snapshot = run.snapshot if write.snapshot is None else write.snapshot
        run.last = max([run.last, *numbers])
        run.floor = max(run.floor, write.stream_floor)
        rows = {**run.stream, **{row.seq: row.blob for row in write.stream}}
        run.stream = {seq: blob for seq, blob in rows.items() if seq > run.floor}
        run.header = write.header or run.header
        if write.release:
            self.hand_over(run, None)
        return None

    def claim(self, owner: str, now: float, limit: int, wanted: Wanted) -> list[str]:
        self.leases[owner] = now + LEASE_S
        self.lost.setdefault(owner, set())
        free = sorted(self.where(lambda run_id, run: self._is_free(run_id, run, owner, now, wanted)), key=self._age)
        for run_id in free[:limit]:
            run = self.runs[run_id]
            if run.owner is not None:
                self.lost[run.owner].add(run_id)
            self.lost[owner].discard(run_id)
            self.hand_over(run, owner)
        return free[:limit]

    def _is_free(self, run_id: str, run: Run, owner: str, now: float, wanted: Wanted) -> bool:
        if run.header.is_finished or run.owner == owner:
            return False
        if run.owner is not None and self.leases[run.owner] > now:
            return False
        if wanted.statuses is not None and run.header.status not in wanted.statuses:
            return False
        if wanted.workflows is not None and run.workflow not in wanted.workflows:
            return False
        if wanted.run_id is not None and run_id != wanted.run_id:
            return False
        wakes = run.header.wake_at
        is_due = wanted.wake_before is None or (wakes is not None and wakes <= wanted.wake_before)
        return is_due or run_id in self.commands.values()

    def _age(self, run_id: str) -> tuple[float, str]:
        return self.runs[run_id].created, run_id

    def where(self, condition: Callable[[str, Run], bool]) -> list[str]:
        return [run_id for run_id, run in self.runs.items() if condition(run_id, run)]

    def renew(self, owner: str, now: float) -> set[str]:
        self.leases[owner] = now + LEASE_S
        told, self.lost[owner] = self.lost.get(owner, set()), set()
        return told

    def release(self, owner: str, run_ids: list[str] | None) -> None:
        for run_id, run in self.runs.items():
            if run.owner == owner and (run_ids is None or run_id in run_ids):
                self.hand_over(run, None)
        if run_ids is None:
            self.leases.pop(owner, None)
            self.lost.pop(owner, None)

    def delete(self, run_id: str) -> str:
        run = self.runs.get(run_id)
        if run is None:
            return "RunNotFoundError"
        if run.owner is not None and not run.header.is_finished:
            return "RunLockedError"
        self.forget([run_id])
        return "deleted"

    def forget(self, run_ids: list[str]) -> int:
        for run_id in run_ids:
            del self.runs[run_id]
        self.commands = {i: run_id for i, run_id in self.commands.items() if run_id not in run_ids}
        return len(run_ids)

    def send(self, run_id: str, command_id: str) -> str:
        if run_id not in self.runs:
            return "RunNotFoundError"
        self.commands.setdefault(command_id, run_id)
        return "sent"

    def listed(self, status: str | None) -> list[str]:
        chosen = self.where(lambda _run_id, run: status in (None, run.header.status))
        return sorted(chosen, key=self._age, reverse=True)

    def seen(self, run_id: str) -> Any:
        """What reading a run must give."""
        run = self.runs.get(run_id)
        if run is None:
            return "RunNotFoundError"
        lease = None if run.owner is None else self.leases[run.owner]
        whole = (run.workflow, run.created, run.header, run.owner, lease, run.snapshot, tuple(run.entries))
        return whole, (run.floor, run.last, tuple(run.stream.items()))
