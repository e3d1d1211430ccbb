"""Diversity of a ranking by maximal marginal relevance (MMR).

Source: Carbonell and Goldstein, The use of MMR, diversity-based reranking for reordering documents and producing
summaries (SIGIR 1998). Greedy: each next item has the largest (1 - diversity) * relevance - diversity * similarity to
the most similar item that was chosen before it.
"""

from dataclasses import dataclass

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.recommender.vector_index import VectorIndex

_WEIGHTS = {"vector": 0.5, "category": 0.3, "brand": 0.2}
"""What two items' similarity consists of: cosine of their vectors, the same last category, the same brand."""
MAX_DIVERSIFIED = 200
"""Best items that are reordered; the rest stay behind them."""


@dataclass(frozen=True)
class Likeness:
    """What makes items alike.

    Attributes:
        vectors: float32 [n, dim]. category, brand: int64 [n], codes, 0 if there is none.
    """

    vectors: np.ndarray
    category: np.ndarray
    brand: np.ndarray

    @classmethod
    def of(cls, items: np.ndarray, catalog: Catalog, index: VectorIndex) -> "Likeness":
        """What is known of catalog rows, int64 [n]."""
        path = catalog.features["category"].take(items)
        last = np.zeros(len(items), np.int64)
        has = path.lengths > 0
        last[has] = path.values[path.offsets[1:][has] - 1]
        return cls(index.vectors(items)[:, :-1], last, catalog.features["brand"].take(items).padded(1)[0][:, 0])

    def matrix(self) -> np.ndarray:
        """Similarity of every two items, float32 [n, n], 0 to 1."""
        length = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        unit = self.vectors / np.maximum(length, 1e-9)
        found = _WEIGHTS["vector"] * np.maximum(unit @ unit.T, 0)
        for name in ("category", "brand"):
            code = getattr(self, name)
            found += _WEIGHTS[name] * ((code[:, None] == code) & (code > 0))
        return found.astype(np.float32)


def diversified(
    score: np.ndarray, rank_class: np.ndarray, likeness: Likeness, diversity: float, count: int
) -> np.ndarray:  # fmt: skip
    """Order of items by MMR within each class.

    Relevance is the score divided by the best one of the class. An item is also compared with those of higher classes.

    Args:
        score: float32 [n], not negative, best first within a class.
        rank_class: int8 [n], descending; the classes stay in order.
        likeness: Of the items.
        diversity: 0 (the given order) to 1 (the first item, then the least similar ones).
        count: Number of positions that are chosen; the other items follow in the given order.

    Returns:
        int64 [n], positions.
    """
    items = min(len(score), MAX_DIVERSIFIED)
    if not diversity or items < 2:
        return np.arange(len(score))
    similarity = diversity * likeness.matrix()
    value = np.zeros(items, np.float32)
    for one in np.unique(rank_class[:items]):
        inside = rank_class[:items] == one
        value[inside] = score[:items][inside] / max(float(score[:items][inside].max()), 1e-9)
    value *= 1 - diversity
    chosen: list[int] = []
    nearest = np.zeros(items, np.float32)
    ends = np.append(np.flatnonzero(np.diff(rank_class[:items])) + 1, items).tolist()
    start = 0
    for end in ends:
        for _ in range(start, min(end, count)):
            # The first of equals is the better one.
            best = start + int((value[start:end] - nearest[start:end]).argmax())
            chosen.append(best)
            value[best] = -np.inf
            np.maximum(nearest, similarity[best], out=nearest)
        start = end
    rest = np.append(np.flatnonzero(value > -np.inf), np.arange(items, len(score)))
    return np.concatenate([np.array(chosen, np.int64), rest])
