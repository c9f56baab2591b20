"""What a session needs of the server around it and of the connection below it, and no more."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs
import trio

from blazen_trio.engine import Engine
from blazen_trio.step_registry import StepRegistry
from blazen_trio.websocket.limits import WebsocketLimits

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
        token: what the connection showed as a token, as a header or a subprotocol; ``None`` if nothing. With a
            ``token=`` of its own the server has checked that it is that one.
        headers: of the connection's handshake, names in lower case.
    """

    verb: str
    run_id: str | None = None
    workflow: str | None = None
    remote: str = ""
    token: str | None = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)  # they may hold a token


Authorize: TypeAlias = Callable[[Access], bool | Awaitable[bool]]
"""Decides whether somebody may do something: only ``True`` means yes."""


class ConnectionLike(Protocol):
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
    def version(self) -> str:
        """Of the protocol that is spoken."""
        ...

    @property
    def bearer(self) -> str | None:
        """What it showed as its token."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Of its handshake, names in lower case."""
        ...

    @property
    def nursery(self) -> trio.Nursery:
        """Lives as long as the connection."""
        ...

    async def send(self, payload: bytes) -> None:
        """Send a text message; a checkpoint."""
        ...

    async def send_frame(self, data: bytes) -> None:
        """Send the bytes of a whole frame; a checkpoint."""
        ...

    def close_soon(self, code: int, reason: str) -> None:
        """Have the connection closed."""
        ...


class ServerLike(Protocol):
    """What the sessions of one server share.

    Attributes:
        faults: messages that made no sense; sessions count them.
        subscriptions: open ones; likewise.
    """

    faults: int
    subscriptions: int

    @property
    def engine(self) -> Engine:
        """Whose runs these are."""
        ...

    @property
    def authorize(self) -> Authorize | None:
        """The hook; without one everybody who is connected may do everything."""
        ...

    @property
    def limits(self) -> WebsocketLimits:
        """The bounds."""
        ...

    @property
    def registry(self) -> StepRegistry | None:
        """The steps that peers may build workflows of."""
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
