"""Encodes catalog entries for the model: labels, title words and prices by the vocabularies of the bundle."""

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
"""One row of a bundle's items.parquet, without `row` and content vector."""


@dataclass
class Vocabularies:
    """Vocabularies of the model.

    Attributes:
        category, brand, token: row by value. spec: lengths and price edges.
        unknown: unknown labels found so far, by vocabulary.
    """

    category: dict[str, int]
    brand: dict[str, int]
    token: dict[str, int]
    spec: FeatureSpec
    unknown: dict[str, set[str]] = field(default_factory=lambda: {"category": set(), "brand": set()})

    @classmethod
    def read(cls, bundle: Path, spec: FeatureSpec) -> "Vocabularies":
        """Read the vocabularies of a bundle."""

        def rows(name: str) -> dict[str, int]:
            table = pq.read_table(bundle / f"{name}.parquet")
            return dict(zip(table["value"].to_pylist(), table["row"].to_pylist(), strict=True))

        return cls(rows("category"), rows("brand"), rows("token"), spec)

    def encoded(self, before: Entry, given: Entry) -> Entry:
        """Return the entry updated with the given values, its ids encoded again by the rules of build_features."""
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
        """Return the content vector, float32 [dim], or [0] if it is empty; None if the model has no content input.

        Raises:
            InputError: the vector has another length than the model's, or a value that is not a finite number.
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
        """Vocabulary rows of the title's words; none for an untitled item, whose title is its id."""
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
        # Compare in single precision, as build_features does, so that a price on an edge falls to the same side.
        return 1 + int((np.float32(price) > np.array(self.spec.price_edges, np.float32)).sum())

    def _path(self, categories: Sequence[str]) -> list[int]:
        """Vocabulary rows of the known levels of a category path, root first ('GROCERY > MILK')."""
        depth = min(len(categories), self.spec.item("category").max_length)
        found = [self._label("category", " > ".join(categories[: level + 1])) for level in range(depth)]
        return [row for row in found if row]

    def _label(self, vocabulary: str, value: str) -> int:
        row = getattr(self, vocabulary).get(value, 0)
        if value and not row:
            self.unknown[vocabulary].add(value)
        return row
