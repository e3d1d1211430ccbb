"""Candidate sources: own items, retriever, popular and hot items, neighbours, lexical search."""

from dataclasses import dataclass
from enum import IntFlag
from itertools import pairwise

import numpy as np
from scipy import sparse

from components.shared.errors import BundleError
from components.shared.features.columns import ItemStatistic
from components.shared.features.pairs import Touches
from components.shared.features.ragged import offsets_of, top_of_rows
from components.shared.options import Amount, Options


class Source(IntFlag):
    """Why an item is a candidate; sources add up."""

    OWN = 1
    RETRIEVED = 2
    POPULAR = 4
    LEXICAL = 8
    SIMILAR = 16
    HOT = 32


class CandidateConfig(Options):
    """Maximum number of candidates per source."""

    own: Amount = 300
    """Items the shopper has touched, those of the highest decayed event weight first."""
    retrieved: Amount = 200
    """Nearest items to the user vector."""
    popular: Amount = 50
    """Items of the most target events in the middle popularity window, and as many with the most new shoppers."""
    similar: Amount = 200
    """Items near to what the shopper has touched, those that newcomers take lately first."""
    lexical: Amount = 200
    """Items that match the query's words."""
    hot: Amount = 0
    """Items of the highest decayed popularity (feature_spec.popularity_half_life_days), which a surge lifts within
    days where the middle window takes weeks."""


@dataclass(frozen=True)
class Candidates:
    """Distinct (row, item) pairs sorted by row, then item.

    Attributes:
        row: int64 [pairs]. item: int64 [pairs], catalog rows. source: int64 [pairs], Source flags.
        lexical: float32 [pairs], BM25 score, 0 without a match.
    """

    row: np.ndarray
    item: np.ndarray
    source: np.ndarray
    lexical: np.ndarray

    def starts(self, rows: int) -> np.ndarray:
        """int64 [rows + 1], where each row's candidates start."""
        return offsets_of(np.bincount(self.row, minlength=rows))


def merge(parts: list[tuple[np.ndarray, np.ndarray, Source]], items: int, allowed: np.ndarray | None) -> Candidates:
    """Unite (row, item, source) lists; row 0 of the catalog (unknown) and rows not `allowed` are left out."""
    row, item = (np.concatenate([part[column] for part in parts]).astype(np.int64) for column in (0, 1))
    source = np.concatenate([np.full(len(part[0]), int(part[2])) for part in parts])
    keep = item > 0 if allowed is None else (item > 0) & allowed[item]
    key, inverse = np.unique(row[keep] * items + item[keep], return_inverse=True)
    flags = np.zeros(len(key), np.int64)
    np.bitwise_or.at(flags, inverse, source[keep])
    return Candidates(key // items, key % items, flags, np.zeros(len(key), np.float32))


def own_items(touched: Touches, items: int, count: int) -> tuple[np.ndarray, np.ndarray, Source]:
    """The shoppers' own items, those of the highest decayed weight first."""
    picked = top_of_rows(touched.key // items, touched.weight, count)
    return touched.key[picked] // items, touched.key[picked] % items, Source.OWN


def popularity_orders(statistics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Catalog rows without the unknown, by target events and by first-time shoppers, both in the middle window.

    Ties go to the longest window, then to the catalog's order.
    """
    rows = np.arange(1, len(statistics))
    middle, long = statistics[rows, ItemStatistic.POPULARITY_MIDDLE], statistics[rows, ItemStatistic.POPULARITY_LONG]
    discovered = statistics[rows, ItemStatistic.DISCOVERY_MIDDLE]
    return rows[np.lexsort((rows, -long, -middle))], rows[np.lexsort((rows, -middle, -discovered))]


def popular_items(
    orders: tuple[np.ndarray, ...], rows: int, count: int, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Source]:
    """The same items for every row: the first `count` allowed ones of each of the `popularity_orders`."""
    chosen = [(order if allowed is None else order[allowed[order]])[:count] for order in orders]
    best = np.unique(np.concatenate(chosen))
    return np.repeat(np.arange(rows), len(best)), np.tile(best, rows), Source.POPULAR


def hot_order(statistics: np.ndarray) -> np.ndarray:
    """Catalog rows with a target event, by decayed popularity; ties go to the catalog's order.

    Raises:
        BundleError: the statistics were made by a release that did not count it.
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
    """The same items for every row: the first `count` allowed ones of the `hot_order`."""
    best = (order if allowed is None else order[allowed[order]])[:count]
    return np.repeat(np.arange(rows), len(best)), np.tile(best, rows), Source.HOT


def similar_items(
    item_knn_score: sparse.csr_matrix, statistics: np.ndarray, count: int, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Source]:
    """The items of the highest item-kNN score times log(1 + shoppers who lately took the item for the first time).

    Args:
        item_knn_score: sparse float32 [rows, items], see neighbours.Neighbours.item_knn_score.
        statistics: float32 [items, len(ItemStatistic)].
        count: Items a row; fewer where fewer have a score.
        allowed: bool [items], which items may be answered.
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
