"""Asking the ``authorize`` hook: who may do what.

* Only ``True`` means yes. Anything else means no, an exception too; that is logged.
* Who may not do something is told the same whether there is such a run or not.
"""

import inspect
import logging
from typing import Final

from trio.lowlevel import checkpoint

from blazen_trio.core.errors import ProtocolError, RunNotFoundError
from blazen_trio.engine import Engine
from blazen_trio.websocket.protocol import Request
from blazen_trio.websocket.protocol.messages import Unsubscribe, verb
from blazen_trio.websocket.server.interfaces import Access, Authorize, ConnectionLike

logger: Final = logging.getLogger("blazen_trio")


class Caller:
    """Who asks for something, at the other end of one connection."""

    def __init__(self, engine: Engine, authorize: Authorize | None, connection: ConnectionLike) -> None:
        self._engine = engine
        self._authorize = authorize
        self._connection = connection

    @property
    def may_do_all(self) -> bool:
        """Whether nobody has to be asked."""
        return self._authorize is None

    async def check(self, request: Request) -> None:
        """Ask whether this may be done; a checkpoint. A client may always unsubscribe.

        Raises:
            ProtocolError: it may not.
        """
        if self._authorize is None or isinstance(request, Unsubscribe):
            await checkpoint()
            return
        run_id: str | None = getattr(request, "run_id", None) or getattr(request, "call_id", None)
        workflow: str | None = getattr(request, "workflow", None)
        if workflow is None and run_id is not None:
            workflow = await self._workflow_of(run_id)
        if not await self.allows(verb(request), run_id, workflow):
            raise ProtocolError("not allowed")

    async def check_visible(self, run_id: str) -> None:
        """Ask whether this run may be seen; a checkpoint. Raises ``ProtocolError`` if not."""
        if self._authorize is not None and not await self.allows("get", run_id, await self._workflow_of(run_id)):
            raise ProtocolError("not allowed")

    async def allows(self, verb: str, run_id: str | None, workflow: str | None) -> bool:
        """Whether the hook says yes; a checkpoint if it is one."""
        if self._authorize is None:
            return True
        who = self._connection
        access = Access(
            verb=verb, run_id=run_id, workflow=workflow, remote=who.remote, token=who.bearer, headers=who.headers
        )
        try:
            said: object = self._authorize(access)
            if inspect.isawaitable(said):
                said = await said
        except Exception:
            logger.exception("authorize(%r) failed, which means no", access)
            return False
        return said is True

    async def _workflow_of(self, run_id: str) -> str | None:
        held = self._engine.held.get(run_id)
        if held is not None:
            return held.workflow.name
        try:
            return (await self._engine.store.info(run_id)).workflow_name
        except RunNotFoundError:
            return None
