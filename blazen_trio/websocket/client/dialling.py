"""A URL, and a stream to the server there."""

import ssl
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

import attrs
import trio

from blazen_trio.groups import leaves

Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
"""Connects to the server; raises ``OSError`` or ``DialError``."""

_PORTS: Final = {"ws": 80, "wss": 443}


class DialError(Exception):
    """There is no stream to the server; the text says why and what to do."""


@attrs.frozen
class Address:
    """Where a server is.

    Attributes:
        host: name or address, an IPv6 one without brackets.
        port: its port.
        is_secure: whether TLS is spoken.
        path: of the websocket.
    """

    host: str
    port: int
    is_secure: bool
    path: str

    @classmethod
    def of(cls, url: object) -> "Address":
        """The address in a URL.

        Raises:
            TypeError: it is no text.
            ValueError: it is no URL of a websocket, or holds what would be seen in logs: credentials or a query.
        """
        if not isinstance(url, str):
            raise TypeError(f"the url is a text such as 'ws://127.0.0.1:8765', not {url!r:.60}")
        try:
            parts = urlsplit(url)
            port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        except ValueError as error:
            raise ValueError(f"{url!r:.200} is no URL: {error}") from None
        _check(url, parts)
        if port == 0:
            raise ValueError(
                f"the url {url!r:.200} has port 0, where no server listens; use the port attribute of the server"
            )
        return cls(parts.hostname or "", port, parts.scheme == "wss", parts.path or "/")

    @property
    def host_header(self) -> str:
        """What stands in the ``Host`` of the handshake."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["wss" if self.is_secure else "ws"] else f"{host}:{self.port}"


def _check(url: str, parts: SplitResult) -> None:
    if parts.username is not None or parts.password is not None:
        raise ValueError("the url holds credentials, which logs would show; pass token= instead")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r:.200} is no URL of a websocket; expected ws://HOST:PORT or wss://HOST:PORT")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(
            "the url has a query or a fragment, which no server of blazen_trio takes; pass a token as token="
        )
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{url!r:.200} has characters that no URL has; write the host in its ASCII form")


def dialer(address: Address, ssl_context: ssl.SSLContext | None) -> Dial:
    """What connects to this address, with TLS if it is a secure one.

    Raises:
        TypeError: ``ssl_context`` is none.
        ValueError: there is one, and the address is no secure one.
    """
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"ssl_context= is an ssl.SSLContext, not {ssl_context!r:.60}")
    if ssl_context is not None and not address.is_secure:
        raise ValueError("ssl_context= is for a url that begins with wss://")
    context = ssl_context or ssl.create_default_context() if address.is_secure else None

    async def dial() -> trio.abc.Stream:
        try:
            stream = await trio.open_tcp_stream(address.host, address.port)
        except OSError as error:
            problem = f"cannot connect: {_reason(error)}; does the server run, and is this its address?"
            raise DialError(problem) from error
        return stream if context is None else await _secured(stream, address, context)

    return dial


async def _secured(stream: trio.SocketStream, address: Address, context: ssl.SSLContext) -> trio.abc.Stream:
    secured = trio.SSLStream(stream, context, server_hostname=address.host, https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(secured)
        problem = error.__cause__ or error
        raise DialError(
            f"TLS failed: {problem}; does the server speak TLS, and does ssl_context= trust its certificate?"
        ) from error
    except BaseException:
        await trio.aclose_forcefully(secured)  # noqa: ASYNC102, ASYNC120 - it never waits
        raise
    return secured


def _reason(error: OSError) -> str:
    """What the system said of the last address that was tried; trio says only that all failed."""
    cause = error.__cause__
    causes = [error] if cause is None else list(leaves(cause))
    return str(causes[-1]) or type(causes[-1]).__name__
