"""Every statement of the store, so that a test can look at the plan of each: none reads a whole table.

A condition that may be absent is written ``?N IS NULL OR ...``: it filters what an index found.
"""

from typing import Final

_RUN: Final = (
    "run, run_id, workflow_name, created, labels, status, updated, pending_inputs, error, wake_at, owner, fence, "
    "finished, crc"
)

# --- Reading one run --------------------------------------------------------------------------------------------------

GET_RUN: Final = f"SELECT {_RUN} FROM runs WHERE run_id = ?"
GET_PLACE: Final = "SELECT * FROM places WHERE run = ?"
GET_OWNER: Final = "SELECT * FROM owners WHERE engine_id = ?"
GET_SNAPSHOT: Final = "SELECT blob FROM snapshots WHERE run = ?"
GET_STREAM: Final = "SELECT last, previous, items, crc FROM stream WHERE run = ? AND last > ? ORDER BY last LIMIT 1"

PREVIOUS_ID: Final = "SELECT run_id, run FROM runs WHERE run_id < ? ORDER BY run_id DESC LIMIT 1"
NEXT_ID: Final = "SELECT run_id, run FROM runs WHERE run_id > ? ORDER BY run_id LIMIT 1"
RUN_ID_OF: Final = "SELECT run_id FROM runs WHERE run = ?"

# --- A journal's rows, from the last to the first: ?1 id of the last, ?2 run. Numbers fall: no ring can be --

GET_JOURNAL: Final = """
WITH RECURSIVE chain AS (
    SELECT * FROM journal WHERE id = ?1 AND run = ?2 AND number >= ?3
    UNION ALL
    SELECT journal.* FROM chain JOIN journal ON journal.id = chain.previous
    WHERE journal.run = ?2 AND journal.number < chain.number AND journal.number >= ?3
)
SELECT number, previous, entries, crc FROM chain
"""
_LINKS: Final = """
WITH RECURSIVE chain (id, previous, number) AS (
    SELECT id, previous, number FROM journal WHERE id = ?1 AND run = ?2
    UNION ALL
    SELECT journal.id, journal.previous, journal.number FROM chain JOIN journal ON journal.id = chain.previous
    WHERE journal.run = ?2 AND journal.number < chain.number
)
"""
GET_ROWS: Final = f"{_LINKS} SELECT id, number FROM chain"
DROP_JOURNAL: Final = f"{_LINKS} DELETE FROM journal WHERE id IN (SELECT id FROM chain) RETURNING number"
DROP_ROW: Final = "DELETE FROM journal WHERE id = ?"
COUNT_LITTER: Final = "SELECT count(*), total(first_entry - kept_from) FROM places WHERE kept_from < first_entry"
GET_LITTERED: Final = "SELECT run_id FROM places JOIN runs USING (run) WHERE kept_from < first_entry"
DROP_STRAYS: Final = "DELETE FROM journal WHERE run = ? AND number < ?"

# --- Lists ------------------------------------------------------------------------------------------------------------

_PAGE: Final = "(created, run_id) < (?, ?) ORDER BY created DESC, run_id DESC LIMIT ?"
LIST_ALL: Final = f"SELECT {_RUN} FROM runs WHERE {_PAGE}"
LIST_BY_STATUS: Final = f"SELECT {_RUN} FROM runs WHERE status = ? AND {_PAGE}"
LIST_BY_WORKFLOW: Final = f"SELECT {_RUN} FROM runs WHERE workflow_name = ? AND {_PAGE}"
LIST_BY_BOTH: Final = f"SELECT {_RUN} FROM runs WHERE status = ? AND workflow_name = ? AND {_PAGE}"

# --- Writing ----------------------------------------------------------------------------------------------------------

ADD_RUN: Final = f"INSERT INTO runs ({_RUN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
NEXT_RUN: Final = "SELECT coalesce(max(run), 0) + 1 FROM runs"
PUT_RUN: Final = (
    "UPDATE runs SET status = ?, updated = ?, pending_inputs = ?, error = ?, wake_at = ?, owner = ?, fence = ?, "
    "finished = ?, crc = ? WHERE run = ?"
)
PUT_PLACE: Final = "REPLACE INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_SNAPSHOT: Final = "REPLACE INTO snapshots VALUES (?, ?)"
LAST_ROW: Final = "SELECT coalesce(max(id), 0) FROM journal"
ADD_ENTRIES: Final = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)"
ADD_ITEMS: Final = "INSERT INTO stream (run, last, previous, items, crc) VALUES (?, ?, ?, ?, ?)"
DROP_ITEMS: Final = "DELETE FROM stream WHERE run = ? AND last <= ?"

