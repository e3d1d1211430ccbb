"""The simple methods that a model must beat; each sees exactly the events before the test moment.

Each returns top lists, int64 [shoppers, k], of all items and of items new to the shopper.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from components.shared.feature_spec import DAY, FeatureSpec
from components.shared.history import Histories
from components.shared.pairs import touches
from components.shared.schema import EVENT_TYPES


@dataclass(frozen=True)
class Lists:
    """Answers of one method for every shopper.

    Attributes:
        overall: int64 [shoppers, k], catalogue rows, best first, 0: empty.
        first: the same among items that the shopper has not had a target event with.
    """

    overall: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class Past:
    """Target events before the moment: the shoppers asked about, and everybody.

    Attributes:
        counts: sparse [shoppers asked, items], target events.
        last: sparse [shoppers asked, items], epoch days of the latest one.
        everybody: sparse binary [all shoppers, items].
        recent: float64 [items], target events in the last window. total: float64 [items], all of them.
    """

    counts: sparse.csr_matrix
    last: sparse.csr_matrix
    everybody: sparse.csr_matrix
    recent: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, asked: Histories, everyone: Histories, items: int, spec: FeatureSpec, window_days: int) -> "Past":
        """Count the target events of histories that end at the same moment."""
        target = EVENT_TYPES.index(spec.target_event)
        touched = touches(asked, items, spec)
        bought = touched.times > 0
        place = (touched.key[bought] // items, touched.key[bought] % items)
        shape = (len(asked), items)
        wanted = everyone.event_type == target
        row, item = everyone.row[wanted], everyone.item[wanted]
        recent = everyone.timestamp[wanted] >= everyone.now[row] - window_days * DAY
        binary = sparse.csr_matrix((np.ones(len(row), np.float32), (row, item)), shape=(len(everyone), items))
        binary.data[:] = 1.0
        return cls(
            sparse.csr_matrix((touched.times[bought], place), shape=shape),
            sparse.csr_matrix((touched.last[bought] / DAY, place), shape=shape), binary,
            np.bincount(item[recent], minlength=items).astype(np.float64),
            np.bincount(item, minlength=items).astype(np.float64),
        )  # fmt: skip


def baseline_lists(past: Past, k: int) -> dict[str, Lists]:
    """Every baseline's lists."""
    shoppers = past.counts.shape[0]
    return {
        "popularity": _from_scores(lambda rows: np.tile(past.total, (len(rows), 1)), past, k),
        "recent popularity": _from_scores(
            lambda rows: np.tile(past.recent + 1e-6 * past.total, (len(rows), 1)), past, k
        ),
        "personal frequency": _from_scores(_frequency(past), past, k),
        "item-kNN": _from_scores(_item_knn(past), past, k),
    } if shoppers else {}  # fmt: skip


def _frequency(past: Past):
    """How often the shopper took the item, then how lately, then how popular it is."""
    top = past.total / max(past.total.max(), 1.0)

    def scores(rows: np.ndarray) -> np.ndarray:
        counts, last = past.counts[rows].toarray(), past.last[rows].toarray()
        newest = max(last.max(initial=0.0), 1.0)
        return counts + 0.5 * last / newest + 1e-3 * top

    return scores


def _item_knn(past: Past, neighbours: int = 100, min_buyers: int = 3):
    """Sum over the shopper's items of cosine similarity, each item keeping its nearest neighbours.

    Source: Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms (2004).
    """
    buyers = np.asarray(past.everybody.sum(0)).ravel()
    eligible = np.flatnonzero(buyers >= min_buyers)
    scaled = past.everybody[:, eligible] @ sparse.diags(1.0 / np.sqrt(np.maximum(buyers[eligible], 1)))
    scaled = sparse.csc_matrix(scaled, dtype=np.float32)
    blocks = []
    for start in range(0, len(eligible), 1_000):
        similar = (scaled[:, start : start + 1_000].T @ scaled).toarray()
        keep = min(neighbours, similar.shape[1])
        column = np.argpartition(-similar, keep - 1, 1)[:, :keep]
        row = np.repeat(np.arange(len(similar)), keep)
        blocks.append(sparse.csr_matrix((np.take_along_axis(similar, column, 1).ravel(), (row, column.ravel())),
                                        shape=similar.shape))  # fmt: skip
    items = past.counts.shape[1]
    similarity = sparse.csr_matrix(sparse.vstack(blocks)) if blocks else sparse.csr_matrix((0, 0), dtype=np.float32)
    top = past.total / max(past.total.max(), 1.0)

    def scores(rows: np.ndarray) -> np.ndarray:
        own = past.counts[rows][:, eligible]
        own = own.sign()
        out = np.tile(1e-6 * top, (len(rows), 1))
        out[:, eligible] += (own @ similarity).toarray()
        return out[:, :items]

    return scores


def _from_scores(scores_of, past: Past, k: int, part: int = 128) -> Lists:
    overall, first = [], []
    for start in range(0, past.counts.shape[0], part):
        rows = np.arange(start, min(start + part, past.counts.shape[0]))
        scores = np.array(scores_of(rows), np.float64)
        scores[:, 0] = 0.0
        overall.append(top_lists(scores, k))
        scores[past.counts[rows].toarray() > 0] = 0.0
        first.append(top_lists(scores, k))
    return Lists(np.concatenate(overall), np.concatenate(first))


def top_lists(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k highest positive scores of each row, best first, ties by column; 0 where fewer are positive."""
    k = min(k, scores.shape[1])
    best = np.argpartition(-scores, k - 1, 1)[:, :k]
    best.sort(1)
    value = np.take_along_axis(scores, best, 1)
    order = np.argsort(-value, 1, kind="stable")
    ranked, value = np.take_along_axis(best, order, 1), np.take_along_axis(value, order, 1)
    return np.where(value > 0, ranked, 0)
