"""The three tables as DuckDB views over their Parquet files, read in bounded memory."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.cgroup import usable_cpus
from components.shared.errors import InputError, SchemaError
from components.shared.schema.tables import EVENTS, ITEMS, USERS, check_schema

SCHEMAS: dict[str, pa.Schema] = {"events": EVENTS, "items": ITEMS, "users": USERS}

MEMORY_LIMIT = "1GB"
"""Beyond this limit DuckDB spills to a temporary folder."""

EXAMPLES = 3
"""Maximum number of rows shown with a finding."""


class Tables:
    """Queries over the views `events`, `items` and `users`; times are UTC."""

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._connection = connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of an aggregating query."""
        return self._connection.execute(query).fetchall()

    def row(self, query: str) -> tuple[Any, ...]:
        """The only row of a query."""
        return self.rows(query)[0]

    def examples(self, relation: str) -> tuple[str, ...]:
        """The first rows of `relation` (what follows FROM) as JSON text."""
        found = self.rows(f"SELECT to_json(e)::VARCHAR FROM (SELECT * FROM {relation} LIMIT {EXAMPLES}) e")
        return tuple(text for (text,) in found)

    def create(self, name: str, query: str) -> None:
        """Create a temporary table from a query that several others read; it may spill to disk."""
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")


@contextlib.contextmanager
def opened(folders: dict[str, Path]) -> Iterator[Tables]:
    """Open views of the tables over the Parquet files in `folders`."""
    with (
        tempfile.TemporaryDirectory(prefix="shoprank-validate-") as spill,
        contextlib.closing(duckdb.connect(config={"threads": usable_cpus()})) as connection,
    ):
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'; SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = {_literal(spill)}; SET parquet_metadata_cache = true")
        for name, folder in folders.items():
            columns = ", ".join(SCHEMAS[name].names)
            connection.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM {_read(folder, name)}")
        yield Tables(connection)


def rejected_reasons(tables: Tables, folder: Path) -> dict[str, int]:
    """Reason -> number of event rows rejected by ingest_events, whose output is `folder`."""
    events = f"FROM {_read(folder, 'rejected')} WHERE \"table\" = 'events'"
    return dict(tables.rows(f"SELECT reason, count(*) {events} GROUP BY 1 ORDER BY 1"))


def _read(folder: Path, name: str) -> str:
    files = ", ".join(_literal(str(file)) for file in parquet_files(folder, name))
    return f"read_parquet([{files}], hive_partitioning = false)"


def parquet_files(folder: Path, name: str) -> list[Path]:
    """Every Parquet file below `folder`, sorted.

    Raises:
        InputError: the folder has no Parquet file.
    """
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise InputError(f"{name}: {folder} has no Parquet file", "run ingest_events first, and give its output here")
    return files


def schema_problem(folder: Path, name: str) -> SchemaError | None:
    """The first schema error in a table's files, or None.

    Raises:
        InputError: a file is not Parquet.
    """
    for file in parquet_files(folder, name):
        try:
            found = pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{name}: {file} is not Parquet: {error}", "run ingest_events again") from error
        try:
            check_schema(found, SCHEMAS[name], name)
        except SchemaError as error:
            return error
    return None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
