"""What all training pairs say together, from one pass in bounded memory: how many, any wanted, how inputs spread.

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
    """Mean and deviation of rows, which those of other rows can join.

    Attributes:
        count: rows. mean: float64 [columns]. squares: float64 [columns], summed squared distances from the mean.
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def none(cls, columns: int) -> "Spread":
        """Of no rows."""
        return cls(0, np.zeros(columns), np.zeros(columns))

    @classmethod
    def of(cls, rows: np.ndarray) -> "Spread":
        """Of rows, float [rows, columns], that are held: one pass for the mean, one for the distances from it."""
        if not len(rows):
            return cls.none(rows.shape[1])
        exact = rows.astype(np.float64)
        mean = exact.mean(0)
        return cls(len(exact), mean, np.square(exact - mean).sum(0))

    def joined(self, other: "Spread") -> "Spread":
        """Of both; never a difference of large sums, in which small deviations would drown."""
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
    """Of pairs files.

    Attributes:
        shoppers: one a moment. wanted: whether any pair is. dense: of the dense inputs; its count is that of pairs.
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
