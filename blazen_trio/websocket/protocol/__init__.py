"""``blazen.v1``: what clients and servers say to each other, as data. Pure: no Trio, no engine, no sockets.

From the top down; a file imports only from those below it:

============  =========================================================================================================
``asyncapi``  all messages as an AsyncAPI document, which ``docs/asyncapi.json`` is
``reading``   text to message: strict, bounded, with an answer for whoever wrote it wrong
``writing``   message to text; items of a stream are encoded once, and joined for everybody who wants them
``messages``  every message: requests, answers, what a server tells by itself
``views``     what stands in messages: runs, results, stream items, workflows
``errors``    exceptions as data, and back
``fields``    kinds of values that stand in messages, with their bounds
============  =========================================================================================================

* A message is one JSON object in one text frame. ``type`` says which it is; its other members are the fields of that
  class, no more and no less (those with a default may be left out).
* A client sends requests, each with an ``id`` of its own choice, and gets exactly one answer: ``ok`` or ``error``; also
  to one that it cancels.
* What users put into events, answers and results is plain data as ``blazen_trio.codec`` makes it.
"""

from blazen_trio.websocket.protocol.errors import ErrorView as ErrorView
from blazen_trio.websocket.protocol.errors import RequestCancelledError as RequestCancelledError
from blazen_trio.websocket.protocol.errors import read_error as read_error
from blazen_trio.websocket.protocol.errors import write_error as write_error
from blazen_trio.websocket.protocol.messages import REQUESTS as REQUESTS
from blazen_trio.websocket.protocol.messages import VERSION as VERSION
from blazen_trio.websocket.protocol.messages import VERSIONS as VERSIONS
from blazen_trio.websocket.protocol.messages import Message as Message
from blazen_trio.websocket.protocol.messages import Request as Request
from blazen_trio.websocket.protocol.reading import Fault as Fault
from blazen_trio.websocket.protocol.reading import read_from_client as read_from_client
from blazen_trio.websocket.protocol.reading import read_from_server as read_from_server
from blazen_trio.websocket.protocol.writing import encode as encode
from blazen_trio.websocket.protocol.writing import encode_item as encode_item
from blazen_trio.websocket.protocol.writing import events_message as events_message
