"""No statement's cost grows with the number of runs or their history: SQLite's own plan of each is looked at."""

import re

import apsw
import pytest

from blazen_trio.stores.sqlite import statements
from blazen_trio.stores.sqlite.migrations import migrate

ALL = {
    name if len(values) == 1 else f"{name}_{number}": statement
    for name, value in vars(statements).items()
    if name.isupper() and not name.startswith("_")
    for values in [value if isinstance(value, tuple) else (value,)]
    for number, statement in enumerate(values)
}

SCANNED = {
    "ALL_OWNERS": "owners",  # engines: a handful
    "GET_COMMANDS": "commands",  # what waits for its run right now
    "CLAIM_CALLED": "commands",
    "DROP_STRAYS": "journal",  # what damage has cut off
    "COUNT_LITTER": "places",  # by an index of a few
    "GET_LITTERED": "places",
    "GET_JOURNAL": "chain",  # the rows that were found
    "GET_ROWS": "chain",
    "DROP_JOURNAL": "chain",
    "NEXT_RUN": "",
}
"""Whole tables that a statement may read, because they stay small."""

SORTED = {"CLAIM_HELD": "the runs of one dead engine"}
"""Statements that may sort what they found."""


@pytest.fixture(scope="module")
def connection():
    connection = apsw.Connection(":memory:")
    migrate(connection, 0)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", ALL)
def test_a_statement_reads_by_an_index_alone(name, connection):
    plan = plan_of(connection, ALL[name])
    scans = [line for line in plan if line.startswith("SCAN ") and not is_small(line)]
    assert [line for line in scans if line.split()[1] != SCANNED.get(name)] == []
    assert [line for line in plan if "TEMP B-TREE" in line and name not in SORTED] == []


def is_small(line: str) -> bool:
    """What the caller gave, in a claim; and one row without a table."""
    return "VIRTUAL TABLE" in line or line == "SCAN CONSTANT ROW"


def plan_of(connection: apsw.Connection, statement: str) -> list[str]:
    cursor = connection.execute(f"EXPLAIN QUERY PLAN {statement}", [1] * variables(statement))
    return [str(line) for *_, line in cursor.fetchall()]


def variables(statement: str) -> int:
    """How many values the statement takes."""
    return max(map(int, re.findall(r"\?(\d+)", statement)), default=statement.count("?"))
