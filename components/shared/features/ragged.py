"""Variable-length rows stored as one flat array, the layout of Arrow lists and KeyedJaggedTensor.

row 0: [7, 8]   row 1: []   row 2: [9]
values  = [7, 8, 9]
offsets = [0, 2, 2, 3]
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Ragged:
    """Weighted ids of a batch of rows.

    Attributes:
        offsets: int64 [rows + 1], start of each row in `values`.
        values: int64 [total], ids; 0 is the unknown bucket.
        weights: float32 [total], weight of each id in a weighted sum.
    """

    offsets: np.ndarray
    values: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Number of ids in each row, int64 [rows]."""
        return self.offsets[1:] - self.offsets[:-1]

    @functools.cached_property
    def width(self) -> int:
        """Largest id + 1, to encode (row, id) as one integer."""
        return int(self.values.max(initial=0)) + 1

    def take(self, rows: np.ndarray) -> "Ragged":
        """Return the given rows, in that order (repeats allowed)."""
        lengths = self.lengths[rows]
        flat = expand_ranges(self.offsets[rows], lengths)
        return Ragged(offsets_of(lengths), self.values[flat], self.weights[flat])

    def padded(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Pad or truncate rows: ids and weights, both [rows, width]; padding is id 0 with weight 0."""
        keep = np.minimum(self.lengths, width)
        flat = expand_ranges(self.offsets[:-1], keep)
        row = np.repeat(np.arange(len(self)), keep)
        column = np.arange(len(flat)) - np.repeat(offsets_of(keep)[:-1], keep)
        ids, weights = np.zeros((len(self), width), np.int64), np.zeros((len(self), width), np.float32)
        ids[row, column], weights[row, column] = self.values[flat], self.weights[flat]
        return ids, weights

    @classmethod
    def ones(cls, values: np.ndarray) -> "Ragged":
        """One id per row, with weight 1."""
        return cls(np.arange(len(values) + 1), values.astype(np.int64), np.ones(len(values), np.float32))

    @classmethod
    def mean(cls, offsets: np.ndarray, values: np.ndarray) -> "Ragged":
        """Ids weighted by 1 / row length, so that a weighted sum is their mean."""
        lengths = np.diff(offsets)
        weights = np.repeat(1.0 / np.maximum(lengths, 1), lengths).astype(np.float32)
        return cls(offsets.astype(np.int64), values.astype(np.int64), weights)

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """Concatenate the rows of all parts, in order."""
        return cls(
            offsets_of(np.concatenate([part.lengths for part in parts])),
            np.concatenate([part.values for part in parts]), np.concatenate([part.weights for part in parts]),
        )  # fmt: skip

    @classmethod
    def from_arrow(cls, values: pa.ListArray, weights: pa.ListArray | None = None) -> "Ragged":
        """Convert list columns without a loop over rows; without `weights`, ids are weighted by 1 / row length.

        `ListArray.values` ignores slicing, hence the offsets (observed; not in pyarrow's documentation).
        """
        offsets = values.offsets.to_numpy()
        flat = values.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]]
        if weights is None:
            return cls.mean(offsets - offsets[0], flat)
        at = weights.offsets.to_numpy()
        flat_weights = weights.values.to_numpy(zero_copy_only=False)[at[0] : at[-1]]
        return cls((offsets - offsets[0]).astype(np.int64), flat.astype(np.int64), flat_weights.astype(np.float32))

    def to_arrow(self) -> tuple[pa.ListArray, pa.ListArray]:
        """Convert to list columns (ids as int32, weights as float32)."""
        offsets = pa.array(self.offsets.astype(np.int32))
        return (
            pa.ListArray.from_arrays(offsets, pa.array(self.values.astype(np.int32))),
            pa.ListArray.from_arrays(offsets, pa.array(self.weights.astype(np.float32))),
        )


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Offsets, int64 [rows + 1], of rows with the given lengths."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def expand_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Concatenate `range(start, start + length)` of every row.

    >>> expand_ranges(np.array([5, 0]), np.array([2, 3]))
    array([5, 6, 0, 1, 2])
    """
    lengths = np.asarray(lengths, np.int64)
    total = int(lengths.sum())
    shift = np.asarray(starts, np.int64) - offsets_of(lengths)[:-1]
    return np.arange(total, dtype=np.int64) + np.repeat(shift, lengths)


_DENSE_KEYS = 20_000_000
"""Maximum key for counting in a dense array, which is faster than sorting the keys."""


def group_sums(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum weights per key: distinct keys (non-negative integers) in ascending order and their sums (float64)."""
    highest = int(keys.max(initial=0))
    if len(keys) * 4 < highest or highest >= _DENSE_KEYS:
        distinct, inverse = np.unique(keys, return_inverse=True)
        return distinct, np.bincount(inverse, weights=weights, minlength=len(distinct))
    present = np.zeros(highest + 1, bool)
    present[keys] = True
    distinct = np.flatnonzero(present)
    return distinct, np.bincount(keys, weights=weights, minlength=highest + 1)[distinct]


def top_of_rows(rows: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` highest scores per row, sorted by row, then score; ties keep their order."""
    order = np.lexsort((-scores, rows))
    sorted_rows = rows[order]
    first = np.ones(len(order), bool)
    first[1:] = sorted_rows[1:] != sorted_rows[:-1]
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(first, place, 0))
    return order[rank < count]
