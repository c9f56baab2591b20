"""``blazen-trio serve``: an engine with a websocket server and the console page, until somebody stops it.

Rules of this file:

* Being stopped is how it ends: the first Ctrl-C or SIGTERM says goodbye to the clients and parks the runs, exit code 0.
* Where it can be reached goes to stderr for people; with ``--json`` to stdout for programs, as the first line.
"""

import contextlib
import json
import os
import ssl
import stat
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from blazen_trio import MemoryStore, Workflow, open_engine
from blazen_trio.abc import Store
from blazen_trio.cli.database import open_db
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import run_trio
from blazen_trio.cli.interrupts import Interruption
from blazen_trio.cli.loading import load_workflow
from blazen_trio.cli.output import printable
from blazen_trio.websocket import WebsocketServer, open_websocket_server

TOKEN_BYTES_MAX: Final = 4096
"""A longer file is no token."""

_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH


@attrs.frozen
class Place:
    """Where the server listens, and who may come.

    Attributes:
        host, port: it listens there; port 0 is any free one.
        token_file: the file with the token that clients must have.
        hosts: names under which browsers reach it.
        origins: of pages elsewhere that may use it.
        certificate, key: PEM files for TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token_file: str | None = None
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    certificate: str | None = None
    key: str | None = None

    def ssl_context(self) -> ssl.SSLContext | None:
        """The context for TLS, if there is a certificate; raises ``CommandError`` if it cannot be read."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise CommandError(f"--certificate {self.certificate}: {printable(error)}") from error
        return context


def serve(names: Sequence[str], db: str | None, place: Place, *, as_json: bool) -> Exit:
    """Serve these workflows until a signal comes.

    Raises:
        CommandError: no such workflow, file or place.
    """
    workflows = [load_workflow(each) for each in names]
    token = None if place.token_file is None else read_token(place.token_file)
    return run_trio(partial(_serve, workflows, db, place, token, as_json=as_json))


def read_token(path: str) -> str:
    """The token in a file, without blanks around it.

    Raises:
        CommandError: there is no such file, or no token in it.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(TOKEN_BYTES_MAX + 1)
            is_open = bool(os.fstat(file.fileno()).st_mode & _OTHERS) and os.name == "posix"
    except OSError as error:
        raise CommandError(f"--token-file {path}: {printable(error.strerror or error)}") from error
    if is_open:
        sys.stderr.write(f"blazen-trio: --token-file {path}: others can read it; chmod 600 {path}\n")
    token = text.decode("ascii", "replace").strip()
    if not token or len(text) > TOKEN_BYTES_MAX:
        raise CommandError(f"--token-file {path}: that is no token; put one line of ASCII characters into it")
    return token


async def _serve(
    workflows: Sequence[Workflow], db: str | None, place: Place, token: str | None, *, as_json: bool
) -> Exit:
    with Interruption() as stop, stop.now:
        async with _store(db) as store, open_engine(store, workflows) as engine:
            try:
                async with open_websocket_server(
                    engine,
                    place.host,
                    place.port,
                    token=token,
                    origins=place.origins,
                    hosts=place.hosts,
                    ssl_context=place.ssl_context(),
                ) as server:
                    _tell(server, place, workflows, db, as_json=as_json)
                    with stop.soon:
                        await trio.sleep_forever()
            except (OSError, ValueError) as error:
                raise CommandError(f"cannot serve on {place.host}:{place.port}: {printable(error)}") from error
    return Exit.DONE


def _store(db: str | None) -> contextlib.AbstractAsyncContextManager[Store]:
    return MemoryStore() if db is None else open_db(db, is_made=True)


def _tell(
    server: WebsocketServer, place: Place, workflows: Sequence[Workflow], db: str | None, *, as_json: bool
) -> None:
    """Say where it can be reached."""
    safe = "s" if place.certificate is not None else ""
    host = f"[{place.host}]" if ":" in place.host else place.host
    page, url = f"http{safe}://{host}:{server.port}/", f"ws{safe}://{host}:{server.port}/"
    if as_json:
        names = [each.name for each in workflows]
        sys.stdout.write(json.dumps({"console": page, "url": url, "port": server.port, "workflows": names}) + "\n")
        sys.stdout.flush()
    kept = "in memory only; with --db FILE they survive" if db is None else f"in {printable(db)}"
    what = ", ".join(printable(each.name) for each in workflows)
    sys.stderr.write(
        f"blazen-trio: serving {what}: console {page}, clients {url}; runs are kept {kept}; Ctrl-C stops\n"
    )
