"""Ingest a source: read every row once, keep valid rows, and write the others with a reason.

Rows are staged in a DuckDB file beside the outputs, so memory stays bounded and every row is counted before any output
appears; the four outputs appear together or not at all.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from components.ingest_events import complete_journey, rules, sql
from components.ingest_events.sources import DerivedItems, DerivedUsers, Selection, Source
from components.ingest_events.tabular import TabularFiles
from components.shared.cgroup import usable_cpus
from components.shared.disk import disk_errors
from components.shared.errors import DataError, InputError
from components.shared.progress import report
from components.shared.schema.mapping import SCHEMAS, ColumnMapping, parse_mapping
from components.shared.schema.sizes import size_named
from components.shared.schema.tables import schema_hash
from components.shared.storage import atomic_directory
from components.shared.version import VERSION

__all__ = ["IngestOutputs", "IngestSummary", "choose_sources", "ingest"]

STAGE = "ingest_events"
MEMORY_LIMIT = "1GB"
"""Beyond this limit DuckDB spills to the staging folder."""
THREADS = min(4, usable_cpus())
"""Every thread has its own buffers, so more threads would need more memory."""

_ORDER = {"events": "timestamp, user_id, rowid", "items": "rowid", "users": "rowid"}
_SHARES = {"events": (0.0, 0.7), "items": (0.7, 0.8), "users": (0.8, 0.85)}


@dataclass(frozen=True, kw_only=True)
class IngestOutputs:
    """Folders to write."""

    events: Path
    """Schema EVENTS, `date=YYYY-MM-DD/part-*.parquet` by UTC day, ordered by time within a day."""
    items: Path
    """Schema ITEMS, `part-0.parquet`, one row per item."""
    users: Path
    """Schema USERS, `part-0.parquet`, one row per user."""
    rejected: Path
    """`part-0.parquet`: table, reason, source_file, row (the raw row as JSON text)."""


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """Summary of the written tables."""

    events: int
    """Rows."""
    items: int
    """Rows."""
    users: int
    """Rows."""
    rejected: dict[str, dict[str, int]]
    """Table -> reason -> rows."""
    first: str
    """Earliest timestamp, ISO 8601 in UTC."""
    last: str
    """Latest timestamp, ISO 8601 in UTC."""
    schema_hash: str = schema_hash(*SCHEMAS.values())
    """Hash of the three schemas."""

    @property
    def rejected_rows(self) -> int:
        """Number of rejected rows in all tables."""
        return sum(sum(reasons.values()) for reasons in self.rejected.values())

    def metrics(self) -> dict[str, float]:
        """Row counts by metric name."""
        rejected = {f"rejected_{table}": sum(reasons.values()) for table, reasons in self.rejected.items()}
        return {"events": self.events, "items": self.items, "users": self.users, **rejected}

    def metadata(self, output: str) -> dict[str, str | int]:
        """Metadata of the artifact of one output."""
        rows = {"events": self.events, "items": self.items, "users": self.users, "rejected": self.rejected_rows}
        return {"rows": rows[output], "schema_hash": self.schema_hash, "code_version": VERSION}


def ingest(
    source: str,
    outputs: IngestOutputs,
    size: str = "small",
    mapping: dict[str, Any] | None = None,
    items_source: str = "",
    users_source: str = "",
) -> IngestSummary:
    """Read a source into events, items and users of the data contract.

    Args:
        source: `complete-journey`, or a file, folder or URI of Parquet, CSV or JSON Lines.
        outputs: Where to write.
        size: tiny, small or full; sets the number of shoppers of complete-journey. Files are read completely.
        mapping: Contract column -> source column; see `mapping.parse_mapping`.
        items_source: File, folder or URI of the catalog; empty: the items in the events.
        users_source: File, folder or URI of the users; empty: the users in the events.

    Raises:
        InputError: the source cannot be read or is empty, or the disk is full.
        SchemaError: a mapped column is missing.
        DataError: no event is valid.
    """
    sources = choose_sources(source, size, parse_mapping(mapping), items_source, users_source)
    with _staging(outputs.events) as connection:
        for table, chosen in sources.items():
            _stage(connection, table, chosen)
            _check_rows(connection, table, source)
        summary = _summary(connection)
        _write(connection, outputs)
    report(STAGE, 1.0, f"{summary.events} events, {summary.rejected_rows} rows rejected")
    return summary


def choose_sources(
    source: str, size: str, mapping: ColumnMapping, items_source: str = "", users_source: str = ""
) -> dict[str, Source]:
    """The source of each table, in the order of staging (items and users may be derived from the events).

    Raises:
        InputError: the size is unknown, the source is empty, or events of complete-journey have a mapping.
    """
    shoppers = size_named(size).shoppers
    if not source.strip():
        raise InputError("source is empty", f"give '{complete_journey.NAME}', or a file, folder or URI")
    is_demo = source == complete_journey.NAME
    if is_demo and (mapping.columns.get("events") or mapping.constants.get("events") or mapping.event_types):
        raise InputError(f"mapping is given, but source '{source}' already has a fixed mapping", "remove the mapping")
    events = complete_journey.JourneyEvents(shoppers) if is_demo else TabularFiles(source, "events", mapping)
    items = complete_journey.JourneyItems() if is_demo else DerivedItems()
    users = complete_journey.JourneyUsers() if is_demo else DerivedUsers()
    return {
        "events": events,
        "items": TabularFiles(items_source, "items", mapping) if items_source else items,
        "users": TabularFiles(users_source, "users", mapping) if users_source else users,
    }


@contextlib.contextmanager
def _staging(beside: Path) -> Iterator[duckdb.DuckDBPyConnection]:
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
                for table, schema in SCHEMAS.items():
                    columns = ", ".join(f"{column.name} {sql.SQL_TYPES[column.type]}" for column in schema)
                    extra = "reason VARCHAR, row VARCHAR, source_file VARCHAR"
                    connection.execute(f"CREATE TABLE staged_{table} ({columns}, {extra})")
                yield connection


def _stage(connection: duckdb.DuckDBPyConnection, table: str, source: Source) -> None:
    """Stage every row of a table, invalid rows with their rejection reason."""
    start, end = _SHARES[table]
    report(STAGE, start, f"reading {table}")
    shown = start
    connection.execute("BEGIN")
    for selection in source.selections(connection):
        connection.execute(_insert(table, selection))
        done = start + (end - start) * selection.share
        if done - shown >= 0.01:
            report(STAGE, done, f"reading {table}")
            shown = done
    if table in rules.KEYS:
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
    wanted = "true" if table in rules.KEYS else "reason IS NOT NULL"
    refused = f"SELECT *, CASE WHEN {wanted} THEN {selection.row} END AS raw_row"
    return (
        f"INSERT INTO staged_{table} SELECT {', '.join(names)}, reason, raw_row, {sql.literal(selection.source_file)} "
        f"FROM ({refused} FROM (SELECT *, {rules.reason(table)} AS reason FROM "
        f"(SELECT *, ({selection.problem})::VARCHAR AS problem FROM ({read}))))"
    )


def _reject_duplicates(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Keep the first row of each id and reject the others."""
    key = rules.KEYS[table]
    connection.execute(
        f"UPDATE staged_{table} SET reason = '{rules.duplicate_reason(table)}' "
        f"FROM (SELECT {key} AS seen, min(rowid) AS first_row FROM staged_{table} WHERE reason IS NULL GROUP BY ALL "
        f"HAVING count(*) > 1) WHERE {key} = seen AND rowid <> first_row AND reason IS NULL"
    )


