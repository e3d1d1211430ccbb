"""Content vectors: embeddings of an item's text or image that were made elsewhere, as the item tower reads them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

CONTENT_COLUMN = "content_vector"
"""Of the data contract's items and of `items.parquet`."""

_CHUNK = 16_384
"""Vectors that are held as float64 at a time."""


@dataclass(frozen=True)
class ContentVectors:
    """One vector an item, row i being catalog row i.

    Attributes:
        unit: float32 [items, dim], of length 1; zeros where an item has none.
    """

    unit: np.ndarray

    @classmethod
    def from_arrow(cls, column: pa.ListArray, dim: int) -> "ContentVectors":
        """Divide vectors by their length; null, empty and all-zero ones count as none.

        The length is what encoders disagree about, and what an item's share of the tower must not depend on.

        Args:
            column: Lists of `dim` finite floats, or null or empty.
            dim: Their width.
        """
        rows = np.flatnonzero(column.value_lengths().fill_null(0).to_numpy())
        unit = np.zeros((len(column), dim), np.float32)
        every = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        for start in range(0, len(rows), _CHUNK):
            found = every[start : start + _CHUNK].astype(np.float64)
            # Largest first, so that no square overflows or vanishes.
            found /= np.maximum(np.abs(found).max(1, initial=0.0, keepdims=True), np.finfo(np.float64).tiny)
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float64).tiny)
            unit[rows[start : start + _CHUNK]] = found
        return cls(unit)

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """The tower's input of catalog rows, float32 [rows, dim + 1]: the unit vector and whether there is one."""
        unit = self.unit[rows]
        return np.concatenate([unit, unit.any(1, keepdims=True).astype(np.float32)], 1)
