"""Content vectors: externally computed embeddings of item texts or images, as inputs of the item tower."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

CONTENT_COLUMN = "content_vector"
"""Column name in the data contract's items and in `items.parquet`."""

_CHUNK = 16_384
"""Number of vectors converted to float64 at a time."""


@dataclass(frozen=True)
class ContentVectors:
    """One vector per item; row i is catalog row i.

    Attributes:
        unit: float32 [items, dim], vectors of length 1; zeros for items without a vector.
    """

    unit: np.ndarray

    @classmethod
    def from_arrow(cls, column: pa.ListArray, dim: int) -> "ContentVectors":
        """Normalise vectors to length 1; null, empty and all-zero vectors count as missing.

        Encoders differ in the length of their vectors, which must not affect the weight of an item in the tower.

        Args:
            column: Lists of `dim` finite floats, or null or empty.
            dim: Width of the vectors.
        """
        rows = np.flatnonzero(column.value_lengths().fill_null(0).to_numpy())
        unit = np.zeros((len(column), dim), np.float32)
        every = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        for start in range(0, len(rows), _CHUNK):
            found = every[start : start + _CHUNK].astype(np.float64)
            # Divide by the largest value first, so that no square overflows or underflows.
            found /= np.maximum(np.abs(found).max(1, initial=0.0, keepdims=True), np.finfo(np.float64).tiny)
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float64).tiny)
            unit[rows[start : start + _CHUNK]] = found
        return cls(unit)

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """Item tower inputs of catalog rows, float32 [rows, dim + 1]: the unit vector, and 1 if it exists, else 0."""
        unit = self.unit[rows]
        return np.concatenate([unit, unit.any(1, keepdims=True).astype(np.float32)], 1)
