"""Who may come in: Host, Origin, token and version of a request are right, or it is refused. Pure.

* Host: a page of a foreign site can point its own name at this machine (DNS rebinding), but not a loopback name or an
  address; so these are allowed, names must be listed.
* Origin: browsers send it, and let any site open websockets; only pages from here, or listed ones, may.
* The token is compared in constant time; it never stands in a URL.
* The order is Host, Origin, token, version: who lacks the first learns nothing about the next.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import attrs

from blazen_trio.websocket.protocol import VERSIONS
from blazen_trio.websocket.server.head import Head, RefusedError

BEARER: Final = "bearer."
"""What goes before the token where it travels as a subprotocol."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,1000}")
_NAME: Final = re.compile(r"[0-9a-z_]([0-9a-z_.\-]{0,252})")
_HOST: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]{2,45}\]|[^\[\]:/@?#\s,]{1,253})(:(?P<port>[0-9]{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443}
_KEY_BYTES: Final = 16
PORT_MAX: Final = 65_535


@attrs.frozen
class Credentials:
    """Whom a request came from, as far as it was checked.

    Attributes:
        is_token_checked: it showed the server's token.
        bearer: the token it showed, whichever that is; a hook may know others.
    """

    is_token_checked: bool
    bearer: str | None = attrs.field(repr=False)


@attrs.frozen
class Admission:
    """Who was let in, and how both sides speak.

    Attributes:
        bearer: the token that was shown, whichever that is; a hook may know others than the server.
        version: of the protocol: the best of ours that was offered.
    """

    bearer: str | None = attrs.field(repr=False)
    version: str


@attrs.frozen(kw_only=True)
class Doorkeeper:
    """Lets requests in.

    Attributes:
        host: that the server is bound to, as it was given.
        token: that a caller must show; ``None``: none is asked for.
        origins: of pages from elsewhere that may open websockets.
        hosts: names under which the server is reached.
        is_open: everybody who reaches it may see everything.
    """

    host: str | None
    token: bytes | None = attrs.field(repr=False)
    origins: frozenset[str]
    hosts: frozenset[str]
    is_open: bool = False

    def admit(self, head: Head) -> Admission:
        """Let in the caller of a request for a websocket.

        Raises:
            RefusedError: it is not one, or may not.
        """
        self.check_host(head)
        _check_upgrade(head)
        self._check_origin(head)
        caller = self.caller(head)
        if self.token is not None and not caller.is_token_checked:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "a token is needed", (("WWW-Authenticate", "Bearer"),))
        return Admission(caller.bearer, _version(head))

    def check_host(self, head: Head) -> None:
        """See that the request names this server, not one that somebody else made up.

        Raises:
            RefusedError: it does not.
        """
        host, _ = _split_host(head.one("host") or "")
        if not (_is_local_name(host) or _is_address(host) or host in self.hosts or host == _folded(self.host or "")):
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "this host name is not in the server's hosts=")

    def caller(self, head: Head) -> Credentials:
        """Whom the request came from.

        Raises:
            RefusedError: its credentials cannot be read.
        """
        bearer = _bearer(head)
        is_checked = self.token is not None and hmac.compare_digest(self.token, (bearer or "").encode())
        return Credentials(is_checked, bearer)

    def _check_origin(self, head: Head) -> None:
        origin = head.one("origin")
        if origin is None:  # no browser
            return
        scheme, host, port = _split_origin(origin)
        own_host, own_port = _split_host(head.one("host") or "")
        is_own = (host, port) == (own_host, own_port or _PORTS.get(scheme))
        if not is_own and _written(scheme, host, port) not in self.origins:
            raise RefusedError(HTTPStatus.FORBIDDEN, "pages of that origin may not connect")


# --- Options ----------------------------------------------------------------------------------------------------------


def read_token(token: str | None) -> bytes | None:
    """The server's token, checked.

    Raises:
        ValueError: it cannot travel in a header and a subprotocol.
    """
    if token is None:
        return None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ValueError(
            "token must be a string of 1 to 1,000 letters, digits and !#$%&'*+-.^_`|~ (it travels as a subprotocol); "
            "secrets.token_urlsafe() makes one"
        )
    return token.encode()


def read_origins(origins: Iterable[str]) -> frozenset[str]:
    """The origins of foreign pages, checked.

    Raises:
        ValueError: one is not written as an origin.
    """
    return frozenset(_read_origin(each) for each in _several(origins, "origins"))


