"""Lists: of everything that there is, those that their reader may see.

Rules of this file:

* The hook is asked about each one: of runs as for ``get``, of workflows as for ``workflows``.
* A page of runs is short only at the end of the list. Behind what may not be seen it looks on, slice by slice, as long
  as it takes: a slice is all that it holds, and each is a checkpoint.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from trio.lowlevel import checkpoint

from blazen_trio.abc import Cursor, RunRecord
from blazen_trio.engine import info_of
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
    status = None if request.status is None else request.status.value
    size = request.limit if caller.may_do_all else max(request.limit, SLICE)
    after, shown, is_over = await _begin(caller, request), list[InfoView](), False
    while len(shown) < request.limit and not is_over:
        page = await server.engine.store.list_runs(status=status, workflow=request.workflow, limit=size, after=after)
        shown += [info_view(info_of(each)) for each in page if await _is_visible(caller, each)]
        is_over = len(page) < size
        after = page[-1].cursor if page else None
    return shown[: request.limit]


async def _begin(caller: Caller, request: messages.Runs) -> Cursor | None:
    """Where the page begins; ``None`` is the newest run."""
    if request.after is None:
        return None
    found = await caller.check_visible(request.after)
    return found.created, found.run_id


async def _is_visible(caller: Caller, record: RunRecord) -> bool:
    return await caller.allows("get", record.run_id, record.workflow_name)


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
