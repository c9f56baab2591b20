"""A run's whole condition outside of its process: taken at any instant, and brought back to life.

From the top down; a file imports only from those below it:

================  =====================================================================================================
``taking``        a run's state as a ``WorkflowSnapshot``, in one synchronous step
``restoring``     a ``WorkflowSnapshot`` as the state of a paused run; every fault is found here, before anything runs
``snapshot``      ``WorkflowSnapshot``: the data, as JSON and MessagePack, signed if wanted
``blazen``        snapshots that Blazen wrote, in our format; ``blazen_values``: what they hold
``refs``          the session refs, and the objects in ``Live`` fields: saved by policy, rebuilt with permission
``work_writer``   calls, fan-outs, mail, questions: from the state
``work_reader``   the same: into a new state
``outcomes``      how a run ended
``format``        the version, and the place of each thing
``fields``        reading plain data key by key, strictly
================  =====================================================================================================

What is in a snapshot, and what is not:

* Each event is in exactly one of: consumed by a finished call (so gone), pending (queued, waiting for a slot, waiting
  for a retry, or being worked on), collected for a join or a collector.
* A call that runs is pending: its event is there, what it did to values, usage and full buffers is not. What others saw
  of it is: events it sent, stream items it wrote, answers it got, results of ``once``; it will not do these again.
* Classes and steps stand there by name, and are found only among those of the workflow that reads it.
"""

from blazen_trio.snapshot.restoring import restore as restore
from blazen_trio.snapshot.snapshot import WorkflowSnapshot as WorkflowSnapshot
from blazen_trio.snapshot.taking import take as take
