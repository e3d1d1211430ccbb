"""Simple baselines that a model must beat; each uses exactly the events before the test time.

Each returns top lists, int64 [shoppers, k], of all items and of items new to the shopper.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from components.shared.features.history import Histories
from components.shared.features.pairs import summarise_pairs
from components.shared.features.spec import DAY, FeatureSpec
from components.shared.recommender.similarity import SimilarityConfig, cosine_neighbours
from components.shared.schema.tables import EVENT_TYPES


@dataclass(frozen=True)
class Lists:
    """Answers of one method for every shopper.

    Attributes:
        overall: int64 [shoppers, k], catalog rows, best first, 0: empty.
        first: the same among items without a target event of the shopper.
    """

    overall: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class Past:
    """Target events before the test time, of the queried shoppers and of all shoppers.

    Attributes:
        counts: sparse [queried shoppers, items], target events.
        last: sparse [queried shoppers, items], epoch days of the latest one.
        buyers: sparse binary [all shoppers, items].
        recent: float64 [items], target events in the last window. total: float64 [items], all of them.
    """

    counts: sparse.csr_matrix
    last: sparse.csr_matrix
    buyers: sparse.csr_matrix
    recent: np.ndarray
    total: np.ndarray

    @classmethod
    def of(
        cls, queried: Histories, all_shoppers: Histories | Iterable[Histories], items: int, spec: FeatureSpec,
        window_days: int,
    ) -> "Past":  # fmt: skip
        """Count the target events of histories that end at the same time.

        Args:
            queried: Histories of the queried shoppers.
            all_shoppers: Histories of all shoppers, at once or in parts, which limits the memory use.
            items: Number of catalog rows.
            spec: Feature spec with the target event.
            window_days: Length of the recent window in days.
        """
        target = EVENT_TYPES.index(spec.target_event)
        touched = summarise_pairs(queried, items, spec)
        bought = touched.times > 0
        position = (touched.key[bought] // items, touched.key[bought] % items)
        shape = (len(queried), items)
        recent, total, blocks = np.zeros(items), np.zeros(items), []
        for part in [all_shoppers] if isinstance(all_shoppers, Histories) else all_shoppers:
            wanted = part.event_type == target
            row, item = part.row[wanted], part.item[wanted]
            late = part.timestamp[wanted] >= part.now[row] - window_days * DAY
            recent += np.bincount(item[late], minlength=items)
            total += np.bincount(item, minlength=items)
            blocks.append(_binary(row, item, (len(part), items)))
        return cls(
            sparse.csr_matrix((touched.times[bought], position), shape=shape),
            sparse.csr_matrix((touched.last[bought] / DAY, position), shape=shape),
            sparse.csr_matrix(sparse.vstack(blocks)) if blocks else sparse.csr_matrix((0, items), dtype=np.float32),
            recent, total,
        )  # fmt: skip


def _binary(row: np.ndarray, item: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    found = sparse.csr_matrix((np.ones(len(row), np.float32), (row, item)), shape=shape)
    found.data[:] = 1.0
    return found


SAME_FOR_ALL = ("popularity", "recent popularity")
"""Baselines whose list of all items is the same for every shopper."""


def baseline_lists(past: Past, k: int) -> dict[str, Lists]:
    """Lists of every baseline, by name."""
    # Items without target events score 0 everywhere; skipping them saves most of the work in large catalogs.
    taken = past.total > 0
    taken[0] = True
    seen = np.flatnonzero(taken)
    small = Past(past.counts[:, seen], past.last[:, seen], past.buyers[:, seen], past.recent[seen], past.total[seen])
    scorers = {
        "popularity": _same(small.total),
        "recent popularity": _same(small.recent + 1e-6 * small.total),
        "personal frequency": _frequency(small),
        "item-kNN": _item_knn(small),
    }
    found = {name: _from_scores(scores_of, small, k) for name, scores_of in scorers.items()}
    return {name: Lists(seen[lists.overall], seen[lists.first]) for name, lists in found.items()}


_ScoresOf = Callable[[np.ndarray], np.ndarray]
"""Function from rows of queried shoppers to scores [rows, items]; only items with positive scores are listed."""


def _same(scores: np.ndarray) -> _ScoresOf:
    return lambda rows: np.tile(scores, (len(rows), 1))


def _frequency(past: Past) -> _ScoresOf:
    """Score by the shopper's number of target events with the item, then by recency, then by popularity."""
    top = past.total / max(past.total.max(), 1.0)

    def scores(rows: np.ndarray) -> np.ndarray:
        counts, last = past.counts[rows].toarray(), past.last[rows].toarray()
        newest = max(last.max(initial=0.0), 1.0)
        return counts + 0.5 * last / newest + 1e-3 * top

    return scores


def _item_knn(past: Past) -> _ScoresOf:
    """Sum of the recommender's item similarities over the shopper's items; with itself an item has similarity 1.

    Source: Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms (2004).
    """
    similarity = cosine_neighbours(past.buyers, SimilarityConfig()).similarity
    itself = sparse.diags_array((similarity.getnnz(1) > 0).astype(np.float32))
    similarity = sparse.csr_matrix(similarity + itself)
    top = past.total / max(past.total.max(), 1.0)

    def scores(rows: np.ndarray) -> np.ndarray:
        return (past.counts[rows].sign() @ similarity).toarray() + 1e-6 * top

    return scores


def _from_scores(scores_of: _ScoresOf, past: Past, k: int, part: int = 128) -> Lists:
    overall, first = [np.zeros((0, k), np.int64)], [np.zeros((0, k), np.int64)]
    shoppers = len(past.counts.indptr) - 1
    for start in range(0, shoppers, part):
        rows = np.arange(start, min(start + part, shoppers))
        scores = np.array(scores_of(rows), np.float64)
        scores[:, 0] = 0.0
        overall.append(top_lists(scores, k))
        scores[past.counts[rows].toarray() > 0] = 0.0
        first.append(top_lists(scores, k))
    return Lists(np.concatenate(overall), np.concatenate(first))


def top_lists(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k highest positive scores of each row, best first, ties by column; 0 where fewer are positive."""
    found = min(k, scores.shape[1])
    least = np.partition(scores, scores.shape[1] - found, 1)[:, -found][:, None]
    above, equal = scores > least, scores == least
    # Of the items tied for the last position, the first columns are kept.
    best = above | (equal & (np.cumsum(equal, 1) <= found - above.sum(1, keepdims=True)))
    columns = np.nonzero(best)[1].reshape(len(scores), found)
    value = np.take_along_axis(scores, columns, 1)
    order = np.argsort(-value, 1, kind="stable")
    lists = np.zeros((len(scores), k), np.int64)
    ranked = np.take_along_axis(columns, order, 1)
    lists[:, :found] = np.where(np.take_along_axis(value, order, 1) > 0, ranked, 0)
    return lists
