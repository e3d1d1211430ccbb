"""Counts what became of the staged rows."""

import duckdb

from components.ingest_events.rules import IGNORED
from components.ingest_events.sources import UNREAD, Source
from components.ingest_events.tabular import TabularFiles
from components.shared.schema.account import UNKNOWN_TYPE, Lost, TableAccount
from components.shared.schema.mapping import SCHEMAS

_COMMON, _TYPES = 3, 10
"""Most common values that are told, and those of unknown event types, which a mapping needs."""


def table_account(connection: duckdb.DuckDBPyConnection, table: str, source: Source) -> TableAccount:
    """The account of a staged table."""
    rejected = rejected_rows(connection, table)
    ignored = rejected.pop(IGNORED, None)
    unread = _lost(
        connection,
        f"SELECT split_part(one, '{UNREAD}', 1) AS name, split_part(one, '{UNREAD}', 2) AS given FROM "
        f"(SELECT unnest(unread) AS one FROM staged_{table} WHERE reason IS NULL AND unread IS NOT NULL)",
    )
    found = connection.execute(f"SELECT count(*), count(*) FILTER (reason IS NULL) FROM staged_{table}").fetchall()
    rows, kept = found[0]
    files = source.files if isinstance(source, TabularFiles) else None
    absent = _absent(connection, table, source) if rows else {}
    return TableAccount(
        rows=rows, kept=kept, added=rows - files.rows if files else 0, ignored=ignored, rejected=rejected,
        unread=unread, absent={theirs: ours for theirs, ours in absent.items() if ours not in unread},
        files=files.read if files else 0, skipped=dict(files.skipped) if files else {},
        skipped_names={reason: tuple(names) for reason, names in files.names.items()} if files else {},
    )  # fmt: skip


def none_valid(rows: int, table: str, source: str) -> str:
    """Headline for a source whose rows are all rejected."""
    if rows == 1:
        return f"the only row of {table} in '{source}' is not valid"
    return f"none of the {rows:,} {table} of '{source}' are valid"


def _absent(connection: duckdb.DuckDBPyConnection, table: str, source: Source) -> dict[str, str]:
    """Mapped column -> contract column, of those that no row has a value of."""
    mapped = source.binding.mapping.columns.get(table, {}) if isinstance(source, TabularFiles) else {}
    theirs = {ours: one for ours, one in mapped.items() if isinstance(one, str) and ours in SCHEMAS[table].names}
    if not theirs:
        return {}
    # A row that was rejected for a value has one.
    counts = ", ".join(f"count({ours}) + count(*) FILTER (starts_with(reason, '{ours} '))" for ours in theirs)
    found = connection.execute(f"SELECT {counts} FROM staged_{table}").fetchall()[0]
    return {one: ours for (ours, one), count in zip(theirs.items(), found, strict=True) if not count}


def rejected_rows(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, Lost]:
    """Reason -> rejected rows of a staged table."""
    query = f"SELECT reason AS name, offending AS given FROM staged_{table} WHERE reason IS NOT NULL"
    return _lost(connection, query)


def _lost(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Lost]:
    """Rows by name, each with its most common values."""
    counts = connection.execute(f"SELECT name, count(*) FROM ({query}) GROUP BY ALL ORDER BY 2 DESC, 1").fetchall()
    values = connection.execute(
        "SELECT * FROM (SELECT name, given, count(*) AS times "
        f"FROM ({query}) WHERE trim(given) <> '' GROUP BY ALL) "
        f"QUALIFY row_number() OVER (PARTITION BY name ORDER BY times DESC, given) "
        f"<= CASE name WHEN '{UNKNOWN_TYPE}' THEN {_TYPES} ELSE {_COMMON} END "
        "ORDER BY name, times DESC, given"
    ).fetchall()
    shown = {name: {given: times for one, given, times in values if one == name} for name, _ in counts}
    return {name: Lost(rows=rows, values=shown[name]) for name, rows in counts}
