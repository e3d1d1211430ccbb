"""Totals of all training pairs, from one pass in bounded memory: counts, any positive label, spread of the inputs.

Source: Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared.features.columns import DenseInput
from components.shared.training.stream import in_order
from components.train_ranker.examples import SHOPPERS


@dataclass(frozen=True)
class Spread:
    """Mean and deviation of rows; can be merged with those of other rows.

    Attributes:
        count: number of rows. mean: float64 [columns]. squares: float64 [columns], sum of squared deviations.
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def none(cls, columns: int) -> "Spread":
        """Return the spread of no rows."""
        return cls(0, np.zeros(columns), np.zeros(columns))

    @classmethod
    def of(cls, rows: np.ndarray) -> "Spread":
        """Return the spread of rows in memory, float [rows, columns]: one pass for the mean, one for the distances."""
        if not len(rows):
            return cls.none(rows.shape[1])
        exact = rows.astype(np.float64)
        mean = exact.mean(0)
        return cls(len(exact), mean, np.square(exact - mean).sum(0))

    def joined(self, other: "Spread") -> "Spread":
        """Merge both; avoids differences of large sums, which would lose small deviations."""
        count = self.count + other.count
        apart, share = other.mean - self.mean, other.count / max(count, 1)
        return Spread(
            count, self.mean + apart * share, self.squares + other.squares + np.square(apart) * self.count * share
        )

    @property
    def std(self) -> np.ndarray:
        """Standard deviation (of the population), float64 [columns]."""
        return np.sqrt(self.squares / max(self.count, 1))


@dataclass(frozen=True)
class Totals:
    """Totals of pairs files.

    Attributes:
        shoppers: number of rows, one per shopper and snapshot. wanted: whether any label is positive. dense: spread of
            the dense inputs; its count is the number of pairs.
    """

    shoppers: int
    wanted: bool
    dense: Spread

    @classmethod
    def read(cls, paths: Sequence[Path]) -> "Totals":
        """Read the labels and dense inputs of all files, `SHOPPERS` at a time."""
        shoppers, wanted, dense = 0, False, Spread.none(len(DenseInput))
        for path in paths:
            for table in in_order(path, SHOPPERS, ["label", "dense"]):
                label, rows = (table.column(name).chunk(0).flatten().to_numpy() for name in ("label", "dense"))
                shoppers, wanted = shoppers + len(table), wanted or bool(label.any())
                dense = dense.joined(Spread.of(rows.reshape(-1, len(DenseInput))))
        return cls(shoppers, wanted, dense)
