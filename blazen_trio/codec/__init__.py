"""What leaves the process, and what may come in: exact one way, strict the other.

```
text       plain data as JSON and MessagePack
codec      Codec: the one object a workflow has of all this
records    annotations to shapes; records and unions        classes   the classes one codec knows, by name
shapes     a value whose annotation says what it is         values    a value that says what it is
walkers    going down into containers, within limits        leaves    types that hold nothing else
plain      what plain data is, the limits, `DecodeError`
```
"""

from blazen_trio.codec.codec import BUILT_IN_EVENTS, Codec
from blazen_trio.codec.plain import DecodeError, Plain
from blazen_trio.codec.text import from_json, from_msgpack, to_json, to_msgpack

__all__ = [
    "BUILT_IN_EVENTS",
    "Codec",
    "DecodeError",
    "Plain",
    "from_json",
    "from_msgpack",
    "to_json",
    "to_msgpack",
]
