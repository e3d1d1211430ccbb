"""Catalog entries as the model reads them: labels, title words and prices by the vocabularies of the bundle."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.errors import InputError
from components.shared.features.content import CONTENT_COLUMN
from components.shared.features.spec import FeatureSpec
from components.shared.text.tokenizer import tokenize

Entry = dict[str, Any]
"""One row of a bundle's items.parquet, but for `row`."""


@dataclass
class Vocabularies:
    """What the model has names for.

    Attributes:
        category, brand, token: row by value. spec: lengths and price edges.
        unknown: labels that are not known, by vocabulary, as they were met.
    """

    category: dict[str, int]
    brand: dict[str, int]
    token: dict[str, int]
    spec: FeatureSpec
    unknown: dict[str, set[str]] = field(default_factory=lambda: {"category": set(), "brand": set()})

    @classmethod
    def read(cls, bundle: Path, spec: FeatureSpec) -> "Vocabularies":
        """The vocabularies of a bundle."""

        def rows(name: str) -> dict[str, int]:
            table = pq.read_table(bundle / f"{name}.parquet")
            return dict(zip(table["value"].to_pylist(), table["row"].to_pylist(), strict=True))

        return cls(rows("category"), rows("brand"), rows("token"), spec)

    def encoded(self, before: Entry, given: Entry) -> Entry:
        """The entry with what is given of it and its ids anew, by the rules of build_features."""
        entry = {**before, **given}
        if "price" in given:
            entry["list_price"] = given["price"]
        return {
            **entry,
            "category_ids": self._path(entry["categories"]),
            "brand_ids": [self._label("brand", entry["brand"])],
            "price_bucket_ids": [self._bucket(entry["price"])],
            "title_ids": self._title(entry, before),
        }

    def content(self, item_id: str, vector: pa.FloatArray) -> np.ndarray | None:
        """The content vector float32 [dim], or [0] for none at all; None where the model reads none.

        Raises:
            InputError: it has another width than the model's, or a value that is not a finite number.
        """
        dim = self.spec.content_dim
        if not dim:
            return None
        where = f"items.{CONTENT_COLUMN}: item '{item_id}'"
        if len(vector) not in (0, dim):
            raise InputError(f"{where} has {len(vector)} numbers, the model expects {dim}",
                             "use the same embedding model as for training, or train again")  # fmt: skip
        values = vector.to_numpy(zero_copy_only=False)
        if not np.isfinite(values).all():
            raise InputError(f"{where} has a value that is not a finite number", "embed it again, or leave it null")
        return values

    def _title(self, entry: Entry, before: Entry) -> list[int]:
        """Rows of the title's words; an item without a title is called by its id, whose words the model never read."""
        if entry["title"] == before["title"]:
            return before["title_ids"]
        if entry["title"] == entry["item_id"]:
            return []
        tokens = tokenize(entry["title"])[: self.spec.item("title").max_length]
        return [self.token[token] for token in tokens if token in self.token]

    def _bucket(self, price: float | None) -> int:
        # Without edges build_features puts every price into bucket 0.
        if price is None or math.isnan(price) or not self.spec.price_edges:
            return 0
        # In single precision, as build_features compares: a price that lies on an edge must fall to the same side.
        return 1 + int((np.float32(price) > np.array(self.spec.price_edges, np.float32)).sum())

    def _path(self, categories: Sequence[str]) -> list[int]:
        """Rows of the path's levels that are known, root first ('GROCERY > MILK')."""
        depth = min(len(categories), self.spec.item("category").max_length)
        found = [self._label("category", " > ".join(categories[: level + 1])) for level in range(depth)]
        return [row for row in found if row]

    def _label(self, vocabulary: str, value: str) -> int:
        row = getattr(self, vocabulary).get(value, 0)
        if value and not row:
            self.unknown[vocabulary].add(value)
        return row