def _read_origin(origin: str) -> str:
    try:
        return _written(*_split_origin(origin))
    except RefusedError:
        raise ValueError(f"origins: {origin!r} is not written like https://example.com:8443") from None


def read_hosts(hosts: Iterable[str]) -> frozenset[str]:
    """The names of the server, checked.

    Raises:
        ValueError: one is no name of a host.
    """
    names = [_folded(each) for each in _several(hosts, "hosts")]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"hosts: {name!r} is no host name (without scheme and port)")
    return frozenset(names)


def _several(values: Iterable[str], option: str) -> list[str]:
    each = [values] if isinstance(values, str) else list(values)
    if isinstance(values, str) or not all(isinstance(value, str) for value in each):
        raise ValueError(f"{option} must be several strings, like ({each[:1]!r}[0],)")
    return each


def is_loopback(host: str | None) -> bool:
    """Whether only programs on this machine can reach a server bound to this host."""
    if host is None:
        return False
    return host.lower() == "localhost" or (_is_address(host) and ip_address(host.strip("[]")).is_loopback)


# --- What a request says ----------------------------------------------------------------------------------------------


def is_upgrade(head: Head) -> bool:
    """Whether a request wants a websocket: then everything about it must be right."""
    return any(each.lower() == "websocket" for each in head.listed("upgrade")) or bool(head.every("sec-websocket-key"))


def _check_upgrade(head: Head) -> None:
    """RFC 6455, 4.2.1."""
    if head.method != "GET" or head.version != "1.1":
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a websocket begins with GET and HTTP/1.1")
    if head.path != "/":
        raise RefusedError(HTTPStatus.NOT_FOUND, "the websocket is at /")
    if [each.lower() for each in head.listed("upgrade")] != ["websocket"]:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "header upgrade must be websocket")
    if "upgrade" not in [each.lower() for each in head.listed("connection")]:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "header connection must name upgrade")
    if head.one("sec-websocket-version") != "13":
        versions = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
        raise RefusedError(HTTPStatus.UPGRADE_REQUIRED, "websocket version 13 is spoken here", versions)
    if not _is_key(head.one("sec-websocket-key") or ""):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "header sec-websocket-key must be 16 bytes in base64")
    if head.rest or head.every("transfer-encoding") or (head.one("content-length") or "0") != "0":
        raise RefusedError(HTTPStatus.BAD_REQUEST, "nothing may come before the handshake is over")


def _version(head: Head) -> str:
    """The best version of those that a request offers."""
    offered = head.listed("sec-websocket-protocol")
    for version in VERSIONS:
        if version in offered:
            return version
    raise RefusedError(HTTPStatus.BAD_REQUEST, f"subprotocols spoken here: {', '.join(VERSIONS)}")


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False


def _bearer(head: Head) -> str | None:
    """The token that a request shows, in either place; both must agree."""
    shown = [each.removeprefix(BEARER) for each in head.listed("sec-websocket-protocol") if each.startswith(BEARER)]
    authorization = head.one("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        shown += [token.strip()] if scheme.lower() == "bearer" else []
    if len(set(shown)) > 1:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "two different tokens")
    return shown[0] if shown else None


def _split_host(value: str) -> tuple[str, int | None]:
    """The host and the port of a Host header; the host as it is compared."""
    parts = _HOST.fullmatch(value)
    if parts is None or int(parts["port"] or 0) > PORT_MAX:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "header host cannot be read")
    return _folded(parts["host"]), int(parts["port"]) if parts["port"] else None


def _split_origin(origin: str) -> tuple[str, str, int]:
    """The scheme, host and port of an Origin header; ``null`` (a sandboxed page, a file) has none."""
    try:
        parts = urlsplit(origin)
        scheme, netloc = parts.scheme, parts.netloc
    except ValueError:
        scheme, netloc = "", ""
    if scheme not in _PORTS or origin.lower() != f"{scheme}://{netloc}".lower():
        raise RefusedError(HTTPStatus.FORBIDDEN, "pages of that origin may not connect")
    host, port = _split_host(netloc)
    return scheme, host, port or _PORTS[scheme]


def _written(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{host}:{port}"


def _folded(host: str) -> str:
    """A host as it is compared: case, brackets and the root's dot mean nothing."""
    return host.lower().strip("[]").removesuffix(".")


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
