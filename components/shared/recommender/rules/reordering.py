"""What rules do to a ranking: factors of scores, prices far from the usual one, pinned items."""

from dataclasses import replace

import numpy as np

from components.shared.recommender.batches import Ranking
from components.shared.recommender.candidates import Source
from components.shared.recommender.rules.rulebook import Effects

_BEST = 20
_FEWEST_PRICES = 5
"""Items whose median is the usual price of a query, and how many of them must have one."""
_NAMED_CLASS = 2
"""Class of an item whose code or title is asked for (see search.Found)."""


def reordered(ranking: Ranking, effects: Effects, price: np.ndarray) -> Ranking:
    """A ranking after boosts, burials and the price fence; the classes of what fits a query best stay in order.

    Args:
        ranking: Items, best first.
        effects: What applies; rules that changed a score are added to `acted`.
        price: float32 [catalog rows], NaN when unknown.

    Returns:
        The same items; items with an unusual price have a class of their own below that of the others.
    """
    score = ranking.score.copy()
    for factor in effects.factors:
        named = _among(ranking.item, factor.rows)
        if named.any():
            score[named] *= factor.factor
            effects.acted[factor.rule] = None
    rank_class = ranking.rank_class
    if effects.price_ratio is not None:
        usual = ~_unusual(price[ranking.item], effects.price_ratio) | (rank_class == _NAMED_CLASS)
        rank_class = (2 * rank_class + usual).astype(np.int8)
    order = np.lexsort((-score, -rank_class))
    # An item of a lower class has no higher score than one of a higher class, which is before it.
    capped = np.minimum.accumulate(score[order]) if len(order) else score
    return replace(ranking.take(order), score=capped, rank_class=rank_class[order])


def _among(item: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which items are among ascending rows, bool; np.isin would sort the rows, which may be most of the catalog."""
    if not len(rows):
        return np.zeros(len(item), bool)
    return rows[np.minimum(np.searchsorted(rows, item), len(rows) - 1)] == item


def _unusual(price: np.ndarray, ratio: float) -> np.ndarray:
    """Prices, best item first, that are far from the median of the best; an unknown price is not."""
    best = price[:_BEST][np.isfinite(price[:_BEST])]
    if len(best) < _FEWEST_PRICES:
        return np.zeros(len(price), bool)
    median = float(np.median(best))
    return (price > ratio * median) | (price < median / ratio)


def with_pins(ranking: Ranking, pinned: Ranking, effects: Effects, count: int) -> Ranking:
    """The first `count` items with the pinned ones at their positions, each with its own score.

    A position beyond the end is the end; one that is taken is the next free one. An item that is also ranked has the
    score that it has there.

    Args:
        ranking: Items, best first.
        pinned: The pinned items, in any order.
        effects: Their positions; rules of items that are answered are added to `acted`.
        count: Number of items.
    """
    together = Ranking.joined([ranking, pinned])
    # Of an item that is in both, the first is kept.
    at_row = {row: at for at, row in reversed(list(enumerate(together.item.tolist())))}
    places: dict[int, tuple[int, str]] = {}
    for position, row, rule in effects.pins:
        if row not in at_row or row in {taken for taken, _ in places.values()}:
            continue
        while position in places:
            position += 1
        places[position] = (row, rule)
    others = np.flatnonzero(~np.isin(ranking.item, [row for row, _ in places.values()])).tolist()
    order = others[:count]
    for position in sorted(places):
        row, rule = places[position]
        if position < count:
            order.insert(position, at_row[row])
            together.source[at_row[row]] |= Source.PINNED
            effects.acted[rule] = None
    return together.take(np.array(order[:count], np.int64))
