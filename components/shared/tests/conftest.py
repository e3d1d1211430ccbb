"""A hand-made shop of eight items, as plain lists for slow references and as the real Catalog and FeatureSpec."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings

from components.shared.features.catalog import Catalog
from components.shared.features.history import Histories
from components.shared.features.ragged import Ragged
from components.shared.features.spec import FeatureSpec, SparseFeature
from components.shared.schema.tables import DEFAULT_EVENT_WEIGHTS, EVENT_TYPES

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

NOW = 1_700_000_000


@dataclass(frozen=True)
class Shop:
    """Row 0 of every list is the unknown item; `known_items` rows have an embedding."""

    categories: tuple = ((), (1,), (1, 2), (1, 2, 3), (4, 5, 6, 7), (4,), (), (1, 2, 3), (4, 5, 8))
    brands: tuple[int, ...] = (0, 1, 1, 2, 2, 3, 0, 0, 3)
    prices: tuple[float, ...] = (math.nan, 1.0, 2.5, math.nan, 80.0, 0.0, 4.0, 9.99, 3.0)
    known_items: int = 6
    sequence_length: int = 4
    interest_length: int = 2
    interest_history: int = 6

    def spec(self, **changes) -> FeatureSpec:
        def feature(name: str, rows: int, length: int) -> SparseFeature:
            return SparseFeature(name=name, rows=rows, max_length=length)

        spec = FeatureSpec(
            as_of=NOW, target_event="purchase", event_weights=dict(DEFAULT_EVENT_WEIGHTS), half_life_days=30.0,
            interest_history=self.interest_history, max_history=50,
            user_features=(
                feature("user", 5, 1), feature("sequence", self.known_items + 1, self.sequence_length),
                feature("interest_category", 9, self.interest_length),
                feature("interest_brand", 4, self.interest_length), feature("query", 10, 3),
            ),
            item_features=(
                feature("item", self.known_items + 1, 1), feature("category", 9, 4), feature("brand", 4, 1),
                feature("price_bucket", 4, 1), feature("title", 10, 3),
            ),
            price_edges=(1.0, 5.0), price_log_mean=1.2, price_log_std=0.7, popularity_days=(7, 28, 91),
            schema_hash="0" * 16,
        )  # fmt: skip
        return dataclasses.replace(spec, **changes)

    def catalog(self) -> Catalog:
        count = len(self.brands)
        rows = np.arange(count)
        lengths = [len(path) for path in self.categories]
        flat = np.array([value for path in self.categories for value in path], np.int64)
        price = np.array(self.prices, np.float32)
        return Catalog(
            item_id=pa.array(["", *(f"i{row}" for row in rows[1:])]), title=pa.array([f"title {row}" for row in rows]),
            brand=pa.array([f"b{brand}" for brand in self.brands]),
            categories=pa.array([[]] * count, pa.list_(pa.string())),
            price=price, list_price=price, available=rows > 0,
            features={
                "item": Ragged.ones(np.where(rows <= self.known_items, rows, 0)),
                "category": Ragged.mean(np.r_[0, np.cumsum(lengths)], flat),
                "brand": Ragged.ones(np.array(self.brands)), "price_bucket": Ragged.ones(np.zeros(count)),
                "title": Ragged.mean(np.zeros(count + 1, np.int64), np.zeros(0, np.int64)),
            },
            known_items=self.known_items,
        )  # fmt: skip


def to_histories(rows: list[list[tuple[int, str, int]]], users: list[int] | None = None, now: int = NOW) -> Histories:
    """Histories, as the store returns them, of rows of (item, event type, seconds before now), oldest first."""
    flat = [event for row in rows for event in row]
    return Histories(
        user=np.array(users if users is not None else range(len(rows)), np.int64),
        now=np.full(len(rows), now, np.int64),
        offsets=np.r_[0, np.cumsum([len(row) for row in rows])].astype(np.int64),
        item=np.array([item for item, _, _ in flat], np.int64),
        event_type=np.array([EVENT_TYPES.index(name) for _, name, _ in flat], np.int64),
        timestamp=np.array([now - age for _, _, age in flat], np.int64),
        price=np.full(len(flat), np.nan, np.float32),
    )


@pytest.fixture(scope="session")
def shop() -> Shop:
    return Shop()


@pytest.fixture(scope="session")
def histories_of():
    """The function `to_histories`; tests cannot import this file."""
    return to_histories
