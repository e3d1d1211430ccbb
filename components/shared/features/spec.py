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
"""Seconds."""


@dataclass(frozen=True, kw_only=True)
class SparseFeature:
    """A list of ids a row, looked up in an embedding table and summed with weights."""

    name: str
    """Name of the feature and of its table."""
    rows: int
    """Rows of the table, the unknown bucket (row 0) included."""
    max_length: int
    """Longest list that is read; longer ones keep their first ids."""


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Everything that turns a request and a shopper's history into tensors."""

    as_of: int
    """Epoch seconds: the end of the events the features were built from."""
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
    """Windows of the item popularity features."""
    schema_hash: str
    """Of the events, items and users schemas."""
    popularity_half_life_days: float = 7.0
    """Days after which a target event counts half in the decayed popularity, which hot candidates are ordered by."""
    item_hash_rows: int = 0
    """Last rows of the item tables, shared by the ids beyond the vocabulary (id_hashing); 0: those are unknown."""
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
            BundleError: it was written in another format.
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
