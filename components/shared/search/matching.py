"""All items that a query matches, not only the best: what is counted, sorted and paged.

An item matches by the rules of `CatalogSearch.find`: its coverage of the query beside that of the best allowed item.
"""

from dataclasses import dataclass

import numpy as np

from components.shared.search.searching import AS_ASKED, LEAST_COVERAGE, CatalogSearch
from components.shared.search.understanding import Understanding
from components.shared.text.analyzer import Alternative, Word


@dataclass(frozen=True)
class Matched:
    """Items that a query matches among those that are allowed.

    Attributes:
        mask: bool [items], items that match.
        rank_class: int8 [items], see searching.Found; 0 for items that do not match.
    """

    mask: np.ndarray
    rank_class: np.ndarray

    @property
    def as_asked(self) -> np.ndarray:
        """Items of the classes above 0, bool [items]: they cover the query as well as any, or are what it names."""
        return self.rank_class > 0


class Matching:
    """Coverage of one query by all items, from which the matches among any allowed items follow.

    Args:
        search: Search of the catalog.
        query: The query.
    """

    def __init__(self, search: CatalogSearch, query: Understanding):
        self._search, self._query = search, query
        self._rows, self._coverage = _coverage(search, query)
        self._exact = search.index.exact(query.query)

    def within(self, allowed: np.ndarray) -> Matched:
        """Items of `allowed`, bool [items], that the query matches; its prices are left out if no item has them."""
        matched = self._within(self._search.allowed(self._query, allowed))
        if not matched.mask.any() and self._query.intents.priced:
            matched = self._within(self._search.allowed(self._query, allowed, price=False))
        return matched

    def _within(self, allowed: np.ndarray) -> Matched:
        kept = allowed[self._rows]
        rows, coverage = self._rows[kept], self._coverage[kept]
        best = coverage.max(initial=np.float32(0))
        mask, rank_class = np.zeros(len(allowed), bool), np.zeros(len(allowed), np.int8)
        mask[rows[coverage >= LEAST_COVERAGE * best]] = True
        rank_class[rows[coverage >= AS_ASKED * best]] = 1
        exact = self._exact[allowed[self._exact]]
        mask[exact], rank_class[exact] = True, 2
        return Matched(mask, rank_class)


def _coverage(search: CatalogSearch, query: Understanding) -> tuple[np.ndarray, np.ndarray]:
    """Share of the query's idf that items cover: rows, ascending, and float32 above 0, SearchIndex.coverage of them.

    The arithmetic is that of SearchIndex.coverage, in its order, so that both agree to the last bit.
    """
    index = search.index
    covered, total = np.zeros(index.postings.documents), 0.0
    for word in query.words:
        idf = index.idf(word) * word.weight
        _add(covered, idf, search, word)
        total += idf
    rows = np.flatnonzero(covered > 0)
    coverage = (covered[rows] / total).astype(np.float32) if total else covered[rows].astype(np.float32)
    return rows[coverage > 0], coverage[coverage > 0]


def _add(covered: np.ndarray, idf: float, search: CatalogSearch, word: Word) -> None:
    """Add the idf of a word, times the weight of the best alternative that an item holds, to every item."""
    if len(word.alternatives) == 1:
        (alternative,) = word.alternatives
        covered[_holding(search, alternative)] += idf * alternative.weight
        return
    best = np.zeros(len(covered))
    for alternative in word.alternatives:
        rows = _holding(search, alternative)
        best[rows] = np.maximum(best[rows], alternative.weight)
    rows = np.flatnonzero(best > 0)
    covered[rows] += idf * best[rows]


def _holding(search: CatalogSearch, alternative: Alternative) -> np.ndarray:
    """Rows of the items that hold all terms of an alternative in one field."""
    postings = search.index.postings
    first, *others = sorted(alternative.terms, key=postings.frequency)
    rows = postings.items_of(first, 0xFF)
    if not others:
        return rows
    fields = postings.fields_of(first, rows)
    for term in others:
        fields = fields & postings.fields_of(term, rows)
    return rows[fields > 0]