# --- Deleting ---------------------------------------------------------------------------------------------------------

DELETE_RUN: Final = "DELETE FROM runs WHERE run = ?"
DELETE_OF_RUN: Final = (
    "DELETE FROM places WHERE run = ?",
    "DELETE FROM snapshots WHERE run = ?",
    "DELETE FROM stream WHERE run = ?",
    "DELETE FROM commands WHERE run = ?",
)
GET_ENDED: Final = f"SELECT {_RUN} FROM runs WHERE finished = 1 AND updated < ?"

# --- Owners -----------------------------------------------------------------------------------------------------------

NEXT_FENCE: Final = "UPDATE meta SET value = value + 1 WHERE name = 'fence' RETURNING value"
ALL_OWNERS: Final = "SELECT * FROM owners"
PUT_OWNER: Final = "REPLACE INTO owners VALUES (?, ?, ?, ?, ?, ?)"
DELETE_OWNER: Final = "DELETE FROM owners WHERE engine_id = ?"
HOLDS_ANY: Final = "SELECT 1 FROM runs WHERE owner = ? LIMIT 1"
FORGET_LOST: Final = "DELETE FROM lost WHERE engine_id = ?"
HELD_RUNS: Final = f"SELECT {_RUN} FROM runs WHERE owner = ?"
LOSE_RUN: Final = "INSERT OR IGNORE INTO lost VALUES (?, ?)"
REGAIN_RUN: Final = "DELETE FROM lost WHERE engine_id = ? AND run_id = ?"
TELL_LOST: Final = "DELETE FROM lost WHERE engine_id = ? RETURNING run_id"

# --- Claims: ?1 workflows, ?2 statuses, ?3 labels as JSON; ?4 wake_before; ?5 limit; then their own -------------------

_FITS: Final = """
(?1 IS NULL OR workflow_name IN (SELECT value FROM json_each(?1)))
AND (?2 IS NULL OR status IN (SELECT value FROM json_each(?2)))
AND (?3 IS NULL OR NOT EXISTS (
    SELECT 1 FROM json_each(runs.labels) AS needed
    WHERE NOT EXISTS (SELECT 1 FROM json_each(?3) AS given WHERE given.key = needed.key AND given.value = needed.value)
))
"""
_IS_DUE: Final = "(?4 IS NULL OR wake_at <= ?4 OR EXISTS (SELECT 1 FROM commands WHERE commands.run = runs.run))"
_OLDEST: Final = "ORDER BY created, run_id LIMIT ?5"

NEXT_WORKFLOW: Final = """
SELECT min(workflow_name) FROM runs WHERE owner IS NULL AND finished = 0 AND status = ? AND workflow_name > ?
"""
CLAIM_FREE: Final = f"""
SELECT {_RUN} FROM runs WHERE owner IS NULL AND finished = 0 AND status = ?6 AND workflow_name = ?7
AND {_FITS} AND {_IS_DUE} {_OLDEST}
"""
CLAIM_DUE: Final = f"""
SELECT {_RUN} FROM runs WHERE owner IS NULL AND finished = 0 AND wake_at <= ?4 AND {_FITS} ORDER BY wake_at LIMIT ?5
"""
CLAIM_CALLED: Final = f"""
SELECT {_RUN} FROM runs WHERE run IN (SELECT run FROM commands) AND owner IS NULL AND finished = 0 AND {_FITS}
AND {_IS_DUE} LIMIT ?5
"""
CLAIM_HELD: Final = f"SELECT {_RUN} FROM runs WHERE owner = ?6 AND finished = 0 AND {_FITS} AND {_IS_DUE} {_OLDEST}"
CLAIM_ONE: Final = f"SELECT {_RUN} FROM runs WHERE run_id = ?6 AND finished = 0 AND {_FITS} AND {_IS_DUE} LIMIT ?5"

# --- Commands ---------------------------------------------------------------------------------------------------------

ADD_COMMAND: Final = "INSERT OR IGNORE INTO commands (run, command_id, kind, payload, crc) VALUES (?, ?, ?, ?, ?)"
GET_COMMANDS: Final = """
SELECT owner, run_id, command_id, kind, payload, commands.crc
FROM commands LEFT JOIN runs ON runs.run = commands.run ORDER BY number
"""
END_COMMAND: Final = "DELETE FROM commands WHERE command_id = ?"
