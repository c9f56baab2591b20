"""The bounds of the websocket server: every queue, wait and count that a client can drive has one, with its reason.

* Times are in seconds. What goes beyond a bound costs the connection that did it, never another one.
* The defaults suit a server for people and programs of one organisation; a public one may want less of everything.
"""

import math
from typing import Any, Final

import attrs

SEND_CHUNK_BYTES: Final = 64 * 1024
"""What must go out within ``WebsocketLimits.send``: then a long frame may take long, and a dead reader may not."""


def _positive(_: Any, attribute: "attrs.Attribute[float]", value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be a positive, finite number, not {value!r}")


def _count(_: Any, attribute: "attrs.Attribute[int]", value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{attribute.name} must be a whole number of at least 1, not {value!r}")


@attrs.frozen(kw_only=True)
class WebsocketLimits:
    """What one client may take of the server.

    Attributes:
        handshake: seconds from the connection's start to the end of its request's head, TLS included; a person's
            network takes well under one, and who drips bytes holds a place for no longer.
        send: seconds for each 64 KiB that go out; slower than 13 kB/s is dead, or wants to be waited for.
        close: seconds for saying goodbye, and for the answer to it.
        ping: seconds of silence after which a connection is asked whether it lives; well below the 60 s after which
            many routers forget it.
        pong: seconds for the answer.
        head_bytes: of a request's head; browsers send under 2 KiB, cookies of others on the same name a few more.
        message_bytes: of a message that comes in, over all its fragments, in bytes (not characters).
        fragments: of one message; 1 MiB in pieces of 4 KiB are 256, and empty ones count too.
        control_frames: pings, pongs and closes that may come at once.
        control_frames_per_s: and so many per second in the long run; keep-alive needs one in ten seconds.
        inbox: messages that came in and wait for the session, which always reads: more is a flood.
        inbox_bytes: the same in bytes; a few of the longest messages.
        connections: open at once; 10,000 idle ones need some 300 MB.
        requests: of one connection, under way at once; whoever waits for the results of many runs has one for each.
        subscriptions: of one connection.
        window: events of a run that are kept for its subscribers; who is further behind gets a gap.
        window_bytes: the same in bytes of encoded events.
        batch_events: of a subscription in one message; enough that a message costs nothing beside its events.
        batch_bytes: of events in one message; more only if one event alone has more. So much goes out in one send.
        faults: messages of one connection that made no sense, less those that did: what is wrong so much more often
            than right is no program of ours. A request that is refused made sense.
    """

    handshake: float = attrs.field(default=5.0, validator=_positive)
    send: float = attrs.field(default=5.0, validator=_positive)
    close: float = attrs.field(default=2.0, validator=_positive)
    ping: float = attrs.field(default=20.0, validator=_positive)
    pong: float = attrs.field(default=20.0, validator=_positive)
    head_bytes: int = attrs.field(default=16 * 1024, validator=_count)
    message_bytes: int = attrs.field(default=1024 * 1024, validator=_count)
    fragments: int = attrs.field(default=1_000, validator=_count)
    control_frames: int = attrs.field(default=100, validator=_count)
    control_frames_per_s: float = attrs.field(default=10.0, validator=_positive)
    inbox: int = attrs.field(default=4_000, validator=_count)
    inbox_bytes: int = attrs.field(default=4 * 1024 * 1024, validator=_count)
    connections: int = attrs.field(default=10_000, validator=_count)
    requests: int = attrs.field(default=1_000, validator=_count)
    subscriptions: int = attrs.field(default=1_000, validator=_count)
    window: int = attrs.field(default=10_000, validator=_count)
    window_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_count)
    batch_events: int = attrs.field(default=1_000, validator=_count)
    batch_bytes: int = attrs.field(default=SEND_CHUNK_BYTES, validator=_count)
    faults: int = attrs.field(default=100, validator=_count)
