"""Opens the events of a source by the same rules as an ingestion, for a tool that counts in them."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb

from components.ingest_events.accounting import table_account
from components.ingest_events.ingest import check_rows, choose_sources
from components.ingest_events.staging import stage, staging
from components.ingest_events.values import Reading
from components.shared.schema.account import TableAccount
from components.shared.schema.data_options import DataOptions
from components.shared.schema.mapping import parse_mapping


@contextlib.contextmanager
def opened_events(
    source: str, options: DataOptions, size: str = "small"
) -> Iterator[tuple[duckdb.DuckDBPyConnection, TableAccount]]:
    """Stage the events of a source in a temporary folder.

    Args:
        source: `complete-journey`, or a file, folder, URI or glob of Parquet, CSV or JSON.
        options: Mapping, words for missing values, format of times and names of columns.
        size: tiny, small or full; sets the number of shoppers of complete-journey.

    Yields:
        A connection whose view `events` has the valid rows in schema EVENTS and their `position` in the source, and
        the account of all rows.

    Raises:
        InputError: the source cannot be read, or has no rows.
        SchemaError: a mapped column is missing.
        DataError: no event is valid.
    """
    mapping, reading = parse_mapping(options.full_mapping()), Reading.of(options.null_words, options.time_format)
    chosen = choose_sources({"events": source}, size, mapping, reading, options.all_columns())["events"]
    with (
        tempfile.TemporaryDirectory(prefix="shoprank-") as folder,
        staging(Path(folder) / "events") as connection,
    ):
        stage(connection, "events", chosen, silent=True)
        check_rows(connection, "events", source)
        connection.execute("CREATE VIEW events AS SELECT * FROM staged_events WHERE reason IS NULL")
        yield connection, table_account(connection, "events", chosen)
