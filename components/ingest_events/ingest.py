"""Ingest a source: read every row once, keep valid rows, and write the others with a reason.

Rows are staged in a DuckDB file beside the outputs, so memory stays bounded and every row is counted before any output
appears; the four outputs appear together or not at all.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from components.ingest_events import complete_journey, sql
from components.ingest_events.accounting import none_valid, rejected_rows, table_account
from components.ingest_events.binding import Binding
from components.ingest_events.rules import IGNORED
from components.ingest_events.sources import DerivedItems, DerivedUsers, Source
from components.ingest_events.staging import STAGE, stage, staging
from components.ingest_events.tabular import TabularFiles
from components.ingest_events.values import Reading
from components.shared.errors import DataError, InputError
from components.shared.progress import report, tell
from components.shared.schema.account import Account, hints, kept, told, write_account
from components.shared.schema.mapping import SCHEMAS, ColumnMapping, parse_mapping
from components.shared.schema.sizes import size_named
from components.shared.schema.tables import schema_hash
from components.shared.storage import atomic_directory
from components.shared.version import VERSION
from components.shared.wording import counted

__all__ = ["IngestOutputs", "IngestSummary", "choose_sources", "ingest"]

DEFAULT_READING = Reading()

_ORDER = {"events": "timestamp, user_id, position", "items": "position, item_id", "users": "position, user_id"}


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
    account: Account
    """Table -> its rows, by what became of them."""
    first: str
    """Earliest timestamp, ISO 8601 in UTC."""
    last: str
    """Latest timestamp, ISO 8601 in UTC."""
    schema_hash: str = schema_hash(*SCHEMAS.values())
    """Hash of the three schemas."""

    @property
    def rejected(self) -> dict[str, dict[str, int]]:
        """Table -> reason -> rows."""
        return {
            table: {reason: lost.rows for reason, lost in one.rejected.items()} for table, one in self.account.items()
        }

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
    reading: Reading = DEFAULT_READING,
    columns: tuple[str, ...] = (),
) -> IngestSummary:
    """Read a source into events, items and users of the data contract.

    Args:
        source: `complete-journey`, or a file, folder, URI or glob of Parquet, CSV or JSON.
        outputs: Where to write.
        size: tiny, small or full; sets the number of shoppers of complete-journey. Files are read completely.
        mapping: Contract column -> source column; see `mapping.parse_mapping`.
        items_source: File, folder or URI of the catalog; empty: the items in the events.
        users_source: File, folder or URI of the users; empty: the users in the events.
        reading: Words for missing values, format of times.
        columns: Names of the columns of CSV files of events without a header; empty: they have one.

    Raises:
        InputError: the source cannot be read or is empty, or the disk is full.
        SchemaError: a mapped column is missing.
        DataError: no event is valid.
    """
    files = {"events": source, "items": items_source, "users": users_source}
    sources = choose_sources(files, size, parse_mapping(mapping), reading, columns)
    with staging(outputs.events) as connection:
        for table, chosen in sources.items():
            stage(connection, table, chosen)
            check_rows(connection, table, files[table] or source)
        summary = _summary(connection, sources)
        _write(connection, outputs, summary.account)
    for sentence in told(summary.account):
        tell(STAGE, sentence)
    report(STAGE, 1.0, f"{kept(summary.account)}, {counted(summary.rejected_rows, 'row')} rejected")
    return summary


def choose_sources(
    files: Mapping[str, str],
    size: str,
    mapping: ColumnMapping,
    reading: Reading = DEFAULT_READING,
    columns: tuple[str, ...] = (),
) -> dict[str, Source]:
    """The source of each table, in the order of staging (items and users may be derived from the events).

    Args:
        files: Table -> source; '' for items or users that are derived.
        size: See ingest.
        mapping: See ingest.
        reading: See ingest.
        columns: See ingest.

    Raises:
        InputError: the size is unknown, the source is empty, or events of complete-journey have a mapping.
    """
    shoppers, source = size_named(size).shoppers, files["events"]
    if not source.strip():
        raise InputError("source is empty", f"give '{complete_journey.NAME}', or a file, folder or URI")
    is_demo = source == complete_journey.NAME
    if is_demo and (mapping.columns.get("events") or mapping.constants.get("events") or mapping.event_types):
        raise InputError(f"mapping is given, but source '{source}' already has a fixed mapping", "remove the mapping")
    demo: dict[str, Source] = {
        "events": complete_journey.JourneyEvents(shoppers), "items": complete_journey.JourneyItems(),
        "users": complete_journey.JourneyUsers(),
    }  # fmt: skip
    derived: dict[str, Source] = {"items": DerivedItems(), "users": DerivedUsers()}
    return {
        table: TabularFiles(
            uri=uri, binding=Binding(table=table, mapping=mapping, reading=reading),
            columns=columns if table == "events" else (),
        ) if uri and uri != complete_journey.NAME else (demo if is_demo else derived)[table]
        for table, uri in files.items()
    }  # fmt: skip


def _counts(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str | None, int]:
    found = connection.execute(f"SELECT reason, count(*) FROM staged_{table} GROUP BY ALL ORDER BY ALL").fetchall()
    return dict(found)


def check_rows(connection: duckdb.DuckDBPyConnection, table: str, source: str) -> None:
    """Check that a staged table has rows, and that one of them is valid.

    Raises:
        InputError: there is no event.
        DataError: no row is valid; the message has the reasons.
    """
    counts = _counts(connection, table)
    if not counts and table == "events":
        raise InputError(f"source '{source}' has no rows", "give a source with at least one event")
    if counts and None not in counts:
        if set(counts) == {IGNORED}:
            raise DataError(
                f"all {counted(counts[IGNORED], 'event')} of '{source}' are of types that the mapping leaves out",
                "give other event_types in the mapping",
            )
        rejected = rejected_rows(connection, table)
        reasons = ", ".join(f"{reason}: {lost}" for reason, lost in rejected.items())
        example = connection.execute(f"SELECT row FROM staged_{table} WHERE row IS NOT NULL LIMIT 1").fetchone()
        raise DataError(
            f"{none_valid(sum(counts.values()), table, source)} ({reasons})",
            "; ".join([*hints(rejected), "fix the data or its mapping"])
            + f"; the first row is {example[0] if example else 'unknown'}",
        )


def _summary(connection: duckdb.DuckDBPyConnection, sources: Mapping[str, Source]) -> IngestSummary:
    account = {table: table_account(connection, table, source) for table, source in sources.items()}
    span = "SELECT min(timestamp), max(timestamp) FROM staged_events WHERE reason IS NULL"
    first, last = connection.execute(span).fetchall()[0]
    return IngestSummary(
        events=account["events"].kept, items=account["items"].kept, users=account["users"].kept, account=account,
        first=first.isoformat(), last=last.isoformat(),
    )  # fmt: skip


def _write(connection: duckdb.DuckDBPyConnection, outputs: IngestOutputs, account: Account) -> None:
    report(STAGE, 0.85, "writing")
    with contextlib.ExitStack() as stack:
        folders = {
            name: stack.enter_context(atomic_directory(getattr(outputs, name))) for name in (*SCHEMAS, "rejected")
        }
        for table, schema in SCHEMAS.items():
            rows = f"FROM staged_{table} WHERE reason IS NULL ORDER BY {_ORDER[table]}"
            # An item whose availability is not known can be ordered.
            names = ", ".join("coalesce(available, true) AS available" if name == "available" else name
                              for name in schema.names)  # fmt: skip
            if table == "events":
                _copy(connection, f"SELECT {names}, timestamp::DATE AS date {rows}", folders[table], by_day=True)
            else:
                _copy(connection, f"SELECT {names} {rows}", folders[table] / "part-0.parquet")
        refused = " UNION ALL ".join(
            f"SELECT '{table}' AS \"table\", reason, source_file, row FROM staged_{table} WHERE reason <> '{IGNORED}'"
            for table in SCHEMAS
        )
        _copy(connection, refused, folders["rejected"] / "part-0.parquet")
        write_account(account, folders["rejected"])


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path, by_day: bool = False) -> None:
    partition = ", PARTITION_BY (date), FILENAME_PATTERN 'part-{i}'" if by_day else ""
    connection.execute(f"COPY ({query}) TO {sql.literal(str(target))} (FORMAT parquet, COMPRESSION zstd{partition})")
