"""What a search finds: items with scores and classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from components.shared.search.candidates import By
from components.shared.search.index import Matches

LEAST_COVERAGE = 0.4
"""Items that cover less than this share of what the best item covers are not found."""
AS_ASKED = 0.9
"""Items that cover at least this share of what the best item covers come before the others, whoever asks."""


@dataclass(frozen=True)
class Found:
    """Items that a query asks for, best first.

    Attributes:
        item: int64 [n], item rows.
        score: float32 [n].
        rank_class: int8 [n], 2 for the item whose code or title was asked for, 1 for one that covers the query as
            well as any, else 0; whatever ranks the items keeps the higher class first.
        relaxed: What was left out of the query, as no item fits all of it, in the order in which it was.
        by: What found them.
    """

    item: np.ndarray
    score: np.ndarray
    rank_class: np.ndarray
    relaxed: tuple[str, ...] = field(default=())
    by: By = "words"

    def first(self, count: int, others: Sequence[np.ndarray]) -> "Found":
        """The best `count` items, and of the rest those that other sources have too, such as a shopper's own."""
        if len(self.item) <= count:
            return self
        keep = np.isin(self.item, np.concatenate(others)) if others else np.zeros(len(self.item), bool)
        keep[:count] = True
        return Found(self.item[keep], self.score[keep], self.rank_class[keep], self.relaxed, self.by)


def rank_classes(matches: Matches) -> np.ndarray:
    """Class of each match, int8; see Found."""
    best = matches.coverage.max(initial=0)
    rank_class = ((matches.coverage > 0) & (matches.coverage >= AS_ASKED * best)).astype(np.int8)
    rank_class[matches.exact] = 2
    return rank_class