def _counts(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str | None, int]:
    found = connection.execute(f"SELECT reason, count(*) FROM staged_{table} GROUP BY ALL ORDER BY ALL").fetchall()
    return dict(found)


def _check_rows(connection: duckdb.DuckDBPyConnection, table: str, source: str) -> None:
    counts = _counts(connection, table)
    if not counts and table == "events":
        raise InputError(f"source '{source}' has no rows", "give a source with at least one event")
    if counts and None not in counts:
        reasons = ", ".join(f"{reason}: {rows:,}" for reason, rows in counts.items())
        example = connection.execute(f"SELECT row FROM staged_{table} WHERE row IS NOT NULL LIMIT 1").fetchone()
        raise DataError(
            f"none of the {sum(counts.values()):,} {table} of '{source}' are valid ({reasons})",
            f"fix the data or its mapping; the first row is {example[0] if example else 'unknown'}",
        )


def _summary(connection: duckdb.DuckDBPyConnection) -> IngestSummary:
    counts = {table: _counts(connection, table) for table in SCHEMAS}
    rejected = {table: {reason: n for reason, n in found.items() if reason} for table, found in counts.items()}
    span = "SELECT min(timestamp), max(timestamp) FROM staged_events WHERE reason IS NULL"
    first, last = connection.execute(span).fetchall()[0]
    return IngestSummary(
        events=counts["events"].get(None, 0),
        items=counts["items"].get(None, 0),
        users=counts["users"].get(None, 0),
        rejected=rejected,
        first=first.isoformat(),
        last=last.isoformat(),
    )


def _write(connection: duckdb.DuckDBPyConnection, outputs: IngestOutputs) -> None:
    report(STAGE, 0.85, "writing")
    with contextlib.ExitStack() as stack:
        folders = {
            name: stack.enter_context(atomic_directory(getattr(outputs, name))) for name in (*SCHEMAS, "rejected")
        }
        for table, schema in SCHEMAS.items():
            rows = f"FROM staged_{table} WHERE reason IS NULL ORDER BY {_ORDER[table]}"
            names = ", ".join(schema.names)
            if table == "events":
                _copy(connection, f"SELECT {names}, timestamp::DATE AS date {rows}", folders[table], by_day=True)
            else:
                _copy(connection, f"SELECT {names} {rows}", folders[table] / "part-0.parquet")
        refused = " UNION ALL ".join(
            f"SELECT '{table}' AS \"table\", reason, source_file, row FROM staged_{table} WHERE reason IS NOT NULL"
            for table in SCHEMAS
        )
        _copy(connection, refused, folders["rejected"] / "part-0.parquet")


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path, by_day: bool = False) -> None:
    partition = ", PARTITION_BY (date), FILENAME_PATTERN 'part-{i}'" if by_day else ""
    connection.execute(f"COPY ({query}) TO {sql.literal(str(target))} (FORMAT parquet, COMPRESSION zstd{partition})")
