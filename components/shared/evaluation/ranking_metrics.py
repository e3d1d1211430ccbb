"""Ranking metrics over top lists, one value per shopper, vectorised.

Conventions: a list contains catalog rows, best first; 0 is an empty position and never a hit; a repeated item counts
once, at its first position; callers must exclude shoppers without a relevant item. Callers also resolve ties:
recommender and baselines put the lower catalog row first.
"""

import numpy as np

from components.shared.features.ragged import Ragged


def hits(lists: np.ndarray, relevant: Ragged) -> np.ndarray:
    """Whether each position of each list has a relevant item, bool [shoppers, k].

    Args:
        lists: int [shoppers, k], catalog rows.
        relevant: relevant catalog rows of each shopper, distinct.
    """
    shoppers, k = lists.shape
    width = int(max(lists.max(initial=0), relevant.values.max(initial=0))) + 1
    row = np.arange(shoppers)[:, None] * width
    wanted = np.repeat(np.arange(shoppers), relevant.lengths) * width + relevant.values
    found = np.isin(row + lists, wanted) & (lists > 0)
    order = np.argsort(lists, 1, kind="stable")
    ordered = np.take_along_axis(lists, order, 1)
    again = np.zeros((shoppers, k), bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    return found & ~again


def recall_at_k(found: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Hits in the first k positions divided by the number of relevant items, [shoppers]."""
    return found[:, :k].sum(1) / relevant


def ndcg_at_k(found: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Normalised discounted cumulative gain with binary gains, [shoppers] (Jaervelin and Kekaelaeinen 2002)."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.r_[0.0, np.cumsum(discounts)]
    gained = found[:, :k] @ discounts[: found[:, :k].shape[1]]
    return gained / ideal[np.minimum(relevant, k)]


def reciprocal_rank(found: np.ndarray) -> np.ndarray:
    """1 / position of the first hit, 0 without one, [shoppers]."""
    return np.where(found.any(1), 1.0 / (found.argmax(1) + 1), 0.0)


def hit_rate_at_k(found: np.ndarray, k: int) -> np.ndarray:
    """1 with a hit in the first k positions, else 0, [shoppers]."""
    return np.asarray(found[:, :k].any(1), np.float64)


def per_shopper(lists: np.ndarray, relevant: Ragged) -> dict[str, np.ndarray]:
    """All list metrics, [shoppers] each."""
    found, count = hits(lists, relevant), relevant.lengths
    return {
        "ndcg_at_10": ndcg_at_k(found, count, 10),
        "recall_at_10": recall_at_k(found, count, 10),
        "recall_at_20": recall_at_k(found, count, 20),
        "mrr": reciprocal_rank(found),
        "hit_rate_at_10": hit_rate_at_k(found, 10),
    }


def coverage(lists: np.ndarray, items: int, k: int = 10) -> float:
    """Share of the catalog that appears in the first k positions of any list."""
    shown = np.unique(lists[:, :k])
    return float((shown > 0).sum() / items)


def novelty(lists: np.ndarray, popularity: np.ndarray, k: int = 10) -> float:
    """Mean self-information of the shown items, -log2 of their share of target events, in bits."""
    share = (popularity + 1.0) / (popularity.sum() + len(popularity))
    shown = lists[:, :k][lists[:, :k] > 0]
    return float(-np.log2(share[shown]).mean()) if len(shown) else 0.0


def gini(lists: np.ndarray, items: int, k: int = 10) -> float:
    """Gini coefficient of how often the catalog's items are shown; 0: all equally often, 1: only one item."""
    counts = np.sort(np.bincount(lists[:, :k][lists[:, :k] > 0], minlength=items + 1)[1:]).astype(np.float64)
    if counts.sum() == 0:
        return 0.0
    position = np.arange(1, len(counts) + 1)
    return float((2 * position - len(counts) - 1) @ counts / (len(counts) * counts.sum()))


def overlap_at_k(one: np.ndarray, other: np.ndarray, k: int = 10) -> np.ndarray:
    """Share of the items in the first k positions of `one` that are also in those of `other`, [shoppers]."""
    width = int(max(one.max(initial=0), other.max(initial=0))) + 1
    row = np.arange(len(one))[:, None] * width
    both = np.isin(row + one[:, :k], row + other[:, :k]) & (one[:, :k] > 0)
    return both.sum(1) / np.maximum((one[:, :k] > 0).sum(1), 1)
