"""The tables of a store's file, and the way there from older versions of them.

* ``runs`` has one row for each run: what lists show, and who holds it. ``run`` is a short number that stands for the
  long ``run_id`` in the other tables.
* ``places`` says what there must be of a run elsewhere: the numbers of its journal entries and stream rows, and the
  checksum of its snapshot. It is small and often written; with it a row that is missing at either end is noticed.
* ``journal`` and ``stream`` hold one row for each write, with all of it, and grow at their end. The journal has no
  index: each row names the row before it (``previous``, 0 for none), and the run's place names the last (``last_row``).
  So a commit of 100 runs writes some 8 pages; an index, or a table keyed by run, would be one more for each run.
  Rows before ``first_entry`` that were folded into a snapshot may stay for a while, from ``kept_from`` on (see
  ``litter``); the index ``littered`` finds such runs.
* Each row carries a ``crc`` (see ``rows``).
* The partial indexes ``free``, ``due``, ``held`` and ``ended`` are those of sweeps; runs that wait cost nothing.
"""

from typing import Final

APPLICATION_ID: Final = 0x626C7A74
"""``blzt``, in the header of the file: so that no foreign database is ever changed."""

_VERSION_1: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('fence', 0);

CREATE TABLE owners (
    engine_id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL,
    lease_until REAL NOT NULL, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lost (
    engine_id TEXT NOT NULL, run_id TEXT NOT NULL, PRIMARY KEY (engine_id, run_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    run INTEGER PRIMARY KEY, run_id TEXT NOT NULL, workflow_name TEXT NOT NULL, created REAL NOT NULL,
    labels TEXT NOT NULL, status TEXT NOT NULL, updated REAL NOT NULL, pending_inputs BLOB NOT NULL, error TEXT,
    wake_at REAL, owner TEXT, fence INTEGER NOT NULL, finished INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX runs_by_id ON runs (run_id);
CREATE INDEX runs_by_age ON runs (created, run_id);
CREATE INDEX runs_by_status ON runs (status, created, run_id);
CREATE INDEX runs_by_workflow ON runs (workflow_name, created, run_id);
CREATE INDEX runs_by_both ON runs (status, workflow_name, created, run_id);
CREATE INDEX free ON runs (status, workflow_name, created, run_id) WHERE owner IS NULL AND finished = 0;
CREATE INDEX due ON runs (wake_at) WHERE owner IS NULL AND finished = 0 AND wake_at IS NOT NULL;
CREATE INDEX held ON runs (owner) WHERE owner IS NOT NULL;
CREATE INDEX ended ON runs (updated) WHERE finished = 1;

CREATE TABLE places (
    run INTEGER PRIMARY KEY, first_entry INTEGER NOT NULL, next_entry INTEGER NOT NULL, stream_floor INTEGER NOT NULL,
    stream_last INTEGER NOT NULL, snapshot_crc INTEGER, crc INTEGER NOT NULL
) STRICT;

CREATE TABLE snapshots (run INTEGER PRIMARY KEY, blob BLOB NOT NULL) STRICT;

CREATE TABLE journal (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, number INTEGER NOT NULL, entries BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_by_run ON journal (run, number);

CREATE TABLE stream (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, last INTEGER NOT NULL, previous INTEGER NOT NULL,
    items BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX stream_by_run ON stream (run, last);

CREATE TABLE commands (
    number INTEGER PRIMARY KEY, run INTEGER NOT NULL, command_id TEXT NOT NULL, kind TEXT NOT NULL,
    payload BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX commands_by_id ON commands (command_id);
CREATE INDEX commands_by_run ON commands (run);
"""

_VERSION_2: Final = """
CREATE TABLE journal_2 (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, number INTEGER NOT NULL, previous INTEGER NOT NULL,
    entries BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
INSERT INTO journal_2
SELECT id, run, number, previous, entries, journal_crc_2(run_id, number, previous, entries, old.crc)
FROM (SELECT *, lag(id, 1, 0) OVER (PARTITION BY run ORDER BY number) AS previous FROM journal) AS old
JOIN runs USING (run) ORDER BY id;

CREATE TABLE places_2 (
    run INTEGER PRIMARY KEY, first_entry INTEGER NOT NULL, next_entry INTEGER NOT NULL, kept_from INTEGER NOT NULL,
    last_row INTEGER NOT NULL, stream_floor INTEGER NOT NULL, stream_last INTEGER NOT NULL, snapshot_crc INTEGER,
    crc INTEGER NOT NULL
) STRICT;
INSERT INTO places_2
SELECT run, first_entry, next_entry, first_entry, last_row, stream_floor, stream_last, snapshot_crc, place_crc_2(
    run_id, run, first_entry, next_entry, first_entry, last_row, stream_floor, stream_last, snapshot_crc, old.crc
)
FROM (
    SELECT *, coalesce(
        (SELECT id FROM journal WHERE journal.run = places.run ORDER BY number DESC LIMIT 1), 0
    ) AS last_row FROM places
) AS old
JOIN runs USING (run);

DROP TABLE journal;
DROP TABLE places;
ALTER TABLE journal_2 RENAME TO journal;
ALTER TABLE places_2 RENAME TO places;
CREATE INDEX littered ON places (run) WHERE kept_from < first_entry;
"""
"""Its functions are those of ``migrations``."""

MIGRATIONS: Final = (_VERSION_1, _VERSION_2)
"""The statements at place N lead from version N to N + 1; the version of a file is its ``user_version``."""

VERSION: Final = len(MIGRATIONS)
"""The version that this library reads and writes."""
