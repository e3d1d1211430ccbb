"""Candidate sources: own items, retriever, popular and hot items, neighbours, lexical search."""

from dataclasses import dataclass
from enum import IntFlag
from itertools import pairwise

import numpy as np
from scipy import sparse

from components.shared.errors import BundleError
from components.shared.features.columns import ItemStatistic
from components.shared.features.pairs import PairSummary
from components.shared.features.ragged import offsets_of, top_of_rows
from components.shared.options import Amount, Options


class Source(IntFlag):
    """Sources of a candidate as flags; an item may have several."""

    OWN = 1
    RETRIEVED = 2
    POPULAR = 4
    LEXICAL = 8
    SIMILAR = 16
    HOT = 32
    PINNED = 64
    RELATED = 128


class CandidateConfig(Options):
    """Maximum number of candidates per source."""

    own: Amount = 300
    """Items in the shopper's history, by descending decayed event weight."""
    retrieved: Amount = 200
    """Items nearest to the user vector."""
    popular: Amount = 50
    """Items with the most target events in the middle popularity window, and as many with most first-time buyers."""
    similar: Amount = 200
    """Neighbours of the shopper's items, by item-kNN score times log(1 + recent first-time buyers)."""
    lexical: Amount = 200
    """Items that match the query's words."""
    hot: Amount = 0
    """Items with the highest decayed popularity (feature_spec.popularity_half_life_days), which follows a surge within
    days, while the middle window takes weeks."""


@dataclass(frozen=True)
class Candidates:
    """Distinct (row, item) pairs sorted by row, then item.

    Attributes:
        row: int64 [pairs]. item: int64 [pairs], catalog rows. source: int64 [pairs], Source flags.
        lexical: float32 [pairs], score of a search, 0 without a match.
        rank_class: int8 [pairs], see search.Found; 0 without a search.
    """

    row: np.ndarray
    item: np.ndarray
    source: np.ndarray
    lexical: np.ndarray
    rank_class: np.ndarray

    def starts(self, rows: int) -> np.ndarray:
        """Start of each row's candidates, int64 [rows + 1]."""
        return offsets_of(np.bincount(self.row, minlength=rows))


def merge(parts: list[tuple[np.ndarray, np.ndarray, Source]], items: int, allowed: np.ndarray | None) -> Candidates:
    """Merge (rows, items, source) parts; the unknown item (row 0) and items that are not `allowed` are omitted."""
    row, item = (np.concatenate([part[column] for part in parts]).astype(np.int64) for column in (0, 1))
    source = np.concatenate([np.full(len(part[0]), int(part[2])) for part in parts])
    keep = item > 0 if allowed is None else (item > 0) & allowed[item]
    key, inverse = np.unique(row[keep] * items + item[keep], return_inverse=True)
    flags = np.zeros(len(key), np.int64)
    np.bitwise_or.at(flags, inverse, source[keep])
    blank = np.zeros(len(key), np.float32), np.zeros(len(key), np.int8)
    return Candidates(key // items, key % items, flags, *blank)


def chosen_items(item: np.ndarray, source: Source) -> Candidates:
    """Candidates of one row that were found elsewhere.

    Args:
        item: int64 [pairs], distinct catalog rows.
        source: Where.
    """
    item = np.sort(item.astype(np.int64))
    row = np.zeros(len(item), np.int64)
    return Candidates(row, item, row + int(source), row.astype(np.float32), row.astype(np.int8))


def own_items(touched: PairSummary, items: int, count: int) -> tuple[np.ndarray, np.ndarray, Source]:
    """Items in each shopper's history, by descending decayed weight."""
    picked = top_of_rows(touched.key // items, touched.weight, count)
    return touched.key[picked] // items, touched.key[picked] % items, Source.OWN


def popularity_orders(statistics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Catalog rows without the unknown item, by target events and by first-time buyers, both in the middle window.

    Ties are sorted by target events (of the long and the middle window respectively), then by catalog row.
    """
    rows = np.arange(1, len(statistics))
    middle, long = statistics[rows, ItemStatistic.POPULARITY_MIDDLE], statistics[rows, ItemStatistic.POPULARITY_LONG]
    discovered = statistics[rows, ItemStatistic.DISCOVERY_MIDDLE]
    return rows[np.lexsort((rows, -long, -middle))], rows[np.lexsort((rows, -middle, -discovered))]


def popular_items(
    orders: tuple[np.ndarray, ...], rows: int, count: int, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Source]:
    """The same items for every row: the first `count` allowed items of each order in `popularity_orders`."""
    chosen = [_first_allowed(order, count, allowed) for order in orders]
    best = np.unique(np.concatenate(chosen))
    return np.repeat(np.arange(rows), len(best)), np.tile(best, rows), Source.POPULAR


def hot_order(statistics: np.ndarray) -> np.ndarray:
    """Catalog rows with a target event, by descending decayed popularity; ties are sorted by catalog row.

    Raises:
        BundleError: the statistics are from a release without decayed popularity.
    """
    column = ItemStatistic.POPULARITY_DECAYED
    if statistics.shape[1] <= column:
        raise BundleError(f"item statistics have {statistics.shape[1]} columns, but hot candidates need "
                          f"'{column.label}', column {int(column)}",
                          "build the features again with this version, or set the candidates' 'hot' to 0")  # fmt: skip
    decayed = statistics[1:, column]
    order = 1 + np.argsort(-decayed, kind="stable")
    return order[: np.count_nonzero(decayed)]


def hot_items(
    order: np.ndarray, rows: int, count: int, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Source]:
    """The same items for every row: the first `count` allowed items of `hot_order`."""
    best = _first_allowed(order, count, allowed)
    return np.repeat(np.arange(rows), len(best)), np.tile(best, rows), Source.HOT


def _first_allowed(order: np.ndarray, count: int, allowed: np.ndarray | None) -> np.ndarray:
    """The first `count` allowed items of an order, of which no more is read than needed."""
    if allowed is None:
        return order[:count]
    read = 2 * count
    while True:
        some = order[:read]
        found = some[allowed[some]]
        if len(found) >= count or read >= len(order):
            return found[:count]
        read *= 4


def similar_items(
    item_knn_score: sparse.csr_matrix, statistics: np.ndarray, count: int, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Source]:
    """The items with the highest item-kNN score times log(1 + first-time buyers in the middle window).

    Args:
        item_knn_score: sparse float32 [rows, items], see neighbours.Neighbours.item_knn_score.
        statistics: float32 [items, len(ItemStatistic)].
        count: Maximum number of items per row.
        allowed: bool [items], items that may be returned.
    """
    item = item_knn_score.indices.astype(np.int64)
    score = item_knn_score.data * np.log1p(statistics[item, ItemStatistic.DISCOVERY_MIDDLE])
    if allowed is not None:
        score = score * allowed[item]
    chosen = [np.zeros(0, np.int64)]
    for start, end in pairwise(np.asarray(item_knn_score.indptr)):
        near = start + np.flatnonzero(score[start:end] > 0)
        chosen.append(near[np.argpartition(-score[near], count)[:count]] if len(near) > count else near)
    lengths = [len(positions) for positions in chosen[1:]]
    return np.repeat(np.arange(len(lengths)), lengths), item[np.concatenate(chosen)], Source.SIMILAR
