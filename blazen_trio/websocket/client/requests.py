"""One request until its answer, over all connections."""

import attrs
import trio

from blazen_trio.core.errors import EncodeError
from blazen_trio.websocket.client.own_error import own_error
from blazen_trio.websocket.protocol import Request, encode
from blazen_trio.websocket.protocol.messages import verb


@attrs.define(eq=False)
class Asked:
    """A request, and what came of it: a value or an error, once. One that no message can have is an ``EncodeError``.

    Attributes:
        request: it.
        is_repeatable: whether it may be sent again when nobody knows whether it arrived.
        waiting: how many tasks wait for its answer; without any, it is not said again, and the answer is dropped.
        since: when the first of them began to.
        is_sent: on the connection that there is now.
        times_sent: on all.
    """

    request: Request
    is_repeatable: bool
    text: bytes = attrs.field(init=False, repr=False)
    waiting: int = 0
    since: float = attrs.field(factory=trio.current_time)
    is_sent: bool = False
    times_sent: int = 0
    _over: trio.Event = attrs.field(factory=trio.Event, repr=False)
    _value: object = None
    _error: Exception | None = None

    def __attrs_post_init__(self) -> None:
        try:
            self.text = encode(self.request)
        except UnicodeEncodeError:
            raise EncodeError("str", f"a {verb(self.request)!r} request", "a text has a lone surrogate") from None

    @property
    def id(self) -> int:
        """The request's id."""
        return self.request.id

    def answer(self, value: object) -> None:
        """It is answered."""
        if not self._over.is_set():
            self._value = value
            self._over.set()

    def fail(self, error: Exception) -> None:
        """It is refused, or there will be no answer."""
        if not self._over.is_set():
            self._error = error
            self._over.set()

    async def outcome(self) -> object:
        """Wait for the answer and give it; a checkpoint. Each who waits gets an error of its own."""
        await self._over.wait()
        if self._error is not None:
            raise own_error(self._error, self.request.subject)
        return self._value
