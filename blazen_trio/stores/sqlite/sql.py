"""Statements on a connection. Rows come all at once: a cursor that is read halfway keeps its lock."""

from collections.abc import Iterable
from typing import Any

import apsw

Columns = tuple[Any, ...]
"""One row as SQLite gives and takes it."""


def rows(connection: apsw.Connection, statement: str, *bindings: object) -> list[Columns]:
    """Run one statement, or several without bindings."""
    untyped: Any = connection  # apsw's annotations name types that only newer Pythons have
    found: list[Columns] = untyped.execute(statement, bindings).fetchall()
    return found


def many(connection: apsw.Connection, statement: str, bindings: Iterable[Columns]) -> None:
    """Run one statement for each of them."""
    untyped: Any = connection
    untyped.executemany(statement, bindings).fetchall()


def setting(connection: apsw.Connection, name: str, value: str | int | None = None) -> Any:
    """Read a pragma, or set it."""
    untyped: Any = connection
    return untyped.pragma(name) if value is None else untyped.pragma(name, value)
