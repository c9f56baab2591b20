"""``blazen-trio watch``: a run on a server, as if it ran here; a person at the terminal answers its questions.

Whoever stops watching leaves the run as it is; so does a server that cannot be reached any more.
"""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Final

import attrs
from rich.console import Console

from blazen_trio import PeerError, RunStatus, WorkflowError
from blazen_trio.cli.database import command
from blazen_trio.cli.endings import tell
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import Audience, Ending, follow, run_trio
from blazen_trio.cli.interrupts import Interruption
from blazen_trio.cli.loading import load_workflow
from blazen_trio.cli.output import printable
from blazen_trio.cli.questions import ask_person, has_person, nobody
from blazen_trio.cli.serving import read_token
from blazen_trio.cli.view import view_for
from blazen_trio.websocket import RemoteEngine, RemoteRun, open_websocket_client

_FAILED: Final = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.ABORTED)


@attrs.frozen
class Lookout:
    """From where a run is watched.

    Attributes:
        url: of the server.
        token_file: the file with the token that it wants.
        workflows: ``module:name`` of those whose classes of events are needed.
        patience: seconds for which the server may be out of reach.
    """

    url: str
    token_file: str | None = None
    workflows: Sequence[str] = ()
    patience: float = 30.0

    def open(self) -> contextlib.AbstractAsyncContextManager[RemoteEngine]:
        """The engine there; raises ``CommandError``."""
        workflows = [load_workflow(each) for each in self.workflows]
        token = None if self.token_file is None else read_token(self.token_file)
        try:
            return open_websocket_client(self.url, token=token, workflows=workflows, patience=self.patience)
        except ValueError as error:
            raise CommandError(f"watch {printable(self.url)}: {printable(error)}") from error

    def again(self, run_id: str) -> str:
        """The line that goes on watching."""
        named = [part for each in self.workflows for part in ("--workflow", each)]
        token = {} if self.token_file is None else {"token-file": self.token_file}
        return command("watch", self.url, run_id, *named, **token)


def watch(run_id: str, lookout: Lookout, *, as_json: bool) -> Exit:
    """Follow a run on a server to its end.

    Raises:
        CommandError: no such server or run.
    """
    audience = Audience(view_for(Console(stderr=True), run_id), ask_person if has_person() else nobody)
    ending = run_trio(partial(_watch, run_id, lookout, lookout.open(), audience))
    return tell(ending, audience.view, as_json=as_json)


async def _watch(
    run_id: str,
    lookout: Lookout,
    client: contextlib.AbstractAsyncContextManager[RemoteEngine],
    audience: Audience,
) -> Ending:
    ending = Ending(run_id)
    with audience.attending(), Interruption() as stop, stop.now:
        async with contextlib.AsyncExitStack() as stack:
            run = await _found(stack, client, run_id, lookout)
            with stop.soon:
                ending = await follow(run, audience)
            is_lost = ending.error is not None and run.status not in _FAILED
            ending = attrs.evolve(ending, is_lost=is_lost)
    return attrs.evolve(ending, stopped=None if ending.is_known else stop.code, way_on=lookout.again(run_id))


async def _found(
    stack: contextlib.AsyncExitStack,
    client: contextlib.AbstractAsyncContextManager[RemoteEngine],
    run_id: str,
    lookout: Lookout,
) -> RemoteRun:
    try:
        return await (await stack.enter_async_context(client)).get(run_id)
    except (WorkflowError, ValueError) as error:
        problem = error.problem if isinstance(error, PeerError) else error
        raise CommandError(f"watch {printable(lookout.url)}: {printable(problem)}") from error
