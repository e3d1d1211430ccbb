"""A split of build_features in memory: user features and target items of every row."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.features.ragged import Ragged
from components.shared.features.spec import FeatureSpec

RATINGS = "ratings"
"""Stem of rows/ratings.parquet, and name of its column with the rating of each target."""
REQUESTS = "requests.parquet"
"""Name of the file with the shopper and time of each predictor request."""


@dataclass(frozen=True)
class Rows:
    """A split: user features and target items of every row.

    Attributes:
        shopper: int64 [rows], index in the history store.
        timestamp: int64 [rows], reference time of each row in epoch seconds.
        features: user features by name, with one entry per row.
        targets: catalog rows of the target items.
        rated: the targets with the shopper's ratings as weights; None if no ratings were read.
    """

    shopper: np.ndarray
    timestamp: np.ndarray
    features: dict[str, Ragged]
    targets: Ragged
    rated: Ragged | None = None

    def __len__(self) -> int:
        return len(self.shopper)

    def take(self, rows: np.ndarray) -> "Rows":
        """Return the given rows, in that order (repeats allowed)."""
        features = {name: ragged.take(rows) for name, ragged in self.features.items()}
        rated = None if self.rated is None else self.rated.take(rows)
        return Rows(self.shopper[rows], self.timestamp[rows], features, self.targets.take(rows), rated)

    @classmethod
    def columns(cls, spec: FeatureSpec, present: Collection[str] = ()) -> list[str]:
        """Columns of rows/<split>.parquet to read, including the ratings if `present` contains them."""
        sparse = [column for f in spec.user_features for column in (f.name, f"{f.name}_weight")]
        return ["shopper", "timestamp", *sparse, "targets", *({RATINGS} & set(present))]

    @classmethod
    def read(cls, path: Path, spec: FeatureSpec) -> "Rows":
        """Read rows/<split>.parquet."""
        return cls.from_table(pq.read_table(path).combine_chunks(), spec)

    @staticmethod
    def targets_of(column: pa.ListArray) -> Ragged:
        """Target items of each row, weighted by 1 / number of targets in the row."""
        return Ragged.from_arrow(column)

    @classmethod
    def from_table(cls, table: pa.Table, spec: FeatureSpec) -> "Rows":
        """Convert a table whose columns have one chunk each."""
        features = {
            feature.name: Ragged.from_arrow(
                table.column(feature.name).chunk(0), table.column(f"{feature.name}_weight").chunk(0)
            )
            for feature in spec.user_features
        }
        targets, rated = table.column("targets").chunk(0), None
        if RATINGS in table.column_names:
            rated = Ragged.from_arrow(targets, table.column(RATINGS).chunk(0))
        return cls(
            table.column("shopper").to_numpy().astype(np.int64), table.column("timestamp").to_numpy(), features,
            cls.targets_of(targets), rated,
        )  # fmt: skip


def target_mass(targets: Ragged, items: int) -> np.ndarray:
    """Sum of each item's share of the targets of a row, over all rows, float64 [items]."""
    return np.bincount(targets.values, weights=targets.weights, minlength=items)


def log_q(mass: np.ndarray, rows: int) -> np.ndarray:
    """Log probability of each item to be drawn as the target of a row, float32 [items].

    Args:
        mass: Result of target_mass for all rows.
        rows: Number of rows.
    """
    return np.log(np.maximum(mass / max(rows, 1), 1e-12)).astype(np.float32)
