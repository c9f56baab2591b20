"""Asking the ``authorize`` hook: who may do what.

* Only ``True`` means yes. Anything else means no, an exception too; that is logged.
* The run is looked up first, and the hook is asked about what was found. What is done then, is done to that very run,
  or to none: see ``Target``.
* A run that somebody may not ``get`` is told as one that does not exist, whatever he asks of it. Who may ``get`` it
  learns what it is that he may not do.
"""

import inspect
import logging
from contextlib import suppress
from functools import partial
from typing import Final

from trio.lowlevel import checkpoint

from blazen_trio.core.errors import ProtocolError, RunNotFoundError
from blazen_trio.engine import Engine
from blazen_trio.websocket.protocol import Request
from blazen_trio.websocket.protocol.messages import (
    Abort,
    DerefSessionRef,
    Get,
    OfRun,
    ReleaseSessionRef,
    Unsubscribe,
    verb,
)
from blazen_trio.websocket.server.interfaces import Access, Authorize, ConnectionLike
from blazen_trio.websocket.server.targets import Found, Target, find, ref_key

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

    async def check(self, request: Request) -> Target:
        """Ask whether this may be done; gives what it may be done to; a checkpoint. Anybody may unsubscribe.

        Raises:
            ProtocolError: it may not.
            RunNotFoundError: there is no such run, or nobody here may know of it.
        """
        if isinstance(request, DerefSessionRef | ReleaseSessionRef):
            return await self._check_ref(request)
        if self._authorize is None or isinstance(request, Unsubscribe):
            await checkpoint()
        elif isinstance(request, Abort):
            return await self._check_due(request)
        elif isinstance(request, OfRun):
            return await self._check_run(verb(request), request.run_id)
        elif not await self.allows(verb(request), request.subject, request.about):
            raise _refusal(verb(request), request.subject, request.about)
        return Target(self._engine, request.subject or "")

    async def check_visible(self, run_id: str) -> Found:
        """Look a run up that may be seen; a checkpoint. Raises ``RunNotFoundError`` if there is none, or may not be."""
        return await (await self._check_run(verb(Get), run_id)).found()

    async def _check_due(self, request: Abort) -> Target:
        """Ask about a run that may be still to come: an abort counts for a call behind it, too."""
        found: Found | None = None
        with suppress(RunNotFoundError):
            found = await find(self._engine, request.run_id)
        if found is not None:
            return await self._check_found(verb(request), found)
        if not await self.allows(verb(request), request.run_id, None):
            raise RunNotFoundError(request.run_id)
        return Target(self._engine, request.run_id, is_absent=True, ask_again=partial(self._check_due, request))

    async def _check_run(self, verb: str, run_id: str) -> Target:
        return await self._check_found(verb, await find(self._engine, run_id))

    async def _check_found(self, verb: str, found: Found) -> Target:
        if not await self.allows(verb, found.run_id, found.workflow_name):
            await self._refuse(verb, found)
        return Target(self._engine, found.run_id, found=found)

    async def _refuse(self, asked: str, found: Found) -> None:
        if asked == verb(Get) or not await self.allows(verb(Get), found.run_id, found.workflow_name):
            raise RunNotFoundError(found.run_id)
        raise _refusal(asked, found.run_id, found.workflow_name)

    async def _check_ref(self, request: DerefSessionRef | ReleaseSessionRef) -> Target:
        """A live object is its run's: who may not see that is told that there is no such object."""
        key = ref_key(request.key)
        run_id = None if key is None else self._engine.kept_refs.run_of(key)
        if run_id is None or self._authorize is None:
            await checkpoint()
            return Target(self._engine, run_id or "", is_absent=run_id is None)
        try:
            return await self._check_run(verb(request), run_id)
        except RunNotFoundError:
            return Target(self._engine, run_id, is_absent=True)

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


def _refusal(verb: str, run_id: str | None, workflow: str | None) -> ProtocolError:
    of_run = "" if run_id is None else f" of run {run_id!r:.100}"
    of_workflow = "" if workflow is None else f" of workflow {workflow!r:.100}"
    return ProtocolError(f"authorize= refused {verb!r}{of_run}{of_workflow}")
