"""Conversion of lists to Ragged rows of weight 1 and back."""

import numpy as np

from components.shared.features.ragged import Ragged, offsets_of


def ragged(rows: list[list[int]]) -> Ragged:
    values = np.array([value for row in rows for value in row], np.int64)
    return Ragged(offsets_of(np.array([len(row) for row in rows])), values, np.ones(len(values), np.float32))


def rows_of(ragged: Ragged) -> list[list[int]]:
    return [ragged.values[a:b].tolist() for a, b in zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)]
