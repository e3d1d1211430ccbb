"""A split of build_features in memory: user features and target items of every row."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from components.shared.feature_spec import FeatureSpec
from components.shared.ragged import Ragged


@dataclass(frozen=True)
class Rows:
    """A split: user features and target items of every row.

    Attributes:
        shopper: int64 [rows], index in the history store.
        timestamp: int64 [rows], the row's moment.
        features: user features by name, rows each.
        targets: catalogue rows of the items wanted.
    """

    shopper: np.ndarray
    timestamp: np.ndarray
    features: dict[str, Ragged]
    targets: Ragged

    def __len__(self) -> int:
        return len(self.shopper)

    @classmethod
    def read(cls, path: Path, spec: FeatureSpec) -> "Rows":
        """Read rows/<split>.parquet."""
        table = pq.read_table(path).combine_chunks()
        features = {
            feature.name: Ragged.from_arrow(
                table.column(feature.name).chunk(0), table.column(f"{feature.name}_weight").chunk(0)
            )
            for feature in spec.user_features
        }
        return cls(
            table.column("shopper").to_numpy().astype(np.int64), table.column("timestamp").to_numpy(), features,
            Ragged.from_arrow(table.column("targets").chunk(0)),
        )  # fmt: skip


def log_q(targets: Ragged, items: int) -> np.ndarray:
    """Log of each item's probability to be drawn as a row's target, float32 [items]."""
    share = np.bincount(targets.values, weights=targets.weights, minlength=items) / max(len(targets), 1)
    return np.log(np.maximum(share, 1e-12)).astype(np.float32)
