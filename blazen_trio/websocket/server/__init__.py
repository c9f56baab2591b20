"""The server: from the socket to whole messages, and what they ask for.

From the top down; a file imports only from those below it:

==============  ======================================================================================================
``listening``   ``open_websocket_server``: listeners, TLS, closing
``server``      ``WebsocketServer``: what all connections share; a fence around each
``connection``  ``Connection``: one accepted websocket: its messages, keep-alive, its end
``guard``       ``GuardedStream``: between the socket and the library: whole frames both ways, deadlines
``pages``       the console page, ``/health``, ``/metrics``
``metrics``     statistics as Prometheus reads them
``access``      Host, Origin, token, version: who may come in
``head``        the head of a request; answers
``frames``      ``FrameMeter``: counts and checks what a client sends
==============  ======================================================================================================
"""

from blazen_trio.websocket.server.connection import Connection as Connection
from blazen_trio.websocket.server.connection import SessionLike as SessionLike
from blazen_trio.websocket.server.guard import frame as frame
from blazen_trio.websocket.server.listening import open_websocket_server as open_websocket_server
from blazen_trio.websocket.server.server import WebsocketServer as WebsocketServer
