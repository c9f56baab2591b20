"""The head of a request: bytes to a ``Head``, and answers to bytes. Pure; h11 reads and writes the grammar.

* ASCII only, lines end with CR LF, no folded lines: what two readers could read differently is refused.
* What is wrong is told as soon as it is seen: bytes that cannot be right are not waited behind.
* Each byte is looked at a bounded number of times, however it drips in.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import attrs
import h11

Headers = tuple[tuple[str, str], ...]

_END: Final = b"\r\n\r\n"
_FOREIGN: Final = re.compile(rb"[^\t\r\n\x20-\x7e]")
_LONE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\r\n[ \t]")


@attrs.frozen
class RefusedError(Exception):
    """A request that is not served: what its sender is told, which is no more than it needs."""

    status: int
    text: str
    headers: Headers = ()

    @property
    def answer(self) -> bytes:
        """The whole answer."""
        return answer(self.status, self.text.encode() + b"\n", headers=self.headers)

    def __str__(self) -> str:
        return f"{self.status} {self.text}"


@attrs.frozen
class Head:
    """What a request says before its body.

    Attributes:
        method: as it was sent: upper case means something.
        path: the target without its query.
        headers: names in lower case, in their order.
        version: of HTTP: ``"1.1"`` or ``"1.0"``.
        rest: what came behind it.
    """

    method: str
    path: str
    headers: Headers = attrs.field(repr=False)  # tokens are among them
    version: str
    rest: bytes = b""

    def every(self, name: str) -> list[str]:
        """The values of all headers of this name."""
        return [value for each, value in self.headers if each == name]

    def one(self, name: str) -> str | None:
        """The value of a header that may stand there once; ``None``: it does not.

        Raises:
            RefusedError: it is repeated.
        """
        values = self.every(name)
        if len(values) > 1:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"header {name} is repeated")
        return values[0] if values else None

    def listed(self, name: str) -> list[str]:
        """The elements of a header that is a list parted by commas."""
        return [each.strip() for value in self.every(name) for each in value.split(",") if each.strip()]


class HeadReader:
    """Reads one head, however its bytes come in."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Head | None:
        """Take in what was received; the head once it is whole.

        Raises:
            RefusedError: this will never be a head that is served here.
        """
        begin = max(0, len(self._bytes) - len(_END) + 1)
        self._bytes += data
        end = self._bytes.find(_END, begin)
        head = self._bytes if end < 0 else self._bytes[: end + len(_END)]
        if _FOREIGN.search(head, begin) or self._has_lone_newline(head, begin):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the head is ASCII, in lines that end with CR LF")
        if len(head) > self._bytes_max:
            raise RefusedError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a head has at most {self._bytes_max} bytes"
            )
        if end < 0:
            return None
        return _parsed(bytes(head), bytes(self._bytes[len(head) :]))

    @staticmethod
    def _has_lone_newline(head: bytearray, begin: int) -> bool:
        """Whether a line ends badly; a CR at the very end may still get its LF."""
        end = len(head) - 1 if head.endswith(b"\r") else len(head)
        return _LONE.search(head, begin, end) is not None


def _parsed(head: bytes, rest: bytes) -> Head:
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
    try:
        reader.receive_data(head)
        request = reader.next_event()
    except h11.RemoteProtocolError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request") from error
    if not isinstance(request, h11.Request) or request.http_version not in {b"1.0", b"1.1"}:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request")
    return Head(
        method=request.method.decode(),
        path=request.target.decode().partition("?")[0],
        headers=tuple((name.decode(), value.decode()) for name, value in request.headers),
        version=request.http_version.decode(),
        rest=rest,
    )


def answer(
    status: int,
    body: bytes,
    *,
    kind: str = "text/plain",
    headers: Iterable[tuple[str, str]] = (),
    is_head: bool = False,
) -> bytes:
    """The bytes of an answer after which the connection is closed.

    Args:
        status: three digits.
        body: is left out for ``HEAD``, but counted.
        kind: the media type; text is UTF-8.
        headers: more of them.
        is_head: whether it answers a ``HEAD``.
    """
    all_headers = [
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        *headers,
    ]
    lines = [
        f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in all_headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if is_head else body)
