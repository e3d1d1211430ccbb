"""Small pieces of SQL that every part of the stage needs."""

from pathlib import Path
from typing import Any

import duckdb


def literal(path: Path | str) -> str:
    """A text as SQL literal; quotes in a folder's name are doubled."""
    return "'" + str(path).replace("'", "''") + "'"


def only_row(database: duckdb.DuckDBPyConnection, query: str, parameters: list[Any] | None = None) -> tuple[Any, ...]:
    """The row of a query that has one.

    Read to the end, because DuckDB refuses further work on a connection whose last result is unfinished.
    """
    (row,) = database.execute(query, parameters).fetchall()
    return row


def count(database: duckdb.DuckDBPyConnection, source: str) -> int:
    """Rows of a table, optionally with its `WHERE` clause."""
    return int(only_row(database, f"SELECT count(*) FROM {source}")[0])
