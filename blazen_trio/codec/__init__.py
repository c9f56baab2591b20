"""What leaves the process, and what may come in: exact one way, strict the other.

From the top down; a file imports only from those below it:

===========  ==========================================================================================================
``codec``    ``Codec``: the one object a workflow has of all this
``text``     plain data as JSON and MessagePack
``records``  annotations to shapes; records and unions
``shapes``   a value whose annotation says what it is
``classes``  the classes that one codec knows, by name
``values``   a value that says what it is
``walkers``  going down into containers, within limits
``leaves``   types that hold nothing else
``plain``    what plain data is, the limits, ``DecodeError``
===========  ==========================================================================================================
"""

from blazen_trio.codec.codec import BUILT_IN_EVENTS as BUILT_IN_EVENTS
from blazen_trio.codec.codec import Codec as Codec
from blazen_trio.codec.codec import codec_of as codec_of
from blazen_trio.codec.plain import DecodeError as DecodeError
from blazen_trio.codec.plain import Plain as Plain
from blazen_trio.codec.text import from_json as from_json
from blazen_trio.codec.text import from_msgpack as from_msgpack
from blazen_trio.codec.text import to_json as to_json
from blazen_trio.codec.text import to_msgpack as to_msgpack
