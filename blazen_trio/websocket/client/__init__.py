"""The client: runs of an engine that is somewhere else.

From the top down; a file imports only from those below it:

================  ====================================================================================================
``opening``       ``open_websocket_client``: the block that a client lives in
``engine``        ``RemoteEngine``: the verbs of ``Engine``, each a request
``run``           ``RemoteRun``: one run, as it was heard of last
``controls``      what is done to a run: answers, events, pause, abort
``subscription``  ``RemoteSubscription``: the stream of a run, one after another, however often the connection is lost
``client``        ``Client``: what engine and runs have in common
``checks``        what a user gives, checked before it is said
``answers``       what a server answers, as what users know of local runs
``link``          one connection after another: dials, speaks, loses patience
``desk``          what is said next, and what each message means: decided here, without waiting
``readers``       all subscriptions: which to ask for, what the server is told of each
``ledger``        all requests, each until its one outcome
``places``        how many requests the server takes at once
``patience``      who waits too long without a connection
``feeds``         one subscription: what came and was not taken yet, and whether anything is missing
``requests``      one request until its answer
``violations``    what no server of ours says
``wire``          one connection: handshake, messages, keep-alive, close
``tap``           the bytes of one connection: counted, timed, each send with a deadline
``beginnings``    how a message begins that is too big to be read
``dialling``      a URL, and a stream to the server there
``backoff``       how long to wait before dialling again
``own_error``     an error for one of many who wait
``knowledge``     which event classes are known here
================  ====================================================================================================

* A request gets exactly one outcome, and a subscription sees each event once and in order, whatever connections do.
* Who waits is never held up by who does not read; only the user's own task decodes an event.
* Nothing a server says raises anywhere but where somebody waits for an answer.
"""

from blazen_trio.websocket.client.engine import RemoteEngine as RemoteEngine
from blazen_trio.websocket.client.opening import open_websocket_client as open_websocket_client
from blazen_trio.websocket.client.run import RemoteRun as RemoteRun
from blazen_trio.websocket.client.subscription import RemoteSubscription as RemoteSubscription
