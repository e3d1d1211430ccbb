"""The catalog that is searched: the items of a file, or those of a bundle."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest_events.items import read_items
from components.shared.features.catalog import epoch_seconds
from components.shared.features.content import CONTENT_COLUMN
from components.shared.schema.account import TableAccount
from components.shared.schema.data_options import DataOptions
from components.shared.schema.tables import ITEMS
from components.shared.search.candidates import ItemFacts


@dataclass(frozen=True)
class SearchCatalog:
    """Items in a fixed order.

    Attributes:
        source: what it was read from.
        table: columns of the data contract (schema.ITEMS), without content vectors; one row per item.
        account: of the file's rows; None for a bundle.
    """

    source: str
    table: pa.Table
    account: TableAccount | None = None

    def __len__(self) -> int:
        return self.table.num_rows

    @cached_property
    def item_id(self) -> list[str]:
        """Ids, in the order of the table."""
        return self.table["item_id"].to_pylist()

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row by item id."""
        return {item_id: row for row, item_id in enumerate(self.item_id)}

    def title(self, item_id: str) -> str:
        """Title of an item; its id if it has none."""
        return self.table["title"][self.row_of[item_id]].as_py() or item_id

    def facts(self) -> ItemFacts:
        """What the search knows of the items beside their texts: prices and ages."""
        created = self.table["created_at"].combine_chunks() if "created_at" in self.table.column_names else None
        price = self.table["price"].to_numpy().astype(np.float32)
        return ItemFacts(price, created_at=None if created is None else epoch_seconds(created))

    def texts(self, *columns: str) -> list[str]:
        """Text of every item: those of the given columns that the catalog has, joined by blanks."""
        held = [self.table[name].to_pylist() for name in columns if name in self.table.column_names]
        return [" ".join(map(_text, values)) for values in zip(*held, strict=True)]


def _text(value: str | list[str] | None) -> str:
    return " ".join(value) if isinstance(value, list) else value or ""


def items_catalog(source: str, data: Mapping[str, Any]) -> SearchCatalog:
    """Read a catalog by the rules of ingest_events; of several rows of an item each column has its last value.

    Args:
        source: File, folder, URI or glob of Parquet, CSV or JSON.
        data: Options of DataOptions, of which mapping, preset, null_words and time_format are used.

    Raises:
        InputError: an option is invalid, the source cannot be read, or has no rows.
        SchemaError: it has no item_id, or lacks a mapped column.
        DataError: no row is valid.
    """
    options = DataOptions.read(data, "data")
    with tempfile.TemporaryDirectory(prefix="shoprank-") as folder:
        table, account = read_items(source, Path(folder) / "items", options, silent=True)
    held = [name for name in table.column_names if name != CONTENT_COLUMN]
    return SearchCatalog(source, _one_row_each(table.select(held)), account)


def _one_row_each(table: pa.Table) -> pa.Table:
    """The last value of each column of each item, in the order in which the items first appear."""
    ids = table["item_id"].to_pylist()
    if len(set(ids)) == len(ids):
        return table
    found: dict[str, dict[str, Any]] = {}
    for item in table.to_pylist():
        given = {name: value for name, value in item.items() if value is not None}
        found.setdefault(item["item_id"], dict.fromkeys(table.column_names)).update(given)
    return pa.Table.from_pylist(list(found.values()), table.schema)


def bundle_catalog(bundle: Path) -> SearchCatalog:
    """The catalog of a bundle, without its unknown item."""
    path = bundle / "items.parquet"
    held = [name for name in pq.read_schema(path).names if name in ITEMS.names and name != CONTENT_COLUMN]
    return SearchCatalog(str(bundle), pq.read_table(path, columns=held).slice(1))
