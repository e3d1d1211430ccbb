"""Stages raw rows in a DuckDB file: converted, each with its rejection reason, if any."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
from duckdb.func import SPECIAL

from components.ingest_events import rules, sql
from components.ingest_events.categories import category_levels
from components.ingest_events.json_text import PYTHON_JSON, python_json
from components.ingest_events.sources import Selection, Source, unreadable
from components.shared.cgroup import usable_cpus
from components.shared.disk import disk_errors
from components.shared.progress import report
from components.shared.schema.mapping import SCHEMAS

STAGE = "ingest_events"
MEMORY_LIMIT = "1GB"
"""Beyond this limit DuckDB spills to the staging folder."""
THREADS = min(4, usable_cpus())
"""Every thread has its own buffers, so more threads would need more memory."""

COMMITTED = 4
"""Number of chunks in a transaction, which holds the memory of all its chunks until its end."""

_SHARES = {"events": (0.0, 0.7), "items": (0.7, 0.8), "users": (0.8, 0.85)}


@contextlib.contextmanager
def staging(beside: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB file with one staging table per table, in a temporary folder that is always removed.

    Raises:
        InputError: the disk is full or cannot be written.
    """
    with disk_errors(beside):
        beside.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".ingest-", dir=beside.parent) as folder:
            with contextlib.closing(duckdb.connect(str(Path(folder) / "staged.duckdb"))) as connection:
                connection.execute(
                    f"SET memory_limit = '{MEMORY_LIMIT}'; SET threads = {THREADS}; SET TimeZone = 'UTC'"
                )
                connection.execute(f"SET temp_directory = {sql.literal(str(Path(folder) / 'spill'))}")
                connection.create_function(
                    "category_levels", category_levels, ["VARCHAR"], "VARCHAR[]", null_handling=SPECIAL
                )
                connection.create_function(PYTHON_JSON, python_json, ["VARCHAR"], "VARCHAR", null_handling=SPECIAL)
                for table, schema in SCHEMAS.items():
                    columns = ", ".join(f"{column.name} {sql.SQL_TYPES[column.type]}" for column in schema)
                    extra = (
                        "reason VARCHAR, row VARCHAR, source_file VARCHAR, offending VARCHAR, unread VARCHAR[], "
                        "version DOUBLE, position BIGINT"
                    )
                    connection.execute(f"CREATE TABLE staged_{table} ({columns}, {extra})")
                yield connection


def stage(
    connection: duckdb.DuckDBPyConnection, table: str, source: Source, unique: bool = True, silent: bool = False
) -> None:
    """Stage every row of a table, invalid rows with their rejection reason.

    Args:
        connection: To the staging tables.
        table: events, items or users.
        source: Of its rows.
        unique: Whether an item or user has one row.
        silent: Report no progress.

    Raises:
        InputError: a file cannot be read, or has a typed value that cannot be.
        SchemaError: a mapped column is missing.
    """
    start, end = _SHARES[table]
    shown = end if silent else start
    if not silent:
        report(STAGE, start, f"reading {table}")
    connection.execute("BEGIN")
    for number, selection in enumerate(source.selections(connection), 1):
        with unreadable(selection.label):
            connection.execute(_insert(table, selection))
        if number % COMMITTED == 0:
            connection.execute("COMMIT; BEGIN")
        done = start + (end - start) * selection.share
        if done - shown >= 0.01:
            report(STAGE, done, f"reading {table}")
            shown = done
    if unique and table in rules.KEYS:
        _reject_duplicates(connection, table)
    connection.execute("COMMIT")


def _insert(table: str, selection: Selection) -> str:
    names = SCHEMAS[table].names
    values = ", ".join(
        f"({selection.values.get(column.name, 'NULL')})::{sql.SQL_TYPES[column.type]} AS {column.name}"
        for column in SCHEMAS[table]
    )
    read = f"SELECT *, {values} FROM {selection.relation}"
    # Serialising raw rows is the most expensive part, so it is limited to rejected events; items and users need it for
    # all rows, because duplicates are only found at the end.
    wanted = "true" if table in rules.KEYS else f"reason <> '{rules.IGNORED}'"
    offending = rules.offending(table, selection.raw)
    extra = (
        f"CASE WHEN {wanted} THEN {selection.row} END AS raw_row, "
        f"CASE WHEN reason IS NOT NULL THEN {offending} END AS raw_value, "
        f"({selection.source_file})::VARCHAR AS raw_file, {selection.unread} AS unread_values, "
        f"{selection.version} AS own_version, {selection.position} AS own_position"
    )
    return (
        f"INSERT INTO staged_{table} SELECT {', '.join(names)}, reason, raw_row, "
        f"raw_file, raw_value, unread_values, own_version, own_position "
        f"FROM (SELECT *, {extra} FROM (SELECT *, {rules.reason(table)} AS reason FROM "
        f"(SELECT *, ({selection.problem})::VARCHAR AS problem FROM ({read}))))"
    )


def _reject_duplicates(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Keep the newest row of each id, by version and then by position, and reject the others."""
    key = rules.KEYS[table]
    connection.execute(
        f"UPDATE staged_{table} SET reason = '{rules.duplicate_reason(table)}', offending = {key} "
        "FROM (SELECT "
        f"{key} AS seen, max_by(rowid, (coalesce(version, '-inf'::DOUBLE), position, rowid)) AS newest "
        f"FROM staged_{table} WHERE reason IS NULL GROUP BY ALL HAVING count(*) > 1) "
        f"WHERE {key} = seen AND rowid <> newest AND reason IS NULL"
    )
