"""``blazen-trio serve``: an engine with a websocket server and the console page, until somebody stops it.

Rules of this file:

* Being stopped is how it ends: the first Ctrl-C or SIGTERM says goodbye to the clients and parks the runs, exit code 0.
  The second one does not wait for calls that run; then the exit code is the signal's.
* All that can be wrong with what was asked is found out before the first step begins: options, file, port.
* Where it can be reached goes to stderr for people; with ``--json`` to stdout for programs, as the first line.
* What the library logs goes to stderr, with its tracebacks, and cannot harm a terminal.
"""

import contextlib
import json
import logging
import os
import ssl
import stat
import sys
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from blazen_trio import Engine, MemoryStore, Workflow, open_engine
from blazen_trio.abc import Store
from blazen_trio.cli.database import open_db
from blazen_trio.cli.exits import CommandError, Exit
from blazen_trio.cli.following import run_trio
from blazen_trio.cli.interrupts import Interruption
from blazen_trio.cli.loading import load_workflow
from blazen_trio.cli.output import printable
from blazen_trio.engine import recover_runs
from blazen_trio.websocket import WebsocketServer, open_websocket_server
from blazen_trio.websocket.server.access import PORT_MAX, is_loopback, read_hosts, read_origins

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

    def options(self) -> dict[str, Any]:
        """What ``open_websocket_server`` takes, read and checked; raises ``CommandError`` for what can be no place."""
        self._check()
        token = self._token()
        try:
            origins, hosts = read_origins(self.origins), read_hosts(self.hosts)
        except ValueError as error:
            raise CommandError(f"cannot serve on {self.host}:{self.port}: {printable(error)}") from error
        return {"token": token, "origins": origins, "hosts": hosts, "ssl_context": self._ssl_context()}

    def _check(self) -> None:
        if not 0 <= self.port <= PORT_MAX:
            raise CommandError(f"--port {self.port} is none; there are 0 (any free one) to {PORT_MAX}")
        if self.token_file is None and not is_loopback(self.host):
            raise CommandError(f"--host {self.host} can be reached from other machines: give --token-file, too")
        if self.key is not None and self.certificate is None:
            raise CommandError("--key is the key of a certificate: give --certificate, too")

    def _token(self) -> str | None:
        return None if self.token_file is None else read_token(self.token_file)

    def _ssl_context(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise CommandError(f"--certificate {self.certificate}: {_why(error)}") from error
        return context

    def url(self, scheme: str, port: int) -> str:
        """Where it can be reached: by the first of its names, if it has any."""
        host = self.hosts[0] if self.hosts else f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}{'' if self.certificate is None else 's'}://{host}:{port}/"


def _why(error: Exception) -> str:
    """Why a file of TLS cannot be used; OpenSSL's own words for "that is no PEM" are "PEM lib"."""
    if isinstance(error, ssl.SSLError):
        return f"no certificate with its key in PEM ({printable(error)})"
    return printable(error.strerror if isinstance(error, OSError) and error.strerror else error)


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
    if not (token.isascii() and token.isprintable() and token) or " " in token or len(text) > TOKEN_BYTES_MAX:
        raise CommandError(f"--token-file {path}: that is no token; put one line of ASCII characters into it")
    return token


# --- Serving ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Offer:
    """What is served: these workflows, with their runs in a file or in memory only."""

    workflows: Sequence[Workflow]
    db: str | None = None

    @classmethod
    def named(cls, names: Sequence[str], db: str | None) -> "Offer":
        """What the user named; raises ``CommandError`` if there is no such workflow."""
        offer = cls([load_workflow(each) for each in dict.fromkeys(names)], db)
        if len(set(offer.names)) < len(offer.names):
            raise CommandError(f"two of the workflows have one name: {printable(', '.join(offer.names))}")
        return offer

    @property
    def names(self) -> list[str]:
        """The workflows' own names."""
        return [each.name for each in self.workflows]

    def store(self) -> contextlib.AbstractAsyncContextManager[Store]:
        """Where the runs are kept."""
        return MemoryStore() if self.db is None else open_db(self.db, is_made=True)


def serve(names: Sequence[str], db: str | None, place: Place, *, as_json: bool) -> Exit:
    """Serve these workflows until a signal comes.

    Raises:
        CommandError: no such workflow, file or place.
    """
    options = place.options()
    return run_trio(partial(_serve, Offer.named(names, db), place, options, as_json=as_json))


async def _serve(offer: Offer, place: Place, options: Mapping[str, Any], *, as_json: bool) -> Exit:
    with _logging(), Interruption() as stop, stop.now:
        async with contextlib.AsyncExitStack() as stack:
            store = await stack.enter_async_context(offer.store())
            engine = await stack.enter_async_context(open_engine(store, offer.workflows, recover=False))
            server = await _opened(stack, engine, place, options)
            await recover_runs(engine)
            _tell(server, offer, place, as_json=as_json)
            with stop.soon:
                await trio.sleep_forever()
            if engine.statistics()["running"]:
                _say("stops when its calls have ended, after 5 s at most; Ctrl-C again stops at once")
    return (stop.code or Exit.DONE) if stop.now.cancelled_caught else Exit.DONE


async def _opened(
    stack: contextlib.AsyncExitStack, engine: Engine, place: Place, options: Mapping[str, Any]
) -> WebsocketServer:
    try:
        return await stack.enter_async_context(open_websocket_server(engine, place.host, place.port, **options))
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot serve on {place.host}:{place.port}: {printable(error)}") from error


def _tell(server: WebsocketServer, offer: Offer, place: Place, *, as_json: bool) -> None:
    """Say where it can be reached."""
    page, url = place.url("http", server.port), place.url("ws", server.port)
    if as_json:
        known = {"console": page, "url": url, "port": server.port, "workflows": offer.names}
        sys.stdout.write(json.dumps(known) + "\n")
        sys.stdout.flush()
    kept = "in memory only; with --db FILE they survive" if offer.db is None else f"in {printable(offer.db)}"
    what = ", ".join(map(printable, offer.names))
    _say(f"serving {what}: console {page}, clients {url}; runs are kept {kept}; Ctrl-C stops")


def _say(text: str) -> None:
    print(f"blazen-trio: {text}", file=sys.stderr, flush=True)


class _HarmlessFormatter(logging.Formatter):
    """Records as lines without control characters: what strangers sent may stand in them."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).splitlines()))


@contextlib.contextmanager
def _logging() -> Generator[None]:
    logger, handler = logging.getLogger("blazen_trio"), logging.StreamHandler()
    handler.setFormatter(_HarmlessFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
