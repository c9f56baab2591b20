"""Many durable runs in one process: they survive it, and those that only wait are rows in a store.

From the top down; a file imports only from those below it:

================  ====================================================================================================
``opening``       ``open_engine``: the block that an engine lives in, and its standing tasks
``calls``         runs that other servers ask for, under ids of their own
``engine``        ``Engine``: start, find and control runs
``handle``        ``EngineRun``: one run, wherever it is now
``subscription``  the stream of such a run: what is stored, then what comes
``holding``       ``HeldRun``: a run that this engine holds: brought into memory, living there, parked again
``made``          workflows made of registered steps, and made again for their runs
``kept_refs``     live objects of finished calls, kept for those who called
``aborted_calls`` calls that were aborted before they began
``infos``         ``RunInfo``, and results of runs that are over
================  ====================================================================================================

* A run is in the store always, in memory while it has something to do. Whoever wants something of it brings it back.
* Who asks for something gets it when it is durable.
* What another engine holds is read here; what is asked of it goes to that engine through the store.
"""

from blazen_trio.engine.engine import Engine as Engine
from blazen_trio.engine.handle import EngineRun as EngineRun
from blazen_trio.engine.infos import RunInfo as RunInfo
from blazen_trio.engine.infos import info_of as info_of
from blazen_trio.engine.opening import open_engine as open_engine
from blazen_trio.engine.opening import recover_runs as recover_runs
