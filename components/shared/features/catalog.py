"""The catalog: attributes of all items; row i of every array is item i (row 0: the unknown item).

Rows are sorted by item frequency in training. The first `known_items` rows have their own embedding; later rows share
the unknown row, or the rows that their ids hash to, and are represented by their attributes.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.features.content import CONTENT_COLUMN, ContentVectors
from components.shared.features.id_hashing import Collisions, hashed_rows
from components.shared.features.ragged import Ragged
from components.shared.features.spec import FeatureSpec

ATTRIBUTE_FEATURES = ("category", "brand", "price_bucket", "title")


@dataclass(frozen=True)
class Catalog:
    """Items as arrays.

    Attributes:
        item_id: Arrow strings [items].
        title: Arrow strings [items].
        brand: Arrow strings [items].
        categories: Arrow lists of strings [items], root first.
        price: float32 [items], model input, as of the end of the retriever's rows; NaN when unknown.
        list_price: float32 [items], displayed price, as of the end of the data; NaN when unknown.
        available: bool [items].
        features: inputs of the item tower by name, one row per item.
        known_items: last row with its own embedding.
        content: content vectors; None if the shop has none or they were not read.
        attributes: Arrow maps of strings [items]; None if the folder has none or they were not read.
        created_at: float64 [items], epoch seconds, NaN when unknown; None as for `attributes`.
    """

    item_id: pa.StringArray
    title: pa.StringArray
    brand: pa.StringArray
    categories: pa.ListArray
    price: np.ndarray
    list_price: np.ndarray
    available: np.ndarray
    features: dict[str, Ragged]
    known_items: int
    content: ContentVectors | None = None
    attributes: pa.MapArray | None = None
    created_at: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.price)

    def embedding_row(self, item: np.ndarray) -> np.ndarray:
        """Item table row of each catalog row: the same row for known items, else 0 or the row of the id's hash."""
        return self.features["item"].values[item]

    def collisions(self, hash_rows: int) -> Collisions:
        """Collision statistics of the items that share the last `hash_rows` rows of the item table."""
        late = self.features["item"].values[self.known_items + 1 :]
        return Collisions.of(late - self.known_items - 1, hash_rows)

    @functools.cached_property
    def row_of(self) -> dict[str, int]:
        """Catalog row by item id."""
        return {item_id: row for row, item_id in enumerate(self.item_id.to_pylist()) if row}

    @classmethod
    def read(cls, path: Path, spec: FeatureSpec, content: bool = True, facets: bool = False) -> "Catalog":
        """Read `items.parquet` as build_features writes it.

        Args:
            path: Path of the file.
            spec: Feature spec of the same folder.
            content: Whether to read the content vectors; the predictor only needs item vectors.
            facets: Whether to keep the attributes and creation times, which only the predictor needs.
        """
        wanted = content and spec.content_dim > 0
        names = [name for name in pq.read_schema(path).names if wanted or name != CONTENT_COLUMN]
        table = pq.read_table(path, columns=names).combine_chunks()

        def column(name: str) -> pa.Array:
            chunked = table.column(name)
            return chunked.chunk(0) if chunked.num_chunks else pa.array([], chunked.type)

        known = spec.item("item").rows - 1 - spec.item_hash_rows
        item = np.arange(table.num_rows)
        item[known + 1 :] = 0
        if spec.item_hash_rows:
            late = column("item_id").slice(known + 1).to_pylist()
            item[known + 1 :] = known + 1 + hashed_rows(late, spec.item_hash_rows)
        features = {name: Ragged.from_arrow(column(f"{name}_ids")) for name in ATTRIBUTE_FEATURES}
        return cls(
            item_id=column("item_id"), title=column("title"), brand=column("brand"), categories=column("categories"),
            price=column("price").to_numpy(zero_copy_only=False).astype(np.float32),
            list_price=column("list_price").to_numpy(zero_copy_only=False).astype(np.float32),
            available=column("available").to_numpy(zero_copy_only=False).astype(bool),
            features={"item": Ragged.ones(item), **features},
            known_items=known,
            content=ContentVectors.from_arrow(column(CONTENT_COLUMN), spec.content_dim) if wanted else None,
            attributes=column("attributes") if facets and "attributes" in names else None,
            created_at=epoch_seconds(column("created_at")) if facets and "created_at" in names else None,
        )  # fmt: skip


def epoch_seconds(times: pa.TimestampArray) -> np.ndarray:
    """Times as float64 seconds since 1970 in UTC, NaN for a null."""
    microseconds = times.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return microseconds.to_numpy(zero_copy_only=False).astype(np.float64) / 1e6
