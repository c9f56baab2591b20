"""The server: from the socket to whole messages, and what they ask for.

From the top down; a file imports only from those below it:

==============  ======================================================================================================
``listening``   ``open_websocket_server``: listeners, TLS, closing
``session``     ``Session``: what one client asks, and the one answer to each
``answers``     ``Answers``: to each request exactly one
``verbs``       what each request does with the engine; with ``lists``, and ``calls`` (those of peers)
``delivery``    one subscription: catch-up from the store, then in step with the others
``authorizing`` asks the ``authorize`` hook; with ``targets`` (the run that it was asked about)
``server``      ``WebsocketServer``: what all connections share; a fence around each
``feeds``       the stream of one run, read and encoded once for all; with ``window``, ``window_reader``
``shown``       runs, items and results as clients see them; with ``trouble`` (errors)
``connection``  ``Connection``: one accepted websocket: its messages, keep-alive, its end
``guard``       ``GuardedStream``: between the socket and the library: whole frames both ways, deadlines
``pages``       the console page, ``/health``, ``/metrics``
``metrics``     statistics as Prometheus reads them
``interfaces``  what a session needs of server and connection; ``Access``
``access``      Host, Origin, token, version: who may come in
``head``        the head of a request; answers
``frames``      ``FrameMeter``: counts and checks what a client sends
``writing``     frames as the server writes them
==============  ======================================================================================================
"""

from blazen_trio.websocket.server.connection import Connection as Connection
from blazen_trio.websocket.server.connection import SessionLike as SessionLike
from blazen_trio.websocket.server.interfaces import Access as Access
from blazen_trio.websocket.server.interfaces import Authorize as Authorize
from blazen_trio.websocket.server.listening import open_websocket_server as open_websocket_server
from blazen_trio.websocket.server.server import WebsocketServer as WebsocketServer
from blazen_trio.websocket.server.writing import text_frame as text_frame
