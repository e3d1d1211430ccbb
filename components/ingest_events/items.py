"""Reads the items of a source by the same rules as an ingestion, for a catalog that already exists."""

from pathlib import Path

import pyarrow as pa

from components.ingest_events.accounting import none_valid, table_account
from components.ingest_events.binding import Binding
from components.ingest_events.staging import stage, staging
from components.ingest_events.tabular import TabularFiles
from components.ingest_events.values import Reading
from components.shared.errors import DataError, InputError
from components.shared.schema.account import TableAccount
from components.shared.schema.data_options import DataOptions
from components.shared.schema.mapping import parse_mapping
from components.shared.schema.tables import ITEMS

DEFAULT_OPTIONS = DataOptions()


def read_items(
    source: str, beside: Path, options: DataOptions = DEFAULT_OPTIONS, silent: bool = False
) -> tuple[pa.Table, TableAccount]:
    """Read items; several rows of an item stay, oldest first.

    Args:
        source: File, folder, URI or glob of Parquet, CSV or JSON.
        beside: Path whose folder gets the temporary files.
        options: Mapping (its entries of items), words for missing values and format of times.
        silent: Report no progress.

    Returns:
        Valid rows in schema ITEMS, null where the source says nothing, and the account of the source.

    Raises:
        InputError: the source cannot be read, or has no rows.
        SchemaError: it has no item_id or lacks a mapped column, or a column is of a type that cannot be read.
        DataError: no row is valid.
    """
    mapping, reading = parse_mapping(options.full_mapping()), Reading.of(options.null_words, options.time_format)
    files = TabularFiles(uri=source, binding=Binding(table="items", mapping=mapping, reading=reading))
    with staging(beside) as connection:
        stage(connection, "items", files, unique=False, silent=silent)
        account = table_account(connection, "items", files)
        if not account.rows:
            raise InputError(f"items '{source}' has no rows", "give at least one item")
        if not account.kept:
            reasons = ", ".join(f"{reason}: {lost}" for reason, lost in account.rejected.items())
            raise DataError(f"{none_valid(account.rows, 'items', source)} ({reasons})", "correct them")
        order = "coalesce(version, '-inf'::DOUBLE), position"
        rows = f"SELECT {', '.join(ITEMS.names)} FROM staged_items WHERE reason IS NULL ORDER BY {order}"
        schema = pa.schema([field.with_nullable(True) for field in ITEMS])
        return connection.sql(rows).to_arrow_table().cast(schema), account
