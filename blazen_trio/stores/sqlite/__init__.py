"""A store in one SQLite file, from the street to the cellar.

==============  =======================================================================================================
``store``       ``SqliteStore``: the methods, each a job for the writer or for a reader
``writer``      the one thread that writes: groups jobs into commits, checkpoints
``readers``     a few connections that only read
``changes``     jobs: runs are created, written, deleted
``owning``      jobs: claims, leases, commands
``reading``     jobs: runs, lists, streams
``upkeep``      jobs: backups and the like
``session``     the writing connection, and what it knows of the runs it has written
``lookups``     one run by its id
``journals``    the rows of one run's journal
``litter``      rows of journals that are of no use any more
``statements``  every SQL statement
``files``       the file: opened, checked, brought to this version
``migrations``  the tables, from older versions of them
``rows``        rows and back, with their checksums
``sql``         statements on a connection
``schema``      the tables
``faults``      SQLite's errors as errors that say what to do
==============  =======================================================================================================
"""

from blazen_trio.stores.sqlite.store import SqliteStore as SqliteStore
