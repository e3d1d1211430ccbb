"""Stable hashing of ids outside the vocabulary to shared embedding rows, and collision statistics.

Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning (ICML 2009).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def hashed_rows(ids: Sequence[str], rows: int) -> np.ndarray:
    """Row of each id, int64 in [0, rows): BLAKE2b of its UTF-8 bytes modulo `rows`, in training and serving.

    Args:
        ids: Any strings.
        rows: At least 1.
    """
    found = (int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "little") % rows for one in ids)
    return np.fromiter(found, np.int64, len(ids))


@dataclass(frozen=True)
class Collisions:
    """Collision statistics of hashed ids.

    Attributes:
        ids: number of hashed ids. rows: number of shared rows.
        expected: share of ids that collide under a uniform hash. counted: actual share of ids that collide.
    """

    ids: int
    rows: int
    expected: float
    counted: float

    @classmethod
    def of(cls, hashed: np.ndarray, rows: int) -> "Collisions":
        """Compute the statistics from the rows of distinct ids, int64 in [0, rows)."""
        if not len(hashed):
            return cls(0, rows, 0.0, 0.0)
        taken = np.bincount(hashed, minlength=rows)
        expected = 1.0 - (1.0 - 1.0 / rows) ** (len(hashed) - 1)
        return cls(len(hashed), rows, float(expected), float((taken[hashed] > 1).mean()))

    def metrics(self) -> dict[str, float]:
        """Statistics by metric name."""
        return {"hashed_items": float(self.ids), "hash_rows": float(self.rows),
                "hash_collisions_expected": round(self.expected, 6),
                "hash_collisions_counted": round(self.counted, 6)}  # fmt: skip
