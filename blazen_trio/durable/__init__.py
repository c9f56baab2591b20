"""Durable runs: what happened is on disk before anybody sees it.

From the top down; a file imports only from those below it:

=============  =====================================================================================================
``runner``     a runner whose messages go into a journal
``committer``  writes the journals of many runs, together
``journal``    one run's journal: rows that wait to be written, and effects that wait for them
``items``      stream items and headers as rows of a store
=============  =====================================================================================================

* The machine decides at once, in memory. Its effects wait in order until the rows of all messages up to theirs are
  written. So a crash loses the end of what happened, and of that nobody outside has seen anything.
* Who is promised something (an answer taken, an event sent, a result of ``once``) gets it when it is written.
* With ``durability="group"`` calls start before their rows are written: a crash repeats more of them. What leaves the
  process (stream items, the end) waits as ever.
* What cannot be written ends the run with the ``StoreError``, and did not happen: the store has the run as it was.
"""

from blazen_trio.durable.committer import Committer as Committer
from blazen_trio.durable.journal import Durability as Durability
from blazen_trio.durable.journal import Journal as Journal
from blazen_trio.durable.runner import DurableRunner as DurableRunner
