"""SQL helpers of the stage."""

from pathlib import Path
from typing import Any

import duckdb


def literal(path: Path | str) -> str:
    """A text as SQL literal; quotes in a folder's name are doubled."""
    return "'" + str(path).replace("'", "''") + "'"


def only_row(database: duckdb.DuckDBPyConnection, query: str, parameters: list[Any] | None = None) -> tuple[Any, ...]:
    """The only row of a query.

    The result is read completely, because DuckDB refuses further work on a connection with an unfinished result.
    """
    (row,) = database.execute(query, parameters).fetchall()
    return row


def count(database: duckdb.DuckDBPyConnection, source: str) -> int:
    """Number of rows of a table, optionally with a `WHERE` clause."""
    return int(only_row(database, f"SELECT count(*) FROM {source}")[0])
