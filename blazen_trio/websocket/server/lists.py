"""Lists: of everything that there is, those that their reader may see.

Rules of this file:

* The hook is asked about each one: of runs as for ``get``, of workflows as for ``workflows``.
* A page of runs is short only at the end of the list. Behind what may not be seen it looks on, slice by slice, as long
  as it takes: a slice is all that it holds, and each is a checkpoint.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeAlias

from trio.lowlevel import checkpoint

from blazen_trio.abc import Cursor
from blazen_trio.engine import RunInfo, info_of
from blazen_trio.websocket.protocol import Request, messages
from blazen_trio.websocket.protocol.views import InfoView, WorkflowView
from blazen_trio.websocket.server.authorizing import Caller
from blazen_trio.websocket.server.interfaces import ServerLike
from blazen_trio.websocket.server.shown import info_view

SLICE: Final = 500
"""Runs that are looked at in one go: few enough that the others soon have their turn, enough for a quick query."""

ListVerb: TypeAlias = Callable[[ServerLike, Caller, Any], Awaitable[object]]


async def runs(server: ServerLike, caller: Caller, request: messages.Runs) -> list[InfoView]:
    """A page of the runs that may be seen; a checkpoint.

    Raises:
        RunNotFoundError: there is no run ``after``, or it may not be seen.
    """
    shown = list[InfoView]()
    async with aclosing(_slices(server, caller, request)) as slices:
        async for each in slices:
            shown += [info_view(run) for run in each if await caller.allows("get", run.run_id, run.workflow_name)]
            if len(shown) >= request.limit:
                break
    return shown[: request.limit]


async def _slices(server: ServerLike, caller: Caller, request: messages.Runs) -> AsyncGenerator[list[RunInfo], None]:
    """All runs from there on, newest first."""
    after: Cursor | None = None
    if request.after is not None:
        found = await caller.check_visible(request.after)
        after = found.created, found.run_id
    size = request.limit if caller.may_do_all else max(request.limit, SLICE)
    status = None if request.status is None else request.status.value
    while True:
        page = await server.engine.store.list_runs(status=status, workflow=request.workflow, limit=size, after=after)
        yield [info_of(each) for each in page]
        if len(page) < size:
            return
        after = page[-1].cursor


async def workflows(server: ServerLike, caller: Caller, request: messages.Workflows) -> list[WorkflowView]:
    """The workflows that may be seen; a checkpoint."""
    await checkpoint()
    known = list(server.engine.workflows.values())
    return [
        WorkflowView.of(each.describe())
        for each in known
        if await caller.allows(messages.verb(request), None, each.name)
    ]


LISTS: Final[Mapping[type[Request], ListVerb]] = {messages.Runs: runs, messages.Workflows: workflows}
