"""What plain HTTP gets: the console page, ``/health`` and ``/metrics``. Pure but for the page's file.

* Each answer is the last one of its connection.
* The page is a shell without data: everybody may have it who reaches the port by a right name. Data need the token.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from blazen_trio.websocket.server.access import Doorkeeper
from blazen_trio.websocket.server.head import Head, RefusedError, answer

_INLINE: Final = re.compile(r"<(style|script)\b[^>]*>(.*?)</\1>", re.DOTALL | re.IGNORECASE)


def page_answer(head: Head, doorkeeper: Doorkeeper, metrics: Callable[[], str]) -> bytes:
    """The answer to a request that does not want a websocket.

    Raises:
        RefusedError: it is not served.
    """
    doorkeeper.check_host(head)
    if head.path not in {"/", "/health", "/metrics"}:
        raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
    if head.method not in {"GET", "HEAD"}:
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "pages are only read", (("Allow", "GET, HEAD"),))
    is_head = head.method == "HEAD"
    if head.path == "/health":
        return answer(HTTPStatus.OK, b'{"status":"ok"}', kind="application/json", is_head=is_head)
    if head.path == "/metrics":
        _check_token(head, doorkeeper)
        return answer(HTTPStatus.OK, metrics().encode(), is_head=is_head)
    page, policy = console_page(head.one("host") or "")
    return answer(HTTPStatus.OK, page, kind="text/html", headers=[("Content-Security-Policy", policy)], is_head=is_head)


def _check_token(head: Head, doorkeeper: Doorkeeper) -> None:
    if doorkeeper.is_open or doorkeeper.caller(head).is_token_checked:
        return
    raise RefusedError(HTTPStatus.UNAUTHORIZED, "a token is needed", (("WWW-Authenticate", "Bearer"),))


def console_page(host: str) -> tuple[bytes, str]:
    """The page, and the content security policy that lets it do what it does under this name, and nothing else.

    Older browsers do not count a websocket to where the page came from as ``'self'``, so it is named.
    """
    page, script, style = _page()
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; "
        f"connect-src 'self' ws://{host} wss://{host}; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return page, policy


@cache
def _page() -> tuple[bytes, str, str]:
    """The page, and the hashes of its scripts and of its styles as a policy names them."""
    page = (files("blazen_trio.websocket.server") / "console.html").read_bytes()
    hashes: dict[str, list[str]] = {"style": [], "script": []}
    for kind, text in _INLINE.findall(page.decode()):
        digest = hashlib.sha256(text.encode()).digest()
        hashes[kind.lower()].append(f"'sha256-{base64.b64encode(digest).decode()}'")
    script, style = (" ".join(hashes[kind]) or "'none'" for kind in ("script", "style"))
    return page, script, style
