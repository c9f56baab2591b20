"""What happened to a run, so that it can be told again: a run is its last base and the messages since.

The machine is deterministic: the same messages lead to the same state. So the journal of a durable run is the list of
its messages, in the order of ``feed``, and nothing else has to be written: a message costs the same however long the
run has run and however much it holds. Now and then a *base* takes the place of all that is before it, so that a journal
does not grow beyond what the run holds.

From the top down; a file imports only from those below it:

===========  =======================================================================================================
``replay``   from a base and rows to the snapshot of the run as it was when the last row was written
``base``     what a snapshot leaves out of a run that goes on
``rows``     one message as one row of bytes, and back
===========  =======================================================================================================

* A snapshot leaves out what unfinished calls did, since they are to be repeated. The rows behind a base go on with
  these very calls, so a base has it, too: what runs, what it wrote, took and waits for.
* After the last row unfinished calls are put back. That is a snapshot, and the run goes on from it as from any other.
* A message of a call that does not run any more changes nothing. It is not written, so a row whose call is not there
  shows that the workflow was changed.
* Messages are written by their attributes. One that changes in a later version needs another kind of row: those of
  today are read for ever.
"""

from blazen_trio.journal.base import write_live as write_live
from blazen_trio.journal.replay import base_of as base_of
from blazen_trio.journal.replay import base_plain as base_plain
from blazen_trio.journal.replay import begun as begun
from blazen_trio.journal.replay import metadata_of as metadata_of
from blazen_trio.journal.replay import replay as replay
from blazen_trio.journal.rows import Path as Path
from blazen_trio.journal.rows import RowWriter as RowWriter
