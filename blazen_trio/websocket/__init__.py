"""The same API from afar: a server on an engine, and clients of it.

From the top down:

============  ========================================================================================================
``server``    ``open_websocket_server``: from the socket to what a client asks; the console page
``limits``    ``WebsocketLimits``: what one client may take
``protocol``  every message, as data
============  ========================================================================================================
"""

from blazen_trio.websocket.limits import WebsocketLimits as WebsocketLimits
from blazen_trio.websocket.server import WebsocketServer as WebsocketServer
from blazen_trio.websocket.server import open_websocket_server as open_websocket_server
