"""The same API from afar: a server on an engine, and clients of it.

From the top down; a part imports only from those below it:

============  ========================================================================================================
``server``    ``open_websocket_server``: from the socket to what a client asks; the console page
``client``    ``open_websocket_client``: ``RemoteEngine`` with the methods of ``Engine``; it does not know the server
``limits``    ``WebsocketLimits``: what one client may take of a server
``protocol``  every message, as data
============  ========================================================================================================
"""

from blazen_trio.websocket.client import RemoteEngine as RemoteEngine
from blazen_trio.websocket.client import RemoteRun as RemoteRun
from blazen_trio.websocket.client import RemoteSubscription as RemoteSubscription
from blazen_trio.websocket.client import open_websocket_client as open_websocket_client
from blazen_trio.websocket.limits import WebsocketLimits as WebsocketLimits
from blazen_trio.websocket.server import Access as Access
from blazen_trio.websocket.server import Authorize as Authorize
from blazen_trio.websocket.server import WebsocketServer as WebsocketServer
from blazen_trio.websocket.server import open_websocket_server as open_websocket_server
