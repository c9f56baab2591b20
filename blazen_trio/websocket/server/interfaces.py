"""What a session needs of the server around it and of the connection below it, and no more."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs
import trio

from blazen_trio.engine import Engine

if TYPE_CHECKING:
    from blazen_trio.websocket.server.feeds import Feeds


@attrs.frozen(kw_only=True)
class Access:
    """What somebody afar wants, for the ``authorize`` hook.

    Attributes:
        verb: what is asked for: the ``type`` of the request. Each run of a list is asked about as ``"get"``.
        run_id: the run that it is about, if any.
        workflow: the name of the workflow that it is about, or of the run's; ``None`` also if there is no such run.
        remote: the address that the connection comes from.
        headers: of the connection's handshake, names in lower case.
    """

    verb: str
    run_id: str | None = None
    workflow: str | None = None
    remote: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)  # they may hold a token


Authorize: TypeAlias = Callable[[Access], bool | Awaitable[bool]]
"""Decides whether somebody may do something: only ``True`` means yes."""


class SessionLimits(Protocol):
    """The bounds that sessions keep to."""

    @property
    def message_bytes(self) -> int:
        """Bytes of one message of a client."""
        ...

    @property
    def requests(self) -> int:
        """Requests of one connection that have no answer yet."""
        ...

    @property
    def subscriptions(self) -> int:
        """Subscriptions of one connection."""
        ...

    @property
    def window(self) -> int:
        """Events that a feed keeps encoded, and the most that are on their way to one subscription."""
        ...

    @property
    def window_bytes(self) -> int:
        """Bytes that a feed keeps encoded."""
        ...

    @property
    def batch_events(self) -> int:
        """Events in one message."""
        ...

    @property
    def batch_bytes(self) -> int:
        """Bytes of events in one message; more only if one event alone has more."""
        ...

    @property
    def faults(self) -> int:
        """Faulty messages that a client may send before its connection is closed."""
        ...


class Connection(Protocol):
    """One accepted websocket. Its ``send`` methods raise ``trio.BrokenResourceError`` when it is gone."""

    @property
    def number(self) -> int:
        """Which one it is."""
        ...

    @property
    def remote(self) -> str:
        """The address at the other end."""
        ...

    @property
    def nursery(self) -> trio.Nursery:
        """Lives as long as the connection."""
        ...

    async def send(self, payload: bytes) -> None:
        """Send a text message; a checkpoint."""
        ...

    async def send_frame(self, frame: bytes) -> None:
        """Send the bytes of a whole frame; a checkpoint."""
        ...

    def close_soon(self, code: int, reason: str) -> None:
        """Have the connection closed."""
        ...


class Server(Protocol):
    """What the sessions of one server share."""

    @property
    def engine(self) -> Engine:
        """Whose runs these are."""
        ...

    @property
    def authorize(self) -> Authorize | None:
        """The hook; without one everybody who is connected may do everything."""
        ...

    @property
    def limits(self) -> SessionLimits:
        """The bounds."""
        ...

    @property
    def node_id(self) -> str:
        """Another one each time that a server is opened."""
        ...

    @property
    def feeds(self) -> "Feeds":
        """The streams that clients read now."""
        ...

    def statistics(self) -> dict[str, Any]:
        """What the server holds."""
        ...
