"""``blazen-trio watch``: a run on a server, as if it ran here; a person at the terminal answers its questions.

Whoever stops watching leaves the run as it is.
"""

from functools import partial

import attrs
from rich.console import Console

from blazen_trio import PeerError, ProtocolError, StoreError
from blazen_trio.cli.endings import tell
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import Audience, Ending, follow, run_trio
from blazen_trio.cli.interrupts import Interruption
from blazen_trio.cli.output import printable
from blazen_trio.cli.questions import ask_person, has_person, nobody
from blazen_trio.cli.serving import read_token
from blazen_trio.cli.view import view_for
from blazen_trio.websocket import open_websocket_client


def watch(url: str, run_id: str, token_file: str | None, *, as_json: bool) -> Exit:
    """Follow a run on a server to its end.

    Raises:
        CommandError: no such server or run.
    """
    token = None if token_file is None else read_token(token_file)
    audience = Audience(view_for(Console(stderr=True), run_id), ask_person if has_person() else nobody)
    ending = run_trio(partial(_watch, url, run_id, token, audience))
    return tell(ending, audience.view, as_json=as_json)


async def _watch(url: str, run_id: str, token: str | None, audience: Audience) -> Ending:
    ending = Ending(run_id)
    with audience.attending(), Interruption() as stop, stop.now:
        try:
            async with open_websocket_client(url, token=token) as engine:
                run = await engine.get(run_id)
                with stop.soon:
                    ending = await follow(run, audience)
        except (PeerError, ProtocolError, StoreError, ValueError) as error:
            raise CommandError(f"watch {printable(url)}: {printable(error)}") from error
    return ending if ending.is_known else attrs.evolve(ending, stopped=stop.code)
