"""The feature spec: describes the features for training and serving.

Written by build_features, stored in the bundle, read by the predictor.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.errors import BundleError
from components.shared.storage import read_json, write_json

FORMAT_VERSION = 3
_READABLE = (2, FORMAT_VERSION)
"""Specs of format 2 have no content vectors."""
DAY = 86_400
"""Seconds per day."""


@dataclass(frozen=True, kw_only=True)
class SparseFeature:
    """A list of ids per row, looked up in an embedding table and combined as a weighted sum."""

    name: str
    """Name of the feature and of its table."""
    rows: int
    """Number of rows of the table, including the unknown bucket (row 0)."""
    max_length: int
    """Maximum number of ids per row; longer lists are truncated to their first ids."""


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Configuration for the conversion of a request and a shopper's history to tensors."""

    as_of: int
    """End of the events that the features were built from, in epoch seconds."""
    target_event: str
    """The event type that the models predict (the strongest one in the data)."""
    event_weights: dict[str, float]
    """Weight of each event type in interest vectors and behaviour sequences."""
    half_life_days: float
    """Half-life of event weights in interests and sequences, in days."""
    interest_history: int
    """Latest events used for interests and the sequence."""
    max_history: int
    """Maximum number of latest events used per shopper."""
    user_features: tuple[SparseFeature, ...]
    """Inputs of the user tower: user, sequence, interest_category, interest_brand, query."""
    item_features: tuple[SparseFeature, ...]
    """Inputs of the item tower: item, category, brand, price_bucket, title."""
    price_edges: tuple[float, ...]
    """Upper edges of the price buckets; bucket 0 is an unknown price."""
    price_log_mean: float
    """Mean of log(1 + price) over the catalog."""
    price_log_std: float
    """Standard deviation of log(1 + price) over the catalog."""
    popularity_days: tuple[int, ...]
    """Windows of the item popularity features, in days."""
    schema_hash: str
    """Hash of the events, items and users schemas."""
    popularity_half_life_days: float = 7.0
    """Half-life of target events in the decayed popularity, in days; hot candidates are sorted by this popularity."""
    item_hash_rows: int = 0
    """Last rows of the item tables, shared by ids outside the vocabulary (id_hashing); 0: such ids are unknown."""
    content_dim: int = 0
    """Width of the items' content vectors, which feed the item tower; 0: the shop has none."""
    format_version: int = FORMAT_VERSION
    """Incremented on incompatible changes."""

    def user(self, name: str) -> SparseFeature:
        """The user feature called `name`."""
        return next(feature for feature in self.user_features if feature.name == name)

    def item(self, name: str) -> SparseFeature:
        """The item feature called `name`."""
        return next(feature for feature in self.item_features if feature.name == name)

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> "FeatureSpec":
        """Read from JSON.

        Raises:
            BundleError: the format version is not supported.
        """
        raw: dict[str, Any] = read_json(path)
        if raw.get("format_version") not in _READABLE:
            raise BundleError(
                f"{path}: feature spec format {raw.get('format_version')}, this shoprank version reads {_READABLE}",
                "build the features and the bundle again with this shoprank version",
            )
        for side in ("user_features", "item_features"):
            raw[side] = tuple(SparseFeature(**feature) for feature in raw[side])
        for name in ("price_edges", "popularity_days"):
            raw[name] = tuple(raw[name])
        return cls(**raw)
